"""`python -m flows.publish line=demo to=/srv/bundles`: the line's champion as files, for stations without the registry.

The folder `to/lineact-demo` gets a folder for each published version, and `champion.json`, which says which of them is
to run. Stations name it: `python -m lineact.runtime --bundle /srv/bundles/lineact-demo ...`.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from flows import command_line
from flows.champion import champion_of, download_bundle
from flows.pipeline import stages_of
from flows.versions import model_name
from lineact.bundle.manifest import read_manifest
from lineact.bundle.provenance import read_provenance
from lineact.errors import InputError
from lineact.files import write_json, write_whole
from lineact.runtime.bundles import CHAMPION


def publish(line: str, to: Path) -> Path:
    """Copies the champion out of the registry and names it last, so that a station never sees half of it.

    Args:
        line: its name.
        to: folder of the published lines.

    Returns:
        The line's published folder.

    Raises:
        InputError: where the line has no champion, or it was registered before bundles had an origin.
    """
    champion = champion_of(line)
    if champion is None:
        raise InputError(f"line {line}: expected a champion, found none; run `python -m flows.retrain line={line}`")
    folder = to / model_name(line)
    with tempfile.TemporaryDirectory() as scratch:
        bundle = download_bundle(line, champion.version, scratch)
        if bundle is None or read_provenance(bundle) is None:
            raise InputError(
                f"{model_name(line)} version {champion.version}: expected its files and their origin, found none: they "
                f"are gone, or an older lineact registered them; run `python -m flows.retrain line={line}`"
            )
        read_manifest(bundle)
        write_whole(folder / champion.version, lambda temporary: shutil.copytree(bundle, temporary))
    write_json(folder / CHAMPION, champion._asdict())
    return folder


def main() -> None:
    """`line=demo to=/srv/bundles`."""
    values = command_line.parse(sys.argv[1:], ("line", "to"))
    stages_of(values["line"])
    folder = publish(values["line"], Path(values["to"]).expanduser())
    print(f"{folder}: {(folder / CHAMPION).read_text().strip()}")


if __name__ == "__main__":
    command_line.run(main)
