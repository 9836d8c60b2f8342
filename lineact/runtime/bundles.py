"""Where bundles come from: a folder, a published folder, or MLflow's registry, asked without MLflow.

Whatever comes from elsewhere is copied whole, checked, and only then named: what is there, may be run.
"""

import base64
import json
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from lineact.bundle.manifest import MANIFEST, Manifest, manifest_in, read_manifest
from lineact.bundle.provenance import PROVENANCE, identity_of, read_provenance
from lineact.errors import ConfigError, InputError
from lineact.files import write_whole
from lineact.runtime.errors import RegistryError

MODELS = "models:/"
RUNS = "runs:/"
CHAMPION = "champion.json"  # of a published folder: which of its versions is to run
IN_MODEL = "artifacts/bundle"  # where a registered model has its bundle
TIMEOUT_S = 30.0
PIECE_BYTES = 1 << 20
DIGITS = 12  # of its identity name a bundle's folder

Copy = Callable[[str, Path], None]  # of a bundle's file by its name, to a path


def fetch(address: str, into: Path) -> Path:
    """Makes a bundle ready to be loaded.

    Args:
        address: a bundle's folder, which is used where it lies; a published folder, of which the champion is copied; or
            `models:/lineact-demo@champion`, `models:/lineact-demo/3`: of the registry at MLFLOW_TRACKING_URI.
        into: folder that takes copies, one folder for each bundle; one that is there already is not copied again.

    Returns:
        The bundle's folder; all its files are there and have their hashes.

    Raises:
        InputError: where the bundle is partial, altered or too new, or there is none.
        ConfigError: where the address of the registry is missing or malformed.
        RegistryError: where the registry does not answer.
    """
    if address.startswith(MODELS):
        return _from_registry(address, into)
    folder = Path(address)
    if (folder / CHAMPION).is_file():
        return _from_published(folder, into)
    read_manifest(folder)
    read_provenance(folder)
    return folder


def is_copied(address: str) -> bool:
    """Whether a bundle is copied from there, see `fetch`; a plain folder is used where it lies."""
    return address.startswith(MODELS) or (Path(address) / CHAMPION).is_file()


def name_at(address: str) -> str:
    """What the bundle is called that an address leads to now; nothing is copied.

    Args:
        address: see `fetch`, which raises the same.

    Returns:
        The first `DIGITS` digits of its identity.
    """
    if address.startswith(MODELS):
        return _version_of(address).bundle_sha256[:DIGITS]
    folder = Path(address)
    if (folder / CHAMPION).is_file():
        return _published(folder)[1][:DIGITS]
    return identity_of(folder / MANIFEST, read_manifest(folder))[:DIGITS]


