"""SPOT's answers as segments of a video."""

import numpy as np

from lineact.temporal.heads import DecodeParams
from lineact.temporal.heads.soft_nms import soft_nms
from lineact.temporal.segments import Row, Segments, segments_of
from lineact.temporal.spot.network import Answers

THRESHOLDS = tuple(np.round(np.arange(0.1, 1.0, 0.1), 1).tolist())
MARGIN = 0.25  # of a run's length, on either side, against which it must stand out

Run = tuple[int, int, float]  # first cell, the one behind the last, score


def decode(
    answers: Answers, edges_s: np.ndarray, labels: tuple[str, ...], video: str, params: DecodeParams
) -> Segments:
    """Segments of one video, in falling order of scores.

    Args:
        answers: of a batch of this video alone.
        edges_s: where cells begin and the last one ends, L + 1.
        labels: of the logits but the last, K.
        video: its name.
        params: see `DecodeParams`.
    """
    probabilities = answers.logits[0].softmax(dim=1)[:, :-1].double().numpy()  # L x K
    masks = answers.masks[0].sigmoid().double().numpy()  # L x L
    rows: list[Row] = []
    for number, label in enumerate(labels):
        runs = sorted(_runs(probabilities[:, number], masks, params), key=lambda run: (-run[2], run))
        begin, end, score = np.array(runs[: params.most_before]).reshape(-1, 3).T
        start_s, end_s = edges_s[begin.astype(int)], edges_s[end.astype(int)]
        chosen = end_s - start_s > params.min_duration_s
        found = soft_nms(start_s[chosen], end_s[chosen], score[chosen], params)
        rows += [(video, start, end, label, score) for start, end, score in np.stack(found, axis=1).tolist()]
    rows.sort(key=lambda row: -row[4])
    return segments_of(rows[: params.most_after])


def _runs(probability: np.ndarray, masks: np.ndarray, params: DecodeParams) -> set[Run]:
    """Where an action may be: runs of its cells, and runs of what these cells' masks hold."""
    runs: set[Run] = set()
    for threshold in THRESHOLDS:
        for begin, end in _above(probability, threshold):
            score = _stands_out(probability, begin, end)
            if score >= max(params.min_score, 1e-9):
                runs.add((begin, end, score))
    for cell in np.flatnonzero(probability >= max(params.min_score, THRESHOLDS[0])):
        mask = masks[cell]
        for threshold in THRESHOLDS:
            low = np.flatnonzero(mask < threshold)
            place = int(np.searchsorted(low, cell))
            if place < len(low) and low[place] == cell:
                break  # the cell is not in its own mask from here on
            begin = int(low[place - 1]) + 1 if place else 0
            end = int(low[place]) if place < len(low) else len(mask)
            score = float(probability[begin:end].mean()) * _stands_out(mask, begin, end)
            if score >= max(params.min_score, 1e-9):
                runs.add((begin, end, score))
    return runs


def _above(values: np.ndarray, threshold: float) -> list[tuple[int, int]]:
    padded = np.concatenate([[False], values >= threshold, [False]])
    changes = np.flatnonzero(padded[1:] != padded[:-1])
    return [(int(begin), int(end)) for begin, end in changes.reshape(-1, 2)]


def _stands_out(values: np.ndarray, begin: int, end: int) -> float:
    """Mean of a run less the mean of its margins: the greatest where the run is neither too long nor too short."""
    margin = max(1, round(MARGIN * (end - begin)))
    around = np.concatenate([values[max(begin - margin, 0) : begin], values[end : end + margin]])
    return float(values[begin:end].mean() - (around.mean() if len(around) else 0.0))
