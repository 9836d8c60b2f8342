"""A generated line for the tests from `embed` to `dataset`: recordings whose hands wear the colour of their action."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lineact.context import ContextParams
from lineact.dataset import DatasetParams, LabelParams
from lineact.dataset.accepted import label_the_rest
from lineact.dataset.labels import Found, Resolved
from lineact.decisions import Decision, standing
from lineact.embed import Embedded, EmbedParams, Encoder, embed_boxes
from lineact.files import sha256_of_file
from lineact.looks import stamped
from lineact.match import Matched, MatchParams, match_crops
from lineact.queue import Labelled, QueueParams, build_queue
from lineact.reviewer import SecondsParams
from lineact.schema import (
    BOXES,
    CROPS,
    EMBEDDED,
    FRAMES,
    QUEUE,
    TEMPLATES,
    TRUTH_BOXES,
    VIDEOS,
    table_of,
    write_table,
)
from lineact.simulate_review import SimulateReviewParams
from lineact.splits import Holdout, HoldoutParams, ValidationParams
from tests.generated_videos import SIZE_WH, scene, write_video

ACTIONS = ("screw", "wipe")
COLOURS = {"screw": (220, 40, 40), "wipe": (40, 200, 40), "NG": (40, 40, 220)}
SCHEDULE = ("screw", "wipe", "NG", None)  # None: no hand
FRAMES_PER_STEP = 6
FPS = 10
HAND_PX = 40
HELD_OUT = HoldoutParams(recordings=("rec_3",), last_share=0.0, guard_s=0.0)


def embed_params(**changes) -> EmbedParams:
    """Small crops."""
    settings: dict[str, Any] = {
        "foundation": "tiny",
        "hub_model": "none",
        "hub_revision": None,
        "context": 1.5,
        "crop_px": 32,
        "batch_size": 8,
        "shard_batches": 2,
    }
    return EmbedParams(**(settings | changes))


def match_params(**changes) -> MatchParams:
    """Six groups of three kinds of crops."""
    settings: dict[str, Any] = {
        "group_counts": (6,),
        "centre": False,
        "templates_per_group": 3,
        "min_similarity": 0.5,
        "holdout": HELD_OUT,
        "seed": 0,
    }
    return MatchParams(**(settings | changes))


def queue_params(**changes) -> QueueParams:
    """A short queue."""
    settings: dict[str, Any] = {
        "policy": "required",
        "holdout": HELD_OUT,
        "group_members": 3,
        "crops": 8,
        "crop_gap_s": 0.3,
        "audit_calibrate": 5,
        "audit_certify": 45,
        "box_frames": 10,
        "box_frames_even": 0.5,
        "box_gap_s": 0.3,
        "holdout_frames": 12,
        "seed": 0,
    }
    return QueueParams(**(settings | changes))


def review_params(**changes) -> SimulateReviewParams:
    """A reviewer without errors."""
    settings: dict[str, Any] = {
        "actions": ACTIONS,
        "error_rate": 0.0,
        "audit_error_rate": 0.0,
        "min_group_purity": 0.7,
        "min_iou": 0.4,
        "seconds": SecondsParams(group=10.0, crop=3.0, audit=3.0, box=12.0),
        "seed": 0,
        "dataset": dataset_params(),
    }
    return SimulateReviewParams(**(settings | changes))


def dataset_params(**changes) -> DatasetParams:
    """Settings that fit the line."""
    settings: dict[str, Any] = {
        "actions": ACTIONS,
        "accepted_by": "5e771465",
        "policy": "required",
        "min_decided_share": 0.5,
        "max_label_error": 0.1,
        "min_holdout_frames": 5,
        "max_bad_share": 0.05,
        "labels": LabelParams(
            centre=False, nearest=3, moment_s=0.0, precision=0.9, min_certainty=0.5, min_hand_certainty=0.5
        ),
        "min_iou": 0.5,
        "context": 1.5,
        "crop_px": 32,
        "short_context": ContextParams(0.0, 2),
        "detector_frames": 10,
        "jpeg_quality": 90,
        "holdout": HELD_OUT,
        "validation": ValidationParams(share=0.3, by="auto", block_s=1.0, guard_s=0.2),
        "seed": 0,
    }
    return DatasetParams(**(settings | changes))


def section_of(params: object) -> dict[str, Any]:
    """A stage's settings as params.yaml holds them: tuples are lists there."""
    return json.loads(json.dumps(asdict(params)))  # type: ignore[call-overload]


def labels_of(found: Found, resolved: Resolved, holdout: Holdout, params: DatasetParams) -> dict[str, str]:
    """Labels by matching, as the stage `dataset` takes them."""
    return label_the_rest(found, resolved, holdout, params).accepted.labels()


def looked_at_last(
    line: "Line", found: Found, decided: Sequence[Decision], settings: str | None = None
) -> list[Decision]:
    """Decisions whose random crops were looked at after all the others, under these settings (else today's)."""
    under = dataset_params().accepted_by if settings is None else settings
    today = found.today(line.holdout, dataset_params().min_iou)
    return stamped(decided, today.stamp(standing(decided), under))


def colour_encoder() -> Encoder:
    """Embeds a crop by its coarse colours about mid-grey, which tells the actions apart; its `calls` are counted."""
    counted = {"crops": 0}

    def forward(crops_rgb: np.ndarray) -> np.ndarray:
        counted["crops"] += len(crops_rgb)
        side = crops_rgb.shape[1] // 4
        cells = crops_rgb.reshape(len(crops_rgb), 4, side, 4, side, 3).mean(axis=(2, 4))  # N x 4 x 4 x 3
        return (cells.reshape(len(crops_rgb), -1) - 128).astype(np.float32)

    return Encoder(forward, {"weights": "colours", "counted": counted})


