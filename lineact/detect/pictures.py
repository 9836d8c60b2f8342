"""Pictures for people: frames with the boxes found on them, and examples of what each rule dropped."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa

from lineact.boxes import crop_square, square_around
from lineact.detect.filters import RULES
from lineact.files import write_bytes
from lineact.png import encode_png
from lineact.video import read_frames, videos_by_sha256

TILE_WIDTH_PX = 320
COLUMNS = 4
EXAMPLES, EXAMPLE_PX, EXAMPLE_CONTEXT = 8, 112, 2.0  # of each rule
TITLE_PX = 160
FONT = cv2.FONT_HERSHEY_SIMPLEX
KEPT_RGB, DROPPED_RGB = (40, 220, 60), (230, 60, 50)


def write_pictures(folder: Path, raw: Path, frames: pa.Table, boxes: pa.Table, frame_count: int) -> None:
    """Writes contact_sheet.png and dropped.png. Each recording is decoded once.

    The contact sheet shows frames spread evenly over the kept ones, with boxes that stay in green and others in red
    with the rule that dropped them. The other picture has a row for each rule that dropped a box: how many, and
    examples spread evenly over them.

    Args:
        folder: where the pictures go.
        raw: the folder of recordings.
        frames: schema FRAMES.
        boxes: schema BOXES.
        frame_count: how many frames the contact sheet shows at most.
    """
    shown = {(row["video_sha256"], row["pts_s"]) for row in _spread(frames.filter(frames["kept"]), frame_count)}
    of_rule = {rule: boxes.filter(pa.compute.equal(boxes["dropped_by"], rule)) for rule in RULES}
    examples = {rule: _spread(dropped, EXAMPLES) for rule, dropped in of_rule.items() if dropped.num_rows}
    wanted = defaultdict(set)
    for sha256, time_s in shown | {(row["video_sha256"], row["pts_s"]) for rows in examples.values() for row in rows}:
        wanted[sha256].add(time_s)
    boxes_of = defaultdict(list)
    for row in boxes.to_pylist():
        boxes_of[row["video_sha256"], row["pts_s"]].append(row)
    paths = videos_by_sha256(raw)
    tiles, crops = [], {}
    for sha256 in frames["video_sha256"].unique().to_pylist():  # a set's order changes from process to process
        for frame in read_frames(paths[sha256], wanted[sha256]):
            place = (sha256, frame.pts_s)
            if place in shown:
                tiles.append(_tile(frame.image_rgb, boxes_of[place], f"{paths[sha256].name} {frame.pts_s:.2f} s"))
            for row in (row for rows in examples.values() for row in rows):
                if (row["video_sha256"], row["pts_s"]) == place:
                    crops[row["box_id"]] = _example(frame.image_rgb, row)
    write_bytes(folder / "contact_sheet.png", encode_png(_grid(tiles)))
    rows = [
        _row(f"{rule}: {of_rule[rule].num_rows}", [crops[row["box_id"]] for row in chosen])
        for rule, chosen in examples.items()
    ]
    write_bytes(folder / "dropped.png", encode_png(np.concatenate(rows) if rows else _row("nothing dropped", [])))


def _spread(table: pa.Table, count: int) -> list[dict]:
    """Rows spread evenly over a table."""
    chosen = np.unique(np.linspace(0, table.num_rows - 1, min(count, table.num_rows)).round().astype(int))
    return table.take(chosen).to_pylist()


def _example(image_rgb: np.ndarray, box: dict) -> np.ndarray:
    """A dropped box with its surroundings, EXAMPLE_PX square."""
    box_xyxy_px = np.array([box[name] for name in ("x1", "y1", "x2", "y2")])
    crop_rgb = crop_square(image_rgb, box_xyxy_px, EXAMPLE_CONTEXT, EXAMPLE_PX)
    x1, y1, x2, _ = square_around(box_xyxy_px, EXAMPLE_CONTEXT)
    corners = ((box_xyxy_px - [x1, y1, x1, y1]) * EXAMPLE_PX / (x2 - x1)).round().astype(int).tolist()
    cv2.rectangle(crop_rgb, corners[:2], corners[2:], DROPPED_RGB, 1)
    cv2.putText(crop_rgb, f"{box['score']:.2f}", (3, EXAMPLE_PX - 4), FONT, 0.35, (255, 255, 255), 1)
    return crop_rgb


def _row(title: str, examples: list[np.ndarray]) -> np.ndarray:
    row = np.zeros((EXAMPLE_PX, TITLE_PX + EXAMPLES * EXAMPLE_PX, 3), np.uint8)
    cv2.putText(row, title, (6, EXAMPLE_PX // 2), FONT, 0.45, (255, 255, 255), 1)
    for number, example in enumerate(examples):
        left = TITLE_PX + number * EXAMPLE_PX
        row[:, left : left + EXAMPLE_PX] = example
    return row


def _tile(image_rgb: np.ndarray, boxes: Iterable[dict], title: str) -> np.ndarray:
    height, width = image_rgb.shape[:2]
    scale = TILE_WIDTH_PX / width
    tile = cv2.resize(image_rgb, (TILE_WIDTH_PX, round(height * scale)), interpolation=cv2.INTER_AREA)
    # Kept boxes last, on top.
    for box in sorted(boxes, key=lambda row: row["dropped_by"] is None):
        colour = KEPT_RGB if box["dropped_by"] is None else DROPPED_RGB
        corners = [round(box[name] * scale) for name in ("x1", "y1", "x2", "y2")]
        cv2.rectangle(tile, corners[:2], corners[2:], colour, 1 if box["dropped_by"] else 2)
        label = box["dropped_by"] or f"{box['score']:.2f}"
        cv2.putText(tile, label, (corners[0] + 2, corners[1] + 11), FONT, 0.35, colour, 1)
    cv2.putText(tile, title, (4, tile.shape[0] - 5), FONT, 0.35, (255, 255, 255), 1)
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
