"""The one table that `make demo` ends with."""

import json
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from flows.dvc_stage import StageResult
from flows.pipeline import artefact_folder, has_recordings, metrics_of, stages_of
from lineact.schema import LABELLED_CROPS, TRUTH_BOXES, read_table
from lineact.settings import from_mapping
from lineact.simulate_review import SimulatedTruth, SimulateReviewParams, label_quality
from tasks.stage import section_of


def print_summary(line: str, results: list[StageResult], registered: str, seconds: float) -> None:
    """Prints stages, labels, scores, latency, what became of the registration in words, and what to do next."""
    table = Table(title=f"line {line}: {seconds:.0f} s in all", show_lines=False)
    for heading in ("stage", "outcome", "seconds", "result"):
        table.add_column(heading, justify="right" if heading == "seconds" else "left")
    for result in results:
        table.add_row(result.stage, result.outcome, f"{result.seconds:.1f}", _words(result.stage, line))
    table.add_row("register", "", "", registered)
    console = Console(width=None if Console().is_terminal else 140)
    console.print(table)
    review = (f"make review LINE={line}", "look at the labels and decide the doubtful ones")
    for next_command in (
        ("make ui", "compare runs and versions in MLflow"),
        *([review] if has_recordings(line) else []),
        ("make line NAME=press_a VIDEOS=DIR", "add a line on your own videos"),
    ):
        console.print(f"  {next_command[0]:<36} {next_command[1]}", highlight=False)


def _words(stage: str, line: str) -> str:
    metrics = metrics_of(stage, line) if stage not in ("configure", "machine") else {}
    if stage == "machine":
        machine = json.loads((artefact_folder("machine", line) / "machine.json").read_text())
        return f"{machine['cpu']}, {machine['cores']} cores"
    if stage == "choose_student" and not metrics["candidates"]:
        return "fixed"
    template = RESULTS.get(stage)
    if template is None:
        return ""
    shown = {name: "undefined" if value is None else value for name, value in metrics.items()}
    words = template.format_map(_Formatted(shown))
    return words + certified(metrics) + _against_the_truth(line) if stage == "dataset" else words


def certified(metrics: Mapping[str, float | None]) -> str:
    """What the random answers say of the labels that nobody decided.

    Args:
        metrics: of the stage `dataset`.
    """
    if not metrics["certificate_population"]:
        return ""
    error, upper, needed = (metrics[f"certificate_{name}"] for name in ("error", "upper", "needed"))
    seen = "unknown" if error is None else f"{error:.1%}"
    more = "more looks will hardly do" if needed is None else f"{needed:.0f} more looks needed"
    return (
        f"; label error of accepted crops: {seen}, at most {upper:.1%} (95 %), "
        f"{metrics['certificate_looked']:.0f} looked at, {more}"
    )


def _against_the_truth(line: str) -> str:
    """Of a simulated line: how many of the labels that nobody decided are right."""
    if "simulate_review" not in stages_of(line):
        return ""
    params = from_mapping(SimulateReviewParams, section_of(line, "simulate_review"), "params.yaml")
    truth_boxes = read_table(artefact_folder("simulate", line) / "truth_boxes.parquet", TRUTH_BOXES)
    crops = read_table(artefact_folder("dataset", line) / "crops.parquet", LABELLED_CROPS)
    quality = label_quality(crops, SimulatedTruth(truth_boxes, params.min_iou))
    return RIGHT_LABELS.format_map(quality) if quality["labels_by_match"] else ""


class _Formatted(dict):
    """Counts as they are, shares to three places; a name that a stage no longer writes stands out."""

    def __missing__(self, name: str) -> str:
        return f"?{name}"

    def __getitem__(self, name: str) -> object:
        value = super().__getitem__(name)
        return f"{value:.3f}" if isinstance(value, float) and not value.is_integer() else _whole(value)


def _whole(value: object) -> object:
    return int(value) if isinstance(value, float) else value


RIGHT_LABELS = "; of the other {labels_by_match} labels {labels_right:.1%} are right by the simulator's truth"
PAIR = (
    "hands: recall {detection_recall_iou40}, accuracy {detection_accuracy_iou40}, mAP50 {detection_map50}; "
    "actions: accuracy {action_accuracy} (majority {majority_accuracy}), macro F1 {action_macro_f1}"
)
# What each stage's row says of its metrics.json.
RESULTS = {
    "simulate": "{recordings} recordings, {frames} frames",
    "ingest": "{frames_kept} of {frames} frames kept",
    "detect": "{boxes_kept} boxes on {frames} frames",
    "embed": "{crops} crops",
    "match": "{groups} groups of {crops} crops",
    "queue": "{items} items for a person",
    "simulate_review": "simulated reviewer, error rate {error_rate}, {minutes} minutes",
    "dataset": "{crops_train} + {crops_val} labelled crops, {crops_by_person} by a person",
    "import_crops": "{crops_train} + {crops_val} crops, {crops_holdout} held out, {pictures_bad} pictures unusable",
    "import_yolo": "{crops_train} + {crops_val} crops, {crops_holdout} held out, {pictures_bad} pictures unusable",
    "annotation_cost": "{hours_all} hours of a person, {hours_all_by_hand} if all were labelled by hand",
    "train_detector": "val mAP50 {val_map50}",
    "train_teacher": "val accuracy {val_accuracy}",
    "choose_student": "{within_budget} of {candidates} candidates within {budget_ms} ms, {trained} trained; "
    "chosen: p95 {p95_ms} ms, val macro F1 {val_macro_f1}",
    "distil": "val accuracy {val_accuracy}",
    "evaluate_crops": "{crops} held-out crops: student accuracy {student_accuracy}, macro F1 {student_macro_f1}; "
    "teacher accuracy {teacher_accuracy} (majority {majority_accuracy})",
    "export": "",
    "benchmark": "classifier p50/p95/p99 {classifier_p50_ms}/{classifier_p95_ms}/{classifier_p99_ms} ms; "
    "frame p95 {frame_p95_ms} ms",
    "evaluate_pictures": PAIR,
    "evaluate": PAIR,
    "evaluate_events": "{right_events} of {true_events} true events among {reported_events} reported: F1 {event_f1}, "
    "{false_events_per_h} false ones an hour",
    "simulate_segments": "{segments} segments in {recordings} recordings",
    "features": "{rows} rows of {recordings} recordings, {real_time_factor} s a second of video",
    "train_localizer": "{recordings_train} recordings with {segments_train} segments teach",
    "evaluate_localizer": "average mAP {map} on {true_segments} segments of {recordings} held-out recordings",
}
