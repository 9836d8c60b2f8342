"""The pretraining corpus on disk: crops with attributes, and scenes with boxes in YOLO layout. Resumable by shard."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lineact.files import cache_folder, write_bytes, write_text, write_whole
from lineact.simulation.canvas import Canvas
from lineact.simulation.objects import DRAWN

CODE_VERSION = 2  # raise where pictures change
SHARD = 1024
ATTRIBUTES = ("held", "pose", "target", "gloved", "left", "angle")
SCENE_SIZE_WH = (320, 192)
NAMED_CODE_VERSION = 4  # likewise, of the named scenes
NAMED_SIZE_WH = (480, 270)
NAMED_HAND_SHARE = (0.1, 0.36)  # of a hand's length in the picture's height
NAMED_LIKE_GROUND = 0.25  # see `render_scene`
NAMES = ("hand", "glove", *DRAWN)  # "hand" is a bare one


@dataclass(frozen=True)
class Crops:
    """Crops with attributes.

    Attributes:
        images_rgb: uint8, N x side x side x 3.
        attributes: int64, N x 6 in the order of ATTRIBUTES.
    """

    images_rgb: np.ndarray
    attributes: np.ndarray


class NamedScenes:
    """Scenes with the names and boxes of all that is seen in them; pictures are decoded when asked for.

    Args:
        shards: files of `named_scene_corpus`.
    """

    def __init__(self, shards: Sequence[Path]) -> None:
        self._pictures: list[np.ndarray] = []
        self._names: list[np.ndarray] = []
        self._boxes: list[np.ndarray] = []
        for shard in shards:
            with np.load(shard) as part:
                self._pictures += np.split(part["encoded"], part["picture_ends"][:-1])
                self._names += np.split(part["names"], part["box_ends"][:-1])
                self._boxes += np.split(part["boxes_xyxy_px"], part["box_ends"][:-1])

    def __len__(self) -> int:
        return len(self._pictures)

    def scene(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One scene.

        Returns:
            The picture, uint8 H x W x 3; indices into NAMES, int64, n; boxes, float32, n x 4.
        """
        image_bgr = np.asarray(cv2.imdecode(self._pictures[index], cv2.IMREAD_COLOR))
        return image_bgr[:, :, ::-1], self._names[index], self._boxes[index]


