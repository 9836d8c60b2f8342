"""A generated line with a queue of any length, as the stages before the review would leave it: to measure the page."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from lineact.decisions import basis_of
from lineact.files import write_whole
from lineact.png import encode_png
from lineact.queue import CERTIFIES
from lineact.schema import BOXES, CROPS, EMBEDDED, FRAMES, QUEUE, TEMPLATES, VIDEOS, table_of, write_table

CROP_PX = 112
BOX_PX = 80
RECORDING_S = 3600.0
STEP_S = 0.5
GROUPS = 24
UNASKED = 0.1  # so many more crops than the queue asks take their labels from it
AUDITS = 40  # of these are asked to certify the others: one page
EMBEDDING = 384  # numbers that tell what a crop shows: those of a small ViT
PICTURES = 1000  # crops take turns with so many: noise, as large as real pictures


def write_generated_line(folder: Path, crops: int, seed: int = 0) -> None:
    """Writes the tables that the review page and its gate read; there are no recordings.

    Args:
        folder: data/<line>.
        crops: how many the queue asks beside the random ones, for which there are `UNASKED` times as many more.
        seed: of the pictures and embeddings.
    """
    ids = [crop_row(number) for number in range(crops + round(UNASKED * crops))]
    rng = np.random.default_rng(seed)
    similarity = np.sort(rng.uniform(0.5, 0.99, len(ids))).astype(np.float32)
    _write_recordings(ids, folder / "ingest")
    write_whole(folder / "embed" / "embeddings.npy", lambda path: np.save(path, _embeddings(len(ids), rng)))
    embedded = pa.Table.from_batches(_embedded(ids, rng), schema=EMBEDDED)
    write_table(embedded, folder / "embed" / "crops.parquet", EMBEDDED)
    boxes = [place | {"score": 0.9, "phrase": "hand", "source": "generated", "dropped_by": None} for place in ids]
    write_table(table_of(boxes, BOXES), folder / "detect" / "boxes.parquet", BOXES)
    matched = [
        {"box_id": place["box_id"], "group": number % GROUPS, "row": number, "similarity": similarity[number],
         "margin": 0.1, "status": "accepted"}
        for number, place in enumerate(ids)
    ]  # fmt: skip
    write_table(table_of(matched, CROPS), folder / "match" / "crops.parquet", CROPS)
    templates = [{"group": group, "box_id": ids[group]["box_id"], "row": group, "rank": 0} for group in range(GROUPS)]
    write_table(table_of(templates, TEMPLATES), folder / "match" / "templates.parquet", TEMPLATES)
    queue = list(_queue(ids, similarity, crops))
    write_table(table_of(queue, QUEUE), folder / "queue" / "queue.parquet", QUEUE)


def crop_row(number: int) -> dict:
    """Identity and place of a crop: one on each half second of hours of recordings."""
    per_recording = int(RECORDING_S / STEP_S)
    sha256 = f"{number // per_recording:012x}".ljust(64, "0")  # told apart by their first digits, as ids are
    pts_s = (number % per_recording) * STEP_S
    x, y = 20 + number * 37 % 1000, 20 + number * 53 % 600
    box_id = f"{sha256[:12]}@{pts_s:.6f}#{x}-{y}-{x + BOX_PX}-{y + BOX_PX}"
    place = {"x1": x, "y1": y, "x2": x + BOX_PX, "y2": y + BOX_PX}
    return {"video_sha256": sha256, "pts_s": pts_s, "box_id": box_id} | place


def _write_recordings(ids: list[dict], folder: Path) -> None:
    recordings = dict.fromkeys(place["video_sha256"] for place in ids)
    size = {"width_px": 1280, "height_px": 720}
    videos = [
        size | {"video_sha256": sha256, "name": f"{number}.mp4", "start_s": 0.0, "duration_s": RECORDING_S,
                "fps": 1 / STEP_S, "frame_count": int(RECORDING_S / STEP_S), "codec": "generated"}
        for number, sha256 in enumerate(recordings)
    ]  # fmt: skip
    write_table(table_of(videos, VIDEOS), folder / "videos.parquet", VIDEOS)
    common = size | {"sharpness": 1.0, "motion": 0.1, "kept": True, "reason": "kept"}
    frames = [
        common | {"video_sha256": place["video_sha256"], "pts_s": place["pts_s"], "index": int(place["pts_s"] / STEP_S)}
        for place in ids
    ]
    write_table(table_of(frames, FRAMES), folder / "frames.parquet", FRAMES)


def _embeddings(count: int, rng: np.random.Generator) -> np.ndarray:
    """float32, N x EMBEDDING, of unit length: crops of a group are near its middle."""
    middles = rng.normal(size=(GROUPS, EMBEDDING))
    embeddings = middles[np.arange(count) % GROUPS] + 0.3 * rng.normal(size=(count, EMBEDDING))
    return (embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)).astype(np.float32)


def _embedded(ids: list[dict], rng: np.random.Generator) -> Iterator[pa.RecordBatch]:
    pictures = [_picture(number, rng) for number in range(min(PICTURES, len(ids)))]
    for start in range(0, len(ids), 1000):
        rows = [
            {name: place[name] for name in ("video_sha256", "pts_s", "box_id")}
            | {"crop_sha256": f"{number:064x}", "crop_png": pictures[number % len(pictures)]}
            for number, place in enumerate(ids[start : start + 1000], start)
        ]
        yield pa.RecordBatch.from_pylist(rows, schema=EMBEDDED)


def _picture(number: int, rng: np.random.Generator) -> bytes:
    import cv2

    picture = rng.integers(0, 20, (CROP_PX, CROP_PX, 3), dtype=np.uint8) + np.uint8(number % GROUPS * 6)
    cv2.putText(picture, str(number), (8, 64), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (250, 250, 250), 2)
    return encode_png(picture)


def _queue(ids: list[dict], similarity: np.ndarray, crops: int) -> Iterator[dict]:
    common = {"holdout": False, "reason": "generated"}
    for group in range(GROUPS):
        shown = [place["box_id"] for place in ids[group : 12 * GROUPS : GROUPS]]
        yield common | {
            "item_id": f"group:{group}", "task": "group", "priority": group, "suggested": "",
            "basis": basis_of(*sorted(shown)), "video_sha256": None, "pts_s": None, "box_ids": shown,
        }  # fmt: skip
    for number, place in enumerate(ids[: crops + AUDITS]):
        doubtful = {"task": "crop", "reason": f"doubtful: similarity {similarity[number]:.3f}"}
        yield common | (doubtful if number < crops else {"task": "audit", "reason": CERTIFIES}) | {
            "item_id": place["box_id"], "priority": GROUPS + number, "suggested": f"group:{number % GROUPS}",
            "basis": basis_of(place["box_id"]), "video_sha256": place["video_sha256"], "pts_s": place["pts_s"],
            "box_ids": [place["box_id"]],
        }  # fmt: skip