def _published(folder: Path) -> tuple[str, str]:
    """Version and identity of a published folder's champion."""
    path = folder / CHAMPION
    try:
        champion = json.loads(path.read_text())
        return str(champion["version"]), str(champion["bundle_sha256"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: expected version and bundle_sha256, found something else; publish again") from error


def _from_published(folder: Path, into: Path) -> Path:
    version, expected = _published(folder)
    source = folder / version

    def copy(name: str, target: Path) -> None:
        try:
            shutil.copyfile(source / name, target)
        except FileNotFoundError as error:
            raise InputError(f"{source / name}: expected a file of the bundle, found nothing; publish again") from error

    return _kept(copy, into, expected, str(source))


def _from_registry(address: str, into: Path) -> Path:
    found = _version_of(address)
    run, _, model = found.source.removeprefix(RUNS).partition("/")

    def copy(name: str, target: Path) -> None:
        query = {"run_id": run, "path": f"{model}/{IN_MODEL}/{name}"}
        with _answer("/get-artifact", query, f"{address}: {name}") as answer, target.open("wb") as stream:
            while piece := _read(answer, f"{address}: {name}"):
                stream.write(piece)

    return _kept(copy, into, found.bundle_sha256, f"{address} (version {found.version})")


class _Version(NamedTuple):
    """A version that lineact registered, as the registry tells it."""

    version: str
    source: str
    bundle_sha256: str


def _version_in(content: bytes, address: str) -> _Version:
    try:
        told = json.loads(content)["model_version"]
        tags = {tag["key"]: tag["value"] for tag in told.get("tags", ())}
        found = _Version(str(told["version"]), str(told["source"]), str(tags.get("bundle_sha256", "")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:  # a proxy's page, another server
        raise RegistryError(
            f"{address}: expected a registered version, found an answer that is none ({error!r}); is "
            "MLFLOW_TRACKING_URI the address of MLflow?"
        ) from error
    if not (found.source.startswith(RUNS) and "/" in found.source.removeprefix(RUNS) and found.bundle_sha256):
        raise InputError(
            f"{address}: expected a version that lineact registered, from a run and with the tag bundle_sha256, "
            f"found one of {found.source}"
        )
    return found


def _version_of(address: str) -> _Version:
    """The registered version that an address means, as the registry tells it."""
    name, at, alias = address.removeprefix(MODELS).partition("@")
    if at:
        path, query = "registered-models/alias", {"name": name, "alias": alias}
    else:
        name, _, version = name.rpartition("/")
        path, query = "model-versions/get", {"name": name, "version": version}
    if not all(query.values()) or "/" in name:
        raise ConfigError(f"{address}: expected models:/NAME@ALIAS or models:/NAME/VERSION")
    with _answer(f"/api/2.0/mlflow/{path}", query, address) as answer:
        return _version_in(_read(answer, address, None), address)


def _kept(copy: Copy, into: Path, expected: str, where: str) -> Path:
    """The bundle in its own folder below `into`, copied where it is not there whole.

    Args:
        copy: gets a file from where the bundle lies.
        into: see `fetch`.
        expected: identity that it must have.
        where: that place, for messages.
    """
    into.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=into) as scratch:
        path = Path(scratch) / MANIFEST
        copy(MANIFEST, path)
        manifest = manifest_in(path)
        found = identity_of(path, manifest)
    if found != expected:
        raise InputError(
            f"{where}: expected the bundle {expected[:DIGITS]}, found {found[:DIGITS]}: it was altered; "
            "release it again"
        )
    folder = into / f"{manifest.line}-{found[:DIGITS]}"
    if not _is_whole(folder):
        write_whole(folder, lambda temporary: _copy_all(copy, manifest, temporary))
    return folder


def _is_whole(folder: Path) -> bool:
    try:
        read_manifest(folder)
        return read_provenance(folder) is not None
    except InputError:
        return False


def _copy_all(copy: Copy, manifest: Manifest, folder: Path) -> None:
    for name in (MANIFEST, PROVENANCE, *manifest.files):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        copy(name, target)
    read_manifest(folder)
    read_provenance(folder)


def _answer(path: str, query: dict[str, str], wanted: str) -> Any:
    """The registry's answer to a GET, to be read and closed; `wanted` is for messages."""
    registry = os.environ.get("MLFLOW_TRACKING_URI", "").rstrip("/")
    if "@" in registry:
        raise ConfigError(
            f"{wanted}: expected no user in MLFLOW_TRACKING_URI, found one; set MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD"
        )
    if urllib.parse.urlsplit(registry).scheme not in ("http", "https"):
        raise ConfigError(
            f"{wanted}: expected the registry's address in MLFLOW_TRACKING_URI, e.g. http://mlflow.plant:5000, "
            f"found {registry!r}"
        )
    url = f"{registry}{path}?{urllib.parse.urlencode(query)}"
    request = urllib.request.Request(url, headers=_authorization())  # noqa: S310 - http or https, see above
    try:
        return urllib.request.urlopen(request, timeout=TIMEOUT_S)  # noqa: S310
    except urllib.error.HTTPError as error:
        told = error.read(500).decode(errors="replace").strip()
        if error.code in (404, 400):
            raise InputError(f"{wanted}: expected a registered bundle, {registry} says {error.code}: {told}") from error
        raise RegistryError(f"{wanted}: {registry} says {error.code}: {told}; try again") from error
    except (OSError, HTTPException) as error:  # URLError is an OSError
        reason = getattr(error, "reason", error)
        raise RegistryError(f"{wanted}: {registry} does not answer ({reason}); is it up, its address right?") from error


def _read(answer: Any, wanted: str, most_bytes: int | None = PIECE_BYTES) -> bytes:
    """The next bytes of an answer; all of them where none are told."""
    try:
        return answer.read(most_bytes)
    except (OSError, HTTPException) as error:
        raise RegistryError(f"{wanted}: the registry broke off ({error}); try again") from error


def _authorization() -> dict[str, str]:
    """As MLflow's own clients have it from the environment."""
    token, user = os.environ.get("MLFLOW_TRACKING_TOKEN"), os.environ.get("MLFLOW_TRACKING_USERNAME")
    if token:
        return {"Authorization": f"Bearer {token}"}
    if user:
        both = f"{user}:{os.environ.get('MLFLOW_TRACKING_PASSWORD', '')}"
        return {"Authorization": f"Basic {base64.b64encode(both.encode()).decode()}"}
    return {}
