"""What a line's labels cost a person, against labelling everything by hand at the same person's pace.

The table has the layout of the papers' cost table (LRIHAR, table 3): images and hours for the whole line, for the
detector and for the classifier, of one station and of many alike. Their numbers are of their lines; these are counted
from the line's own decisions. By hand, every frame that trains the detector and every crop that trains the classifier
would take each reviewer as long as one took that reviewer on average, shared out as the decided ones were. Drawing all
boxes takes longer than correcting some, so that errs against lineact.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lineact.boxes import iou_matrix, match_one_to_one
from lineact.decisions import DISAGREEMENT, MIXED, WITHDRAWN, Decision, Decisions, boxes_of_text, frame_of_item
from lineact.groups import CARRIED
from lineact.splits import HoldoutParams

HOUR_S = 3600.0
FRAMES, HELD_OUT = "frame", "held-out frame"  # what a `box` decision is counted as
CROP_TASKS = ("group", "crop", "audit")
ONE_STATION = "hours (per station)"


@dataclass(frozen=True)
class AnnotationCostParams:
    """Settings of the stage.

    Attributes:
        actions: the line's actions.
        stations: so many stations alike are reckoned, besides one.
        same_iou: a suggested box is not corrected where the person's overlaps it by this IoU, 0 to 1.
        holdout: what measures the line.
    """

    actions: tuple[str, ...]
    stations: int
    same_iou: float
    holdout: HoldoutParams

    def __post_init__(self) -> None:
        if self.stations < 1:
            raise ValueError(f"stations must be at least 1, found {self.stations}")
        if not 0 <= self.same_iou <= 1:
            raise ValueError(f"same_iou must be from 0 to 1, found {self.same_iou}")


@dataclass(frozen=True)
class Effort:
    """What a person did for one task and action.

    Attributes:
        task: "group", "crop", "audit", "frame" or "held-out frame".
        action: what was decided; of frames "".
        reviewer: who; "" for all together.
        items: decisions that stand.
        images: crops or frames that they show.
        corrected: items whose suggestion was changed, or that had none; of groups those that hold several actions.
        timed: items that the reviewer decided, whether or not that stands, and whose time was taken: imported
            decisions often tell none.
        untimed: items whose decision stands, and on which nobody's time was taken.
        seconds: time taken, that of decisions which later ones replaced, or others dispute, included.
    """

    task: str
    action: str
    reviewer: str
    items: int
    images: int
    corrected: int
    timed: int
    untimed: int
    seconds: float


@dataclass(frozen=True)
class Material:
    """What there was to label.

    Attributes:
        frames: decoded frames of the recordings.
        frames_with_boxes: kept frames with a box: what is left of them to look at.
        detector_frames: frames that train and validate the detector.
        crops: crops that train and validate the classifier, without those of corrected frames, which cost nothing more.
    """

    frames: int
    frames_with_boxes: int
    detector_frames: int
    crops: int


@dataclass(frozen=True)
class Cost:
    """A row of the table.

    Attributes:
        source: what it is for: "line", "detection", "classification", "held-out part" or "all".
        index: what is counted, with its unit.
        by_hand: if everything were labelled by hand; None where no pace was measured.
        lineact: as it was.
    """

    source: str
    index: str
    by_hand: float | None
    lineact: float

    @property
    def change(self) -> float | None:
        """Of `lineact` against `by_hand`, e.g. -0.8; None where there is nothing to compare with."""
        return self.lineact / self.by_hand - 1 if self.by_hand else None


def efforts_of(
    decisions: Decisions,
    shown: dict[tuple[str, str], int],
    is_held_out: Callable[[tuple[str, float]], bool],
    same_iou: float,
) -> list[Effort]:
    """Each reviewer's work by task and action.

    Args:
        decisions: see `read_decisions`.
        shown: groups of the queue and their bases to how many crops they show. Of a group that shows others today
            the time that it took counts, and no item.
        is_held_out: of a frame: first 12 digits of the recording's SHA-256, seconds.
        same_iou: see `AnnotationCostParams`.
    """
    standing = [row for row in decisions.rows if row.task != "group" or _shown_by(row) in shown]
    names = {one.item_id: one.decided for one in standing if one.task == "group" and one.decided != MIXED}
    # what was shown before anybody settled a disagreement
    suggested = {one.item_id: one.suggested for one in decisions.usable if one.suggested != DISAGREEMENT}

    def shown_of(one: Decision) -> Decision:
        settles = one.suggested == DISAGREEMENT
        return replace(one, suggested=suggested.get(one.item_id, "")) if settles else one

    taken_back = _taken_back(decisions.usable)

    def kind_of(one: Decision) -> tuple[str, str]:
        if one.task != "box":
            return one.task, taken_back.get(id(one), one.decided)
        return (HELD_OUT if is_held_out(frame_of_item(one.item_id)) else FRAMES), ""

    def key_of(one: Decision) -> tuple[str, str, str]:
        return *kind_of(one), one.reviewer

    stand: dict[tuple[str, str, str], list[Decision]] = {}
    seconds: dict[tuple[str, str, str], float] = {}
    latest: dict[tuple[str, str], Decision] = {}  # of each item and reviewer whose time was taken
    for one in standing:
        stand.setdefault(key_of(one), []).append(one)
    for one in decisions.usable:
        seconds[key_of(one)] = seconds.get(key_of(one), 0.0) + one.seconds
        if one.seconds:
            latest[one.item_id, one.reviewer] = one
    timed = Counter(key_of(one) for one in latest.values())
    took_time = {item_id for item_id, _ in latest}
    return [
        Effort(
            *key,
            items=len(stand.get(key, [])),
            images=sum(shown.get(_shown_by(one), 1) for one in stand.get(key, [])),
            corrected=sum(is_corrected(shown_of(one), names, same_iou) for one in stand.get(key, [])),
            timed=timed[key],
            untimed=sum(one.item_id not in took_time and one.suggested != CARRIED for one in stand.get(key, [])),
            seconds=seconds[key],
        )
        for key in sorted(seconds)
    ]


def _shown_by(one: Decision) -> tuple[str, str]:
    return one.item_id, one.shown


def _taken_back(rows: Iterable[Decision]) -> dict[int, str]:
    """What each withdrawal takes back, by `id`: the time that it took was spent on that. Rows are by item and time."""
    said: dict[tuple[str, str], str] = {}
    taken_back = {}
    for one in rows:
        word = said.get((one.item_id, one.reviewer), "")
        if one.decided == WITHDRAWN:
            taken_back[id(one)] = word
        else:
            said[one.item_id, one.reviewer] = one.decided
    return taken_back


def is_corrected(one: Decision, names: dict[str, str], same_iou: float) -> bool:
    """Whether a person had to say something else than was suggested.

    Args:
        one: the decision; a suggestion of boxes that cannot be read counts as none.
        names: group items to their names.
        same_iou: see `AnnotationCostParams`.
    """
    if one.task == "group":
        return one.decided == MIXED
    if one.task != "box":
        return names.get(one.suggested) != one.decided
    try:
        shown = boxes_of_text(one.suggested or "empty")
    except ValueError:
        shown = []
    suggested, drawn = (
        np.array([box.box_xyxy_px for box in boxes]).reshape(-1, 4) for boxes in (shown, boxes_of_text(one.decided))
    )
    if len(suggested) != len(drawn):
        return True
    return len(suggested) > 0 and len(match_one_to_one(iou_matrix(suggested, drawn), same_iou)) < len(drawn)


def cost_table(efforts: Sequence[Effort], material: Material, params: AnnotationCostParams) -> list[Cost]:
    """The rows of the table.

    Args:
        efforts: see `efforts_of`.
        material: what there was to label.
        params: the settings.
    """
    frames, held_out = _sum(efforts, (FRAMES,)), _sum(efforts, (HELD_OUT,))
    crops, looked_at = _sum(efforts, CROP_TASKS), _sum(efforts, ("crop", "audit"))
    frame_s, crop_s = _pace_s(_sum(efforts, (FRAMES, HELD_OUT))), _pace_s(looked_at)
    detection_s = None if frame_s is None else frame_s * material.detector_frames
    classification_s = None if crop_s is None else crop_s * material.crops
    actions = len(params.actions)
    rows = [
        Cost("line", "images (frames per station)", material.frames, material.frames_with_boxes),
        Cost("detection", "frames looked at (per station)", material.detector_frames, frames.images),
        Cost("detection", "frames corrected (per station)", material.detector_frames, frames.corrected),
        *_hours("detection", detection_s, frames.seconds, params.stations),
        Cost("classification", "crops looked at (per action)", material.crops / actions, looked_at.images / actions),
        Cost("classification", "crops corrected (per action)", material.crops / actions, looked_at.corrected / actions),
        *_hours("classification", classification_s, crops.seconds, params.stations),
        *_hours("held-out part", held_out.seconds or None, held_out.seconds, params.stations),
    ]
    everything_s = None
    if detection_s is not None and classification_s is not None:
        everything_s = detection_s + classification_s + held_out.seconds
    ours_s = frames.seconds + crops.seconds + held_out.seconds
    return [*rows, *_hours("all", everything_s, ours_s, params.stations)]


def cost_metrics(efforts: Sequence[Effort], table: Sequence[Cost]) -> dict[str, float | int | None]:
    """Flat numbers for `metrics.json`: what was looked at and corrected, seconds by task, hours of a station."""
    metrics: dict[str, float | int | None] = {}
    for task in (*CROP_TASKS, FRAMES, HELD_OUT):
        name, effort = task.replace(" ", "_").replace("-", "_"), _sum(efforts, (task,))
        metrics |= {f"items_{name}": effort.items, f"images_{name}": effort.images}
        metrics |= {f"corrected_{name}": effort.corrected, f"seconds_{name}": effort.seconds}
    for row in table:
        if row.index == ONE_STATION:
            name = row.source.replace(" ", "_").replace("-", "_")
            metrics |= {f"hours_{name}": row.lineact, f"hours_{name}_by_hand": row.by_hand}
            metrics[f"hours_{name}_change"] = row.change
    return metrics


def as_markdown(line: str, table: Iterable[Cost], efforts: Sequence[Effort], is_simulated: bool) -> str:
    """The table for people, and each reviewer's own pace.

    Args:
        line: its name.
        table: see `cost_table`.
        efforts: see `efforts_of`.
        is_simulated: whether a simulated reviewer decided, whose seconds are stated.
    """
    heading = f"# Annotation cost of line {line}"
    head = "| source | index | by hand | lineact | change |\n|---|---|---:|---:|---:|"
    rows = "".join(
        f"| {row.source} | {row.index} | {_number(row.by_hand)} | {_number(row.lineact)} | {_percent(row.change)} |\n"
        for row in table
    )
    pace = (
        "A simulated reviewer decided; the seconds that an item takes are stated in the settings, not measured."
        if is_simulated
        else "By hand: every frame and crop of the data set, shared out among the reviewers, each at their own pace."
    )
    caution = "Drawing all boxes takes longer than correcting some: that errs against lineact."
    untimed = sum(effort.untimed for effort in efforts)
    missing = (
        f" The time of {untimed} decided items was not taken: it is missing from lineact's hours." if untimed else ""
    )
    return f"{heading}\n\n{head}\n{rows}\n{pace} {caution}{missing}\n\n{_paces_markdown(efforts)}"


def _paces_markdown(efforts: Sequence[Effort]) -> str:
    head = "| reviewer | seconds a crop | seconds a frame | hours |\n|---|---:|---:|---:|\n"
    rows = []
    for reviewer in sorted({effort.reviewer for effort in efforts}):
        own = [effort for effort in efforts if effort.reviewer == reviewer]
        paces_s = (_pace_s(_sum(own, tasks)) for tasks in (("crop", "audit"), (FRAMES, HELD_OUT)))
        hours = sum(effort.seconds for effort in own) / HOUR_S
        rows.append(f"| {reviewer} | {' | '.join(map(_number, paces_s))} | {hours:.2f} |\n")
    return head + "".join(rows)


def _sum(efforts: Iterable[Effort], tasks: Sequence[str]) -> Effort:
    of_tasks = [effort for effort in efforts if effort.task in tasks]
    counted = ("items", "images", "corrected", "timed", "untimed", "seconds")
    totals = {name: sum(getattr(effort, name) for effort in of_tasks) for name in counted}
    return Effort(" and ".join(tasks), "", "", **totals)


def _pace_s(effort: Effort) -> float | None:
    """Mean seconds of an item whose time was taken; of several reviewers the mean of their own paces, each weighted by
    such items; None where nobody's time was taken.
    """
    return effort.seconds / effort.timed if effort.timed else None


def _hours(source: str, by_hand_s: float | None, lineact_s: float, stations: int) -> list[Cost]:
    return [
        Cost(source, index, None if by_hand_s is None else times * by_hand_s / HOUR_S, times * lineact_s / HOUR_S)
        for index, times in ((ONE_STATION, 1), (f"hours ({stations} stations)", stations))
    ]


def _number(value: float | None) -> str:
    if value is None:
        return "not measured"
    return f"{value:.0f}" if float(value).is_integer() else f"{value:.2f}"


def _percent(change: float | None) -> str:
    return "" if change is None else f"{change:+.1%}"
