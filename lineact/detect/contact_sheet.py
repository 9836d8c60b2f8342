"""A picture for people: frames with the boxes found on them."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa

from lineact.files import write_bytes
from lineact.png import encode_png
from lineact.video import read_frames, videos_by_sha256

TILE_WIDTH_PX = 320
COLUMNS = 4
KEPT_RGB, DROPPED_RGB = (40, 220, 60), (230, 60, 50)


def write_contact_sheet(path: Path, raw: Path, frames: pa.Table, boxes: pa.Table, frame_count: int) -> None:
    """Draws boxes on frames spread evenly over the kept ones: green where they stay, red with the rule that drops them.

    Args:
        path: the PNG to write.
        raw: the folder of recordings.
        frames: schema FRAMES.
        boxes: schema BOXES.
        frame_count: how many frames to draw at most.
    """
    kept = frames.filter(frames["kept"])
    chosen = np.unique(np.linspace(0, kept.num_rows - 1, min(frame_count, kept.num_rows)).round().astype(int))
    times_of = defaultdict(list)
    for row in kept.take(chosen).to_pylist():
        times_of[row["video_sha256"]].append(row["pts_s"])
    boxes_of = defaultdict(list)
    for row in boxes.to_pylist():
        boxes_of[row["video_sha256"], row["pts_s"]].append(row)
    paths = videos_by_sha256(raw)
    tiles = [
        _tile(frame.image_rgb, boxes_of[sha256, frame.pts_s], f"{paths[sha256].name} {frame.pts_s:.2f} s")
        for sha256, times_s in times_of.items()
        for frame in read_frames(paths[sha256], times_s)
    ]
    write_bytes(path, encode_png(_grid(tiles)))


def _tile(image_rgb: np.ndarray, boxes: Iterable[dict], title: str) -> np.ndarray:
    import cv2

    height, width = image_rgb.shape[:2]
    scale = TILE_WIDTH_PX / width
    tile = cv2.resize(image_rgb, (TILE_WIDTH_PX, round(height * scale)), interpolation=cv2.INTER_AREA)
    # Kept boxes last, on top.
    for box in sorted(boxes, key=lambda row: row["dropped_by"] is None):
        colour = KEPT_RGB if box["dropped_by"] is None else DROPPED_RGB
        corners = [round(box[name] * scale) for name in ("x1", "y1", "x2", "y2")]
        cv2.rectangle(tile, corners[:2], corners[2:], colour, 1 if box["dropped_by"] else 2)
        label = box["dropped_by"] or f"{box['score']:.2f}"
        cv2.putText(tile, label, (corners[0] + 2, corners[1] + 11), cv2.FONT_HERSHEY_SIMPLEX, 0.35, colour, 1)
    cv2.putText(tile, title, (4, tile.shape[0] - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.35, (255, 255, 255), 1)
    return tile


def _grid(tiles: list[np.ndarray]) -> np.ndarray:
    height = max(tile.shape[0] for tile in tiles)
    rows = -(-len(tiles) // COLUMNS)
    columns = min(COLUMNS, len(tiles))
    sheet = np.zeros((rows * height, columns * TILE_WIDTH_PX, 3), np.uint8)
    for number, tile in enumerate(tiles):
        top, left = number // COLUMNS * height, number % COLUMNS * TILE_WIDTH_PX
        sheet[top : top + tile.shape[0], left : left + TILE_WIDTH_PX] = tile
    return sheet
