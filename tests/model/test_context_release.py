import dataclasses

import numpy as np
import pytest

from lineact.boxes import crop_square
from lineact.bundle import load_bundle
from lineact.bundle.networks import Setup
from lineact.context import ContextParams, Past
from lineact.errors import InputError
from lineact.runtime.frame import Frame
from lineact.runtime.recognise import Recogniser
from lineact.runtime.settings import RecogniseSettings
from tests.released_pair import CROP_SIDE_PX, EXPORT, INPUT_WH, LABELS, export_pair, run_export, smooth_noise

LOOKS_BACK = dataclasses.replace(EXPORT, short_context=ContextParams(1.0, 3))


@pytest.fixture(scope="module")
def with_context(tmp_path_factory):
    folder = tmp_path_factory.mktemp("with_context")
    export_pair(folder, LOOKS_BACK, crops=3)
    return folder


@pytest.fixture(scope="module")
def pictures():
    rng = np.random.default_rng(3)
    return [smooth_noise(rng, INPUT_WH[::-1]) for _ in range(3)]


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_bundle_that_looks_back_says_so_and_answers_as_pytorch(with_context, runtime):
    pair = load_bundle(with_context / "export/bundle", Setup(runtime, "f32", 1))
    assert pair.lags_s == (0.0, 0.5, 1.0)
    assert pair.logits_difference() < 1e-3


def test_its_crops_are_those_of_the_frame_and_of_the_earlier_ones(with_context, pictures):
    pair = load_bundle(with_context / "export/bundle")
    box = np.array([[30, 20, 50, 40]], np.float32)
    strip = pair.crops(pictures[0], box, pictures[1:])[0]
    expected = [crop_square(picture, box[0], EXPORT.crop_context, CROP_SIDE_PX) for picture in pictures]
    np.testing.assert_array_equal(strip, np.concatenate(expected))
    alone = pair.crops(pictures[0], box)[0]
    np.testing.assert_array_equal(alone, np.concatenate([expected[0]] * 3))
    with pytest.raises(ValueError, match="expected 2 earlier pictures, found 1"):
        pair.crops(pictures[0], box, pictures[1:2])


def test_what_was_before_changes_the_answer(with_context, pictures):
    pair = load_bundle(with_context / "export/bundle")
    box = np.array([[30, 20, 50, 40]], np.float32)
    forwards, backwards = (
        pair.classify(pair.crops(pictures[0], box, earlier)) for earlier in (pictures[1:], pictures[:0:-1])
    )
    assert forwards.shape == backwards.shape == (1, len(LABELS))
    assert np.abs(forwards - backwards).max() > 1e-3


def test_a_classifier_of_other_crops_than_the_settings_say_is_refused(with_context, tmp_path):
    with pytest.raises(InputError, match=r"expected a classifier of 1 crops, as dataset\.short_context says"):
        run_export(EXPORT, with_context, tmp_path / "export")


def test_a_station_gives_each_frame_what_was_before_it(with_context, pictures):
    folder = with_context / "export/bundle"
    pair, past = load_bundle(folder), Past[np.ndarray]((0.0, 0.5, 1.0))
    settings = RecogniseSettings(smooth_s=0.0, skip_still_frames=False)  # same crops are not skipped: the past differs
    shown = [pictures[index % 3] for index in (0, 1, 1, 1, 1, 1, 2)]
    height, width = shown[0].shape[:2]
    frames = [Frame(index, one, index / 4, 0.0, 0.0, width, height) for index, one in enumerate(shown)]
    results = list(Recogniser(pair, settings).recognise(frames))
    named = 0
    for frame, result in zip(frames, results, strict=True):
        now, *earlier = past.add(frame.pts_s, frame.rgb())
        expected = pair.recognise(now, earlier)
        assert [hand.action for hand in result.hands] == [hand.action for hand in expected]
        for hand, other in zip(result.hands, expected, strict=True):
            assert hand.confidence == pytest.approx(other.confidence, abs=1e-4)
            named += 1
    assert named >= len(frames)
