"""Finds hands on the frames kept for labelling: one interface for several backends, cached, then filtered by rules."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lineact.detect.backend import Backend, Detections, LoadableBackend, Recording
from lineact.detect.filters import RULES, FilterParams, clipped, drop_by_rules, drop_over_time
from lineact.detect.grounding_dino import EMBEDDED, GroundingDinoParams
from lineact.detect.groundingdino_py import GroundingDinoPyParams
from lineact.detect.motion import MotionParams
from lineact.errors import InputError
from lineact.files import cache_folder, write_whole
from lineact.progress import Progress
from lineact.schema import BOXES, HARVEST_FOLDER, is_harvested, table_of
from lineact.video import crop_context_of, videos_by_sha256

BACKENDS: dict[str, type] = {  # by name, the settings of each
    "motion": MotionParams,
    "grounding_dino": GroundingDinoParams,
    "groundingdino_py": GroundingDinoPyParams,
}


@dataclass(frozen=True)
class DetectParams:
    """Settings of the stage. Of the backends' sections exactly that of the chosen one is there.

    Attributes:
        backend: which detector answers.
        shard_frames: so many frames' boxes are stored together; a killed run loses at most that many.
        filters: which boxes are dropped afterwards.
        contact_sheet_frames: how many frames are drawn for people.
        motion: settings of that backend.
        grounding_dino: likewise.
        groundingdino_py: likewise.
    """

    backend: Literal["motion", "grounding_dino", "groundingdino_py"]
    shard_frames: int
    filters: FilterParams
    contact_sheet_frames: int
    motion: MotionParams | None = None
    grounding_dino: GroundingDinoParams | None = None
    groundingdino_py: GroundingDinoPyParams | None = None

    def __post_init__(self) -> None:
        present = [name for name in BACKENDS if getattr(self, name) is not None]
        if present != [self.backend]:
            raise ValueError(
                f"backend is {self.backend!r}, so expected exactly the section {self.backend!r}, found {present}; "
                "choose with `override /detector: ...` in the line's file"
            )
        for name in ("shard_frames", "contact_sheet_frames"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        floor = getattr(getattr(self, self.backend), "score_floor", 0.0)
        if self.filters.box_threshold < floor:
            raise ValueError(f"filters.box_threshold is {self.filters.box_threshold}, under score_floor {floor}")

    def with_embedded(self, tiny: Path) -> "DetectParams":
        """The settings with a folder for the weights where they ask for the embedded ones.

        Args:
            tiny: the embedded Grounding DINO.
        """
        if self.grounding_dino is None or self.grounding_dino.weights != EMBEDDED:
            return self
        return replace(self, grounding_dino=replace(self.grounding_dino, weights=str(tiny)))


def open_backend(params: DetectParams) -> LoadableBackend:
    """The chosen backend; its weights are looked for, and loaded with the first frame.

    Raises:
        InputError: where its weights are missing, or of another architecture.
    """
    if params.motion is not None:
        from lineact.detect.motion import MotionDetector

        return MotionDetector(params.motion)
    if params.grounding_dino is not None:
        from lineact.detect.grounding_dino import GroundingDino

        return GroundingDino(params.grounding_dino)
    from lineact.detect.groundingdino_py import GroundingDinoPy

    assert params.groundingdino_py is not None
    return GroundingDinoPy(params.groundingdino_py)


def detect_boxes(raw: Path, frames: pa.Table, params: DetectParams, backend: Backend) -> pa.Table:
    """Boxes on every kept frame, each with the rule that dropped it.

    Args:
        raw: the folder of recordings.
        frames: schema FRAMES.
        params: the settings.
        backend: see `open_backend`.

    Returns:
        A table of schema BOXES, by recording and time.

    Raises:
        InputError: where a recording of the table is not in the folder any more.
    """
    tables = []
    for name, recording, kept in recordings_of(raw, frames):
        sha256 = recording.sha256
        sizes_wh = list(zip(kept["width_px"].to_pylist(), kept["height_px"].to_pylist(), strict=True))
        pts_s = kept["pts_s"].to_pylist()
        if is_harvested(name):
            tables.append(_boxes_of_crops(recording.path, sha256, pts_s, sizes_wh))
            continue
        detections = detect_recording(recording, pts_s, params.shard_frames, backend)
        found = [clipped(one, size_wh) for one, size_wh in zip(detections, sizes_wh, strict=True)]
        dropped = [drop_by_rules(one, size_wh, params.filters) for one, size_wh in zip(found, sizes_wh, strict=True)]
        dropped = drop_over_time(pts_s, [one.boxes_xyxy_px for one in found], dropped, params.filters)
        frames_rows = zip(pts_s, found, dropped, strict=True)
        rows = [row for time_s, one, rules in frames_rows for row in _rows(sha256, time_s, one, rules, params.backend)]
        tables.append(table_of(rows, BOXES))
    return pa.concat_tables(tables)


def recordings_of(raw: Path, frames: pa.Table) -> Iterator[tuple[str, Recording, pa.Table]]:
    """Each recording of a frame table: its name below the raw folder, itself, and its kept frames.

    Args:
        raw: the folder of recordings.
        frames: schema FRAMES.

    Raises:
        InputError: where one is not in the folder any more.
    """
    paths = videos_by_sha256(raw)
    for sha256 in frames["video_sha256"].unique().to_pylist():
        if sha256 not in paths:
            raise InputError(f"{raw}: expected the recording {sha256[:12]} of the frame table; run `dvc repro ingest`")
        path = paths[sha256]
        of_video = frames.filter(pa.compute.equal(frames["video_sha256"], sha256))
        name = path.relative_to(raw).as_posix() if raw.is_dir() else path.name
        yield name, Recording(path, sha256, of_video["pts_s"].to_numpy()), of_video.filter(of_video["kept"])


def _boxes_of_crops(path: Path, sha256: str, pts_s: list[float], sizes_wh: list[tuple[int, int]]) -> pa.Table:
    """Of frames that are crops: the hand is in the middle, where the station saw it; no rule doubts it."""
    context = crop_context_of(path)
    rows: list[dict] = []
    for time_s, size_wh in zip(pts_s, sizes_wh, strict=True):
        half_wh = np.array(size_wh) / context / 2
        centre = np.array(size_wh) / 2
        box = np.concatenate([centre - half_wh, centre + half_wh]).astype(np.float32)[None]
        rows += _rows(sha256, time_s, Detections(box, np.ones(1, np.float32), ("hand",)), [None], HARVEST_FOLDER)
    return table_of(rows, BOXES)


class StoredFrames(NamedTuple):
    """Some frames of a recording, ascending, whose boxes are stored together in one file, there or still to be made."""

    pts_s: list[float]
    file: Path


def stored_frames(
    recording: Recording, pts_s: Sequence[float], shard_frames: int, key: Mapping[str, object]
) -> list[StoredFrames]:
    """Where the cache keeps the boxes of a recording's frames.

    Args:
        recording: whose.
        pts_s: times of the frames, ascending, seconds.
        shard_frames: so many to a file.
        key: the backend's.
    """
    shards = [list(pts_s[start : start + shard_frames]) for start in range(0, len(pts_s), shard_frames)]
    keys = [{"video": recording.sha256, "pts_s": shard, "backend": key} for shard in shards]
    folders = [cache_folder("detect", one) for one in keys]
    return [StoredFrames(shard, folder / "boxes.parquet") for shard, folder in zip(shards, folders, strict=True)]


def detect_recording(
    recording: Recording, pts_s: Sequence[float], shard_frames: int, backend: Backend
) -> Iterator[Detections]:
    """One recording's boxes before any rule, from stored shards where they are there.

    Yields:
        Detections in the order of `pts_s`.
    """
    shards = stored_frames(recording, pts_s, shard_frames, backend.key)
    detect_missing(recording, shards, backend)
    for shard in shards:
        yield from _read_shard(shard.file, len(shard.pts_s))


def detect_missing(recording: Recording, shards: Sequence[StoredFrames], backend: Backend) -> None:
    """Writes those of a recording's files that are not there; the backend makes one pass over their frames."""
    missing = [shard for shard in shards if not shard.file.is_file()]
    todo = [time_s for shard in missing for time_s in shard.pts_s]
    frame_count = sum(len(shard.pts_s) for shard in shards)
    print(
        f"detect: {recording.path.name}: {len(todo)} of {frame_count} frames to go, the others are stored", flush=True
    )
    if not todo:
        return
    progress = Progress(f"detect: {recording.path.name}: frames", len(todo))
    running = backend.detect(recording, todo)
    for shard in missing:
        # strict zip would ask the backend for one more frame than the shard has
        found = [next(running) for _ in shard.pts_s]
        write_whole(shard.file, lambda path, found=found: pq.write_table(_shard_table(found), path))  # type: ignore[misc]
        progress.add(len(found))


