"""What a look at a random crop was made under: it certifies labels that were laid down before it, and no others.

Whoever names a group, decides a crop or changes a setting after a look may do so because of what the look showed. So
every answer to a random crop is stamped with the settings that decide which crops are accepted and with what label, and
with what was decided so far. The stamp stands in the row's basis, behind what was shown: no clock is asked, and a row
that somebody edits or adds later is seen, whatever time it tells.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import replace

from lineact.decisions import Decision

STAMP_DIGITS = 8


def stamp_of(settings: str, decided: Iterable[Decision]) -> str:
    """The stamp of looks made now.

    Args:
        settings: see `DatasetParams.accepted_by`.
        decided: rows that stand and can change a label: names, crops and frames of the training part, those that
            calibrate too; none of the random crops that certify.
    """
    said = sorted((row.item_id, row.decided, row.shown if row.task == "group" else "") for row in decided)
    text = "\0".join(part for row in said for part in row)
    return f"{settings}/{hashlib.sha256(text.encode()).hexdigest()[:STAMP_DIGITS]}"


def stamped(rows: Iterable[Decision], stamp: str) -> list[Decision]:
    """Rows with the answers to random crops among them as looks that were made under a stamp."""
    return [replace(row, basis=f"{row.shown}/{stamp}") if row.task == "audit" else row for row in rows]


def stamp_in(basis: str) -> str:
    """The stamp of a look, of its row's basis; "" where it has none."""
    return basis.partition("/")[2]


def settings_in(stamp: str) -> str:
    """The settings of a stamp."""
    return stamp.partition("/")[0]
