"""Versions of the tiny pair in a published folder."""

import json
import shutil
from pathlib import Path

from lineact.bundle.manifest import MANIFEST, manifest_in
from lineact.bundle.provenance import identity_of, write_provenance
from lineact.files import write_json
from lineact.runtime.bundles import CHAMPION, name_at


def variant(bundle: Path, folder: Path, number: int, **wrong: object) -> Path:
    """The same pair under another identity; `wrong` goes into its manifest."""
    shutil.copytree(bundle, folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["events"]["min_duration_s"] = 0.4 + number / 100
    if "logit" in wrong:
        manifest["crops"][0]["logits"][0] += wrong.pop("logit")
    write_json(folder / MANIFEST, manifest | wrong)
    write_provenance(folder, "press_a", {}, "run7")
    return folder


class Published:
    """A published folder, to which versions are added."""

    def __init__(self, bundle: Path, folder: Path) -> None:
        self._bundle = bundle
        self.folder = folder
        self.publish(1)

    def publish(self, number: int, **wrong: object) -> str:
        """As `name`, of a new version; see `variant`."""
        if not (self.folder / str(number)).exists():
            variant(self._bundle, self.folder / str(number), number, **wrong)
        return self.name(number)

    def name(self, number: int) -> str:
        """Names a version the champion; what it is called in events."""
        identity = name_at(str(self.folder / str(number)))
        path = self.folder / str(number)
        write_json(self.folder / CHAMPION, {"version": str(number), "bundle_sha256": full_identity(path)})
        return identity


def full_identity(folder: Path) -> str:
    """As the registry tags it."""
    return identity_of(folder / MANIFEST, manifest_in(folder / MANIFEST))
