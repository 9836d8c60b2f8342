"""How well the tiny Grounding DINO does what it is asked: the production backend on scenes and on simulated lines."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lineact.boxes import iou_matrix
from lineact.detect.backend import Detections
from lineact.detect.grounding_dino import GroundingDino, GroundingDinoParams
from lineact.foundation.corpus import NamedScenes
from lineact.foundation.judge import LINES, LineFrames, line_frames
from lineact.foundation.words import CONCEPTS, HAND, covered_names

SCORE_FLOOR = 0.05
MIN_IOU = 0.4
NMS_IOU = 0.5
# Boxes a picture for things not in view that a threshold may leave on held-out scenes: half of what a station may have,
# for stations differ from scenes and from one another. How much margin that takes was seen on the simulated lines.
MOST_ABSENT = 0.05
THRESHOLDS = np.round(np.arange(0.1, 0.71, 0.01), 2)
# No prompt of the training holds them.
NEVER_HEARD = ("giraffe", "bicycle", "teapot", "volcano")


@dataclass(frozen=True)
class HandAnswers:
    """Answers to the prompt "hand", with truth.

    Attributes:
        found: per picture.
        boxes_xyxy_px: true boxes per picture, n x 4.
    """

    found: list[Detections]
    boxes_xyxy_px: list[np.ndarray]

    def scores(self, threshold: float) -> dict[str, float]:
        """Recall and accuracy at IoU 0.4 of boxes with at least this score."""
        hands = predicted = recalled = right = 0
        for found, truth in zip(self.found, self.boxes_xyxy_px, strict=True):
            hit = iou_matrix(found.boxes_xyxy_px[found.scores >= threshold], truth) >= MIN_IOU
            predicted, hands = predicted + hit.shape[0], hands + hit.shape[1]
            right, recalled = right + int(hit.any(1).sum()), recalled + int(hit.any(0).sum())
        return {"recall_iou40": recalled / max(hands, 1), "accuracy_iou40": right / max(predicted, 1)}


def ask(folder: Path, images_rgb: Sequence[np.ndarray], prompt: Sequence[str]) -> list[Detections]:
    """The production backend's answers by torch, down to `SCORE_FLOOR`, without overlapping ones."""
    params = GroundingDinoParams(tuple(prompt), SCORE_FLOOR, SCORE_FLOOR, 8, str(folder), "main", "float32", "torch")
    backend = GroundingDino(params)
    found: list[Detections] = []
    for start in range(0, len(images_rgb), params.batch_size):
        found += backend.detect_images(images_rgb[start : start + params.batch_size])
    return [_without_overlaps(one) for one in found]


def _without_overlaps(found: Detections) -> Detections:
    """Non-maximum suppression, as the line's filters do it."""
    import torch
    from torchvision.ops import nms

    rows = nms(torch.from_numpy(found.boxes_xyxy_px), torch.from_numpy(found.scores), NMS_IOU).numpy()
    return Detections(found.boxes_xyxy_px[rows], found.scores[rows], tuple(found.phrases[row] for row in rows))


def boxes_a_picture(found: Sequence[Detections], threshold: float) -> float:
    """Mean number of boxes with at least this score."""
    return float(np.mean([(one.scores >= threshold).sum() for one in found]))


def ask_scenes(
    folder: Path, scenes: NamedScenes, indices: Iterable[int], seed: int = 0
) -> tuple[HandAnswers, list[Detections]]:
    """Asks scenes for hands, and each for something that it does not show.

    Args:
        folder: the model.
        scenes: held-out scenes.
        indices: which of them.
        seed: decides what they are asked for.

    Returns:
        Answers about hands, and answers about what is not in view.
    """
    generator = np.random.default_rng(seed)
    pictures: list[np.ndarray] = []
    hands: list[np.ndarray] = []
    asked: dict[str, list[np.ndarray]] = {}
    for index in indices:
        image, names, boxes = scenes.scene(index)
        pictures.append(np.ascontiguousarray(image))
        hands.append(boxes[np.isin(names, covered_names(HAND))])
        hidden = [concept for concept in CONCEPTS if not np.isin(covered_names(concept), names).any()]
        words = [concept.phrases[0] for concept in hidden] + list(NEVER_HEARD)
        asked.setdefault(str(generator.choice(words)), []).append(pictures[-1])
    absent = [one for words, shown in asked.items() for one in ask(folder, shown, [words])]
    return HandAnswers(ask(folder, pictures, ["hand"]), hands), absent


