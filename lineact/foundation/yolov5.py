"""YOLOv5 as ultralytics builds it (`yolov5*.yaml`: the anchor-free "u" head), at any width.

ultralytics must not phone home, install packages, touch a user's settings or run what a weights file says:
`import_ultralytics` sets that before the first import. Call it, or this module's functions, in place of a bare import.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineact.errors import FullDiskError, InputError
from lineact.files import is_full_disk
from lineact.foundation.pickled import DETECTOR_YAML, convert_detector
from lineact.foundation.weights import WEIGHTS, load_strictly, read_safetensors, refuse_pickle

if TYPE_CHECKING:
    from ultralytics.nn.tasks import DetectionModel

# How many layers the first 0, 1, ... 5 stages of the backbone have, in every size. The stages: the stem, with half the
# picture's side; those with a quarter, an eighth and a sixteenth; that with a 32nd, pyramid pooling included.
STAGE_ENDS = (0, 1, 3, 5, 7, 10)
SIZE_OF_STEM = {16: "n", 32: "s", 48: "m", 64: "l", 80: "x"}  # by the channels of the first layer
SETTINGS_FOLDER = Path(".lineact/ultralytics")


def import_ultralytics() -> Any:
    """Imports ultralytics offline, with private settings; its MLflow callback, which ends foreign runs, is off."""
    SETTINGS_FOLDER.mkdir(parents=True, exist_ok=True)
    os.environ["YOLO_OFFLINE"] = "True"
    os.environ["YOLO_AUTOINSTALL"] = "False"
    # a .pt file is a pickle, its model yaml holds expressions: ultralytics would run both with all rights
    os.environ["ULTRALYTICS_SAFE_LOAD"] = "True"
    os.environ["YOLO_CONFIG_DIR"] = str(SETTINGS_FOLDER.resolve())
    import ultralytics

    switches = {"mlflow": False, "sync": False}
    if any(ultralytics.settings.get(name) != value for name, value in switches.items()):
        ultralytics.settings.update(switches)
    return ultralytics


def build_yolov5(yaml_path: Path) -> "DetectionModel":
    """Builds the detector that a model yaml describes, with random weights.

    Args:
        yaml_path: ultralytics' format: nc, scales, backbone, head.

    Returns:
        The module in training mode, float32.

    Raises:
        InputError: where the file is missing or describes no detector.
    """
    import yaml

    if not yaml_path.is_file():
        raise InputError(f"{yaml_path}: expected a YOLOv5 model yaml, found nothing there")
    import_ultralytics()
    from ultralytics.nn.tasks import DetectionModel

    description = yaml.safe_load(yaml_path.read_text())
    if not isinstance(description, dict) or not {"nc", "backbone", "head"} <= set(description):
        raise InputError(f"{yaml_path}: expected nc, backbone and head, found something else")
    # Scale and file name are set by `yolo.yaml_model_load` only when given a path whose name holds the scale letter.
    description = {"scale": next(iter(description.get("scales", {"n": None})))} | description
    try:
        return DetectionModel(description, verbose=False)
    except Exception as error:  # ultralytics raises many kinds for what it cannot build, or refuses to run
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{yaml_path}: expected a YOLOv5's layers, found what cannot be built ({reason})") from error


def find_start(name: str) -> str:
    """The folder that a detector's training starts from.

    Args:
        name: a folder, or the name of one of ultralytics' files, which is fetched once and kept as safetensors.

    Raises:
        InputError: where it is neither, cannot be fetched, or is a pickle on this machine.
    """
    if Path(name).is_file():
        refuse_pickle(Path(name))
    if Path(name).exists():
        return name
    kept = SETTINGS_FOLDER / Path(name).stem
    if not kept.is_dir():
        fetched = _fetch(name)
        convert_detector(fetched, kept)
        fetched.unlink()
    return str(kept)


def _fetch(name: str) -> Path:
    """One of ultralytics' own files, from its publisher."""
    import_ultralytics()
    from ultralytics.utils.downloads import attempt_download_asset

    path = SETTINGS_FOLDER / Path(name).name
    path.unlink(missing_ok=True)  # what a killed command left
    cause: Exception | None = None
    try:
        attempt_download_asset(path)
    except Exception as error:  # ultralytics raises many kinds for a file that it cannot get
        cause = error
    if cause is not None and is_full_disk(cause, SETTINGS_FOLDER):
        raise FullDiskError(path) from cause
    if not path.is_file():
        raise InputError(
            f"weights {name!r}: expected a folder with {DETECTOR_YAML}, or an ultralytics name that can be fetched, "
            "found neither (no network, or no such name); ways out: name a local folder, or set `foundation: tiny`"
        ) from cause
    return path


def size_of(model: "DetectionModel") -> str:
    """The size of a YOLOv5, e.g. "n": as its yaml names it, or, where an older checkpoint's does not, by its stem."""
    architecture: Any = model.yaml
    if architecture.get("scales") and architecture.get("scale"):
        return architecture["scale"]
    channels = len(next(model.parameters()))
    return SIZE_OF_STEM.get(channels, f"unknown ({channels} channels in its first layer)")


def load_weights(model: "DetectionModel", path: Path) -> None:
    """Loads safetensors (cast to float32) into a detector built from the yaml they belong to.

    Raises:
        InputError: where the file is missing, broken, or belongs to another architecture.
    """
    load_strictly(model, read_safetensors(path), str(path))


def load_yolov5(folder: Path | str) -> "DetectionModel":
    """Builds and loads the detector of a folder with detector.yaml and model.safetensors."""
    model = build_yolov5(Path(folder) / DETECTOR_YAML)
    load_weights(model, Path(folder) / WEIGHTS)
    return model
