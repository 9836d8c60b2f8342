"""The committed tiny Grounding DINO on stations that it has never seen, asked through the production backend."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from lineact.detect.backend import Detections
from lineact.foundation.judge import LINES, line_frames
from lineact.foundation.judge_grounding_dino import HandAnswers, absent_words, ask, boxes_a_picture
from lineact.foundation.weights import read_tensors

FOLDER = Path("models/foundation/tiny/grounding_dino")
THRESHOLD = 0.47  # box_threshold of the model's card
LABELLING = 0.45  # box_threshold of conf/detector/grounding_dino_tiny.yaml


@pytest.fixture(scope="module")
def frames():
    """A few frames of each line, by line."""
    return {line: line_frames(line, 20.0, 3, 1) for line in LINES}


@pytest.fixture(scope="module")
def hands(frames):
    """Answers to "hand", by line."""
    return {line: HandAnswers(ask(FOLDER, own.images_rgb, ["hand"]), own.boxes_xyxy_px) for line, own in frames.items()}


def _all_lines(hands: dict[str, HandAnswers]) -> HandAnswers:
    return HandAnswers(
        [found for own in hands.values() for found in own.found],
        [boxes for own in hands.values() for boxes in own.boxes_xyxy_px],
    )


def _named(found: Detections, word: str) -> np.ndarray:
    """Boxes at the threshold whose phrase holds this word."""
    said = np.array([word in phrase.split() for phrase in found.phrases], bool)
    return found.boxes_xyxy_px[(found.scores >= THRESHOLD) & said]


def test_the_folder_is_small_and_says_what_it_is():
    weights = read_tensors(str(FOLDER))
    assert {one.dtype for one in weights.values()} == {torch.float16}
    assert 172e6 / 100 < sum(one.numel() for one in weights.values()) < 172e6 / 50  # of grounding-dino-tiny's
    card = (FOLDER / "README.md").read_text()
    assert f"| box_threshold | {THRESHOLD:.3f} |" in card
    assert f"box_threshold: {LABELLING:g} " in Path("conf/detector/grounding_dino_tiny.yaml").read_text()


@pytest.mark.parametrize("line", LINES)
def test_the_card_says_that_the_targets_are_reached_on_every_station(line):
    card = (FOLDER / "README.md").read_text()
    scores = {name: float(value) for name, value in re.findall(rf"\| {line}_(\w+) \| ([\d.]+) \|", card)}
    assert scores["recall_iou40"] >= 0.9
    assert scores["accuracy_iou40"] >= 0.8
    assert scores["absent_boxes_a_frame"] <= 0.1


def test_hands_of_unseen_stations_are_found(hands):
    scores = _all_lines(hands).scores(THRESHOLD)
    assert scores["recall_iou40"] >= 0.88
    assert scores["accuracy_iou40"] >= 0.9  # every false box counts once, and every right one: overlaps are gone


def test_hands_of_the_demo_are_found_as_it_labels(hands):
    scores = hands["demo"].scores(LABELLING)
    assert min(scores.values()) >= 0.8


@pytest.mark.parametrize("line", LINES)
def test_no_station_is_left_out(hands, line):
    assert hands[line].scores(THRESHOLD)["recall_iou40"] >= 0.8
    assert min(hands[line].scores(LABELLING).values()) >= 0.8


@pytest.mark.parametrize("word", ["screwdriver", "box", "bottle"])
@pytest.mark.parametrize("line", LINES)
def test_asked_for_something_else_hands_are_not_returned(frames, line, word):
    own = frames[line]
    answers = HandAnswers(ask(FOLDER, own.images_rgb, [word]), own.boxes_xyxy_px)
    assert sum(len(boxes) for boxes in own.boxes_xyxy_px) >= 10
    assert answers.scores(THRESHOLD)["recall_iou40"] <= 0.1


@pytest.mark.parametrize("line", LINES)
def test_what_is_not_there_is_hardly_ever_found(frames, line):
    pictures = frames[line].images_rgb[::6]
    counts = [boxes_a_picture(ask(FOLDER, pictures, [word]), THRESHOLD) for word in absent_words(line)]
    assert np.mean(counts) <= 0.1


def test_the_order_of_phrases_hardly_matters(frames):
    images, truths = frames["demo"].images_rgb, frames["demo"].boxes_xyxy_px
    scores = []
    for prompt in (["hand", "hammer"], ["hammer", "hand"]):
        found = ask(FOLDER, images, prompt)
        only_hands = [
            Detections(boxes := _named(one, "hand"), np.ones(len(boxes), np.float32), ("hand",) * len(boxes))
            for one in found
        ]
        scores.append(HandAnswers(only_hands, truths).scores(THRESHOLD)["recall_iou40"])
    assert min(scores) >= 0.4
    assert abs(scores[0] - scores[1]) <= 0.2


@pytest.mark.parametrize("phrase", ["hands", "human hand"])
def test_other_words_for_a_hand_do_as_well(frames, hands, phrase):
    own = frames["demo"]
    answers = HandAnswers(ask(FOLDER, own.images_rgb, [phrase]), own.boxes_xyxy_px)
    usual = hands["demo"].scores(THRESHOLD)["recall_iou40"]
    assert answers.scores(THRESHOLD)["recall_iou40"] >= usual - 0.2


def test_the_same_picture_gives_the_same_boxes(frames, hands):
    again = ask(FOLDER, frames["demo"].images_rgb, ["hand"])
    for one, other in zip(hands["demo"].found, again, strict=True):
        assert np.array_equal(one.boxes_xyxy_px, other.boxes_xyxy_px)
        assert np.array_equal(one.scores, other.scores)
