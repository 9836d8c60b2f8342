"""Who trains, who validates and who measures, of a line's recordings with their features and true segments."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

import numpy as np
import pyarrow as pa

from lineact.errors import InputError
from lineact.splits import Holdout, HoldoutParams
from lineact.temporal.activitynet import GroundTruth
from lineact.temporal.features import Features, read_features
from lineact.temporal.segments import Segments, faults_of

LEAST_SHARE = 0.5  # of a segment that a cut leaves: with less of it, it is left out
LEAST_LABELLED = 3  # recordings
FAULTS_SHOWN = 10  # that an error names


@dataclass(frozen=True)
class Example:
    """A video to learn, to validate or to measure with.

    Attributes:
        features: its rows.
        truth: its segments; others' are ignored.
    """

    features: Features
    truth: Segments

    @property
    def digest(self) -> str:
        """Hex SHA-256 of all that a training sees of it."""
        features, truth = self.features, self.truth
        digest = hashlib.sha256(features.video.encode())
        for column in (features.times_s, features.values, truth.start_s, truth.end_s):
            digest.update(np.ascontiguousarray(column).tobytes())
        digest.update(json.dumps([features.duration_s, truth.labels.tolist()]).encode())
        return digest.hexdigest()


@dataclass(frozen=True)
class Parts:
    """Examples of a line.

    Attributes:
        train: teach, with their segments.
        unlabelled: teach without them; their truth is empty.
        val: choose.
        holdout: measure.
    """

    train: tuple[Example, ...]
    unlabelled: tuple[Example, ...]
    val: tuple[Example, ...]
    holdout: tuple[Example, ...]


def features_path(folder: Path, video: str) -> Path:
    """Where a recording's rows are."""
    return folder / f"{video}.npz"


def read_examples(folder: Path, videos: pa.Table, truth: GroundTruth) -> dict[str, Example]:
    """Features and true segments by the recording's name.

    Args:
        folder: of the stage `features`.
        videos: schema VIDEOS.
        truth: segments; a recording that it does not name is left out.

    Raises:
        InputError: where the truth names a recording that the line does not have, or a segment beyond its end, or
            features are missing.
    """
    truth = of_recordings(truth, videos["name"].to_pylist())
    examples = {
        name: Example(read_features(features_path(folder, name)), _of(truth.segments, name)) for name in truth.videos
    }
    check_within(examples, videos)
    return examples


def check_within(examples: Mapping[str, Example], videos: pa.Table) -> None:
    """Refuses segments that lie beyond their recording; a file of segments need not tell how long this is.

    Args:
        examples: by the recording's name.
        videos: schema VIDEOS; a container may declare less than its frames last, so the longer of both counts.

    Raises:
        InputError: naming them.
    """
    told_s = zip(videos["name"].to_pylist(), videos["duration_s"].to_pylist(), strict=True)
    lengths_s = {
        name: max(length_s, examples[name].features.duration_s) for name, length_s in told_s if name in examples
    }
    faults = [fault for one in examples.values() for fault in faults_of(one.truth, lengths_s)]
    if faults:
        more = f"; and {len(faults) - FAULTS_SHOWN} more" if len(faults) > FAULTS_SHOWN else ""
        raise InputError(f"segments: {'; '.join(faults[:FAULTS_SHOWN])}{more}. Mend or remove these segments")


def of_recordings(truth: GroundTruth, names: Sequence[str]) -> GroundTruth:
    """The truth under the recordings' own names; a file's name without its suffix is known, too.

    Args:
        truth: as it was read.
        names: of the line's recordings.

    Raises:
        InputError: where it names others, or one twice.
    """
    known = {str(PurePath(name).with_suffix("")): name for name in names} | {name: name for name in names}
    if strangers := sorted(set(truth.videos) - set(known)):
        raise InputError(
            f"expected segments of the line's recordings ({', '.join(sorted(names))}), found some of "
            f"{', '.join(strangers)}; name them as the files under data/<line>/raw"
        )
    renamed = tuple(known[video] for video in truth.videos)
    if len(set(renamed)) < len(renamed):
        raise InputError(f"expected each recording once, found {', '.join(sorted(truth.videos))}; leave one out")
    segments = truth.segments
    videos = np.array([known[str(video)] for video in segments.videos], np.str_)
    lengths_s = {known[video]: length_s for video, length_s in truth.duration_s.items()}
    return GroundTruth(replace(segments, videos=videos), renamed, lengths_s)


