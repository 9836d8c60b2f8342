"""Pins the registry's champion in conf/line/<line>.yaml, so that `evaluate` scores it beside the challenger.

A release enters a run only as a version and a hash named in the configuration, never as the run's own output.
"""

import sys
from typing import Any

from flows import command_line
from flows.champion import champion_of, line_file, pin_of, standing_of
from flows.lines import edit_yaml
from flows.patience import patient
from flows.pipeline import refuse_without_recordings
from flows.versions import bundle_of
from lineact.errors import InputError
from lineact.evaluate.champion import CHAMPIONS
from lineact.files import sha256_of_tree


@patient
def pin_champion(line: str, parent_id: str | None = None) -> str | None:
    """Pins the champion and fetches its bundle.

    Args:
        line: the line.
        parent_id: MLflow's parent run, where a flow opened one.

    Returns:
        The pinned version; None where there is no champion to compare with.

    Raises:
        InputError: where there is one whose bundle is nowhere.
    """
    champion = standing_of(line, pin_of(line), parent_id).champion
    if champion is None:
        return None

    def pin(config: Any) -> None:
        evaluate = config.setdefault("evaluate", {})
        evaluate["champion"] = {"version": champion.version, "bundle_sha256": champion.bundle_sha256}

    edit_yaml(line_file(line), pin)
    return champion.version


@patient
def is_champion(line: str) -> bool:
    """Whether this run's bundle is the champion's, byte for byte: then there is nothing to compare."""
    champion = champion_of(line)
    return champion is not None and champion.bundle_sha256 == sha256_of_tree(bundle_of(line))


def lacks_pinned_bundle(line: str) -> bool:
    """Whether the line's file pins a champion whose bundle is not where `evaluate` looks for it."""
    pinned = pin_of(line)
    return pinned is not None and not (CHAMPIONS / pinned.bundle_sha256).is_dir()


def main() -> None:
    """`line=demo`."""
    line = command_line.parse(sys.argv[1:], ("line",))["line"]
    refuse_without_recordings(line)
    version = pin_champion(line)
    if version is None:
        raise InputError(f"line {line}: there is no champion to pin; `python -m flows.retrain line={line}` makes one")
    print(f"pinned version {version} in {line_file(line)}")


if __name__ == "__main__":
    command_line.run(main)
