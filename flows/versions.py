"""The registered versions of a line's bundle in MLflow."""

import contextlib
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from flows.pipeline import artefact_folder
from flows.tracking import client
from lineact.bundle.provenance import write_provenance

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


def model_name(line: str) -> str:
    """The registered model of a line."""
    return f"lineact-{line}"


def bundle_of(line: str) -> Path:
    """The exported bundle of this run."""
    return artefact_folder("export", line) / "bundle"


def versions_of(line: str) -> "list[ModelVersion]":
    """All versions of the line."""
    return list(client().search_model_versions(f"name = '{model_name(line)}'"))


def version_with(line: str, bundle_sha256: str) -> str | None:
    """The version that a bundle is registered as; None where it is not."""
    same = [version for version in versions_of(line) if version.tags.get("bundle_sha256") == bundle_sha256]
    return str(same[0].version) if same else None


def create_version(line: str, run_id: str, bundle: Path, bundle_sha256: str, origin: Mapping[str, str]) -> str:
    """Registers a bundle.

    Args:
        line: the line.
        run_id: the run that takes the model's files.
        bundle: the bundle's folder.
        bundle_sha256: hash of its tree.
        origin: what it was made from, as tags.

    Returns:
        its version.
    """
    tracking = client()
    with tempfile.TemporaryDirectory() as scratch:
        released, model = Path(scratch) / "released" / "bundle", Path(scratch) / "model"
        shutil.copytree(bundle, released)
        write_provenance(released, line, origin, run_id)
        _save_model(released, model)
        tracking.log_artifacts(run_id, str(model), "bundle")
    if not tracking.search_registered_models(f"name = '{model_name(line)}'"):
        tracking.create_registered_model(model_name(line), description=f"recogniser of line {line}")
    # register_model() fails on plain artifacts in MLflow 3; create_model_version takes them
    created = tracking.create_model_version(
        model_name(line),
        source=f"runs:/{run_id}/bundle",
        run_id=run_id,
        tags={"bundle_sha256": bundle_sha256, **origin},
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
