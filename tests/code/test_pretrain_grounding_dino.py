"""The tiny Grounding DINO's making: words, prompts, truth, assignment, losses, and a folder that production loads."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lineact.boxes import iou_matrix
from lineact.detect.grounding_dino import GroundingDino, GroundingDinoParams
from lineact.detect.prompt import prompt_text
from lineact.foundation import tiny_grounding_dino as tiny
from lineact.foundation.build import build_grounding_dino
from lineact.foundation.corpus import NAMES, NamedScenes, _render_named_scenes
from lineact.foundation.detection_loss import (
    NOBODY,
    Predictions,
    Truth,
    assign_many,
    assign_one,
    box_loss,
    score_loss,
    token_targets,
)
from lineact.foundation.judge_grounding_dino import NEVER_HEARD, HandAnswers, absent_words, ask, choose_threshold
from lineact.foundation.pretrain_grounding_dino import (
    GroundingRun,
    ThingHead,
    _centres,
    detection_losses,
    make_batch,
    make_truth,
    prompt_tokens,
    train_grounding_dino,
)
from lineact.foundation.words import CONCEPTS, HAND, UNKNOWN_WORDS, Prompt, covered_names, random_prompt, vocabulary
from lineact.simulation.objects import DRAWN

RUN = GroundingRun(2, 1, 2, 1e-3, 0)
GLOVE = CONCEPTS[1]


@pytest.fixture(scope="module")
def tokenizer():
    return tiny.processor().tokenizer


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lineact.foundation.corpus.SHARD", 6)
        return NamedScenes([_render_named_scenes((tmp_path_factory.mktemp("scenes") / "00000.npz", 1))])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "grounding_dino"
    tiny.save_grounding_dino(tiny.new_grounding_dino(), path, "card")
    return path


def test_scenes_stand_on_grounds_and_machines_on_these_and_hands_at_their_rims(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("lineact.foundation.corpus.SHARD", 2)
    monkeypatch.setattr("lineact.foundation.scenes.AT_PLACES", 1.0)
    monkeypatch.setattr("lineact.foundation.grounds.lay_ground", lambda *_: drawn.append("ground"))

    def draw_machines(*_):
        drawn.append("machines")
        return np.array([[240.0, 135.0]])

    monkeypatch.setattr("lineact.foundation.machines.draw_machines", draw_machines)
    scenes = NamedScenes([_render_named_scenes((tmp_path / "00000.npz", 1))])
    assert drawn == ["ground", "machines"] * 2
    hands = [scenes.scene(index)[2][np.isin(scenes.scene(index)[1], covered_names(HAND))] for index in range(2)]
    centres = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2 for boxes in hands])
    assert len(centres)
    assert np.median(np.linalg.norm(centres - [240, 135], axis=1)) < 60


# Words


def test_separators_have_the_ids_that_transformers_expects():
    from transformers.models.grounding_dino.modeling_grounding_dino import SPECIAL_TOKENS

    ids = vocabulary()
    assert [ids[piece] for piece in ("[CLS]", "[SEP]", ".", "?")] == SPECIAL_TOKENS
    assert ids["[PAD]"] == 0
    assert sorted(ids.values()) == list(range(len(ids)))


def test_known_words_are_whole_and_all_others_spelled(tokenizer):
    for concept in CONCEPTS:
        for phrase in concept.phrases:
            assert tokenizer.tokenize(phrase) == phrase.split()
    assert tokenizer.tokenize("dog") == ["d", "##o", "##g"]


@given(st.text("abcdefghijklmnopqrstuvwxyz0123456789 ", max_size=20))
def test_any_word_has_tokens(text):
    tokenizer = tiny.processor().tokenizer
    assert tokenizer.unk_token_id not in tokenizer(text)["input_ids"]


def test_every_drawn_thing_can_be_asked_for():
    assert {name for concept in CONCEPTS for name in concept.names} == {"hand", "glove", *DRAWN}
    phrases = [phrase for concept in CONCEPTS for phrase in concept.phrases]
    assert len(phrases) == len(set(phrases))
    words = {word for phrase in phrases for word in phrase.split()}
    assert not words & {*UNKNOWN_WORDS, *NEVER_HEARD}
    assert not set(UNKNOWN_WORDS) & set(NEVER_HEARD)


# Prompts


@given(st.integers(0, 10_000), st.sets(st.integers(0, len(NAMES) - 1), max_size=6))
def test_a_prompt_is_tokenised_as_the_production_backend_does(seed, seen):
    tokenizer = tiny.processor().tokenizer
    prompt = random_prompt(np.random.default_rng(seed), np.array(sorted(seen), np.int64))
    ids, owners = prompt_tokens(prompt, tokenizer)
    assert ids == tokenizer(prompt_text(prompt.phrases))["input_ids"]
    assert 0 < len(prompt.phrases) == len(prompt.names)
    assert set(owners) == set(range(-1, len(prompt.phrases)))
    assert len(ids) <= tiny.MAX_TOKENS


def test_prompts_are_of_every_kind():
    generator, seen = np.random.default_rng(0), np.array([NAMES.index(name) for name in ("glove", "box")])
    prompts = [random_prompt(generator, seen) for _ in range(2000)]
    hits = [{name for names in prompt.names for name in names} & set(seen.tolist()) for prompt in prompts]
    assert 0.27 < np.mean([not hit for hit in hits]) < 0.36, "some name nothing in view"
    alone = [prompt.phrases[0] in HAND.phrases for prompt in prompts if len(prompt.phrases) == 1]
    assert np.mean(alone) > 0.4, "lines ask for hands"
    assert 0.24 < sum(alone) / len(prompts) < 0.34
    assert max(len(prompt.phrases) for prompt in prompts) >= 4
    assert any(() in prompt.names for prompt in prompts), "words that are not known"


def test_a_gloved_hand_is_a_hand_and_a_glove(tokenizer):
    prompt = Prompt(("hand", "gloved hand", "dog"), (tuple(covered_names(HAND)), tuple(covered_names(GLOVE)), ()))
    ids, owners = prompt_tokens(prompt, tokenizer)
    names = np.array([NAMES.index(name) for name in ("hand", "box", "glove")])
    boxes = np.array([[0, 0, 0.2, 0.4], [0, 0, 1, 1], [0.5, 0.5, 0.7, 0.7]])
    truth = make_truth(names, boxes, prompt, owners, len(ids) + 2)
    assert truth.boxes.tolist() == pytest.approx(np.array([[0.1, 0.2, 0.2, 0.4], [0.6, 0.6, 0.2, 0.2]]))
    bare, gloved = ([tokenizer.decode(ids[index]) for index in row.nonzero()[:, 0]] for row in truth.tokens)
    assert bare == ["hand"]
    assert gloved == ["hand", "gloved", "hand"]


def test_a_prompt_for_nothing_in_view_wants_nothing(tokenizer):
    ids, owners = prompt_tokens(Prompt(("dog",), ((),)), tokenizer)
    whole = np.array([[0, 0, 1, 1], [0, 0, 1, 1]])
    truth = make_truth(np.array([0, 3]), whole, Prompt(("dog",), ((),)), owners, len(ids))
    assert truth.boxes.shape == (0, 4)
    assert truth.tokens.shape == (0, len(ids))


# Assignment and losses


@st.composite
def _situations(draw):
    generator = torch.Generator().manual_seed(draw(st.integers(0, 100_000)))
    count, boxes, length = draw(st.integers(1, 30)), draw(st.integers(0, 4)), draw(st.integers(3, 8))

    def random_boxes(number):
        return torch.cat(
            [torch.rand(number, 2, generator=generator), torch.rand(number, 2, generator=generator) * 0.5 + 0.05], 1
        )

    tokens = torch.zeros(boxes, length, dtype=torch.bool)
    tokens[:, 1] = True
    found = Predictions(torch.randn(count, length, generator=generator) * 3, random_boxes(count))
    return found, Truth(random_boxes(boxes), tokens)


@given(_situations(), st.integers(1, 9))
def test_assigned_predictions_overlap_what_they_answer_for(situation, top):
    found, truth = situation
    for assignment in (assign_many(found, truth, top), assign_one(found, truth)):
        assert assignment.owner.shape == assignment.quality.shape == (len(found.boxes),)
        assert ((assignment.quality > 0) <= (assignment.owner != NOBODY)).all()
        assert (assignment.quality <= 1 + 1e-5).all()
        corners = [
            torch.cat([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)
            for boxes in (found.boxes, truth.boxes)
        ]
        overlap = iou_matrix(corners[0].numpy(), corners[1].numpy())
        for row in (assignment.owner != NOBODY).nonzero()[:, 0].tolist():
            assert overlap[row, assignment.owner[row]] > 0
    counts = np.bincount(assign_one(found, truth).owner.numpy() + 1, minlength=len(truth.boxes) + 1)[1:]
    assert (counts <= 1).all()


def test_the_best_aligned_prediction_shall_score_its_overlap():
    truth = Truth(torch.tensor([[0.5, 0.5, 0.4, 0.4]]), torch.tensor([[False, True, False]]))
    boxes = torch.tensor([[0.5, 0.5, 0.4, 0.2], [0.5, 0.5, 0.4, 0.4], [0.1, 0.1, 0.1, 0.1]])
    found = Predictions(torch.zeros(3, 3), boxes)
    many, one = assign_many(found, truth, 2), assign_one(found, truth)
    assert many.owner.tolist() == [0, 0, NOBODY]
    assert many.quality.tolist() == pytest.approx([0.5**4, 1.0, 0.0], abs=1e-6)
    assert one.owner.tolist() == [NOBODY, 0, NOBODY]
    assert token_targets(truth, one)[1].tolist() == pytest.approx([0.0, 1.0, 0.0])
    assert token_targets(truth, one)[[0, 2]].sum() == 0


def test_only_cells_in_a_box_or_next_to_it_are_asked():
    truth = Truth(torch.tensor([[0.5, 0.5, 0.2, 0.2]]), torch.tensor([[True]]))
    found = Predictions(torch.zeros(2, 1), torch.tensor([[0.5, 0.5, 0.2, 0.2]] * 2))
    centres = torch.tensor([[0.2, 0.5], [0.55, 0.5]])
    assert assign_many(found, truth, 2, centres).owner.tolist() == [NOBODY, 0]


def test_padding_costs_nothing_and_right_scores_little():
    target = torch.tensor([[0.9, 0.0], [0.0, 0.0]])
    logits = torch.logit(target, eps=1e-6)
    padded = torch.cat([logits, torch.full((2, 3), -torch.inf)], 1)
    wider = torch.nn.functional.pad(target, (0, 3))
    assert score_loss(padded, wider) == pytest.approx(score_loss(logits, target).item())
    assert score_loss(logits, target) < score_loss(-logits, target)


@given(st.integers(0, 10_000))
def test_a_box_costs_nothing_only_where_it_is_right(seed):
    torch.manual_seed(seed)
    boxes = torch.cat([torch.rand(5, 2), torch.rand(5, 2) * 0.5 + 0.05], 1)
    assert box_loss(boxes, boxes, torch.ones(5)).item() == pytest.approx(0, abs=1e-4)
    assert box_loss(boxes + 0.1, boxes, torch.ones(5)).item() > 0.1
    assert box_loss(boxes + 0.1, boxes, torch.zeros(5)).item() == 0


# Training


def test_cells_lie_where_the_model_proposes(scenes, tokenizer):
    batch = make_batch(scenes, tokenizer, RUN, 0)
    model = tiny.new_grounding_dino().eval()
    with torch.no_grad():
        output = model.model(batch.pixels, batch.input_ids, attention_mask=batch.attention_mask)
    boxes = output.enc_outputs_coord_logits.sigmoid()[0]  # at the start proposals are the cells themselves
    centres = _centres(batch.pixels.shape[-2:], len(boxes))
    placed = (boxes < 1).all(1)
    assert placed.float().mean() > 0.9
    assert torch.allclose(boxes[placed, :2], centres[placed], atol=1e-4)


def test_at_the_start_nothing_is_found(folder):
    backend = GroundingDino(GroundingDinoParams(("hand", "dog"), 0.25, 0.5, 2, str(folder), "main", "float32", "torch"))
    images = [np.full((90, 160, 3), 90, np.uint8), np.zeros((90, 160, 3), np.uint8)]
    assert [len(found.scores) for found in backend.detect_images(images)] == [0, 0]


def test_the_production_backend_loads_the_folder(folder):
    backend = GroundingDino(GroundingDinoParams(("hand",), 0.0, 0.0, 2, str(folder), "main", "float32", "torch"))
    image = np.random.default_rng(0).integers(0, 255, (180, 320, 3), np.uint8)
    first, second = backend.detect_images([image])[0], backend.detect_images([image])[0]
    assert len(first.scores) > 0
    assert np.array_equal(first.boxes_xyxy_px, second.boxes_xyxy_px)
    _, model = backend._loaded
    assert {str(value.dtype) for value in model.parameters()} == {"torch.float32"}
    assert sum(path.stat().st_size for path in folder.iterdir()) < 14e6


def test_a_thawed_model_freezes_to_the_same_answers(scenes, tokenizer):
    torch.manual_seed(0)
    model = tiny.new_grounding_dino()
    tiny.thaw(model)
    batch = make_batch(scenes, tokenizer, RUN, 0)
    with torch.no_grad():
        model.train()(batch.pixels, batch.input_ids)  # moves the running statistics
        thawed = model.eval()(batch.pixels, batch.input_ids).pred_boxes
        frozen = tiny.frozen_copy(model.state_dict())(batch.pixels, batch.input_ids).pred_boxes
    assert torch.allclose(thawed, frozen, atol=1e-5)


def test_every_weight_learns(scenes, tokenizer):
    torch.manual_seed(0)
    model = tiny.new_grounding_dino()
    tiny.thaw(model)
    head = ThingHead(tiny.WIDTH)
    losses = detection_losses(model.train(), head, make_batch(scenes, tokenizer, RUN, 0))
    torch.stack(list(losses.values())).sum().backward()
    assert {name.split()[0] for name in losses} == {"things", "encoder", "layer0", "layer1"}
    for name, parameter in [*model.named_parameters(), *head.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_stopped_and_started_again_gives_the_same_weights(scenes, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr("lineact.foundation.pretrain_grounding_dino.SAVED_EVERY_S", 0.0)

    def train(steps, checkpoint):
        torch.manual_seed(0)
        return train_grounding_dino(
            tiny.new_grounding_dino(), tokenizer, scenes, GroundingRun(steps, 1, 2, 1e-3, 0), checkpoint
        ).state_dict()

    whole = train(3, tmp_path / "whole.pt")
    train(2, tmp_path / "parts.pt")
    again = train(3, tmp_path / "parts.pt")
    for name, value in whole.items():
        assert torch.equal(value, again[name]), name


@pytest.mark.slow  # half a minute
def test_what_is_built_is_a_folder_that_can_be_asked_and_a_card(tmp_path, monkeypatch):
    from lineact.foundation.judge import line_frames

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lineact.foundation.corpus.SHARD", 4)
    monkeypatch.setattr("lineact.foundation.corpus._run_missing", lambda render, jobs, _: [render(job) for job in jobs])
    monkeypatch.setattr("lineact.foundation.build.NAMED_SCENES", 4)
    monkeypatch.setattr("lineact.foundation.build.JUDGED_SCENES", 2)
    frames = line_frames("demo", 1.0, 1, 2)
    monkeypatch.setattr("lineact.foundation.judge_grounding_dino.LINES", ("demo",))
    monkeypatch.setattr("lineact.foundation.judge_grounding_dino.CONCEPTS", CONCEPTS[:4])
    monkeypatch.setattr("lineact.foundation.judge_grounding_dino.line_frames", lambda *_: frames)
    scores = build_grounding_dino(tmp_path / "out", GroundingRun(1, 0, 2, 1e-3, 0))
    card = (tmp_path / "out" / "README.md").read_text()
    assert "- Seen in training: 1 steps of 2 pictures out of 4." in card
    assert f"| demo_absent_boxes_a_frame | {scores['demo_absent_boxes_a_frame']:.3f} |" in card
    assert len(ask(tmp_path / "out", frames.images_rgb, ["hand", "drill"])) == len(frames.images_rgb)


# Judging


def test_the_threshold_is_the_best_that_keeps_absent_things_quiet():
    from lineact.detect.backend import Detections

    def detections(*scored):
        boxes = np.array([box for box, _ in scored], np.float32).reshape(-1, 4)
        return Detections(boxes, np.array([score for _, score in scored], np.float32), ("hand",) * len(scored))

    hand, elsewhere = (0, 0, 10, 10), (50, 50, 60, 60)
    hands = HandAnswers([detections((hand, 0.62), (elsewhere, 0.22)), detections((hand, 0.42))], [np.array([hand])] * 2)
    assert hands.scores(0.5) == {"recall_iou40": 0.5, "accuracy_iou40": 1.0}
    assert choose_threshold(hands, [detections()]) == pytest.approx(0.23)
    assert choose_threshold(hands, [detections((hand, 0.58))]) == pytest.approx(0.59)
    for answers, threshold in ((1, 0.23), (2, 0.59)):  # of 20 pictures: 0.05 a picture, and 0.1
        absent = [detections((hand, 0.58))] * answers + [detections()] * (20 - answers)
        assert choose_threshold(hands, absent) == pytest.approx(threshold)


def test_absent_words_name_nothing_of_the_station():
    words = absent_words("demo")
    assert "hammer" in words
    assert not {"hand", "screwdriver", "cloth", "tool", "wrench"} & set(words)
