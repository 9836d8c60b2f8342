"""The gates between a challenger and the alias `champion`. Pure judgement: the registry itself is the flow's."""

from collections.abc import Mapping
from dataclasses import dataclass

METRIC = Mapping[str, float | None]


@dataclass(frozen=True)
class RegisterParams:
    """Gates of one line.

    Attributes:
        min_detection_recall: at IoU 0.4 on held-out frames, 0 to 1; judged where there is no champion yet.
        min_detection_accuracy: likewise.
        min_action_accuracy: share of matched held-out boxes with the right action; likewise.
        min_gain_low: what the lower end of the paired bootstrap interval (challenger less champion) of action accuracy
            and of recall must reach.
        min_false_boxes_gain_low: likewise, of how many fewer false boxes a frame has; negative allows some more.
        min_gain_blocks: stretches of time that the intervals must rest on: one stretch has no spread.
        min_event_f1: of reported events against true ones, 0 to 1; judged with and without a champion, where the truth
            of events is known.
        max_false_events_per_h: likewise, reported events an hour that are no true ones.
        max_p95_ms: the classifier's call time with one crop, milliseconds.
        max_call_p99_ms: of a call with two crops, milliseconds.
        max_event_p95_ms: from a frame's arrival to its events, milliseconds.
        target_machine: host name that the benchmark must come from, or "any".
    """

    min_detection_recall: float
    min_detection_accuracy: float
    min_action_accuracy: float
    min_gain_low: float
    min_false_boxes_gain_low: float
    min_gain_blocks: int
    min_event_f1: float
    max_false_events_per_h: float
    max_p95_ms: float
    max_call_p99_ms: float
    max_event_p95_ms: float
    target_machine: str

    def __post_init__(self) -> None:
        for name in ("min_detection_recall", "min_detection_accuracy", "min_action_accuracy", "min_event_f1"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}: expected 0 to 1, found {getattr(self, name)}")
        for name in ("max_p95_ms", "max_call_p99_ms", "max_event_p95_ms"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name}: expected more than 0, found {getattr(self, name)}")


@dataclass(frozen=True)
class Gate:
    """One condition of a promotion.

    Attributes:
        name: the metric it judges.
        passed: whether it holds.
        reason: found against needed, in words.
    """

    name: str
    passed: bool
    reason: str


def judge(
    params: RegisterParams,
    evaluate: METRIC,
    benchmark: METRIC,
    events: METRIC | None,
    host: str,
    has_champion: bool,
) -> list[Gate]:
    """All gates of a promotion, passed or not.

    Args:
        params: the line's gates.
        evaluate: metrics of the stage `evaluate`.
        benchmark: metrics of the stage `benchmark`.
        events: metrics of the stage `evaluate_events`; None for a line without it, whose true events nobody knows.
        host: host name of the machine that ran `benchmark`.
        has_champion: whether a pinned champion was scored beside the challenger.
    """
    gates = [
        at_most("classifier_p95_ms", benchmark, params.max_p95_ms),
        at_most("pair_p99_ms", benchmark, params.max_call_p99_ms),
        at_most("event_p95_ms", benchmark, params.max_event_p95_ms),
    ]
    on_target = params.target_machine in ("any", host)
    gates.append(Gate("target_machine", on_target, f"benchmarked on {host}, needed {params.target_machine}"))
    if events is not None:
        gates.append(at_least("event_f1", events, params.min_event_f1))
        gates.append(at_most("false_events_per_h", events, params.max_false_events_per_h))
    if has_champion:
        return [
            *gates,
            at_least("action_gain_low", evaluate, params.min_gain_low),
            at_least("recall_gain_low", evaluate, params.min_gain_low),
            at_least("false_boxes_gain_low", evaluate, params.min_false_boxes_gain_low),
            at_least("action_gain_blocks", evaluate, params.min_gain_blocks),
        ]
    return [
        *gates,
        at_least("detection_recall_iou40", evaluate, params.min_detection_recall),
        at_least("detection_accuracy_iou40", evaluate, params.min_detection_accuracy),
        at_least("action_accuracy", evaluate, params.min_action_accuracy),
    ]


def at_least(name: str, metrics: METRIC, minimum: float) -> Gate:
    """A gate that an undefined metric does not pass."""
    value = metrics.get(name)
    return Gate(name, value is not None and value >= minimum, f"{_shown(value)}, needed at least {minimum:g}")


def at_most(name: str, metrics: METRIC, maximum: float) -> Gate:
    """A gate that an undefined metric does not pass."""
    value = metrics.get(name)
    return Gate(name, value is not None and value <= maximum, f"{_shown(value)}, needed at most {maximum:g}")


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4g}"