def parts_of(
    examples: dict[str, Example], videos: pa.Table, holdout: HoldoutParams, val_share: float, labelled_share: float
) -> Parts:
    """Splits by recording, and where the end of each is held out by time.

    Args:
        examples: see `read_examples`.
        videos: schema VIDEOS.
        holdout: what is held out.
        val_share: share of the training recordings that validates, spread evenly over their names; of fewer than
            three the last share of each one's time, with the guard before it; 0: the training recordings validate
            themselves.
        labelled_share: share of the recordings left to train whose segments are used, likewise spread; at least three.

    Raises:
        InputError: where nothing is left to train with.
    """
    training, measuring = {}, []
    held = Holdout(holdout, videos)
    for row in videos.to_pylist():
        if row["name"] not in examples:
            continue
        example = examples[row["name"]]
        cut_s = held.begins_s(row["video_sha256"]) - row["start_s"]
        length_s = example.features.duration_s
        train_end_s = cut_s - holdout.guard_s if cut_s < length_s else length_s
        training[row["name"]] = between(example, 0.0, train_end_s)
        measuring.append(between(example, max(cut_s, 0.0), length_s))
    known = {name: one for name, one in training.items() if one is not None}
    if not known:
        raise InputError("expected recordings with segments to train with, found none outside the held-out part")
    train, val = _validation(known, val_share, holdout.guard_s)
    labelled, unlabelled = _labelled(train, labelled_share)
    return Parts(
        tuple(labelled),
        tuple(replace(one, truth=one.truth.take(np.zeros(0, int))) for one in unlabelled),
        tuple(val or labelled),
        tuple(one for one in measuring if one is not None),
    )


def between(example: Example, from_s: float, to_s: float) -> Example | None:
    """A part of a video as a video of its own, whose time begins at 0; None where no row lies in it.

    Segments are cut with it; one of which less than half is left is left out.
    """
    features, truth = example.features, example.truth
    inside = (features.times_s >= from_s) & (features.times_s < to_s)
    if to_s <= from_s or not inside.any():
        return None
    start_s, end_s = np.clip(truth.start_s, from_s, to_s), np.clip(truth.end_s, from_s, to_s)
    kept = (end_s - start_s) >= LEAST_SHARE * (truth.end_s - truth.start_s)
    cut = replace(truth, start_s=start_s - from_s, end_s=end_s - from_s).take(kept)
    times_s, values = features.times_s[inside] - from_s, features.values[inside]
    return Example(Features(features.video, times_s, values, to_s - from_s, features.made_by), cut)


def _validation(known: dict[str, Example], share: float, guard_s: float) -> tuple[list[Example], list[Example]]:
    names = sorted(known)
    if share == 0:
        return [known[name] for name in names], []
    if len(names) >= LEAST_LABELLED:
        chosen = evenly(len(names), max(1, round(share * len(names))))
        return (
            [known[name] for number, name in enumerate(names) if number not in chosen],
            [known[name] for number, name in enumerate(names) if number in chosen],
        )
    train, val = [], []
    for name in names:
        length_s = known[name].features.duration_s
        train.append(between(known[name], 0.0, (1 - share) * length_s - guard_s))
        val.append(between(known[name], (1 - share) * length_s, length_s))
    return [one for one in train if one is not None], [one for one in val if one is not None]


def _labelled(train: Sequence[Example], share: float) -> tuple[list[Example], list[Example]]:
    chosen = evenly(len(train), min(len(train), max(LEAST_LABELLED, round(share * len(train)))))
    return (
        [one for number, one in enumerate(train) if number in chosen],
        [one for number, one in enumerate(train) if number not in chosen],
    )


def evenly(count: int, wanted: int) -> frozenset[int]:
    """`wanted` of the numbers 0 to `count` - 1, spread evenly (systematic sampling)."""
    return frozenset(int((number + 0.5) * count / wanted) for number in range(wanted))


def _of(segments: Segments, video: str) -> Segments:
    return segments.take(segments.videos == video)
