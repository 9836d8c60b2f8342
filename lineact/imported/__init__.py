"""Pictures that come with labels (folders of crops, YOLO folders) become a line's data set.

`names` tells recordings by file names, `split` says who trains, validates and measures, `yolo` reads YOLO folders,
`reading` decodes and names what cannot be used, `copies` finds the same picture twice, `writing` writes the tables.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lineact.decisions import HandBox
from lineact.imported.split import FileSplitParams

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
Part = Literal["train", "val", "holdout"]
PARTS: tuple[Part, ...] = ("train", "val", "holdout")
SizeWh = tuple[int, int]


@dataclass(frozen=True)
class ImportParams:
    """Settings that both kinds of import share.

    Attributes:
        actions: the line's actions; a class called NG is the irrelevant one.
        crop_px: side of a stored crop, pixels.
        max_bad_share: the stage fails where more of the pictures cannot be used, 0 to 1.
        copy_below: two crops whose 16 x 16 grey thumbnails differ by less on average are copies, grey levels.
        split: who trains, validates and measures.
        seed: of the split.
    """

    actions: tuple[str, ...]
    crop_px: int
    max_bad_share: float
    copy_below: float
    split: FileSplitParams
    seed: int

    def __post_init__(self) -> None:
        if not self.actions or len(set(self.actions)) != len(self.actions) or "NG" in self.actions:
            raise ValueError(f"actions must be different names without NG, found {list(self.actions)}")
        if self.crop_px < 16 or self.copy_below < 0:
            raise ValueError("crop_px must be at least 16 and copy_below not negative")
        if not 0 <= self.max_bad_share <= 1:
            raise ValueError(f"max_bad_share must be from 0 to 1, found {self.max_bad_share}")


@dataclass(frozen=True)
class Listed:
    """A picture as its data set lists it.

    Attributes:
        name: its path below the folder of the data set, with slashes.
        path: of the file.
        inner: the part of the name that may tell a recording: without folders that name a class or a part.
        given: the part into which the data set puts it; None where it leaves that open.
        hands_of: width and height in pixels -> boxes and actions; raises ValueError where the labels cannot be used.
    """

    name: str
    path: Path
    inner: str
    given: Part | None
    hands_of: Callable[[SizeWh], tuple[HandBox, ...]]


@dataclass(frozen=True)
class Problem:
    """A picture that is left out.

    Attributes:
        name: of the picture.
        found: what is wrong with it.
    """

    name: str
    found: str
