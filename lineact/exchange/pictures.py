"""A line's queue, or its finished data set, as pictures for other tools: what is said of each, and its content."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from lineact.dataset.frames import FrameId
from lineact.dataset.pictures import dataset_stem, decoded_frames
from lineact.decisions import EMPTY, HandBox, boxes_of_text
from lineact.errors import InputError
from lineact.exchange import UNDECIDED, Picture
from lineact.exchange.names import Asked, stem_of
from lineact.png import decode_png, encode_png

GAP_PX = 4  # between the crops of a group
JPEG_QUALITY = 90
Drawn = Iterator[tuple[Picture, bytes]]


@dataclass(frozen=True)
class PictureSet:
    """Pictures of one kind, with one list of labels.

    Attributes:
        name: "frames", "crops" or "groups".
        labels: what a box (of frames) or a picture may be called.
        count: how many pictures.
        draw: yields each with its content, a JPEG or PNG as its name's suffix says.
    """

    name: str
    labels: tuple[str, ...]
    count: int
    draw: Callable[[], Drawn]

    @property
    def has_boxes(self) -> bool:
        """Whether the labels are those of boxes."""
        return self.name == "frames"


def frames_of_queue(items: Sequence[dict], raw: Path) -> Drawn:
    """Frames to correct with their suggested boxes, by recording and time.

    Args:
        items: of the task "box", see `lineact.exchange.waiting`.
        raw: the folder of recordings.
    """
    by_frame = {(item["video_sha256"], item["pts_s"]): item for item in items}
    for frame, image_rgb in decoded_frames(raw, by_frame, "export_labels: frames"):
        item = by_frame[frame]
        size = _size_of(image_rgb)
        boxes = [_named(box, size) for box in boxes_of_text(item["suggested"] or EMPTY)]
        picture = Picture(f"{_stem_of(item)}.jpg", size, tuple(box for box in boxes if box))
        yield picture, encode_jpeg(image_rgb)


def crops_of_queue(items: Sequence[dict], crops_png: Mapping[str, bytes]) -> Drawn:
    """Crops to decide, and groups to name as one picture of all the crops shown.

    Args:
        items: of the tasks "crop", "audit" and "group", see `lineact.exchange.waiting`.
        crops_png: PNG of every crop by box id.
    """
    for item in items:
        content = montage([crops_png[box_id] for box_id in item["box_ids"]])
        yield Picture(f"{_stem_of(item)}.png", _size_of(decode_png(content)), label=item["suggested"]), content


def _stem_of(item: dict) -> str:
    return stem_of(Asked(item["item_id"], item["task"], item["basis"]))


def montage(crops_png: Sequence[bytes]) -> bytes:
    """Square crops of one size side by side in rows, as PNG; a single one stays what it is."""
    if len(crops_png) == 1:
        return crops_png[0]
    crops = [decode_png(content) for content in crops_png]
    side = max(max(crop.shape[:2]) for crop in crops)
    columns = math.ceil(math.sqrt(len(crops)))
    step = side + GAP_PX
    sheet = np.full((math.ceil(len(crops) / columns) * step - GAP_PX, columns * step - GAP_PX, 3), 255, np.uint8)
    for index, crop in enumerate(crops):
        top, left = index // columns * step, index % columns * step
        sheet[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
    return encode_png(sheet)


@dataclass(frozen=True)
class Labelled:
    """A frame of the finished data set all of whose hands have an action.

    Attributes:
        frame: recording and time.
        subset: "train", "val", or "test" for the held-out part.
        hands: every hand on it.
    """

    frame: FrameId
    subset: str
    hands: tuple[HandBox, ...]


def labelled_frames(
    detection: Path, frames: pa.Table, crops: pa.Table, holdout: pa.Table
) -> tuple[list[Labelled], int]:
    """The frames of the finished data set, and how many were left out because a hand on them has no action.

    Args:
        detection: folder of the detector's pictures and labels, see `lineact.dataset.pictures`.
        frames: schema FRAMES.
        crops: schema LABELLED_CROPS.
        holdout: schema HOLDOUT_BOXES.
    """
    stems = {dataset_stem(*frame): frame for frame in zip(*_columns(frames, "video_sha256", "pts_s"), strict=True)}
    acting: dict[FrameId, list[HandBox]] = {}
    for row in crops.to_pylist():
        acting.setdefault((row["video_sha256"], row["pts_s"]), []).append(_hand(row))
    chosen: list[Labelled] = []
    left_out = 0
    for subset in ("train", "val"):
        for path in sorted((detection / "labels" / subset).glob("*.txt")):
            if path.stem not in stems:
                raise InputError(f"{path}: expected a frame of the recordings, found none so named; run `dvc repro`")
            hands = acting.get(stems[path.stem], [])
            if len(hands) == len(path.read_text().splitlines()):
                chosen.append(Labelled(stems[path.stem], subset, tuple(hands)))
            else:
                left_out += 1
    truth: dict[FrameId, list[HandBox]] = {}
    for row in holdout.to_pylist():
        hands = truth.setdefault((row["video_sha256"], row["pts_s"]), [])
        if row["x1"] is not None:
            hands.append(_hand(row))
    chosen += [Labelled(frame, "test", tuple(hands)) for frame, hands in truth.items()]
    return chosen, left_out


def draw_labelled(chosen: Sequence[Labelled], raw: Path) -> Drawn:
    """Frames of the finished data set, see `labelled_frames`."""
    by_frame = {labelled.frame: labelled for labelled in chosen}
    for frame, image_rgb in decoded_frames(raw, by_frame, "export_labels: frames"):
        size = _size_of(image_rgb)
        boxes = tuple(box for box in (_named(hand, size) for hand in by_frame[frame].hands) if box)
        picture = Picture(f"{dataset_stem(*frame)}.jpg", size, boxes, subset=by_frame[frame].subset)
        yield picture, encode_jpeg(image_rgb)


def draw_crops(crops: pa.Table) -> Drawn:
    """Crops of the finished data set (schema LABELLED_CROPS), each with its action."""
    for number, row in enumerate(crops.to_pylist()):
        size = _size_of(decode_png(row["crop_png"]))
        stem = f"{dataset_stem(row['video_sha256'], row['pts_s'])}_{number:06d}"
        yield Picture(f"{stem}.png", size, label=row["action"], subset=row["split"]), row["crop_png"]


def encode_jpeg(image_rgb: np.ndarray) -> bytes:
    """A picture (uint8, H x W x 3, RGB) as JPEG."""
    import cv2

    return cv2.imencode(".jpg", image_rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes()


def _named(box: HandBox, size_wh_px: tuple[int, int]) -> HandBox | None:
    """The part of a box inside its picture (other tools refuse the rest), called UNDECIDED where nothing is known."""
    width, height = size_wh_px
    x1, y1, x2, y2 = box.box_xyxy_px
    inside = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
    if inside[0] >= inside[2] or inside[1] >= inside[3]:
        return None
    return HandBox(inside, box.action or UNDECIDED)


def _hand(row: dict) -> HandBox:
    return HandBox((row["x1"], row["y1"], row["x2"], row["y2"]), row["action"])


def _size_of(image_rgb: np.ndarray) -> tuple[int, int]:
    return image_rgb.shape[1], image_rgb.shape[0]


def _columns(table: pa.Table, *names: str) -> list[list]:
    return [table[name].to_pylist() for name in names]