def named_scene_corpus(count: int, seed: int, workers: int) -> NamedScenes:
    """Scenes with machines, smaller hands, and the names of everything; rounded up to whole shards.

    Args:
        count: how many.
        seed: another seed gives other pictures.
        workers: processes.
    """
    looks = {"size_wh": NAMED_SIZE_WH, "hand_share": NAMED_HAND_SHARE, "like_ground": NAMED_LIKE_GROUND}
    key = {"code": NAMED_CODE_VERSION, "seed": seed, **looks}
    folder = cache_folder("foundation_named_scenes", key)
    shards = [folder / f"{index:05d}.npz" for index in range(-(-count // SHARD))]
    _run_missing(_render_named_scenes, [(path, seed) for path in shards], workers)
    return NamedScenes(shards)


def crop_corpus(count: int, seed: int, side_px: int, workers: int) -> Crops:
    """Crops, rendered or taken from the cache.

    Args:
        count: how many; rounded up to whole shards.
        seed: another seed gives other pictures.
        side_px: side of a crop.
        workers: processes.
    """
    folder = cache_folder("foundation_crops", {"code": CODE_VERSION, "seed": seed, "side_px": side_px})
    shards = [folder / f"{index:05d}.npz" for index in range(-(-count // SHARD))]
    _run_missing(_render_crops, [(path, seed, side_px) for path in shards], workers)
    parts = [np.load(path) for path in shards]
    images = np.concatenate([part["images_rgb"] for part in parts])
    return Crops(images, np.concatenate([part["attributes"] for part in parts]))


def scene_corpus(count: int, seed: int, workers: int) -> Path:
    """A folder `images/`, `labels/` of scenes with boxes of class 0, hand (gloved or not); rounded up to whole shards.

    Args:
        count: how many.
        seed: another seed gives other pictures.
        workers: processes.
    """
    folder = cache_folder("foundation_scenes", {"code": CODE_VERSION, "seed": seed, "size_wh": SCENE_SIZE_WH})
    marks = [folder / f"{index:05d}.done" for index in range(-(-count // SHARD))]
    _run_missing(_render_scenes, [(path, seed) for path in marks], workers)
    return folder


def _run_missing(render: Callable[[Any], Path], jobs: list[tuple[Any, ...]], workers: int) -> None:
    missing = [job for job in jobs if not job[0].is_file()]
    if not missing:
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_one_thread) as pool:
        for number, path in enumerate(pool.map(render, missing), 1):
            print(f"corpus: {path.parent.parent.name} {number}/{len(missing)} shards", flush=True)


def _one_thread() -> None:
    os.nice(5)
    cv2.setNumThreads(1)


def _render_crops(job: tuple[Path, int, int]) -> Path:
    from lineact.foundation.scenes import render_crop

    path, seed, side_px = job
    generator = np.random.default_rng([seed, int(path.stem)])
    crops = [render_crop(generator, side_px) for _ in range(SHARD)]
    attributes = np.array([[getattr(crop, name) for name in ATTRIBUTES] for crop in crops], np.int64)
    images = np.stack([crop.image_rgb for crop in crops])
    write_whole(path, lambda temporary: np.savez(temporary, images_rgb=images, attributes=attributes))
    return path


def _render_scenes(job: tuple[Path, int]) -> Path:
    from lineact.foundation.scenes import render_scene

    mark, seed = job
    generator = np.random.default_rng([seed, int(mark.stem)])
    width, height = SCENE_SIZE_WH
    for index in range(SHARD):
        image_rgb, objects = render_scene(generator, SCENE_SIZE_WH)
        name = f"{mark.stem}_{index:04d}"
        rows = []
        for thing in objects:
            if thing.name in ("hand", "glove"):
                x1, y1, x2, y2 = thing.box_xyxy_px
                centre_x, centre_y = (x1 + x2) / 2 / width, (y1 + y2) / 2 / height
                rows.append(f"0 {centre_x:.6f} {centre_y:.6f} {(x2 - x1) / width:.6f} {(y2 - y1) / height:.6f}\n")
        encoded = cv2.imencode(".jpg", image_rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
        write_bytes(mark.parent / "images" / f"{name}.jpg", encoded.tobytes())
        write_text(mark.parent / "labels" / f"{name}.txt", "".join(rows))
    write_text(mark, "")
    return mark


def _render_named_scenes(job: tuple[Path, int]) -> Path:
    from lineact.foundation.grounds import lay_ground
    from lineact.foundation.machines import draw_machines
    from lineact.foundation.scenes import render_scene

    def furnish(canvas: Canvas, own: np.random.Generator, hand_px: float) -> np.ndarray:
        lay_ground(canvas, own, hand_px)
        return draw_machines(canvas, own, hand_px)

    path, seed = job
    generator = np.random.default_rng([seed, int(path.stem)])
    pictures, names, boxes = [], [], []
    for _ in range(SHARD):
        image_rgb, objects = render_scene(generator, NAMED_SIZE_WH, NAMED_HAND_SHARE, furnish, NAMED_LIKE_GROUND)
        encoded = cv2.imencode(".jpg", image_rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
        pictures.append(encoded.ravel())
        names.append([NAMES.index(thing.name) for thing in objects])
        boxes.append(np.array([thing.box_xyxy_px for thing in objects], np.float32).reshape(-1, 4))
    arrays: dict[str, Any] = {
        "encoded": np.concatenate(pictures),
        "picture_ends": np.cumsum([len(picture) for picture in pictures]),
        "names": np.concatenate(names).astype(np.int64),
        "boxes_xyxy_px": np.concatenate(boxes),
        "box_ends": np.cumsum([len(own) for own in boxes]),
    }
    write_whole(path, lambda temporary: np.savez(temporary, **arrays))
    return path
