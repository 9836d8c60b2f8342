"""What another tool's file says, as decisions of a line: bound to their items, checked, told where they are wrong."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

import pyarrow as pa

from lineact.dataset.frames import FrameId
from lineact.dataset.pictures import dataset_stem
from lineact.decisions import Decision, HandBox, boxes_of_text, frame_item, text_of_boxes
from lineact.exchange import UNDECIDED, Heard, Picture, refuse
from lineact.exchange.names import Asked, asked_by
from lineact.groups import shown_basis
from lineact.review.answers import labels_of, refuse_outside

_UPLOADED = re.compile(r"[0-9a-f]{8}(-|__)(?P<stem>.+)", re.ASCII)  # what Label Studio makes of an uploaded file's name
_NUMBERED = re.compile(r"(?P<recording>.+?)[_-](?:frame[_-]?)?(?P<number>\d+)", re.ASCII)


class KnownLine:
    """A line's frames and queue, and which of them a picture's name means."""

    def __init__(self, videos: pa.Table, frames: pa.Table, queue: pa.Table, numbered_from: int) -> None:
        """Takes tables of schemas VIDEOS, FRAMES and QUEUE.

        Args:
            videos: the recordings.
            frames: all frames.
            queue: today's.
            numbered_from: number of a recording's first frame in names such as rec_00_000017.jpg.
        """
        self.rows: dict[str, dict] = {row["item_id"]: row for row in queue.to_pylist()}
        self.recordings = {sha256[:12] for sha256 in videos["video_sha256"].to_pylist()}
        self._sha256_of: dict[str, list[str]] = {}
        for sha256, name in zip(videos["video_sha256"].to_pylist(), videos["name"].to_pylist(), strict=True):
            self._sha256_of.setdefault(PurePath(name).stem, []).append(sha256)
        self._sizes: dict[str, tuple[int, int]] = {}
        self._by_stem: dict[str, FrameId] = {}
        self._by_number: dict[tuple[str, int], FrameId] = {}
        for row in frames.select(["video_sha256", "pts_s", "index", "width_px", "height_px"]).to_pylist():
            frame = row["video_sha256"], row["pts_s"]
            self._sizes[frame_item(*frame)] = row["width_px"], row["height_px"]
            self._by_stem[dataset_stem(*frame)] = frame
            self._by_number[row["video_sha256"], row["index"] + numbered_from] = frame

    def asked_by(self, stem: str) -> Asked | None:
        """The item that a picture's name means, one of ours or of a data set's; None where it is foreign."""
        asked = asked_by(stem)
        if asked is None:
            uploaded = _UPLOADED.fullmatch(stem)
            stems = [stem, uploaded["stem"]] if uploaded else [stem]
            frame = next((one for name in stems if (one := self._by_stem.get(name) or self._numbered(name))), None)
            if frame is None:
                return None
            item_id = frame_item(*frame)
            return Asked(item_id, "box", self.rows[item_id]["basis"] if item_id in self.rows else "")
        if asked.task == "box":
            return asked if asked.item_id in self._sizes else None
        return asked if asked.task == "group" or asked.item_id[:12] in self.recordings else None

    def size_of(self, asked: Asked) -> tuple[int, int]:
        """Width and height in pixels of a frame."""
        return self._sizes[asked.item_id]

    def size_of_stem(self, stem: str) -> tuple[int, int] | None:
        """Width and height in pixels of a frame by its picture's name; None where it is no frame of the line."""
        asked = self.asked_by(stem)
        return self._sizes.get(asked.item_id) if asked else None

    def _numbered(self, stem: str) -> FrameId | None:
        match = _NUMBERED.fullmatch(stem)
        recordings = self._sha256_of.get(match["recording"], []) if match else []
        if match is None or len(recordings) != 1:
            return None
        return self._by_number.get((recordings[0], int(match["number"])))


@dataclass(frozen=True)
class Unsaid:
    """For what a file does not tell.

    Attributes:
        reviewer: who.
        said_at: when, UTC, ISO 8601.
    """

    reviewer: str
    said_at: str


@dataclass(frozen=True)
class Result:
    """What became of a file's pictures.

    Attributes:
        decisions: in the file's order, with whether the file tells the time of each.
        waiting: pictures that are not decided, in words.
        unknown: decided items that today's queue does not ask (frames and crops count all the same).
    """

    decisions: tuple[tuple[Decision, bool], ...]
    waiting: tuple[str, ...]
    unknown: tuple[str, ...]