def count_metrics(frames: pa.Table, boxes: pa.Table) -> dict[str, float | int | None]:
    """Flat numbers for `metrics.json`: frames with and without a box, boxes by rule."""
    kept_frames = sum(frames["kept"].to_pylist())
    rules = Counter(boxes["dropped_by"].to_pylist())
    stays = boxes.filter(pa.compute.is_null(boxes["dropped_by"]))
    places = set(zip(stays["video_sha256"].to_pylist(), stays["pts_s"].to_pylist(), strict=True))
    scores = stays["score"].to_numpy()
    metrics: dict[str, float | int | None] = {
        "frames": kept_frames,
        "frames_with_boxes": len(places),
        "frames_empty": kept_frames - len(places),
        "boxes_found": boxes.num_rows,
        "boxes_kept": stays.num_rows,
        "mean_score": float(scores.mean()) if len(scores) else None,
    }
    return metrics | {f"boxes_dropped_{rule}": rules[rule] for rule in RULES}


def _rows(sha256: str, pts_s: float, found: Detections, dropped: list[str | None], source: str) -> Iterator[dict]:
    taken: set[str] = set()
    for box, score, phrase, rule in zip(found.boxes_xyxy_px, found.scores, found.phrases, dropped, strict=True):
        # The id tells frame and place, so that it stays where nothing changed and a decision can be re-attached.
        box_id = f"{sha256[:12]}@{pts_s:.6f}#" + "-".join(str(round(float(value))) for value in box)
        while box_id in taken:
            box_id += "'"
        taken.add(box_id)
        x1, y1, x2, y2 = (float(value) for value in box)
        yield {
            "video_sha256": sha256,
            "pts_s": pts_s,
            "box_id": box_id,
            "x1": x1,
            "y1": y1,
            "x2": x2,
            "y2": y2,
            "score": float(score),
            "phrase": phrase,
            "source": source,
            "dropped_by": rule,
        }


_SHARD = pa.schema(
    [
        pa.field("frame", pa.int32(), nullable=False),
        *(pa.field(name, pa.float32(), nullable=False) for name in ("x1", "y1", "x2", "y2", "score")),
        pa.field("phrase", pa.string(), nullable=False),
    ]
)


def _shard_table(found: list[Detections]) -> pa.Table:
    rows = [
        dict(zip(_SHARD.names, (number, *map(float, box), float(score), phrase), strict=True))
        for number, one in enumerate(found)
        for box, score, phrase in zip(one.boxes_xyxy_px, one.scores, one.phrases, strict=True)
    ]
    return table_of(rows, _SHARD)


def _read_shard(path: Path, frame_count: int) -> Iterator[Detections]:
    table = pq.read_table(path, schema=_SHARD)
    frame = table["frame"].to_numpy()
    boxes = np.stack([table[name].to_numpy() for name in ("x1", "y1", "x2", "y2")], axis=1).astype(np.float32)
    scores, phrases = table["score"].to_numpy(), np.array(table["phrase"].to_pylist(), dtype=object)
    for number in range(frame_count):
        chosen = frame == number
        yield Detections(boxes[chosen], scores[chosen], tuple(phrases[chosen]))
