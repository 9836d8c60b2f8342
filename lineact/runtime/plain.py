"""The plain way: every frame through the whole pair, one after the other."""

import time
from collections.abc import Iterable, Iterator

import numpy as np

from lineact.boxes import iou_matrix
from lineact.bundle.pair import Bundle
from lineact.runtime.frame import Frame
from lineact.runtime.results import TOP_ACTIONS, FrameResult, TrackedHand

SAME_HAND_IOU = 0.2


def recognise_plainly(bundle: Bundle, frames: Iterable[Frame]) -> Iterator[FrameResult]:
    """Recognises every frame; a box that overlaps one of the frame before is the same hand."""
    before: tuple[TrackedHand, ...] = ()
    numbers = iter(range(1, 2**62))
    for frame in frames:
        image_rgb = frame.rgb()
        boxes_xyxy_px, scores = bundle.detect(image_rgb)
        probabilities = bundle.classify(bundle.crops(image_rgb, boxes_xyxy_px))
        iou = iou_matrix(boxes_xyxy_px, np.array([hand.box_xyxy_px for hand in before]))  # N x M
        hands = []
        for row, box in enumerate(boxes_xyxy_px):
            known = iou[row].argmax() if len(before) and iou[row].max() >= SAME_HAND_IOU else None
            x1, y1, x2, y2 = (float(value) for value in box)
            order = np.argsort(-probabilities[row])[:TOP_ACTIONS]
            top = tuple((bundle.labels[label], float(probabilities[row, label])) for label in order)
            number = next(numbers) if known is None else before[known].hand_id
            if known is not None:
                iou[:, known] = 0  # one hand each
            hands.append(TrackedHand(number, (x1, y1, x2, y2), float(scores[row]), *top[0], top))
        before = tuple(hands)
        yield FrameResult(frame, before, True, len(before), time.monotonic())
