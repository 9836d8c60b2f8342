"""The embedded starts of the comparison: captions, and training by contrast."""

from pathlib import Path

import numpy as np
import pytest
import torch

from flows.classifier_choices import choices_of, classifier_of
from flows.pretrain_foundation import pretrain
from lineact.classifiers.starts import start_of_choice
from lineact.errors import ConfigError
from lineact.foundation import build
from lineact.foundation.captions import UNSAID, agree, caption, tokenizer, vocabulary
from lineact.foundation.corpus import Crops
from lineact.foundation.pretrain import CLASS_COUNTS, EncoderRun, train_encoder
from lineact.foundation.pretrain_clip import Captions, zero_shot_accuracy
from lineact.foundation.scenes import ABSENT, POSE_NAMES
from lineact.foundation.tiny_clip import clip_pair

ROOT = Path(__file__).parents[2]
RUN = EncoderRun(30, 5, 8, 8e-3, 0.0, 0.0, 0.1, 0.0, 0)


def random_attributes(count, seed=0):
    generator = np.random.default_rng(seed)
    attributes = np.stack([generator.integers(0, classes, count) for classes in CLASS_COUNTS], axis=1)
    attributes[attributes[:, 1] == POSE_NAMES.index(ABSENT), 0] = 0
    return attributes


def test_captions_are_true_of_their_crop_and_say_what_they_say():
    attributes = random_attributes(300)
    generator = np.random.default_rng(1)
    spoken = [caption(row, generator) for row in attributes]
    said = np.stack([what for _, what in spoken])
    true = agree(said, attributes)
    assert true.diagonal().all()
    assert true.mean() < 0.5
    for text, what in spoken:
        assert ("no hand" in text) == (what[1] == POSE_NAMES.index(ABSENT))
        assert ("holding" in text or "with" in text) == (what[0] > 0)
        assert ("empty" in text) == (what[0] == 0)
    absent = attributes[:, 1] == POSE_NAMES.index(ABSENT)
    speaks_of_hand = np.array([text != "no hand" for text, _ in spoken])
    assert not true[absent][:, speaks_of_hand].any()
    assert (said[absent][:, [0, 2, 3, 4, 5]] == UNSAID).all()


def test_captions_need_no_letters_and_other_words_do():
    words, generator = tokenizer(), np.random.default_rng(2)
    unknown = vocabulary()["[UNK]"]
    for row in random_attributes(100):
        ids = words(caption(row, generator)[0])["input_ids"]
        assert unknown not in ids
        assert not any(piece.startswith("##") for piece in words.convert_ids_to_tokens(ids))
    assert unknown not in words("a hand doing: instructions insertion")["input_ids"]


def test_contrast_brings_crops_and_captions_together(tmp_path):
    generator = np.random.default_rng(3)
    attributes = np.array([[held, 4, 0, 0, 0, 5] for held in (1, 5, 9, 13)] * 2)
    colours = generator.integers(0, 255, (4, 1, 1, 3)).astype(np.uint8)
    images = np.broadcast_to(np.tile(colours, (2, 1, 1, 1)), (8, 96, 96, 3)).copy()
    crops = Crops(images, attributes)
    torch.manual_seed(0)
    clip = clip_pair()
    captions = train_encoder(
        lambda _: Captions(clip), clip.vision_model, 128, crops, build.PREPROCESSING, RUN, tmp_path / "clip.pt"
    )
    scores = zero_shot_accuracy(clip.vision_model, captions, crops, build.PREPROCESSING)
    assert scores["held_majority"] == 0.25
    assert scores["held_zero_shot"] >= 0.75


@pytest.mark.parametrize("choice", choices_of(ROOT / "conf"))
def test_every_embedded_start_is_committed(choice):
    params = classifier_of(ROOT / "conf", choice)
    assert params.tiny is None or start_of_choice(params, ROOT / "models/foundation/tiny") is not None


def test_starts_see_as_many_crops_as_the_teacher():
    seen = {run.steps * run.batch for run in (build.TEACHER_RUN, build.RESNET_RUN, build.CLIP_RUN)}
    assert len(seen) == 1


def test_an_unknown_model_is_named():
    with pytest.raises(ConfigError, match=r"only=resnet19: expected one of .*resnet18"):
        pretrain("resnet19")
