"""Events of the released pair against the true ones: what the station would have reported over the held-out time."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from lineact.boxes import match_one_to_one
from lineact.bundle.manifest import EventSettings
from lineact.bundle.pair import Bundle
from lineact.decisions import NG
from lineact.files import write_csv
from lineact.runtime.events import Debouncer, Origin
from lineact.runtime.recognise import Recogniser
from lineact.runtime.settings import RecogniseSettings, SourceSettings
from lineact.runtime.sources import open_source
from lineact.splits import Holdout, HoldoutParams
from lineact.temporal.segments import t_iou

LONGEST_STEP = 1.5  # frames: from here on a hand was gone in between


@dataclass(frozen=True)
class EvaluateEventsParams:
    """Settings of the stage `evaluate_events`.

    Attributes:
        holdout: what is held out.
        min_t_iou: an event counts as found where one of its action overlaps it in time by this IoU, one to one, 0 to 1.
    """

    holdout: HoldoutParams
    min_t_iou: float

    def __post_init__(self) -> None:
        if not 0 < self.min_t_iou <= 1:
            raise ValueError(f"min_t_iou must be above 0 and at most 1, found {self.min_t_iou}")


class Interval(NamedTuple):
    """An action in a recording.

    Attributes:
        action: its label.
        start_s: media seconds, included.
        end_s: media seconds, excluded.
    """

    action: str
    start_s: float
    end_s: float


@dataclass(frozen=True)
class HeldOut:
    """The held-out part of a recording, its true and its reported events, NG left out.

    Attributes:
        name: of the recording.
        seconds: its length.
        truth: what happened.
        found: what was reported.
        pairs: rows of both that are the same event.
    """

    name: str
    seconds: float
    truth: tuple[Interval, ...]
    found: tuple[Interval, ...]
    pairs: tuple[tuple[int, int], ...]


def true_events(truth_boxes: pa.Table, fps: float, from_s: float, min_duration_s: float) -> tuple[Interval, ...]:
    """Actions of a recording's hands from their true boxes, by start; without NG.

    Args:
        truth_boxes: schema TRUTH_BOXES, of one recording.
        fps: its rate; a hand's action ends where it misses a frame.
        from_s: what lies before is cut off.
        min_duration_s: shorter ones are left out: no runtime may report them.
    """
    found: list[Interval] = []
    rows = sorted(zip(*(truth_boxes[name].to_pylist() for name in ("hand", "pts_s", "action")), strict=True))
    before: tuple[str, float, str] | None = None
    for hand, pts_s, action in rows:
        follows = before is not None and before[0] == hand and before[2] == action
        if before is not None and follows and pts_s - before[1] <= LONGEST_STEP / fps:
            found[-1] = found[-1]._replace(end_s=pts_s + 1 / fps)
        else:
            found.append(Interval(action, pts_s, pts_s + 1 / fps))
        before = hand, pts_s, action
    cut = (one._replace(start_s=max(one.start_s, from_s)) for one in found if one.action != NG)
    return tuple(sorted((one for one in cut if one.end_s - one.start_s >= min_duration_s), key=lambda one: one.start_s))


def reported_events(bundle: Bundle, path: Path, from_s: float) -> tuple[Interval, ...]:
    """What the station would report of a recording from a moment on, without NG: the runtime itself, without loss."""
    frames = (frame for frame in open_source(str(path), SourceSettings()) if frame.pts_s >= from_s)
    debouncer = Debouncer(bundle.manifest.events, Origin(bundle.manifest.line, path.stem, ""))
    events, last_s, step_s = [], from_s, 0.0
    for result in Recogniser(bundle, RecogniseSettings()).recognise(frames):
        events += debouncer.push(result)
        last_s, step_s = result.frame.pts_s, result.frame.pts_s - last_s
    events += debouncer.close(last_s + step_s)
    return tuple(Interval(event.action, event.start_s, event.end_s) for event in events if event.action != NG)


def same_events(truth: Sequence[Interval], found: Sequence[Interval], min_t_iou: float) -> tuple[tuple[int, int], ...]:
    """Rows of both that are the same event: of one action, one to one, with the greatest overlap in all."""
    if not truth or not found:
        return ()
    ours = np.array([one[1:] for one in truth])[:, None]  # N x 1 x 2
    theirs = np.array([one[1:] for one in found])[None]  # 1 x M x 2
    alike = np.array([[one.action == other.action for other in found] for one in truth])
    overlap = t_iou(ours[..., 0], ours[..., 1], theirs[..., 0], theirs[..., 1])
    return tuple(match_one_to_one(np.where(alike, overlap, 0.0), min_t_iou))


def evaluate_held_out(
    params: EvaluateEventsParams, bundle: Bundle, videos: pa.Table, truth_boxes: pa.Table, raw: Path
) -> list[HeldOut]:
    """Runs the pair over the held-out time of every recording.

    Args:
        params: settings.
        bundle: the released pair, with its event settings.
        videos: schema VIDEOS.
        truth_boxes: schema TRUTH_BOXES.
        raw: folder of the recordings.
    """
    holdout = Holdout(params.holdout, videos)
    settings: EventSettings = bundle.manifest.events
    evaluated = []
    for video in videos.to_pylist():
        end_s = video["start_s"] + video["duration_s"]
        from_s = holdout.begins_s(video["video_sha256"])
        if from_s >= end_s:
            continue
        from_s = max(from_s, video["start_s"])
        of_video = truth_boxes.filter(pa.compute.equal(truth_boxes["video_sha256"], video["video_sha256"]))
        truth = true_events(of_video, video["fps"], from_s, settings.min_duration_s)
        found = reported_events(bundle, raw / video["name"], from_s)
        print(f"evaluate_events: {video['name']}: {len(truth)} true events, {len(found)} reported", flush=True)
        pairs = same_events(truth, found, params.min_t_iou)
        evaluated.append(HeldOut(video["name"], end_s - from_s, truth, found, pairs))
    return evaluated


def event_metrics(held_out: Iterable[HeldOut]) -> dict[str, float | int | None]:
    """F1, precision and recall of events, and false ones an hour; None where nothing defines them."""
    parts = list(held_out)
    truth, found, right = (sum(len(getattr(part, name)) for part in parts) for name in ("truth", "found", "pairs"))
    seconds = sum(part.seconds for part in parts)
    return {
        "event_f1": 2 * right / (truth + found) if truth + found else None,
        "event_precision": right / found if found else None,
        "event_recall": right / truth if truth else None,
        "false_events_per_h": 3600 * (found - right) / seconds if seconds else None,
        "true_events": truth,
        "reported_events": found,
        "right_events": right,
        "seconds": seconds,
    }


def write_events(path: Path, held_out: Iterable[HeldOut]) -> None:
    """Writes one CSV row per event: true ones as right or missed, reported ones that are no true ones as false."""
    rows: list[tuple[object, ...]] = []
    for part in held_out:
        found_of = dict(part.pairs)
        reported = {other for _, other in part.pairs}
        for row, one in enumerate(part.truth):
            other = part.found[found_of[row]] if row in found_of else None
            seen = (f"{other.start_s:.3f}", f"{other.end_s:.3f}") if other else ("", "")
            verdict = "right" if other else "missed"
            rows.append((part.name, verdict, one.action, f"{one.start_s:.3f}", f"{one.end_s:.3f}", *seen))
        for row, one in enumerate(part.found):
            if row not in reported:
                rows.append((part.name, "false", one.action, "", "", f"{one.start_s:.3f}", f"{one.end_s:.3f}"))
    header = ("video", "verdict", "action", "true_start_s", "true_end_s", "reported_start_s", "reported_end_s")
    write_csv(path, header, rows)
