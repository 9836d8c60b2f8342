"""A generated line with a queue of any length, as the stages before the review would leave it: to measure the page."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from lineact.decisions import basis_of
from lineact.png import encode_png
from lineact.schema import BOXES, CROPS, EMBEDDED, QUEUE, TEMPLATES, table_of, write_table

CROP_PX = 112
BOX_PX = 80
RECORDING_S = 3600.0
STEP_S = 0.5
GROUPS = 24
PICTURES = 1000  # crops take turns with so many: noise, as large as real pictures


def write_generated_line(folder: Path, crops: int, seed: int = 0) -> None:
    """Writes the tables that the review page reads; there are no recordings.

    Args:
        folder: data/<line>.
        crops: how many the queue asks.
        seed: of the pictures.
    """
    ids = [crop_row(number) for number in range(crops)]
    rng = np.random.default_rng(seed)
    similarity = np.sort(rng.uniform(0.5, 0.99, crops)).astype(np.float32)
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
    write_table(table_of(list(_queue(ids, similarity)), QUEUE), folder / "queue" / "queue.parquet", QUEUE)


def crop_row(number: int) -> dict:
    """Identity and place of a crop: one on each half second of hours of recordings."""
    per_recording = int(RECORDING_S / STEP_S)
    sha256 = f"{number // per_recording:012x}".ljust(64, "0")  # told apart by their first digits, as ids are
    pts_s = (number % per_recording) * STEP_S
    x, y = 20 + number * 37 % 1000, 20 + number * 53 % 600
    box_id = f"{sha256[:12]}@{pts_s:.6f}#{x}-{y}-{x + BOX_PX}-{y + BOX_PX}"
    place = {"x1": x, "y1": y, "x2": x + BOX_PX, "y2": y + BOX_PX}
    return {"video_sha256": sha256, "pts_s": pts_s, "box_id": box_id} | place


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


def _queue(ids: list[dict], similarity: np.ndarray) -> Iterator[dict]:
    common = {"holdout": False, "reason": "generated"}
    for group in range(GROUPS):
        shown = [place["box_id"] for place in ids[group : 12 * GROUPS : GROUPS]]
        yield common | {
            "item_id": f"group:{group}", "task": "group", "priority": group, "suggested": "",
            "basis": basis_of(*sorted(shown)), "video_sha256": None, "pts_s": None, "box_ids": shown,
        }  # fmt: skip
    for number, place in enumerate(ids):
        yield common | {
            "item_id": place["box_id"], "task": "crop", "priority": GROUPS + number,
            "suggested": f"group:{number % GROUPS}", "reason": f"doubtful: similarity {similarity[number]:.3f}",
            "basis": basis_of(place["box_id"]), "video_sha256": place["video_sha256"], "pts_s": place["pts_s"],
            "box_ids": [place["box_id"]],
        }  # fmt: skip
