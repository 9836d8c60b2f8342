"""The recogniser: what it skips changes nothing that matters, and without skipping it says what the bundle says."""

import dataclasses
import json
import shutil
import sys
import threading
from unittest.mock import Mock

import cv2
import numpy as np
import pytest

from lineact.boxes import iou_matrix
from lineact.bundle import load_bundle
from lineact.bundle.processing import fit_into
from lineact.errors import InputError
from lineact.files import write_json
from lineact.runtime.frame import Frame
from lineact.runtime.recognise import SWITCH_S, Recogniser, open_bundle
from lineact.runtime.settings import RecogniseSettings
from lineact.video import read_frames
from tests.embedded_pair import write_bundle, write_clip

PLAIN = RecogniseSettings(skip_still_frames=False, skip_same_crops=False, smooth_s=0.0, most_covered=1.0)
# What skipping may change: a hand more or less on so few frames, a box and a probability by so little.
OTHER_FRAMES, LEAST_IOU, MOST_OFF = 0.02, 0.8, 0.1


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("embedded") / "bundle")


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    clip = write_clip(tmp_path_factory.mktemp("clip") / "clip.mp4")
    return [as_frame(frame.index, frame.pts_s, frame.image_rgb) for frame in read_frames(clip)]


def as_frame(number, pts_s, image_rgb):
    height, width = image_rgb.shape[:2]
    return Frame(number, image_rgb, pts_s, pts_s, 0.0, width, height)


def recognised(bundle, settings, frames):
    recogniser = Recogniser(open_bundle(bundle, settings), settings)
    return list(recogniser.recognise(frames)), recogniser.counts


def test_without_skipping_and_smoothing_it_says_what_the_bundle_says(bundle, frames):
    pair = load_bundle(bundle)
    results, counts = recognised(bundle, PLAIN, frames[::5])
    assert [result.frame.number for result in results] == [frame.number for frame in frames[::5]]
    assert sum(len(result.hands) for result in results) > 10
    for result in results:
        expected = pair.recognise(result.frame.picture)
        assert len(expected) == len(result.hands)
        for hand, found in zip(expected, result.hands, strict=True):
            np.testing.assert_allclose(found.box_xyxy_px, hand.box_xyxy_px, atol=1e-3)
            assert (found.action, found.top[0]) == (hand.action, (found.action, found.confidence))
            assert found.confidence == pytest.approx(hand.confidence, abs=1e-4)
    assert counts.looked == counts.frames == len(results)
    assert counts.classified == counts.hands


def test_skipping_changes_nothing_that_matters_and_is_counted(bundle, frames):
    settings = RecogniseSettings()
    skipped, counts = recognised(bundle, settings, frames)
    whole, _ = recognised(bundle, dataclasses.replace(settings, skip_still_frames=False, skip_same_crops=False), frames)
    assert counts.frames == len(frames)
    assert 0 < counts.looked < counts.frames
    assert 0 < counts.classified < counts.hands
    assert counts.looked == sum(result.looked for result in skipped)
    assert counts.classified == sum(result.classified for result in skipped)
    pairs = list(zip(skipped, whole, strict=True))
    same = [(found, expected) for found, expected in pairs if len(found.hands) == len(expected.hands)]
    assert len(same) >= (1 - OTHER_FRAMES) * len(pairs)
    for found, expected in same:
        for hand, other in matched(found.hands, expected.hands):
            assert iou(hand, other) >= LEAST_IOU
            for action, probability in other.top:
                assert dict(hand.top)[action] == pytest.approx(probability, abs=MOST_OFF)


def iou(hand, other):
    return iou_matrix(np.array([hand.box_xyxy_px]), np.array([other.box_xyxy_px]))[0, 0]


def matched(hands, others):
    for hand in hands:
        yield hand, max(others, key=lambda other: iou(hand, other))


def test_a_still_picture_is_looked_at_again_from_time_to_time(bundle, frames):
    settings = RecogniseSettings(look_again_s=1.0)
    pair = load_bundle(bundle)
    moving = next(frame for frame in frames if pair.recognise(frame.picture))
    still = [as_frame(index, index / 10, moving.picture) for index in range(25)]
    results, counts = recognised(bundle, settings, still)
    assert [result.frame.number for result in results if result.looked] == [0, 10, 20]
    assert counts.classified == 3 * len(results[0].hands)
    assert len({result.hands[0].hand_id for result in results}) == 1


def test_another_size_of_the_picture_is_looked_at(bundle, frames):
    small = fit_into(frames[0].picture, (320, 180))[0]
    results, _ = recognised(
        bundle, RecogniseSettings(), [frames[0], as_frame(1, 0.04, small), as_frame(2, 0.08, small)]
    )
    assert [result.looked for result in results] == [True, True, False]


def test_an_iteration_that_is_given_up_leaves_no_thread(bundle, frames):
    before = set(threading.enumerate())
    settings = RecogniseSettings()
    results = Recogniser(open_bundle(bundle, settings), settings).recognise(iter(frames))
    next(results)
    results.close()
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name != "source"]


def test_stages_leave_each_other_the_cores(bundle, frames, monkeypatch):
    """OpenCV's own threads, and a lock that is asked for too late, would make the stages take turns."""
    monkeypatch.setattr(sys, "setswitchinterval", switched := Mock())
    before = cv2.getNumThreads()
    try:
        list(Recogniser(open_bundle(bundle, PLAIN), PLAIN).recognise(frames[:2]))
        assert cv2.getNumThreads() == 1
    finally:
        cv2.setNumThreads(before)
    switched.assert_called_once_with(SWITCH_S)


def test_networks_that_answer_otherwise_than_at_the_release_are_refused(bundle, tmp_path):
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["crops"][1]["logits"][0] += 0.1
    write_json(copy / "manifest.json", manifest)
    with pytest.raises(
        InputError, match=r"stored samples' logits within 0.01 .*, found 0.1 and .* \(openvino_f32_1t\)"
    ):
        open_bundle(copy, RecogniseSettings())


def test_threads_are_the_stations_own(bundle):
    opened = open_bundle(bundle, RecogniseSettings(threads=2))
    assert opened.setup == dataclasses.replace(opened.manifest.setup, threads=2)
