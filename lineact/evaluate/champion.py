"""The last release, and what the new one gains over it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lineact.boxes import iou_matrix
from lineact.bundle import load_bundle
from lineact.bundle.pair import Bundle
from lineact.errors import InputError
from lineact.evaluate import EvaluateParams
from lineact.evaluate.looking import FrameResult
from lineact.evaluate.scoring import right_end_to_end
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
        "`python -m flows.pin line=<line>` fetches the champion from the registry; evaluate.champion: null in the "
        "line's file goes on without one"
    )
    if not folder.is_dir():
        raise InputError(f"{folder}: expected the bundle of champion version {version}, found nothing; {way_out}")
    found = sha256_of_tree(folder)
    if found != expected:
        raise InputError(
            f"{folder}: expected a bundle with this hash, found {found}; remove the folder, then {way_out}"
        )
    return load_bundle(folder, params.runtime, precision=params.precision, threads=params.threads)


def gains(
    params: EvaluateParams, challenger: Sequence[FrameResult], champion: Sequence[FrameResult]
) -> dict[str, float | int | None]:
    """Paired bootstrap intervals of challenger less champion, over the same true boxes.

    An action gain's item is a true box with a decided action: right where it was found and named right, so a miss is
    wrong. A recall gain's item is a true box: found or not, by any box of at least `match_iou`.

    Returns:
        `action_gain_low`, `_mean`, `_high`, `recall_gain_...`, and `gain_blocks`; None without such items.
    """
    metrics: dict[str, float | int | None] = {}
    both = {
        "action": (right_end_to_end(challenger), right_end_to_end(champion)),
        "recall": (_found(challenger, params.match_iou), _found(champion, params.match_iou)),
    }
    for name, (ours, theirs) in both.items():
        owners = [
            result.truth
            for result in challenger
            for action in result.truth.actions
            if name == "recall" or action is not None
        ]
        if not owners:
            metrics |= {f"{name}_gain_low": None, f"{name}_gain_mean": None, f"{name}_gain_high": None}
            continue
        times_s = np.array([truth.pts_s for truth in owners])
        blocks = time_blocks([truth.video_sha256 for truth in owners], times_s, params.block_s)
        interval = paired_bootstrap(
            np.array(ours, np.float64),
            np.array(theirs, np.float64),
            blocks,
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


def _found(results: Sequence[FrameResult], min_iou: float) -> list[bool]:
    """Per true box: is there a box of at least this IoU?"""
    found: list[bool] = []
    for result in results:
        iou = iou_matrix(result.boxes_xyxy_px, result.truth.boxes_xyxy_px)  # P x T
        found += (iou.max(axis=0, initial=0) >= min_iou).tolist()
    return found
