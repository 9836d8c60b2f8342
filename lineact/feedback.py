"""Crops that a station was unsure of: one file each, a line of JSON and the picture, so that none is half there."""

import json
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from lineact.bundle.processing import rgb_of
from lineact.errors import ConfigError, InputError
from lineact.png import encode_png
from lineact.settings import from_mapping

SUFFIX = ".crop"


@dataclass(frozen=True)
class Kept:
    """What is known of a kept crop. Nothing tells who worked: neither a hand's number nor a score of anybody.

    Attributes:
        line: the bundle's.
        camera: which one saw it.
        utc_s: when, seconds since 1970.
        action: what the recogniser took it for.
        confidence: how sure it was, 0 to 1.
        bundle: which one, see `lineact.runtime.events.Event`.
        crop_context: the crop's side is this factor times the box's longer side.
    """

    line: str
    camera: str
    utc_s: float
    action: str
    confidence: float
    bundle: str
    crop_context: float


class KeptCrop(NamedTuple):
    """A kept crop.

    Attributes:
        kept: what is known of it.
        crop_rgb: uint8, S x S x 3.
    """

    kept: Kept
    crop_rgb: np.ndarray


def content_of(crop: KeptCrop) -> bytes:
    """The file's content."""
    return json.dumps(asdict(crop.kept), ensure_ascii=False).encode() + b"\n" + encode_png(crop.crop_rgb)


def crop_of(content: bytes, where: str) -> KeptCrop:
    """The opposite of `content_of`.

    Args:
        content: of the file.
        where: it came from, for messages.

    Raises:
        InputError: where it is none.
    """
    heading, _, png = content.partition(b"\n")
    try:
        values: Any = json.loads(heading)
        kept = from_mapping(Kept, values, where)
        crop_rgb = rgb_of(png, where) if png else np.zeros((0, 1, 3), np.uint8)
    except (ValueError, ConfigError, InputError) as error:
        raise InputError(f"{where}: expected a crop that a station kept, found something else ({error})") from error
    if crop_rgb.ndim != 3 or crop_rgb.shape[0] != crop_rgb.shape[1]:
        raise InputError(f"{where}: expected a square crop, found one of {crop_rgb.shape}")
    return KeptCrop(kept, crop_rgb)
