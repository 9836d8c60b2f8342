"""Which numbers of which stages a report tells, and in which words."""

from typing import NamedTuple


class Figure(NamedTuple):
    """A number of a stage that is told.

    Attributes:
        stage: whose metric it is.
        metric: its name.
        words: for people.
        form: how it is written.
    """

    stage: str
    metric: str
    words: str
    form: str = "{:.0f}"


RELEASE = "The release, measured on held-out data"
SHARE, MS = "{:.3f}", "{:.2f} ms"
SECTIONS: dict[str, tuple[Figure, ...]] = {
    "Data": (
        Figure("ingest", "videos", "recordings"),
        Figure("ingest", "frames", "frames"),
        Figure("ingest", "frames_kept", "frames kept for labelling"),
        Figure("detect", "boxes_kept", "boxes of hands"),
        Figure("embed", "crops", "crops"),
        Figure("dataset", "crops_train", "crops that train"),
        Figure("dataset", "crops_val", "crops that validate"),
        Figure("dataset", "holdout_frames", "held-out frames that measure"),
        Figure("import_crops", "crops_train", "crops that train"),
        Figure("import_crops", "crops_holdout", "held-out crops"),
        Figure("import_yolo", "crops_train", "crops that train"),
        Figure("import_yolo", "crops_holdout", "held-out crops"),
    ),
    "Labels and their certified error": (
        Figure("dataset", "crops_by_person", "crops decided by a person"),
        Figure("dataset", "crops_by_match", "crops labelled by matching"),
        Figure("dataset", "certificate_error", "of those seen at random wrong", "{:.1%}"),
        Figure("dataset", "certificate_upper", "of the labels that nobody decided at most wrong, at 95 %", "{:.1%}"),
        Figure("dataset", "certificate_looked", "random crops looked at"),
        Figure("dataset", "items_undecided", "items of the queue undecided"),
    ),
    RELEASE: (
        Figure("evaluate", "detection_recall_iou40", "hands found, at IoU 0.4", SHARE),
        Figure("evaluate", "detection_accuracy_iou40", "boxes that are hands", SHARE),
        Figure("evaluate", "detection_map50", "mAP50", SHARE),
        Figure("evaluate", "action_accuracy", "actions of found hands right", SHARE),
        Figure("evaluate", "action_macro_f1", "macro F1 of actions", SHARE),
        Figure("evaluate", "majority_accuracy", "always the commonest action", SHARE),
        Figure("evaluate_events", "event_f1", "F1 of events", SHARE),
        Figure("evaluate_events", "false_events_per_h", "false events an hour", "{:.1f}"),
        Figure("evaluate_crops", "student_accuracy", "held-out crops right, student", SHARE),
        Figure("evaluate_crops", "teacher_accuracy", "held-out crops right, teacher", SHARE),
        Figure("evaluate_localizer", "map", "average mAP of segments", SHARE),
    ),
    "Latency": (
        Figure("benchmark", "classifier_p50_ms", "a call with one crop, median", MS),
        Figure("benchmark", "classifier_p95_ms", "a call with one crop, 95 %", MS),
        Figure("benchmark", "pair_p99_ms", "a call with two crops, 99 %", MS),
        Figure("benchmark", "frame_p95_ms", "a frame, decode to actions, 95 %", MS),
        Figure("benchmark", "event_p95_ms", "a frame's arrival to its events, 95 %", MS),
        Figure("benchmark", "memory_peak_mb", "memory at most", "{:.0f} MB"),
    ),
    "What the labels cost a person": (
        Figure("annotation_cost", "hours_all", "hours of a person", "{:.2f} h"),
        Figure("annotation_cost", "hours_all_by_hand", "hours if all were labelled by hand", "{:.2f} h"),
        Figure("annotation_cost", "hours_all_change", "change", "{:+.0%}"),
    ),
}
OVER_TIME = {
    "action_accuracy": "actions right",
    "detection_recall_iou40": "hands found",
    "detection_accuracy_iou40": "boxes that are hands",
    "student_accuracy": "held-out crops right",
    "map": "mAP of segments",
}
TILES = (
    SECTIONS[RELEASE][3],
    SECTIONS[RELEASE][0],
    SECTIONS["Labels and their certified error"][3],
    SECTIONS["Latency"][2],
    SECTIONS["What the labels cost a person"][0],
)
