"""What a detector says of frames, asked once: stored in shards, so that a killed run loses at most one."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lineact.compare.pictures import Pictures
from lineact.files import cache_folder, write_whole
from lineact.progress import Progress
from lineact.schema import table_of

SHARD_FRAMES = 8  # full-size Grounding DINO takes up to 35 s a frame on two CPU cores


@dataclass(frozen=True)
class Answer:
    """One frame's boxes at the lowest thresholds, before any suppression.

    Attributes:
        size_wh: of the frame, pixels.
        boxes_xyxy_px: float32, P x 4, pixels of the frame, not cut at its border.
        scores: float32, P, falling, 0 to 1.
        token_probabilities: float32, P x L, of the prompt's tokens, 0 to 1; L is 0 where a detector is not asked with
            words.
    """

    size_wh: tuple[int, int]
    boxes_xyxy_px: np.ndarray
    scores: np.ndarray
    token_probabilities: np.ndarray

    @property
    def boxes_inside_px(self) -> np.ndarray:
        """The boxes, cut at the frame's border."""
        return np.clip(self.boxes_xyxy_px, 0, np.array(self.size_wh * 2, np.float32))


class Detector(Protocol):
    """A detector with two thresholds.

    Attributes:
        key: everything but the images that its answers depend on: weights, preprocessing, code.
    """

    key: dict[str, object]

    def answer(self, images_rgb: Sequence[np.ndarray]) -> list[Answer]:
        """Boxes on each image (uint8, H x W x 3)."""

    def kept(self, answer: Answer, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Which boxes stay at F first and S second thresholds: bool, F x S x P."""


def answers_of(title: str, detector: Detector, pictures: Pictures) -> list[Answer]:
    """A detector's answers on all pictures, from stored shards where they are there.

    Args:
        title: for progress.
        detector: is not asked where every shard is stored.
        pictures: the frames.

    Returns:
        One answer per picture.
    """
    shards = [
        range(at, min(at + SHARD_FRAMES, len(pictures.names))) for at in range(0, len(pictures.names), SHARD_FRAMES)
    ]
    files = [_shard_file(detector, [pictures.names[index] for index in shard]) for shard in shards]
    missing = [number for number, file in enumerate(files) if not file.is_file()]
    wanted = [index for number in missing for index in shards[number]]
    print(f"{title}: {len(wanted)} of {len(pictures.names)} frames to go, the others are stored", flush=True)
    images = pictures.images(wanted) if wanted else iter(())
    progress = Progress(f"{title}: frames", len(wanted))
    for number in missing:
        _ask(detector, list(itertools.islice(images, len(shards[number]))), files[number])
        progress.add(len(shards[number]))
    return [answer for file in files for answer in _read_shard(file)]


def _ask(detector: Detector, images_rgb: list[np.ndarray], file: Path) -> None:
    table = table_of([_row(answer) for answer in detector.answer(images_rgb)], _SHARD)
    write_whole(file, lambda temporary: pq.write_table(table, temporary))


_NUMBERS = pa.list_(pa.float32())
_SHARD = pa.schema(  # one row per frame
    [
        pa.field("width_px", pa.int32(), nullable=False),
        pa.field("height_px", pa.int32(), nullable=False),
        pa.field("boxes_xyxy_px", _NUMBERS, nullable=False),  # P x 4, row after row
        pa.field("scores", _NUMBERS, nullable=False),  # P
        pa.field("token_probabilities", _NUMBERS, nullable=False),  # P x L, row after row
    ]
)


def _shard_file(detector: Detector, names: list[str]) -> Path:
    return cache_folder("compare", {"detector": detector.key, "frames": names}) / "answers.parquet"


def _row(answer: Answer) -> dict[str, Any]:
    return {
        "width_px": answer.size_wh[0],
        "height_px": answer.size_wh[1],
        "boxes_xyxy_px": answer.boxes_xyxy_px.ravel(),
        "scores": answer.scores,
        "token_probabilities": answer.token_probabilities.ravel(),
    }


def _read_shard(path: Path) -> Iterator[Answer]:
    for row in pq.read_table(path, schema=_SHARD).to_pylist():
        scores = np.array(row["scores"], np.float32)
        tokens = np.array(row["token_probabilities"], np.float32)
        yield Answer(
            size_wh=(row["width_px"], row["height_px"]),
            boxes_xyxy_px=np.array(row["boxes_xyxy_px"], np.float32).reshape(-1, 4),
            scores=scores,
            token_probabilities=tokens.reshape(len(scores), tokens.size // max(len(scores), 1)),
        )
