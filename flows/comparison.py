"""What `flows.compare_detectors` compares: a line's data, its detectors, and the comparison's place in MLflow."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml

from flows import tracking
from flows.pipeline import CONF, TINY
from lineact.compare import MIN_IOUS
from lineact.compare.answers import Detector
from lineact.compare.choice import Row, ScoredDetector
from lineact.compare.detectors import GroundingDinoAnswers, YoloV5Answers
from lineact.compare.labelling import boxes_as_set
from lineact.compare.surfaces import score_surfaces
from lineact.detect import DetectParams
from lineact.detect.grounding_dino import GroundingDinoParams
from lineact.errors import InputError
from lineact.evaluate.truth import truth_frames
from lineact.foundation.weights import WEIGHTS
from lineact.foundation.yolov5 import DETECTOR_YAML
from lineact.schema import FRAMES, HOLDOUT_BOXES, read_table
from lineact.settings import from_mapping
from tasks.stage import PARAMS_FILE, prepare_hub, section_of

FIGURES = ("recall", "accuracy", "one_to_one_precision", "one_to_one_recall")


@dataclass(frozen=True)
class LineData:
    """What a comparison reads of a line.

    Attributes:
        raw: recordings.
        holdout: truth on held-out frames.
        detection: YOLO folder of the line's detector.
        own: the line's own detector.
        frames: table of the recordings' frames.
    """

    raw: Path
    holdout: Path
    detection: Path
    own: Path
    frames: Path


@dataclass(frozen=True)
class Candidate:
    """A detector with two thresholds.

    Attributes:
        name: in metrics, e.g. "yolov5_own".
        title: for people, with the papers' short name.
        axes: the papers' words for its thresholds.
        detector: answers.
    """

    name: str
    title: str
    axes: tuple[str, str]
    detector: Detector


def data_of(line: str) -> LineData:
    """Where a line's data lie."""
    data, models = Path("data") / line, Path("models") / line
    return LineData(
        raw=data / "raw",
        holdout=data / "dataset" / "holdout.parquet",
        detection=data / "dataset" / "detection",
        own=models / "train_detector",
        frames=data / "ingest" / "frames.parquet",
    )


def check_data(line: str, data: LineData) -> None:
    """Raises InputError, with the command that makes it, where something is not there yet."""
    for path, what in (
        (data.raw, "the line's recordings"),
        (data.holdout, "truth on held-out frames"),
        (data.detection / "data.yaml", "the detector's validation frames"),
        (data.own / DETECTOR_YAML, "the line's own detector"),
        (data.frames, "the table of frames"),
    ):
        if not path.exists():
            raise InputError(f"{path}: expected {what}, found nothing; `python -m flows.retrain line={line}` makes it")


def candidates_of(line: str, data: LineData, weights: str | None, general: str | None) -> list[Candidate]:
    """The papers' three detectors, in the order of their table.

    Args:
        line: the line.
        data: its data.
        weights: of Grounding DINO, see `flows.compare_detectors`.
        general: folder of the general YOLOv5.

    Raises:
        InputError: where weights are missing.
    """
    described = yaml.safe_load((data.own / DETECTOR_YAML).read_text())
    width, height = described["input_wh"]
    folder = Path(general) if general else TINY / "yolov5"
    return [
        Candidate(
            "yolov5_general",
            "YOLOv5 general (G)",
            ("Conf", "NMS"),
            YoloV5Answers(folder / DETECTOR_YAML, folder / WEIGHTS, (width, height)),
        ),
        Candidate(
            "yolov5_own",
            "YOLOv5 of the line (O)",
            ("Conf", "NMS"),
            YoloV5Answers(data.own / DETECTOR_YAML, data.own / "detector.safetensors", (width, height)),
        ),
        Candidate("grounding_dino", "Grounding DINO", ("Box", "Text"), _grounding_dino(line, weights)),
    ]


