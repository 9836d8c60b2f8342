"""Where a released bundle comes from: written beside its manifest when it is registered, and bound to it."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from lineact.bundle.manifest import MANIFEST, Manifest
from lineact.errors import ConfigError, InputError
from lineact.files import sha256_of_file, write_json
from lineact.settings import from_mapping

PROVENANCE = "provenance.json"
PROVENANCE_VERSION = 1


@dataclass(frozen=True)
class Provenance:
    """What `provenance.json` says.

    Attributes:
        schema_version: of this file.
        line: as in the manifest.
        manifest_sha256: of the manifest that lies beside it, and so of all files.
        git_commit: of the checkout that made it; "+changes" where that differed; empty where nobody knows, as of a
            champion that was registered again without its ledger.
        dvc_lock_sha256: of its dvc.lock; likewise.
        data_hash: of the line's data set, as MLflow has it; likewise.
        run_id: of the run in MLflow that it was registered from.
        registered_at: when, UTC, ISO 8601; empty where an earlier version of lineact registered it.
    """

    schema_version: int
    line: str
    manifest_sha256: str
    git_commit: str
    dvc_lock_sha256: str
    data_hash: str
    run_id: str
    registered_at: str = ""


def write_provenance(folder: Path, line: str, origin: Mapping[str, str], run_id: str) -> None:
    """Writes where a bundle comes from beside its manifest.

    Args:
        folder: the bundle's.
        line: its name.
        origin: git_commit, dvc_lock_sha256 and data_hash, where they are known.
        run_id: see `Provenance`.
    """
    content = Provenance(
        schema_version=PROVENANCE_VERSION,
        line=line,
        manifest_sha256=sha256_of_file(folder / MANIFEST),
        git_commit=origin.get("git_commit", ""),
        dvc_lock_sha256=origin.get("dvc_lock_sha256", ""),
        data_hash=origin.get("data_hash", ""),
        run_id=run_id,
        registered_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    write_json(folder / PROVENANCE, dataclasses.asdict(content))


def read_provenance(folder: Path) -> Provenance | None:
    """Where a bundle comes from; None where it was never registered.

    Raises:
        InputError: where it belongs to another manifest, or is none.
    """
    path = folder / PROVENANCE
    if not path.is_file():
        return None
    way_out = "copy the whole bundle again"
    try:
        values = json.loads(path.read_text())
        provenance = from_mapping(Provenance, values, str(path))
    except (ValueError, ConfigError) as error:
        raise InputError(f"{path}: expected a bundle's origin, found something else ({error}); {way_out}") from error
    found = sha256_of_file(folder / MANIFEST)
    if provenance.manifest_sha256 != found:
        raise InputError(
            f"{path}: expected the manifest {provenance.manifest_sha256[:12]}, found {found[:12]}: one of the two was "
            f"altered; {way_out}"
        )
    return provenance


def identity_of(manifest_path: Path, manifest: Manifest) -> str:
    """Hex SHA-256 that tells a bundle from all others: of its files' names and hashes, as the registry tags it.

    The same for a bundle as exported and as registered: `provenance.json` is left out.

    Args:
        manifest_path: its file.
        manifest: what is in it.
    """
    hashes = manifest.files | {MANIFEST: sha256_of_file(manifest_path)}
    digest = hashlib.sha256()
    for name in sorted(hashes, key=lambda name: Path(name)):
        digest.update(f"{name}\0{hashes[name]}\n".encode())
    return digest.hexdigest()