def _refuse_name(reviewer: str) -> None:
    """Lets a reviewer's name through that decisions.csv can hold; raises ValueError."""
    if not reviewer.isprintable():  # a line break would split the row
        raise ValueError(f"expected a reviewer's name on one line, found {reviewer!r}")
    if reviewer.startswith(("=", "+", "-", "@")):  # a spreadsheet would run it
        raise ValueError(f"expected a reviewer's name, found {reviewer!r}, which a spreadsheet takes for a formula")


def decide(heard: Heard, known: KnownLine, actions: Sequence[str], unsaid: Unsaid, where: Path) -> Result:
    """Makes decisions of what a file says; all of it, or none where anything is wrong.

    A picture whose boxes are not all named, or without its label, waits. So does a group that shows other crops today:
    its number names another set.

    Args:
        heard: see the formats.
        known: the line.
        actions: the line's actions, without NG.
        unsaid: reviewer and time where the file has none.
        where: the file, for messages.

    Raises:
        InputError: names foreign pictures, unknown labels, boxes outside, doubled boxes or pictures.
    """
    decisions: list[tuple[Decision, bool]] = []
    waiting = list(heard.waiting)
    unknown: list[str] = []
    problems: list[str] = []
    first: dict[tuple[str, str, str], str] = {}
    for said in heard.said:
        asked = known.asked_by(said.picture.stem)
        if asked is None:
            problems.append(f"{said.place}: expected a picture of this line, found {said.picture.name!r}")
            continue
        before = first.setdefault((asked.item_id, said.said_at, said.reviewer), said.place)
        if before != said.place:
            problems.append(f"{said.place}: expected each picture once, found it at {before} too")
        row = known.rows.get(asked.item_id)
        try:
            _refuse_name(said.reviewer or unsaid.reviewer)
            decided = _decided(said.picture, asked, known, actions)
        except ValueError as error:
            problems.append(f"{said.place}: {error}")
            continue
        if asked.task == "group" and (row is None or row["basis"] != asked.basis):
            waiting.append(f"{said.place}: the group shows other crops today")
        elif not decided:
            waiting.append(
                f"{said.place}: a box without an action" if asked.task == "box" else f"{said.place}: no label"
            )
        else:
            unknown += [asked.item_id] if row is None else []
            decision = Decision(
                item_id=asked.item_id,
                task=asked.task,
                suggested=row["suggested"] if row else "",
                decided=decided,
                reviewer=said.reviewer or unsaid.reviewer,
                decided_at=said.said_at or unsaid.said_at,
                seconds=round(said.seconds, 2),
                basis=shown_basis(row) if row and asked.task == "group" else asked.basis,
            )
            decisions.append((decision, bool(said.said_at)))
    refuse(where, problems, "Mend these places in the tool or in the file and import it again; nothing was imported")
    return Result(tuple(decisions), tuple(waiting), tuple(unknown))


def _decided(picture: Picture, asked: Asked, known: KnownLine, actions: Sequence[str]) -> str:
    """What `Decision.decided` says; "" where the picture waits."""
    labels = labels_of(asked.task, actions)
    if asked.task != "box":
        if picture.boxes:
            raise ValueError("expected one label of the whole picture, found boxes")
        _refuse_unknown({picture.label} - {""}, labels)
        return "" if picture.label == UNDECIDED else picture.label
    if picture.label:
        raise ValueError(f"expected boxes, found the label {picture.label!r} of the whole picture")
    size = known.size_of(asked)
    if picture.size_wh_px != size:
        raise ValueError(f"expected a picture of {size[0]} x {size[1]} pixels, found {picture.size_wh_px}")
    _refuse_unknown({box.action for box in picture.boxes} - {""}, labels)
    text = text_of_boxes(_inside(box, size) for box in picture.boxes)
    boxes = boxes_of_text(text)  # rounding may leave nothing of a box
    if len(set(boxes)) < len(boxes):
        raise ValueError("expected each box once, found the same one twice")
    return "" if {"", UNDECIDED} & {box.action for box in boxes} else text


def _refuse_unknown(found: set[str], labels: Sequence[str]) -> None:
    if unknown := sorted(found - {*labels, UNDECIDED}):
        raise ValueError(f"expected one of {', '.join(labels)}, found {', '.join(map(repr, unknown))}")


def _inside(box: HandBox, size_wh_px: tuple[int, int]) -> HandBox:
    """The box, cut at the picture's edge, which tools' rounding may cross by a little."""
    width, height = size_wh_px
    x1, y1, x2, y2 = box.box_xyxy_px
    refuse_outside(box, size_wh_px)
    return HandBox((max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))), box.action)
