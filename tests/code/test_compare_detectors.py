"""The compared detectors: asked once, stored, and thresholded as production does."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lineact.bundle.processing import fit_into, select_boxes
from lineact.compare import FLOOR, THRESHOLDS
from lineact.compare.answers import SHARD_FRAMES, Answer, answers_of
from lineact.compare.detectors import GroundingDinoAnswers, YoloV5Answers
from lineact.compare.pictures import Pictures
from lineact.compare.words import naming_positions, text_scores
from lineact.detect.grounding_dino import GroundingDino, GroundingDinoParams
from lineact.errors import InputError
from tests.tiny_grounding_dino import write_hub_model

ROOT = Path(__file__).parents[2]
GENERAL = ROOT / "models/foundation/tiny/yolov5"
PROMPT = ("hand", "glove tool")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def dino(tmp_path_factory) -> GroundingDinoParams:
    weights = write_hub_model(tmp_path_factory.mktemp("grounding_dino"))
    return GroundingDinoParams(PROMPT, 0.25, 0.0, 2, str(weights), "main", "float32", "torch")


def images(count: int, size_hw: tuple[int, int] = (48, 64)) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (*size_hw, 3), dtype=np.uint8) for _ in range(count)]


def names_a_hand(phrase: str, hand_words: tuple[str, ...]) -> bool:
    """By the phrase that transformers gives, of which full stops and marks name nothing."""
    for mark in (".", "[CLS]", "[SEP]"):
        phrase = phrase.replace(mark, " ")
    words = f" {' '.join(phrase.split())} "
    return any(f" {word} " in words for word in hand_words) if hand_words else bool(words.strip())


@pytest.mark.parametrize("hand_words", [(), ("hand",), ("hand", "tool"), ("glove tool",), ("screwdriver",)])
def test_grounding_dino_is_thresholded_as_transformers_does(dino, hand_words):
    shown = images(2)
    compared = GroundingDinoAnswers(dino, hand_words)
    answers = compared.answer(shown)
    middle = [np.quantile(answer.scores, [0.2, 0.5, 0.8]) for answer in answers]  # random weights score all alike
    tokens = np.concatenate([answer.token_probabilities[:, 1:-1].ravel() for answer in answers])
    box, text = np.sort(np.concatenate(middle)), np.quantile(tokens, [0.1, 0.3, 0.5, 0.7, 0.9])
    kept = [compared.kept(answer, box, text) for answer in answers]
    for column, text_threshold in enumerate(text):
        plain = GroundingDino(replace(dino, text_threshold=float(text_threshold))).detect_images(shown)
        for one, answer, stays in zip(plain, answers, kept, strict=True):
            named = np.array([names_a_hand(phrase, hand_words) for phrase in one.phrases], bool)
            for row, threshold in enumerate(box):
                expected = sorted(one.scores[named & (one.scores > threshold)].tolist())
                assert sorted(answer.scores[stays[row, column]].tolist()) == pytest.approx(expected, abs=1e-6)
    assert (hand_words == ("screwdriver",)) == (not any(stays.any() for stays in kept))


def test_queries_hold_every_box_and_the_probability_of_every_token(dino):
    backend = GroundingDino(dino)
    (found,), (plain,) = backend.queries(images(1)), backend.detect_images(images(1))
    assert found.token_probabilities.shape == (10, 7)  # [CLS] hand . glove tool . [SEP]
    np.testing.assert_allclose(found.boxes_xyxy_px, plain.boxes_xyxy_px, atol=1e-4)
    np.testing.assert_allclose(found.token_probabilities.max(axis=1), plain.scores, atol=1e-6)


@pytest.mark.parametrize(
    ("hand_words", "positions"),
    [
        ((), [[1], [3], [4]]),
        (("hand",), [[1]]),
        (("Tool", "hand"), [[4], [1]]),
        (("glove tool",), [[3, 4]]),
        (("tool glove",), []),
    ],
)
def test_where_a_prompt_names_hands(dino, hand_words, positions):
    from transformers import AutoTokenizer

    assert naming_positions(AutoTokenizer.from_pretrained(dino.weights), PROMPT, hand_words) == positions


def test_a_box_is_named_by_its_best_word_and_a_word_by_its_weakest_token():
    probabilities = np.array([[0.9, 0.2, 0.8, 0.1], [0.9, 0.2, 0.3, 0.7]], np.float32)
    assert text_scores(probabilities, [[1], [2, 3]]).tolist() == pytest.approx([0.2, 0.3])
    assert text_scores(probabilities, []).tolist() == [0, 0]
    assert text_scores(np.zeros((0, 4), np.float32), [[1]]).tolist() == []


def test_yolov5_finds_what_the_release_finds_at_the_same_thresholds():
    """As `lineact.bundle.pair.Bundle.detect` and the training's `predict` do: the same steps around the same graph."""
    import torch

    compared = YoloV5Answers(GENERAL / "detector.yaml", GENERAL / "model.safetensors", (320, 192))
    (image,) = images(1, (90, 150))
    (answer,) = compared.answer([image])
    assert answer.size_wh == (150, 90)
    fitted, placement = fit_into(image, (320, 192))
    with torch.inference_mode():
        output = compared._graph(torch.from_numpy(fitted[None]))[0].numpy()
    low = float(output[4:].max()) / 4  # noise shows no hand: raise what is found over the floor
    output[4:] *= 0.9 / (4 * low)
    rows = np.argsort(-output[4], kind="stable")[: int((output[4] >= FLOOR).sum())]
    assert len(rows) > 20
    offset, scale = np.array([placement.left_px, placement.top_px] * 2), np.array(placement.scale_xy * 2)
    raised = Answer(
        placement.source_wh, (output[:4, rows].T - offset) / scale, output[4, rows], answer.token_probabilities
    )
    kept = compared.kept(raised, THRESHOLDS, THRESHOLDS)
    for row, column in ((0, 9), (4, 4), (9, 18)):
        expected, _ = select_boxes(output, THRESHOLDS[row], THRESHOLDS[column], max_hands=1000)
        np.testing.assert_allclose(raised.boxes_inside_px[kept[row, column]], placement.to_source(expected), atol=1e-3)


