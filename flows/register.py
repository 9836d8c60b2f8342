"""Registers the released pair, moves the alias `champion` where the gates hold, and writes it into the ledger."""

import contextlib
import datetime
import getpass
import hashlib
import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from flows.pipeline import artefact_folder, metrics_of
from flows.tracking import client, provenance
from lineact.errors import InputError
from lineact.evaluate.champion import CHAMPIONS
from lineact.files import sha256_of_tree, write_bytes, write_whole
from lineact.register import Gate, RegisterParams, judge
from lineact.settings import from_mapping
from tasks.stage import section_of


@dataclass(frozen=True)
class Registration:
    """What became of a challenger.

    Attributes:
        version: its version in the registry.
        promoted: whether it is the champion now.
        words: one line for the summary.
        gates: the gates, judged.
    """

    version: str
    promoted: bool
    words: str
    gates: list[Gate]


def model_name(line: str) -> str:
    """The registered model of a line."""
    return f"lineact-{line}"


def bundle_of(line: str) -> Path:
    """The exported bundle of this run."""
    return artefact_folder("export", line) / "bundle"


def champion_of(line: str) -> tuple[str, str] | None:
    """Version and bundle hash of the line's champion; None where there is none."""
    # by search: a registry that does not answer raises, and is no missing champion
    models = client().search_registered_models(f"name = '{model_name(line)}'")
    if not models or "champion" not in models[0].aliases:
        return None
    version = client().get_model_version(model_name(line), str(models[0].aliases["champion"]))
    # a number, whatever MLflow's type hint says
    return str(version.version), version.tags["bundle_sha256"]


def register(line: str, parent_id: str) -> Registration:
    """Registers this run's bundle and promotes it where every gate holds.

    A bundle that is registered already keeps its version; the champion itself is left in place.

    Args:
        line: the line.
        parent_id: the parent run that the version belongs to.

    Raises:
        InputError: where the champion is not the one that `evaluate` compared with, or the ledger was tampered with.
    """
    bundle_sha256 = sha256_of_tree(bundle_of(line))
    champion = champion_of(line)
    if champion and champion[1] == bundle_sha256:
        return Registration(champion[0], True, f"version {champion[0]} is the champion already, same bytes", [])
    if champion:
        _refuse_another_champion(line, champion)
    params = from_mapping(RegisterParams, section_of(line, "register"), f"params.yaml: lines.{line}.register")
    machine = json.loads((artefact_folder("machine", line) / "machine.json").read_text())
    evaluated = metrics_of("evaluate", line)
    gates = judge(params, evaluated, metrics_of("benchmark", line), machine["host"], champion is not None)
    version = _version_with(line, bundle_sha256) or _create_version(line, parent_id, bundle_sha256)
    client().set_model_version_tag(model_name(line), version, "gates", json.dumps([asdict(gate) for gate in gates]))
    failed = [f"{gate.name} ({gate.reason})" for gate in gates if not gate.passed]
    if failed:
        words = f"version {version} registered, not promoted: {'; '.join(failed)}"
        return Registration(version, False, words, gates)
    _promote(line, version, champion, gates, bundle_sha256)
    return Registration(version, True, f"version {version} registered and promoted to champion", gates)


def _refuse_another_champion(line: str, champion: tuple[str, str]) -> None:
    pinned = section_of(line, "evaluate")["champion"]
    if pinned is None or pinned["bundle_sha256"] != champion[1]:
        compared = f"version {pinned['version']}" if pinned else "none"
        raise InputError(
            f"{model_name(line)}: the champion is version {champion[0]}, but `evaluate` compared with {compared}; "
            f"the alias moved meanwhile: run `python -m flows.retrain line={line}` again"
        )


def fetch_bundle(line: str, version: str, bundle_sha256: str) -> Path:
    """Puts a registered bundle where `evaluate` looks for a pinned champion, checked by its hash.

    Raises:
        InputError: where the registry's copy has another hash.
    """
    import mlflow

    folder = CHAMPIONS / bundle_sha256
    if folder.is_dir():
        return folder
    with tempfile.TemporaryDirectory() as scratch:
        local = mlflow.artifacts.download_artifacts(f"models:/{model_name(line)}/{version}", dst_path=scratch)
        found = next(Path(local).rglob("manifest.json"), None)
        if found is None or sha256_of_tree(found.parent) != bundle_sha256:
            raise InputError(
                f"models:/{model_name(line)}/{version}: expected a bundle with hash {bundle_sha256}, found another; "
                f"set evaluate.champion to null in conf/line/{line}.yaml to go on without it"
            )
        bundle = found.parent
        write_whole(folder, lambda temporary: shutil.copytree(bundle, temporary))
    return folder


def ledger_of(line: str) -> Path:
    """The line's promotion ledger: JSON Lines, each entry carries the hash of the one before."""
    return Path("models") / line / "promotions.jsonl"


