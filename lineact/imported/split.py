"""Who trains, validates and measures among pictures: whole recordings, or blocks of file numbers with gaps between."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lineact.errors import InputError
from lineact.splits import MIN_RECORDINGS, ValidationBlocks, ValidationParams, choose_validation

Moment = tuple[str, float, str]  # recording, file number, action ("" where a picture has no hand)


@dataclass(frozen=True)
class FileSplitParams:
    """How pictures are split where their data set does not say it.

    Attributes:
        by: whole recordings, blocks of file numbers, or auto: recordings where names tell at least three.
        block: length of a block, file numbers.
        guard: file numbers around a block that nobody uses; at most `block`.
        holdout_share: share of the labels that measures, 0 to 1, neither included.
        validation_share: share of the other labels that validates, likewise.
    """

    by: Literal["auto", "recording", "name_block"]
    block: int
    guard: int
    holdout_share: float
    validation_share: float

    def __post_init__(self) -> None:
        if not 0 <= self.guard <= self.block or self.block < 1:
            raise ValueError(f"block must be at least 1, guard from 0 to block, found {self.block}, {self.guard}")
        for name in ("holdout_share", "validation_share"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} must lie between 0 and 1, found {getattr(self, name)}")


def choose_blocks(moments: Sequence[Moment], params: FileSplitParams, share: float, seed: int) -> ValidationBlocks:
    """Chooses what is split off so that every action's share in it is close to `share`.

    Args:
        moments: of all labels.
        params: the settings.
        share: 0 to 1.
        seed: of the candidates.

    Raises:
        InputError: where there are not two recordings or blocks.
    """
    recordings = {recording for recording, _, _ in moments}
    whole = params.by == "recording" or (params.by == "auto" and len(recordings) >= MIN_RECORDINGS)
    by: Literal["recording", "time"] = "recording" if whole else "time"
    units = recordings if whole else {(recording, number // params.block) for recording, number, _ in moments}
    if len(units) < 2:
        unit = "recordings" if whole else f"blocks of {params.block} file numbers"
        raise InputError(
            f"expected labels in at least two {unit} to split off {share:.0%}, found {len(units)}; add pictures, or "
            "set split.by: name_block with a shorter split.block"
        )
    return choose_validation(moments, ValidationParams(share, by, float(params.block), float(params.guard)), seed)
