"""Pictures with boxes or a label, as other labelling tools write and read them.

`names` gives each item of the queue a file name that tells the item again, `pictures` draws a line's queue or its
finished data set, `label_studio`, `cvat`, `coco` and `yolo` are the formats, `decide` makes decisions of what a file
says. All boxes in here are pixels of the source frame, x1 y1 x2 y2, half-open; each format has its own.
"""

from dataclasses import dataclass
from pathlib import PurePosixPath

from lineact.decisions import HandBox
from lineact.errors import InputError

UNDECIDED = "undecided"  # what a suggested box is called in other tools as long as its group has no name
NAMED_PROBLEMS = 8  # so many of a file's faults are told at once


@dataclass(frozen=True)
class Picture:
    """A picture and what is said of it.

    Attributes:
        name: of its file, without folders.
        size_wh_px: width and height.
        boxes: hands with their actions, or UNDECIDED; "" where a tool left a box without a label.
        label: of the picture as a whole; "" where there is none.
        subset: "train", "val" or "test"; "" where the pictures are not split.
    """

    name: str
    size_wh_px: tuple[int, int]
    boxes: tuple[HandBox, ...] = ()
    label: str = ""
    subset: str = ""

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.name).stem


@dataclass(frozen=True)
class Said:
    """A picture as a tool's file has it.

    Attributes:
        place: where in the file, for messages.
        picture: what it says.
        reviewer: who said it; "" where the file does not tell.
        said_at: when, UTC, ISO 8601; "" where the file does not tell.
        seconds: how long it took, 0 where the file does not tell.
    """

    place: str
    picture: Picture
    reviewer: str = ""
    said_at: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Heard:
    """What a file says.

    Attributes:
        said: one per picture, of Label Studio one per annotation.
        waiting: pictures that nobody has looked at yet, in words.
    """

    said: tuple[Said, ...]
    waiting: tuple[str, ...] = ()


def base_name(path: str) -> str:
    """The file name in a path of any system, without the suffix of the picture."""
    return PurePosixPath(path.replace("\\", "/")).name


def refuse(where: object, problems: list[str], way_out: str) -> None:
    """Ends with all that is wrong, where anything is.

    Raises:
        InputError: names the file, the first faults with their places, how many more there are, and the way out.
    """
    if problems:
        more = len(problems) - NAMED_PROBLEMS
        named = "; ".join(problems[:NAMED_PROBLEMS]) + (f"; and {more} more" if more > 0 else "")
        raise InputError(f"{where}: {named}. {way_out}")
