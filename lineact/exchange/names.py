"""File names of pictures: each tells the item of the queue and what was shown (its basis), so no list goes along.

frame_<recording>_<seconds>_<basis>                      crop_<recording>_<seconds>_<x1>_<y1>_<x2>_<y2>_<basis>
group_<number>_<basis>                                   audit_... like crop_
"""

import re
from dataclasses import dataclass

from lineact.decisions import box_of_id, frame_of_item
from lineact.errors import InputError

_PLACE = r"(?P<frame>[0-9a-f]{12}_-?\d+\.\d{6})"
_NAMES = (
    re.compile(r"group_(?P<group>\d+)_(?P<basis>[0-9a-f]{16})", re.ASCII),
    re.compile(rf"frame_{_PLACE}_(?P<basis>[0-9a-f]{{16}})", re.ASCII),
    re.compile(
        rf"(?P<task>crop|audit)_{_PLACE}_(?P<box>-?\d+_-?\d+_-?\d+_-?\d+)(_twin(?P<twin>\d+))?_(?P<basis>[0-9a-f]{{16}})",
        re.ASCII,
    ),
)


@dataclass(frozen=True)
class Asked:
    """An item of a queue, as a picture's name tells it.

    Attributes:
        item_id: the item.
        task: "group", "crop", "audit" or "box".
        basis: hash of what was shown.
    """

    item_id: str
    task: str
    basis: str


def stem_of(asked: Asked) -> str:
    """The name of an item's picture, without suffix.

    Raises:
        InputError: on an item id of no known form.
    """
    if asked.task == "group":
        return f"group_{asked.item_id.removeprefix('group:')}_{asked.basis}"
    if asked.task == "box":
        sha256, pts_s = frame_of_item(asked.item_id)
        return f"frame_{sha256}_{pts_s:.6f}_{asked.basis}"
    if box_of_id(asked.item_id) is None:
        raise InputError(f"item {asked.item_id!r}: expected <recording>@<seconds>#<box>, found another form")
    frame, _, rest = asked.item_id.partition("#")
    box = rest.rstrip("'")
    twin = f"_twin{len(rest) - len(box)}" if rest != box else ""
    numbers = "_".join(re.findall(r"(?:^|-)(-?\d+)", box))
    return f"{asked.task}_{frame.replace('@', '_')}_{numbers}{twin}_{asked.basis}"


def asked_by(stem: str) -> Asked | None:
    """The opposite of `stem_of`; None where the name is not of this form."""
    group, frame, crop = (pattern.fullmatch(stem) for pattern in _NAMES)
    if group:
        return Asked(f"group:{group['group']}", "group", group["basis"])
    if frame:
        return Asked(f"frame:{frame['frame'].replace('_', '@')}", "box", frame["basis"])
    if crop:
        twins = "'" * int(crop["twin"] or 0)
        box = crop["box"].replace("_", "-")
        return Asked(f"{crop['frame'].replace('_', '@')}#{box}{twins}", crop["task"], crop["basis"])
    return None
