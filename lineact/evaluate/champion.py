"""The last release, and what the new one gains over it."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from lineact.boxes import iou_matrix
from lineact.bundle import load_bundle
from lineact.bundle.pair import Bundle
from lineact.errors import InputError
from lineact.evaluate import EvaluateParams
from lineact.evaluate.looking import FrameResult
from lineact.evaluate.scoring import right_end_to_end
from lineact.evaluate.truth import TruthFrame
from lineact.files import sha256_of_tree
from lineact.metrics import paired_bootstrap, time_blocks

CHAMPIONS = Path(".lineact/champions")  # bundles by the hash of their tree


def open_champion(params: EvaluateParams) -> Bundle | None:
    """Loads the pinned champion.

    Raises:
        InputError: where its bundle is not there or another one lies in its place.
    """
    if params.champion is None:
        return None
    version, expected = params.champion.version, params.champion.bundle_sha256
    folder = CHAMPIONS / expected
    way_out = (
        "`python -m flows.pin line=<line>` fetches the champion where the registry or this checkout has it, and names "
        "the other ways out where not"
    )
    if not folder.is_dir():
        raise InputError(f"{folder}: expected the bundle of champion version {version}, found nothing; {way_out}")
    found = sha256_of_tree(folder)
    if found != expected:
        raise InputError(
            f"{folder}: expected a bundle with this hash, found {found}; remove the folder, then {way_out}"
        )
    return load_bundle(folder)


def gains(
    params: EvaluateParams, challenger: Sequence[FrameResult], champion: Sequence[FrameResult]
) -> dict[str, float | int | None]:
    """Paired bootstrap intervals of challenger less champion, over the same frames and true boxes.

    An action gain's item is a true box with a decided action: right where it was found and named right, so a miss is
    wrong. A recall gain's item is a true box: found or not, by any box of at least `match_iou`. A false boxes gain's
    item is a frame: how many fewer boxes on it lie on no hand.

    Returns:
        `action_gain_low`, `_mean`, `_high` and `_blocks`, `recall_gain_...`, `false_boxes_gain_...`; None without such
        items.
    """
    items = {
        "action": (right_end_to_end(challenger), right_end_to_end(champion), _places(challenger, _decided)),
        "recall": (_found(challenger, params.match_iou), _found(champion, params.match_iou), _places(challenger, len)),
        "false_boxes": (
            [-count for count in _false_boxes(challenger, params.match_iou)],
            [-count for count in _false_boxes(champion, params.match_iou)],
            [result.truth for result in challenger],
        ),
    }
    metrics: dict[str, float | int | None] = {}
    for name, (ours, theirs, places) in items.items():
        if not places:
            metrics |= {f"{name}_gain_{figure}": None for figure in ("low", "mean", "high", "blocks")}
            continue
        interval = paired_bootstrap(
            np.array(ours, np.float64),
            np.array(theirs, np.float64),
            time_blocks(
                [truth.video_sha256 for truth in places], np.array([truth.pts_s for truth in places]), params.block_s
            ),
            resamples=params.resamples,
            level=params.level,
            seed=params.seed,
        )
        metrics |= {
            f"{name}_gain_low": interval.low,
            f"{name}_gain_mean": interval.mean,
            f"{name}_gain_high": interval.high,
            f"{name}_gain_blocks": interval.block_count,
        }
    return metrics


def _places(results: Sequence[FrameResult], count: Callable[[Sequence[str | None]], int]) -> list[TruthFrame]:
    """The frame of every item, where `count` of a frame's actions are items."""
    return [result.truth for result in results for _ in range(count(result.truth.actions))]


def _decided(actions: Sequence[str | None]) -> int:
    return sum(action is not None for action in actions)


def _found(results: Sequence[FrameResult], min_iou: float) -> list[bool]:
    """Per true box: is there a box of at least this IoU?"""
    found: list[bool] = []
    for result in results:
        iou = iou_matrix(result.boxes_xyxy_px, result.truth.boxes_xyxy_px)  # P x T
        found += (iou.max(axis=0, initial=0) >= min_iou).tolist()
    return found


def _false_boxes(results: Sequence[FrameResult], min_iou: float) -> list[int]:
    """Per frame: how many boxes have no true box at this IoU?"""
    counts = []
    for result in results:
        iou = iou_matrix(result.boxes_xyxy_px, result.truth.boxes_xyxy_px)  # P x T
        counts.append(int((iou.max(axis=1, initial=0) < min_iou).sum()))
    return counts
