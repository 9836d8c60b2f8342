"""Decodes pictures and cuts their crops; names what cannot be used; leaves out what is there twice."""

import hashlib
import io
import warnings
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lineact.boxes import crop_square
from lineact.decisions import NG, HandBox
from lineact.errors import InputError
from lineact.imported import ImportParams, Listed, Problem
from lineact.imported.copies import thumbnail
from lineact.picture_size import MOST_PIXELS, unusable_size
from lineact.png import encode_png
from lineact.progress import Progress

NAMED_PROBLEMS = 8  # so many are told at once; problems.csv has all


@dataclass(frozen=True)
class Picture:
    """A picture that can be used.

    Attributes:
        listed: where it comes from.
        sha256: of its pixels.
        size_wh_px: width and height.
        hands: boxes in pixels, and actions.
        pngs: a crop for each hand.
        thumbnails: float32, one row of 256 for each hand.
    """

    listed: Listed
    sha256: str
    size_wh_px: tuple[int, int]
    hands: tuple[HandBox, ...]
    pngs: tuple[bytes, ...]
    thumbnails: np.ndarray


@dataclass(frozen=True)
class Reading:
    """What came of the pictures.

    Attributes:
        pictures: that can be used, each once.
        problems: those that cannot.
        repeated: names of further copies of pictures, with the same labels, left out.
    """

    pictures: tuple[Picture, ...]
    problems: tuple[Problem, ...]
    repeated: tuple[str, ...]


def read_pictures(listed: Sequence[Listed], params: ImportParams, context: float, stage: str) -> Reading:
    """Decodes every picture once.

    Args:
        listed: the pictures.
        params: the settings.
        context: side of a crop as a multiple of the box's longer side.
        stage: begins the lines of progress.

    Raises:
        InputError: where the same pixels lie in two given parts.
    """
    pictures: list[Picture] = []
    problems: list[Problem] = []
    progress = Progress(f"{stage}: pictures", len(listed))
    for one in listed:
        try:
            pictures.append(_read(one, params, context))
        except ValueError as error:
            problems.append(Problem(one.name, str(error)))
        progress.add(1)
    _refuse_shared(pictures)
    kept, contradicting, repeated = _each_once(pictures)
    return Reading(tuple(kept), tuple(problems + contradicting), tuple(repeated))


def refuse_many_bad(reading: Reading, count: int, params: ImportParams, where: object) -> None:
    """Lets pass where few pictures cannot be used.

    Args:
        reading: what came of the pictures.
        count: of all pictures.
        params: with the greatest share.
        where: the folder.

    Raises:
        InputError: names the first ones, and the way out.
    """
    bad = len(reading.problems)
    if bad > params.max_bad_share * count:
        named = "; ".join(f"{problem.name}: {problem.found}" for problem in reading.problems[:NAMED_PROBLEMS])
        raise InputError(
            f"{where}: {bad} of {count} pictures cannot be used, expected at most {params.max_bad_share:.0%}: {named}; "
            "mend or remove them, or raise max_bad_share"
        )
    if not reading.pictures:
        raise InputError(f"{where}: expected pictures, found none")


def decode_picture(path: Path) -> np.ndarray:
    """A picture, uint8, H x W x 3, RGB, turned as its camera says.

    Raises:
        ValueError: where it cannot be decoded, is smaller than a patch, or vast.
    """
    import cv2

    try:
        content = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise ValueError(f"expected a picture, found none that can be read ({error.strerror})") from error
    _refuse_size(content)
    image_bgr = cv2.imdecode(content, cv2.IMREAD_COLOR) if len(content) else None
    if image_bgr is None:
        raise ValueError("expected a picture, found something that cannot be decoded")
    return np.ascontiguousarray(image_bgr[..., ::-1])


def _refuse_size(content: np.ndarray) -> None:
    """By the size that a picture's head declares: a file of some KB may unpack to more than the memory holds."""
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            width, height = Image.open(io.BytesIO(content.tobytes())).size
    except Image.DecompressionBombError as error:
        raise ValueError(f"expected a picture of at most {MOST_PIXELS} pixels, found a larger one") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ImportError) as error:
        # ImportError: ultralytics, once imported, has Pillow ask for a package where it does not know a file
        raise ValueError("expected a picture, found something that cannot be decoded") from error
    if unusable := unusable_size(width, height):
        raise ValueError(f"expected a picture of {unusable}")


def _read(listed: Listed, params: ImportParams, context: float) -> Picture:
    """Raises ValueError, in words, where the picture cannot be used."""
    image_rgb = decode_picture(listed.path)
    size_wh_px = image_rgb.shape[1], image_rgb.shape[0]
    hands = listed.hands_of(size_wh_px)
    labels = (*params.actions, NG)
    for hand in hands:
        if hand.action not in labels:
            raise ValueError(f"expected one of the actions {', '.join(labels)}, found {hand.action!r}")
        x1, y1, x2, y2 = hand.box_xyxy_px
        if not (0 <= (x1 + x2) / 2 <= size_wh_px[0] and 0 <= (y1 + y2) / 2 <= size_wh_px[1]):
            raise ValueError(f"expected boxes on the picture, found one at {x1:.0f},{y1:.0f} to {x2:.0f},{y2:.0f}")
    crops = [crop_square(image_rgb, np.array(hand.box_xyxy_px), context, params.crop_px) for hand in hands]
    thumbnails = np.array([thumbnail(crop) for crop in crops], np.float32)
    sha256 = hashlib.sha256(repr(image_rgb.shape).encode() + image_rgb.tobytes()).hexdigest()
    return Picture(listed, sha256, size_wh_px, hands, tuple(map(encode_png, crops)), thumbnails)


def _refuse_shared(pictures: Sequence[Picture]) -> None:
    first: dict[str, Picture] = {}
    for picture in pictures:
        other = first.setdefault(picture.sha256, picture)
        if other.listed.given != picture.listed.given:
            raise InputError(
                f"{other.listed.given} and {picture.listed.given} leak: {other.listed.name} and {picture.listed.name} "
                "are the same picture; leave it out of one of the lists"
            )


def _each_once(pictures: Sequence[Picture]) -> tuple[list[Picture], list[Problem], list[str]]:
    """One of each picture; where copies are called differently, none: nobody knows which label is right."""
    alike: dict[str, list[Picture]] = defaultdict(list)
    for picture in pictures:
        alike[picture.sha256].append(picture)
    kept, contradicting, repeated = [], [], []
    for first, *others in alike.values():
        if all(other.hands == first.hands for other in others):
            kept.append(first)
            repeated += [other.listed.name for other in others]
            continue
        for one in (first, *others):
            names = [other.listed.name for other in (first, *others) if other is not one]
            contradicting.append(Problem(one.listed.name, f"the same picture as {names[0]}, with other labels"))
    return kept, contradicting, repeated
