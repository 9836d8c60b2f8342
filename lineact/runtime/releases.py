"""Which bundle a station runs, which it ran before, and which it was told not to run: on disk, for the next start.

The station writes `release.json` into its folder of events. Whoever wants the previous bundle back leaves
`rollback.json` there; the station takes it away once it has obeyed.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path

from lineact.bundle.manifest import MANIFEST, read_manifest
from lineact.bundle.provenance import identity_of
from lineact.errors import ConfigError, InputError
from lineact.files import write_json, write_text
from lineact.runtime.bundles import DIGITS
from lineact.settings import from_mapping

STATE = "release.json"
REQUEST = "rollback.json"


@dataclass(frozen=True)
class Release:
    """A verified bundle on this machine.

    Attributes:
        name: the first `DIGITS` digits of its identity.
        folder: where it lies.
    """

    name: str
    folder: str

    def check(self) -> Path:
        """Its folder, where that still holds the same bundle, whole.

        Raises:
            InputError: where it does not.
        """
        folder = Path(self.folder)
        found = name_of(folder)
        if found != self.name:
            raise InputError(f"{folder}: expected the bundle {self.name}, found {found}; start with another --bundle")
        return folder


@dataclass(frozen=True)
class Releases:
    """What `release.json` says.

    Attributes:
        address: of the bundles, as the station was told; what was kept for another one does not count.
        running: None before the first one was loaded.
        previous: ran before; None where there is none to go back to.
        refused: names of bundles that were taken back, while the address leads to them.
    """

    address: str
    running: Release | None = None
    previous: Release | None = None
    refused: tuple[str, ...] = field(default_factory=tuple)

    def switched(self, release: Release) -> "Releases":
        """After another bundle took over; a restart with the same one changes nothing."""
        if self.running is not None and release.name == self.running.name:
            return dataclasses.replace(self, running=release)
        return dataclasses.replace(self, running=release, previous=self.running)

    def rolled_back(self) -> "Releases":
        """After the previous bundle came back; there must be one."""
        if self.running is None or self.previous is None:
            raise ValueError("expected a bundle that ran before")
        refused = tuple(sorted({*self.refused, self.running.name}))
        return Releases(self.address, self.previous, None, refused)

    def led_to(self, name: str) -> "Releases":
        """The address leads to this bundle: what was refused before and is not that one may come again some day."""
        return dataclasses.replace(self, refused=tuple(one for one in self.refused if one == name))


def name_of(folder: Path) -> str:
    """What a bundle is called in events; all its files are checked.

    Raises:
        InputError: where it is not whole.
    """
    return identity_of(folder / MANIFEST, read_manifest(folder))[:DIGITS]


def read_releases(out: Path) -> Releases | None:
    """What a station left in its folder; None where no station ever ran a bundle there.

    Raises:
        InputError: where the file is damaged.
    """
    path = out / STATE
    try:
        return from_mapping(Releases, json.loads(path.read_text()), str(path))
    except FileNotFoundError:
        return None
    except (ValueError, ConfigError) as error:
        raise InputError(
            f"{path}: expected the bundles that ran here, found something else ({error}); remove it"
        ) from error


def write_releases(out: Path, releases: Releases) -> None:
    """Keeps them for the next start."""
    write_text(out / STATE, json.dumps(dataclasses.asdict(releases), indent=2) + "\n", durable=True)


def ask_for_rollback(out: Path, running: Release) -> None:
    """Leaves the wish that this bundle is taken back; where another one runs meanwhile, nothing happens."""
    write_json(out / REQUEST, {"from": running.name})


def rollback_asked(out: Path) -> str | None:
    """Name of the bundle that is to be taken back; "" where the wish cannot be read; None where there is none."""
    try:
        values = json.loads((out / REQUEST).read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        return ""
    return str(values.get("from", "")) if isinstance(values, dict) else ""


def rollback_done(out: Path) -> None:
    """Takes the wish away."""
    (out / REQUEST).unlink(missing_ok=True)