class Line:
    """Raw recordings and the tables that `simulate`, `ingest` and `detect` would write.

    Attributes:
        raw: folder of recordings.
        videos: schema VIDEOS.
        frames: schema FRAMES, all kept.
        boxes: schema BOXES, one true box per hand, moved by up to two pixels.
        truth: schema TRUTH_BOXES.
    """

    def __init__(self, folder: Path, recordings: int = 4, cycles: int = 2) -> None:
        self.raw = folder / "raw"
        videos: list[dict] = []
        frames: list[dict] = []
        boxes: list[dict] = []
        truth: list[dict] = []
        for number in range(recordings):
            rng = np.random.default_rng(number)
            steps = [step for _ in range(cycles) for step in SCHEDULE for _ in range(FRAMES_PER_STEP)]
            places = [(int(rng.integers(20, 220)), int(rng.integers(20, 120))) for _ in steps]
            path = write_video(
                self.raw / f"rec_{number}.mp4", [_picture(*one) for one in zip(steps, places, strict=True)]
            )
            sha256 = sha256_of_file(path)
            videos.append(_video_row(sha256, path.name, len(steps)))
            for index, (step, (x, y)) in enumerate(zip(steps, places, strict=True)):
                frame = {"video_sha256": sha256, "pts_s": index / FPS}
                frames.append(frame | _frame_row(index))
                if step is None:
                    continue
                truth.append(frame | _box(x, y) | {"hand": "right", "action": step})
                dx, dy = (int(value) for value in rng.integers(-2, 3, 2))
                boxes.append(frame | _box(x + dx, y + dy) | _found(sha256, index / FPS, x + dx, y + dy))
        self.videos = table_of(videos, VIDEOS)
        self.frames = table_of(frames, FRAMES)
        self.boxes = table_of(boxes, BOXES)
        self.truth = table_of(truth, TRUTH_BOXES)
        self.holdout = Holdout(HELD_OUT, self.videos)

    def embed(self) -> Embedded:
        """The stage's result; needs a working folder of its own, because it caches there."""
        return embed_boxes(self.raw, self.boxes, embed_params(), colour_encoder())

    def match(self, embedded: Embedded, params: MatchParams) -> Matched:
        """The stage's result."""
        trains = self.holdout.mask(embedded.crops, "train")
        return match_crops(embedded.crops["box_id"].to_pylist(), embedded.embeddings, trains, params)

    def queue(self, embedded: Embedded, matched: Matched, params: QueueParams) -> pa.Table:
        """The stage's result."""
        labelled = Labelled(self.frames, self.boxes, embedded.crops, matched.crops, matched.templates)
        return build_queue(labelled, self.holdout, params)

    def found(self, embedded: Embedded, matched: Matched, queue: pa.Table) -> Found:
        """What `dataset` reads."""
        return Found(
            videos=self.videos,
            frames=self.frames,
            boxes=self.boxes,
            embedded=embedded.crops,
            embeddings=embedded.embeddings,
            crops=matched.crops,
            templates=matched.templates,
            queue=queue,
        )

    def write(
        self, folder: Path, embedded: Embedded, matched: Matched | None = None, queue: pa.Table | None = None
    ) -> None:
        """Writes the tables below a line's folder of data, as the stages up to these do."""
        tables = [
            ("ingest/videos", self.videos, VIDEOS),
            ("ingest/frames", self.frames, FRAMES),
            ("detect/boxes", self.boxes, BOXES),
            ("embed/crops", embedded.crops, EMBEDDED),
        ]
        if matched is not None:
            tables += [("match/crops", matched.crops, CROPS), ("match/templates", matched.templates, TEMPLATES)]
        if queue is not None:
            tables += [("queue/queue", queue, QUEUE)]
        for name, table, schema in tables:
            write_table(table, folder / f"{name}.parquet", schema)
        np.save(folder / "embed" / "embeddings.npy", embedded.embeddings)

    def true_actions(self) -> dict[str, str]:
        """Box id to the action of its hand; every box is of the one hand on its frame."""
        actions = {(row["video_sha256"], row["pts_s"]): row["action"] for row in self.truth.to_pylist()}
        return {row["box_id"]: actions[row["video_sha256"], row["pts_s"]] for row in self.boxes.to_pylist()}


def _picture(step: str | None, place_xy: tuple[int, int]) -> np.ndarray:
    image = scene()
    if step is not None:
        x, y = place_xy
        image[y : y + HAND_PX, x : x + HAND_PX] = COLOURS[step]
    return image


def _video_row(sha256: str, name: str, frame_count: int) -> dict:
    width, height = SIZE_WH
    return {
        "video_sha256": sha256,
        "name": name,
        "start_s": 0.0,
        "duration_s": frame_count / FPS,
        "fps": float(FPS),
        "frame_count": frame_count,
        "width_px": width,
        "height_px": height,
        "codec": "h264",
    }


def _frame_row(index: int) -> dict:
    width, height = SIZE_WH
    row: dict[str, Any] = {"index": index, "width_px": width, "height_px": height, "sharpness": 1.0, "motion": 0.1}
    return row | {"duplicate_of": None, "kept": True, "reason": "kept"}


def _box(x: int, y: int) -> dict:
    return {"x1": x, "y1": y, "x2": x + HAND_PX, "y2": y + HAND_PX}


def _found(sha256: str, pts_s: float, x: int, y: int) -> dict:
    box_id = f"{sha256[:12]}@{pts_s:.6f}#{x}-{y}-{x + HAND_PX}-{y + HAND_PX}"
    return {"box_id": box_id, "score": 0.9, "phrase": "hand", "source": "test", "dropped_by": None}