def grounding_dino_params(line: str, detect: DetectParams, weights: str | None) -> GroundingDinoParams:
    """What the line is set to; where it labels with another detector, the defaults with the embedded weights.

    Args:
        line: the line.
        detect: its settings.
        weights: to be taken in any case, see `flows.compare_detectors`.

    Raises:
        InputError: where the embedded weights are wanted and not there.
    """
    path = CONF / "detector" / "grounding_dino.yaml"
    params = detect.grounding_dino or from_mapping(
        GroundingDinoParams, yaml.safe_load(path.read_text())["grounding_dino"], f"{path}: grounding_dino"
    )
    embedded = TINY / "grounding_dino"
    if weights:
        name, _, commit = (weights, "", "") if Path(weights).is_dir() else weights.partition("@")
        return dataclasses.replace(params, weights=name, revision=commit or "main")
    if detect.grounding_dino is not None:
        return params
    if not embedded.is_dir():
        raise InputError(
            f"{embedded}: expected the embedded Grounding DINO, since line {line} labels with {detect.backend!r}, "
            "found nothing; name other weights, a folder or a hub name: weights=DIR"
        )
    return dataclasses.replace(params, weights=str(embedded))


def labelling_as_set(line: str, data: LineData) -> ScoredDetector:
    """The line's labelling detector with all its rules: one point, without thresholds.

    Raises:
        InputError: where its weights are missing.
    """
    prepare_hub(section_of(line, "hub_cache"))
    params = _detect_params(line)
    truth = truth_frames(read_table(data.holdout, HOLDOUT_BOXES), data.holdout)
    surfaces = score_surfaces(boxes_as_set(params, read_table(data.frames, FRAMES), truth, data.raw), MIN_IOUS)
    none = np.zeros(1)
    return ScoredDetector("labelling", f"the line's labelling ({params.backend})", None, none, none, surfaces, None)


def log_comparison(line: str, candidates: Sequence[Candidate], rows: Sequence[Row], folder: Path) -> str:
    """Logs a comparison to the line's experiment: a parent run with the artifacts, a child for each detector.

    Args:
        line: the line.
        candidates: those with weights.
        rows: from `lineact.compare.choice.table_rows`.
        folder: tables and plots.

    Returns:
        The parent's run id.
    """
    tags = {"line": line, **tracking.provenance(line)}
    source = f"flows.compare_detectors line={line}"
    with tracking.comparison_run(line, f"compare_detectors {line}", source, tags) as parent_id:
        keys = {candidate.name: candidate.detector.key for candidate in candidates}
        for name in dict.fromkeys(row.name for row in rows):
            _log_child(parent_id, line, [row for row in rows if row.name == name], keys.get(name, {}))
        tracking.client().log_artifacts(parent_id, str(folder))
    return parent_id


def _log_child(parent_id: str, line: str, rows: Sequence[Row], key: Mapping[str, object]) -> None:
    """One detector's run; its figures go up to the parent, too."""
    from mlflow.entities import Metric

    name = rows[0].name
    labels = {row: f"{row.chosen_on}_iou{round(100 * row.min_iou)}" for row in rows}
    params = {f"thresholds_{label}": row.thresholds for row, label in labels.items()} | dict(key)
    figures = {
        f"{figure}_{label}": value
        for row, label in labels.items()
        for figure in FIGURES
        if (value := getattr(row, figure)) is not None
    }
    tags = {"line": line, "lineact.kind": "compared_detector"}
    tracking.log_compared(parent_id, line, name, tags, params, figures)
    metrics = [Metric(f"{name}.{figure}", value, 0, 0) for figure, value in figures.items()]
    tracking.client().log_batch(parent_id, metrics=metrics)


def _detect_params(line: str) -> DetectParams:
    params = from_mapping(DetectParams, section_of(line, "detect"), f"{PARAMS_FILE}: lines.{line}.detect")
    return params.with_embedded(TINY / "grounding_dino")


def _grounding_dino(line: str, weights: str | None) -> GroundingDinoAnswers:
    prepare_hub(section_of(line, "hub_cache"))
    detect = _detect_params(line)
    return GroundingDinoAnswers(grounding_dino_params(line, detect, weights), detect.filters.hand_words)
