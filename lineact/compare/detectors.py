"""The detectors of the comparison: Grounding DINO, and YOLOv5 with any weights."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lineact.bundle.processing import Placement, fit_into
from lineact.compare import FLOOR
from lineact.compare.answers import Answer
from lineact.compare.surfaces import kept_by_suppression, kept_by_text
from lineact.compare.words import naming_positions, text_scores
from lineact.detect.grounding_dino import GroundingDino, GroundingDinoParams
from lineact.errors import InputError
from lineact.files import sha256_of_file

if TYPE_CHECKING:
    from lineact.export.graphs import DetectorGraph

CODE_VERSION = 1  # raise it where the same frames and weights give other answers


class GroundingDinoAnswers:
    """Grounding DINO by its box and its text threshold.

    Boxes are the model's own: what a line's rules (`detect.filters`) would drop afterwards is still there, but for
    boxes that no hand word names. (In the papers the text threshold changes nothing, LRIHAR table 2: there a box counts
    whatever names it.)

    Attributes:
        key: see `lineact.compare.answers.Detector`.
    """

    def __init__(self, params: GroundingDinoParams, hand_words: tuple[str, ...]) -> None:
        """Loads nothing yet.

        Args:
            params: weights and prompt; their thresholds have no effect.
            hand_words: phrases of the prompt that mean a hand; none where all do.

        Raises:
            InputError: where the weights are not there.
        """
        self._params = params
        self._hand_words = hand_words
        self._backend = GroundingDino(params)
        weights = {name: self._backend.key[name] for name in ("weights", "code")}
        self.key: dict[str, object] = {
            "backend": "grounding_dino",
            "prompt": params.prompt,
            "floor": FLOOR,
            "code": CODE_VERSION,
            "model": weights,
        }

    def answer(self, images_rgb: Sequence[np.ndarray]) -> list[Answer]:
        """Boxes that score above the floor on each image (uint8, H x W x 3)."""
        batch = self._params.batch_size
        batches = [images_rgb[start : start + batch] for start in range(0, len(images_rgb), batch)]
        queries = [one for images in batches for one in self._backend.queries(images)]
        answers = []
        for image_rgb, found in zip(images_rgb, queries, strict=True):
            scores = found.token_probabilities.max(axis=1)
            rows = np.argsort(-scores, kind="stable")[: int((scores > FLOOR).sum())]
            size_wh = (image_rgb.shape[1], image_rgb.shape[0])
            answers.append(Answer(size_wh, found.boxes_xyxy_px[rows], scores[rows], found.token_probabilities[rows]))
        return answers

    def kept(self, answer: Answer, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Which boxes stay at F box and S text thresholds: bool, F x S x P."""
        named = text_scores(answer.token_probabilities, self._naming_positions)
        return kept_by_text(answer.scores, named, first, second)

    @cached_property
    def _naming_positions(self) -> list[list[int]]:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(self._params.weights, revision=self._params.revision)
        return naming_positions(tokenizer, self._params.prompt, self._hand_words)


class YoloV5Answers:
    """YOLOv5 by its confidence and the IoU of its suppression, looking at frames as the release does.

    Attributes:
        key: see `lineact.compare.answers.Detector`.
    """

    def __init__(self, architecture: Path, weights: Path, input_wh: tuple[int, int]) -> None:
        """Loads nothing yet.

        Args:
            architecture: detector.yaml, of one class.
            weights: safetensors.
            input_wh: of the network, pixels, multiples of 32.

        Raises:
            InputError: where a file is not there.
        """
        for path in (architecture, weights):
            if not path.is_file():
                raise InputError(f"{path}: expected a file of a YOLOv5, found nothing there")
        self._architecture, self._weights, self._input_wh = architecture, weights, input_wh
        self.key: dict[str, object] = {
            "backend": "yolov5",
            "architecture": sha256_of_file(architecture),
            "weights": sha256_of_file(weights),
            "input_wh": input_wh,
            "floor": FLOOR,
            "code": CODE_VERSION,
        }

    def answer(self, images_rgb: Sequence[np.ndarray]) -> list[Answer]:
        """Boxes that score at least the floor on each image (uint8, H x W x 3), overlapping ones included."""
        return [self._answer(image_rgb) for image_rgb in images_rgb]

    def kept(self, answer: Answer, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Which boxes stay at F confidences and S suppression IoUs: bool, F x S x P."""
        return kept_by_suppression(answer.boxes_xyxy_px, answer.scores, first, second)

    def _answer(self, image_rgb: np.ndarray) -> Answer:
        import torch

        fitted_rgb, placement = fit_into(image_rgb, self._input_wh)
        with torch.inference_mode():
            output = self._graph(torch.from_numpy(fitted_rgb[None]))[0].numpy()  # 4 + 1 x anchors
        scores = output[4:].max(axis=0)  # anchors
        rows = np.argsort(-scores, kind="stable")[: int((scores >= FLOOR).sum())]
        boxes_xyxy_px = _in_frame(output[:4, rows].T, placement)
        return Answer(placement.source_wh, boxes_xyxy_px, scores[rows], np.zeros((len(rows), 0), np.float32))

    @cached_property
    def _graph(self) -> "DetectorGraph":
        from lineact.export.graphs import DetectorGraph
        from lineact.foundation.yolov5 import build_yolov5, load_weights

        model: Any = build_yolov5(self._architecture)
        load_weights(model, self._weights)
        return DetectorGraph(model)


def _in_frame(boxes_xyxy_px: np.ndarray, placement: Placement) -> np.ndarray:
    """Boxes from the input's pixels in the frame's, not cut: suppression must see them as the release does."""
    offset = np.array([placement.left_px, placement.top_px] * 2, np.float32)
    return ((boxes_xyxy_px - offset) / np.array(placement.scale_xy * 2, np.float32)).astype(np.float32)
