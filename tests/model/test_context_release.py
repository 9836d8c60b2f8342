import dataclasses

import numpy as np
import pytest

from lineact.boxes import crop_square
from lineact.bundle import load_bundle
from lineact.bundle.networks import Setup
from lineact.context import ContextParams, Past
from lineact.errors import InputError
from lineact.runtime.frame import Frame
from lineact.runtime.recognise import Recogniser, open_bundle
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


def test_the_runtime_looks_as_far_back(with_context, pictures):
    """Every frame's probabilities are those of the strip out of the frames before it."""
    bundle = with_context / "export/bundle"
    settings = RecogniseSettings(skip_still_frames=False, skip_same_crops=False, smooth_s=0.0, most_covered=1.0)
    pair = open_bundle(bundle, settings)
    past: Past[np.ndarray] = Past(pair.lags_s)
    height, width = pictures[0].shape[:2]
    shown = [pictures[index % len(pictures)] for index in range(12)]
    frames = [Frame(index, image, index / 4, 0.0, 0.0, width, height) for index, image in enumerate(shown)]
    answers = set()
    for result, image_rgb in zip(Recogniser(pair, settings).recognise(frames), shown, strict=True):
        _, *earlier = past.add(result.frame.pts_s, image_rgb)
        expected = load_bundle(bundle).recognise(image_rgb, earlier)
        assert [hand.action for hand in result.hands] == [hand.action for hand in expected]
        for hand, other in zip(result.hands, expected, strict=True):
            assert hand.confidence == pytest.approx(other.confidence, abs=1e-4)
            answers.add(round(hand.confidence, 3))
    assert len(answers) > len(pictures)  # the same picture after others is answered otherwise