def test_a_yolov5_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"detector\.yaml: expected a file of a YOLOv5, found nothing"):
        YoloV5Answers(tmp_path / "detector.yaml", tmp_path / "model.safetensors", (320, 192))


class Counted:
    """Answers with as many boxes as the image's first pixel says, and counts images; dies at one of them."""

    def __init__(self, version: int = 1, dies_at: int | None = None) -> None:
        self.key: dict[str, object] = {"backend": "counted", "version": version}
        self.seen: list[int] = []
        self.dies_at = dies_at

    def answer(self, images_rgb: Sequence[np.ndarray]) -> list[Answer]:
        answers = []
        for image in images_rgb:
            number = int(image[0, 0, 0])
            if number == self.dies_at:
                raise KeyboardInterrupt
            self.seen.append(number)
            count = number % 3
            scores = np.linspace(0.9, 0.5, count, dtype=np.float32)
            boxes = np.arange(4 * count, dtype=np.float32).reshape(count, 4) - 2
            answers.append(Answer((8, 4), boxes, scores, np.full((count, 5), 0.25, np.float32)))
        return answers

    def kept(self, answer: Answer, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.ones((len(first), len(second), len(answer.scores)), bool)


def numbered(count: int) -> Pictures:
    def read(indices: Sequence[int]) -> Iterator[np.ndarray]:
        return (np.full((4, 8, 3), index, np.uint8) for index in indices)

    return Pictures(tuple(f"frame {index}" for index in range(count)), (np.zeros((0, 4)),) * count, read)


COUNT = 2 * SHARD_FRAMES + 3


def test_a_model_sees_every_frame_once():
    first, second = Counted(), Counted()
    asked = answers_of("model", first, numbered(COUNT))
    stored = answers_of("model", second, numbered(COUNT))
    assert (first.seen, second.seen) == (list(range(COUNT)), [])
    for one, other in zip(asked, stored, strict=True):
        assert one.size_wh == other.size_wh == (8, 4)
        for name in ("boxes_xyxy_px", "scores", "token_probabilities", "boxes_inside_px"):
            assert np.array_equal(getattr(one, name), getattr(other, name)), name
    assert [len(answer.scores) for answer in asked] == [index % 3 for index in range(COUNT)]
    assert asked[2].token_probabilities.shape == (2, 5)
    assert asked[1].boxes_inside_px.tolist() == [[0, 0, 0, 1]]


def test_a_killed_run_loses_the_shard_in_flight_alone():
    killed, again = Counted(dies_at=SHARD_FRAMES + 2), Counted()
    with pytest.raises(KeyboardInterrupt):
        answers_of("model", killed, numbered(COUNT))
    answers_of("model", again, numbered(COUNT))
    assert again.seen == list(range(SHARD_FRAMES, COUNT))


def test_other_weights_or_frames_are_asked_anew():
    answers_of("model", Counted(), numbered(4))
    other_weights, other_frames = Counted(version=2), Counted()
    answers_of("model", other_weights, numbered(4))
    answers_of("model", other_frames, numbered(5))
    assert (len(other_weights.seen), len(other_frames.seen)) == (4, 5)


def test_thresholds_are_no_part_of_the_key_but_the_prompt_is(dino):
    key = GroundingDinoAnswers(dino, ()).key
    same = GroundingDinoAnswers(replace(dino, text_threshold=0.4, score_floor=0.2, batch_size=1), ("hand",)).key
    assert same == key
    assert GroundingDinoAnswers(replace(dino, prompt=("glove",)), ()).key != key