def _version_with(line: str, bundle_sha256: str) -> str | None:
    versions = client().search_model_versions(f"name = '{model_name(line)}'")
    same = [version for version in versions if version.tags.get("bundle_sha256") == bundle_sha256]
    return str(same[0].version) if same else None


def _create_version(line: str, parent_id: str, bundle_sha256: str) -> str:
    tracking = client()
    with tempfile.TemporaryDirectory() as scratch:
        _save_model(bundle_of(line), Path(scratch) / "bundle")
        tracking.log_artifacts(parent_id, str(Path(scratch) / "bundle"), "bundle")
    if not tracking.search_registered_models(f"name = '{model_name(line)}'"):
        tracking.create_registered_model(model_name(line), description=f"recogniser of line {line}")
    # register_model() fails on plain artifacts in MLflow 3; create_model_version takes them
    created = tracking.create_model_version(
        model_name(line),
        source=f"runs:/{parent_id}/bundle",
        run_id=parent_id,
        tags={"bundle_sha256": bundle_sha256} | provenance(line),
    )
    return str(created.version)


def _save_model(bundle: Path, target: Path) -> None:
    """Writes the bundle as an MLflow model with a signature, its code as text: nothing is pickled."""
    import mlflow.pyfunc
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec

    columns = [("frame", DataType.long), *((name, DataType.float) for name in ("x1", "y1", "x2", "y2", "score"))]
    columns += [("action", DataType.string), ("confidence", DataType.float)]
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, -1, -1, 3), name="images_rgb")]),
        outputs=Schema([ColSpec(kind, name) for name, kind in columns]),
    )
    with _known_remarks_left_out():
        mlflow.pyfunc.save_model(
            path=str(target),
            python_model="flows/registered_model.py",
            artifacts={"bundle": str(bundle)},
            signature=signature,
            code_paths=["lineact"],
            pip_requirements=["numpy", "openvino", "opencv-python-headless", "pandas", "pyarrow", "scipy"],
        )


@contextlib.contextmanager
def _known_remarks_left_out() -> Iterator[None]:
    """Leaves out what MLflow always says here: the signature is given, and pip need not be installed."""
    logger = logging.getLogger("mlflow.utils.environment")
    logger.addFilter(_does_not_miss_pip)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*An input example was not provided")
            yield
    finally:
        logger.removeFilter(_does_not_miss_pip)


def _does_not_miss_pip(record: logging.LogRecord) -> bool:
    return "Failed to resolve installed pip version" not in record.getMessage()


def _promote(line: str, version: str, champion: tuple[str, str] | None, gates: list[Gate], bundle_sha256: str) -> None:
    """Writes the promotion into the ledger, then moves the aliases.

    The version's tag `promotion` comes last. Without it, an entry that decides the same is that of a promotion that was
    killed half-way: it is finished and gets no second entry.
    """
    tracking = client()
    decided = {
        "line": line,
        "version": version,
        "previous": champion[0] if champion else None,
        "bundle_sha256": bundle_sha256,
    }
    entries = _read_ledger(ledger_of(line))
    if not entries or not _is_unfinished(line, entries[-1], decided):
        written = {
            "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "who": getpass.getuser(),
            "why": {gate.name: gate.reason for gate in gates},
            "from": provenance(line),
            "hash_of_entry_before": _hash_of_entry(entries[-1]) if entries else None,
        }
        entries.append(json.dumps(decided | written, sort_keys=True).encode())
        # durable before the alias moves
        write_bytes(ledger_of(line), b"".join(entry + b"\n" for entry in entries), durable=True)
    if champion:
        tracking.set_registered_model_alias(model_name(line), "previous", champion[0])
    tracking.set_registered_model_alias(model_name(line), "champion", version)
    tracking.set_model_version_tag(model_name(line), version, "promotion", _hash_of_entry(entries[-1]))


def _is_unfinished(line: str, entry: bytes, decided: dict[str, str | None]) -> bool:
    """Whether the ledger's last entry decides the same, and its promotion was killed before its end."""
    version = client().get_model_version(model_name(line), str(decided["version"]))
    same = decided.items() <= json.loads(entry).items()
    return same and version.tags.get("promotion") != _hash_of_entry(entry)


def _read_ledger(path: Path) -> list[bytes]:
    """The entries, each checked against the hash that the next one carries."""
    entries = path.read_bytes().splitlines() if path.is_file() else []
    for number, (before, entry) in enumerate(zip([None, *entries], entries, strict=False), 1):
        expected = _hash_of_entry(before) if before is not None else None
        if json.loads(entry)["hash_of_entry_before"] != expected:
            raise InputError(
                f"{path}, line {number}: expected the hash of the entry before, {expected}, found another: an entry "
                f"was changed or removed; bring the file back with `git checkout {path}` or from a backup"
            )
    return entries


def _hash_of_entry(entry: bytes) -> str:
    return hashlib.sha256(entry).hexdigest()
