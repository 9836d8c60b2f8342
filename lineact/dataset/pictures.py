"""Cuts the crops of boxes that a person drew, and writes the detector's pictures and labels. One pass per recording."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from lineact.boxes import crop_square
from lineact.context import crop_strip
from lineact.dataset import DatasetParams
from lineact.dataset.detection import begin_detection_set, yolo_lines
from lineact.dataset.frames import FrameId
from lineact.dataset.labels import LabelledCrop
from lineact.dataset.parts import LabelledFrame, Parts
from lineact.errors import InputError
from lineact.looking_back import read_with_past
from lineact.png import encode_png
from lineact.progress import Progress
from lineact.video import read_frames, videos_by_sha256


def write_pictures(raw: Path, stored: pa.Table, parts: Parts, params: DatasetParams, folder: Path) -> list[dict]:
    """Writes the detection set and returns the rows of the crops.

    Args:
        raw: the folder of recordings.
        stored: box_id and crop_png of schema EMBEDDED: crops of the boxes that nobody drew.
        parts: see `split`.
        params: the settings.
        folder: gets data.yaml, images/{train,val}/*.jpg and labels/{train,val}/*.txt (class, centre and size as shares
            of the picture; an empty file where there is no hand).

    Returns:
        Rows of schema LABELLED_CROPS by recording, time and box id.

    Raises:
        InputError: where a recording is not in the folder any more.
    """
    frames = {one.frame: (name, one) for name in ("train", "val") for one in parts.frames[name]}
    labelled_crops = [crop for name in ("train", "val") for crop in parts.crops[name]]
    with_context = params.short_context.context_s > 0
    drawn: dict[FrameId, list[LabelledCrop]] = {}
    for crop in labelled_crops:
        if crop.drawn and not with_context:
            drawn.setdefault(crop.frame, []).append(crop)
    begin_detection_set(folder)
    wanted = {crop.box_id for crop in labelled_crops}
    rows = zip(stored["box_id"].to_pylist(), stored["crop_png"], strict=True)
    pngs = {box_id: png.as_py() for box_id, png in rows if box_id in wanted}
    for frame, image_rgb in decoded_frames(raw, set(frames) | set(drawn), "dataset: cutting pictures, frames"):
        if frame in frames:
            name, labelled = frames[frame]
            _write_picture(folder, name, labelled, image_rgb, params.jpeg_quality)
        for crop in drawn.get(frame, []):
            box_xyxy_px = np.array(crop.box_xyxy_px)
            pngs[crop.box_id] = encode_png(crop_square(image_rgb, box_xyxy_px, params.context, params.crop_px))
    if with_context:
        pngs = _strips(raw, labelled_crops, params)
    crops = [_crop_row(crop, name, pngs) for name in ("train", "val") for crop in parts.crops[name]]
    return sorted(crops, key=lambda row: (row["video_sha256"], row["pts_s"], row["box_id"]))


def _strips(raw: Path, crops: list[LabelledCrop], params: DatasetParams) -> dict[str, bytes]:
    """Box id to the PNG of its crop with context."""
    of_frame: dict[FrameId, list[LabelledCrop]] = {}
    for crop in crops:
        of_frame.setdefault(crop.frame, []).append(crop)
    paths, pngs = videos_by_sha256(raw), {}
    progress = Progress("dataset: cutting crops with context, frames", len(of_frame))
    for sha256 in sorted({sha256 for sha256, _ in of_frame}):
        path = _recording(paths, sha256, raw)
        frames = sorted(frame for frame in of_frame if frame[0] == sha256)
        read = read_with_past(path, [pts_s for _, pts_s in frames], params.short_context.lags_s)
        for frame, (_, pictures_rgb) in zip(frames, read, strict=True):
            for crop in of_frame[frame]:
                strip = crop_strip(pictures_rgb, np.array(crop.box_xyxy_px), params.context, params.crop_px)
                pngs[crop.box_id] = encode_png(strip)
            progress.add(1)
    return pngs


def dataset_stem(video_sha256: str, pts_s: float) -> str:
    """What a frame is called in a line's data set: recording and milliseconds."""
    return f"{video_sha256[:12]}_{round(pts_s * 1000):09d}"


def decoded_frames(raw: Path, frames: Iterable[FrameId], doing: str) -> Iterator[tuple[FrameId, np.ndarray]]:
    """Decodes frames, each recording once.

    Args:
        raw: the folder of recordings.
        frames: recordings and times.
        doing: what for, for the progress.

    Yields:
        The frame, and uint8, H x W x 3, RGB; by recording and time.

    Raises:
        InputError: where a recording is not in the folder any more, or lacks a frame.
    """
    wanted = sorted(frames)
    paths = videos_by_sha256(raw) if wanted else {}
    progress = Progress(doing, len(wanted))
    for sha256 in sorted({sha256 for sha256, _ in wanted}):
        path = _recording(paths, sha256, raw)
        times_s = [pts_s for video, pts_s in wanted if video == sha256]
        for pts_s, frame in zip(times_s, read_frames(path, times_s), strict=True):
            yield (sha256, pts_s), frame.image_rgb
            progress.add(1)


def _recording(paths: dict[str, Path], sha256: str, raw: Path) -> Path:
    if sha256 not in paths:
        raise InputError(f"{raw}: expected the recording {sha256[:12]}, found none such; run `dvc repro`")
    return paths[sha256]


def _write_picture(folder: Path, name: str, labelled: LabelledFrame, image_rgb: np.ndarray, jpeg_quality: int) -> None:
    import cv2

    stem = dataset_stem(*labelled.frame)
    jpeg = cv2.imencode(".jpg", image_rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality])[1]
    (folder / "images" / name / f"{stem}.jpg").write_bytes(jpeg.tobytes())
    lines = yolo_lines(labelled.boxes_xyxy_px, (image_rgb.shape[1], image_rgb.shape[0]))
    (folder / "labels" / name / f"{stem}.txt").write_text("".join(f"{line}\n" for line in lines))


def _crop_row(crop: LabelledCrop, name: str, pngs: dict[str, bytes]) -> dict:
    x1, y1, x2, y2 = crop.box_xyxy_px
    return {
        "video_sha256": crop.frame[0],
        "pts_s": crop.frame[1],
        "box_id": crop.box_id,
        "x1": x1,
        "y1": y1,
        "x2": x2,
        "y2": y2,
        "action": crop.action,
        "split": name,
        "decided_by": crop.decided_by,
        "crop_png": pngs[crop.box_id],
    }