def choose_threshold(hands: HandAnswers, absent: Sequence[Detections]) -> float:
    """The threshold with the best F2 of recall and accuracy among those that keep absent things quiet.

    Recall counts twice, as for a line's own detector: a person removes a wrong box more quickly than they draw one.
    """

    def worth(threshold: float) -> tuple[bool, float]:
        recall, accuracy = hands.scores(threshold).values()
        quiet = boxes_a_picture(absent, threshold) <= MOST_ABSENT
        return quiet, 5 * recall * accuracy / max(recall + 4 * accuracy, 1e-9)

    return float(max(THRESHOLDS.tolist(), key=worth))


def absent_words(station: str) -> tuple[str, ...]:
    """What a simulated line's prompt could ask for in vain: things that stand, lie and are held nowhere there."""
    from lineact.simulation.stations import STATIONS

    place = STATIONS[station]
    movements = (*place.steps, *place.holds, *place.irrelevant)
    there = {*place.litter, *(kind for movement in movements for kind in movement.held), "hand", "glove"}
    return tuple(concept.phrases[0] for concept in CONCEPTS if not there & set(concept.names)) + NEVER_HEARD


def judge(folder: Path, scenes: NamedScenes, count: int) -> dict[str, float]:
    """All scores of a model: the threshold from held-out scenes, and with it the scenes' and the lines' numbers.

    Args:
        folder: the model.
        scenes: held-out ones.
        count: the first so many choose the threshold, the next so many are scored.
    """
    hands, absent = ask_scenes(folder, scenes, range(count))
    threshold = choose_threshold(hands, absent)
    scored = range(count, 2 * count)
    hands, absent = ask_scenes(folder, scenes, scored)
    scores = {"box_threshold": threshold}
    scores |= {f"scenes_hand_{name}": value for name, value in hands.scores(threshold).items()}
    scores["scenes_absent_boxes_a_picture"] = boxes_a_picture(absent, threshold)
    for line in LINES:
        on_line = judge_line(folder, line_frames(line, 20.0, 3), absent_words(line), threshold)
        scores |= {f"{line}_{name}": value for name, value in on_line.items()}
    recalls = named_recall(folder, scenes, scored, threshold)
    return scores | {f"scenes_recall_iou40 of {phrase!r}": value for phrase, value in recalls.items()}


def judge_line(
    folder: Path, frames: LineFrames, words: Sequence[str], threshold: float, every: int = 8
) -> dict[str, float]:
    """Hands found on a line, and boxes for what is not there.

    Args:
        folder: the model.
        frames: of the line.
        words: what is not there, each asked alone.
        threshold: least score.
        every: of the frames one in so many is asked for what is not there.

    Returns:
        recall_iou40, accuracy_iou40, absent_boxes_a_frame (mean over words) and worst_absent_boxes_a_frame.
    """
    hands = HandAnswers(ask(folder, frames.images_rgb, ["hand"]), frames.boxes_xyxy_px)
    absent = [boxes_a_picture(ask(folder, frames.images_rgb[::every], [word]), threshold) for word in words]
    return hands.scores(threshold) | {
        "absent_boxes_a_frame": float(np.mean(absent)),
        "worst_absent_boxes_a_frame": float(np.max(absent)),
    }


def named_recall(folder: Path, scenes: NamedScenes, indices: Iterable[int], threshold: float) -> dict[str, float]:
    """Recall at IoU 0.4 of each kind of thing, asked alone, on those of the scenes that show it."""
    shown = [scenes.scene(index) for index in indices]
    recalls = {}
    for concept in CONCEPTS:
        wanted = [np.isin(names, covered_names(concept)) for _, names, _ in shown]
        pictures = [np.ascontiguousarray(one[0]) for one, own in zip(shown, wanted, strict=True) if own.any()]
        truths = [one[2][own] for one, own in zip(shown, wanted, strict=True) if own.any()]
        answers = HandAnswers(ask(folder, pictures, [concept.phrases[0]]), truths)
        recalls[concept.phrases[0]] = answers.scores(threshold)["recall_iou40"]
    return recalls
