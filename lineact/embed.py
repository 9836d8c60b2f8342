"""Cuts a square crop around every box and embeds it with the frozen vision tower of BLIP-2."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa

from lineact.boxes import crop_square
from lineact.errors import InputError
from lineact.files import cache_folder, write_whole
from lineact.png import decode_png, encode_png
from lineact.progress import Progress
from lineact.schema import EMBEDDED, read_table, table_of
from lineact.video import read_frames, videos_by_sha256

if TYPE_CHECKING:
    from transformers import Blip2VisionModel

    from lineact.foundation.weights import Preprocessing

CODE_VERSION = 1  # raise it where the same crop and weights give another vector

Forward = Callable[[np.ndarray], np.ndarray]  # uint8 N x side x side x 3 -> float32 N x D


@dataclass(frozen=True)
class EmbedParams:
    """Settings of the stage.

    Attributes:
        foundation: "tiny" for the embedded vision tower, "hub" for `hub_model`.
        hub_model: hub name or local folder of a BLIP-2 model.
        hub_revision: the hub's commit; None for the newest.
        context: a crop's side as a multiple of the box's longer side, at least 1.
        crop_px: side of a stored crop, pixels.
        batch_size: crops per forward pass.
        shard_batches: so many batches are stored together; a killed run loses at most that many.
    """

    foundation: Literal["tiny", "hub"]
    hub_model: str
    hub_revision: str | None
    context: float
    crop_px: int
    batch_size: int
    shard_batches: int

    def __post_init__(self) -> None:
        if self.context < 1:
            raise ValueError(f"context must be at least 1, found {self.context}")
        if not 16 <= self.crop_px <= 1024:
            raise ValueError(f"crop_px must be from 16 to 1024, found {self.crop_px}")
        for name in ("batch_size", "shard_batches"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")


@dataclass(frozen=True)
class Encoder:
    """An image encoder.

    Attributes:
        forward: uint8 crops N x side x side x 3 to float32 N x D.
        key: what its result depends on besides the crops: weights (with their preprocessing), version of this code.
    """

    forward: Forward
    key: Mapping[str, object]


@dataclass(frozen=True)
class Embedded:
    """Result of `embed_boxes`.

    Attributes:
        crops: schema EMBEDDED, by recording, time and box id.
        embeddings: float32, N x D, L2-normalised; row i belongs to row i of `crops`.
        computed: how many crops went through the network now; the rest came from the cache or repeat another crop.
    """

    crops: pa.Table
    embeddings: np.ndarray
    computed: int


def open_encoder(params: EmbedParams, tiny: Path) -> Encoder:
    """The vision tower of the settings, its weights loaded.

    Args:
        params: the settings.
        tiny: folder of the embedded weights.

    Raises:
        InputError: where a hub name is neither cached nor can be fetched.
    """
    from lineact.foundation.weights import identity_of

    name = str(tiny) if params.foundation == "tiny" else params.hub_model
    revision = None if params.foundation == "tiny" else params.hub_revision
    key = {"weights": identity_of(name, revision), "code": CODE_VERSION}
    return Encoder(_forward_of(name, revision), key | _precision_key())


def _forward_of(name: str, revision: str | None) -> Forward:
    """A forward pass that loads the network at its first call: with a full cache there is none.

    On a GPU it runs in float16, the precision in which BLIP-2 is published.
    """
    from lineact.foundation.blip2 import load_blip2_vision

    @cache
    def load() -> tuple["Blip2VisionModel", "Preprocessing"]:
        import torch

        model, preprocessing = load_blip2_vision(name, revision)
        return (model.half().to("cuda") if torch.cuda.is_available() else model), preprocessing  # type: ignore[arg-type]

    def forward(crops_rgb: np.ndarray) -> np.ndarray:
        import torch

        model, preprocessing = load()
        pixels = preprocessing.to_tensor(crops_rgb).to(model.device, model.dtype)
        with torch.inference_mode():
            pooled = model(pixels).pooler_output  # N x D
        return pooled.float().cpu().numpy()

    return forward


def _precision_key() -> dict[str, object]:
    """What of the machine the vectors depend on: those of a GPU are not mixed with those of a CPU."""
    import torch

    return {"precision": "float16"} if torch.cuda.is_available() else {}


def embed_boxes(
    raw: Path, boxes: pa.Table, params: EmbedParams, encoder: Encoder, cut: Mapping[str, Path] | None = None
) -> Embedded:
    """Crops and embeds every box that no rule dropped. Each recording is decoded once.

    Args:
        raw: the folder of recordings.
        boxes: schema BOXES.
        params: the settings.
        encoder: see `open_encoder`.
        cut: tables of crops (schema EMBEDDED) by recording, of those that were cut elsewhere; see `cut_crops`.

    Raises:
        InputError: where no box stays, or a recording is not in the folder any more.
    """
    tables, embeddings, computed = [], [], 0
    for path, of_video in boxes_by_recording(raw, boxes):
        sha256 = of_video["video_sha256"][0].as_py()
        if cut and sha256 in cut:
            rows = read_table(cut[sha256], EMBEDDED).to_pylist()
        else:
            rows = cut_crops(path, of_video, params)
        vectors, fresh = embed_crops(vectors_folder(sha256, params, encoder.key), rows, params, encoder.forward)
        print(f"embed: {path.name}: {len(rows)} crops, {fresh} through the network", flush=True)
        tables.append(table_of(rows, EMBEDDED))
        embeddings.append(vectors)
        computed += fresh
    return Embedded(pa.concat_tables(tables), _normalised(np.concatenate(embeddings)), computed)


def boxes_by_recording(raw: Path, boxes: pa.Table) -> Iterator[tuple[Path, pa.Table]]:
    """Each recording with a box that no rule dropped: its file, and these boxes; by hash.

    Args:
        raw: the folder of recordings.
        boxes: schema BOXES.

    Raises:
        InputError: as `embed_boxes`.
    """
    stays = boxes.filter(pa.compute.is_null(boxes["dropped_by"]))
    if not stays.num_rows:
        raise InputError(
            f"expected boxes to embed, found none ({boxes.num_rows} were found and all dropped by rules); lower "
            "detect.filters' thresholds, or see the contact sheet of `detect`"
        )
    paths = videos_by_sha256(raw)
    for sha256 in sorted(stays["video_sha256"].unique().to_pylist()):
        if sha256 not in paths:
            raise InputError(f"{raw}: expected the recording {sha256[:12]} of the boxes, found none; run `dvc repro`")
        yield paths[sha256], stays.filter(pa.compute.equal(stays["video_sha256"], sha256))


def cut_crops(path: Path, boxes: pa.Table, params: EmbedParams) -> list[dict]:
    """Rows of schema EMBEDDED, a crop for each of a recording's boxes, by time and box id.

    Args:
        path: the recording.
        boxes: schema BOXES, some of this recording.
        params: the settings.
    """
    return list(_cut(path, boxes.to_pylist(), params))


def _cut(path: Path, boxes: list[dict], params: EmbedParams) -> Iterator[dict]:
    by_time: dict[float, list[dict]] = {}
    for box in boxes:
        by_time.setdefault(box["pts_s"], []).append(box)
    progress = Progress(f"embed: {path.name}: cutting crops, frames", len(by_time))
    for pts_s, frame in zip(sorted(by_time), read_frames(path, by_time), strict=True):
        for box in sorted(by_time[pts_s], key=lambda box: box["box_id"]):
            box_xyxy_px = np.array([box[name] for name in ("x1", "y1", "x2", "y2")])
            crop_rgb = crop_square(frame.image_rgb, box_xyxy_px, params.context, params.crop_px)
            yield {
                "video_sha256": box["video_sha256"],
                "pts_s": pts_s,
                "box_id": box["box_id"],
                "crop_sha256": hashlib.sha256(crop_rgb.tobytes()).hexdigest(),
                "crop_png": encode_png(crop_rgb),
            }
        progress.add(1)


def vectors_folder(sha256: str, params: EmbedParams, key: Mapping[str, object]) -> Path:
    """Where the cache keeps the vectors of a recording's crops.

    Args:
        sha256: of the recording.
        params: the settings.
        key: the encoder's.
    """
    return cache_folder("embed", {**key, "video": sha256, "crop_px": params.crop_px})


def embed_crops(folder: Path, rows: list[dict], params: EmbedParams, forward: Forward) -> tuple[np.ndarray, int]:
    """Vectors of a recording's crops, and how many were computed now.

    Args:
        folder: of known vectors, by the crops' content; gets the others.
        rows: schema EMBEDDED.
        params: the settings.
        forward: the encoder's.

    Returns:
        float32, N x D, not normalised; and a number of crops.
    """
    known = _read_shards(folder)
    missing = {row["crop_sha256"]: row["crop_png"] for row in rows if row["crop_sha256"] not in known}
    progress = Progress("embed: crops through the network", len(missing))
    hashes = list(missing)
    shard_size = params.batch_size * params.shard_batches
    for start in range(0, len(hashes), shard_size):
        shard = hashes[start : start + shard_size]
        vectors = []
        for first in range(0, len(shard), params.batch_size):
            batch = shard[first : first + params.batch_size]
            vectors.append(forward(np.stack([decode_png(missing[crop]) for crop in batch])))
            progress.add(len(batch))
        _write_shard(folder, shard, np.concatenate(vectors))
        known |= dict(zip(shard, np.concatenate(vectors), strict=True))
    return np.stack([known[row["crop_sha256"]] for row in rows]), len(hashes)


def _write_shard(folder: Path, hashes: list[str], vectors: np.ndarray) -> None:
    name = hashlib.sha256("".join(hashes).encode()).hexdigest()[:16]
    write_whole(folder / f"{name}.npz", lambda path: np.savez(path, hashes=np.array(hashes), vectors=vectors))


def _read_shards(folder: Path) -> dict[str, np.ndarray]:
    known: dict[str, np.ndarray] = {}
    for path in sorted(folder.glob("[!.]*.npz")):
        with np.load(path) as shard:
            known |= dict(zip(shard["hashes"].tolist(), shard["vectors"], strict=True))
    return known


def _normalised(vectors: np.ndarray) -> np.ndarray:
    """Rows of unit length; float32, N x D."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return (vectors / np.maximum(lengths, 1e-12)).astype(np.float32)
