"""SPOT: learns from few labels and many unlabelled videos; each of its five changes does what it should."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lineact.errors import InputError
from lineact.temporal import activitynet
from lineact.temporal.average_precision import average_precision
from lineact.temporal.features import ClipParams, Features
from lineact.temporal.features.opening import ExtractorParams
from lineact.temporal.heads import DecodeParams
from lineact.temporal.localizer import load_localizer, save_localizer
from lineact.temporal.parts import Example
from lineact.temporal.segments import segments_of
from lineact.temporal.spot import SpotChanges, SpotParams
from lineact.temporal.spot.cells import cell_rows, edges_s, truth_of
from lineact.temporal.spot.decode import decode
from lineact.temporal.spot.losses import MOST_VARIANCE, class_loss, mask_loss, pretraining_mask_loss
from lineact.temporal.spot.network import Answers, Spot
from lineact.temporal.spot.training import SpotTraining, _crops, _dealt, train_spot
from tests.training_sets import fit_params

LABELS = ("fix", "turn", "wipe")
CLIPS = ClipParams(fps=5.0, stack=1, step=1)
STUDENT = ExtractorParams("student", None, None, None, 1)
ALL, NONE = SpotChanges(*(True,) * 5), SpotChanges(*(False,) * 5)
SPOT = SpotParams(ALL, 32, 4, 0.1, 24, 64, 3, 9, 1, 0.5, 0.4, 5.0, 0.8, 0.9, 2.0, 5)
DECODE = DecodeParams(0.01, 500, 50, 0.05, 0.5, 0.7)
PARAMS = SpotTraining(
    SPOT,
    DECODE,
    fit_params(epochs=12, patience=12, stop_on="epochs", batch_size=4, lr=3e-3, weight_decay=0.005),
    0.1,
    0,
)


def example(number, rows=120):
    """A video of three short actions in order, whose looks (8 numbers a row) differ a little from video to video."""
    rng = np.random.default_rng(number)
    looks = np.random.default_rng(7).normal(0, 1, (4, 8)) + rng.normal(0, 0.3, (4, 8))
    kinds = np.full(rows, 3)
    truth, at = [], int(rng.integers(4, 20))
    for kind in range(3):
        length = int(rng.integers(5, 10))
        kinds[at : at + length] = kind
        truth.append((f"v{number}", at / 5, (at + length) / 5, LABELS[kind], 1.0))
        at += length + int(rng.integers(8, 20))
    values = (looks[kinds] + rng.normal(0, 0.5, (rows, 8))).astype(np.float32)
    return Example(Features(f"v{number}", (np.arange(rows) + 0.5) / 5, values, rows / 5), segments_of(truth))


def rows_of(segments):
    return list(activitynet.rows_of(segments))


def without_labels(one):
    return replace(one, truth=one.truth.take(np.zeros(0, int)))


TRAIN = [example(number) for number in range(3)]
UNLABELLED = [without_labels(example(number)) for number in range(10, 27)]
VAL, UNSEEN = [example(50)], [example(number) for number in range(90, 102)]


def trained_with(params, folder, unlabelled=UNLABELLED):
    return train_spot(params, LABELS, STUDENT, CLIPS, TRAIN, unlabelled, VAL, folder)


def average(localizer):
    rows = [row for one in UNSEEN for row in rows_of(localizer.segments(one.features))]
    truth = [row for one in UNSEEN for row in rows_of(one.truth)]
    score = average_precision(segments_of(truth), segments_of(rows), (0.1, 0.3, 0.5, 0.7)).average
    assert score is not None
    return score


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return trained_with(PARAMS, tmp_path_factory.mktemp("training"))


def test_three_of_twenty_videos_with_labels_are_enough(trained, tmp_path):
    alone, _ = trained_with(PARAMS, tmp_path, unlabelled=[])
    score = average(trained[0])
    print("with unlabelled videos", score, "without", average(alone))
    assert score >= 0.7
    assert score >= average(alone) - 0.02


def test_a_killed_training_ends_as_the_one_that_nobody_killed(tmp_path, monkeypatch):
    import lineact.training.loop as loop

    short = replace(SPOT, pretrain_epochs=2, train_epochs=2)
    params = replace(PARAMS, spot=short, fit=replace(PARAMS.fit, epochs=4, patience=4))
    whole, history = trained_with(params, tmp_path / "whole", UNLABELLED[:4])
    save, calls = loop.save_state, []

    def dies(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        save(*arguments)

    monkeypatch.setattr(loop, "save_state", dies)
    with pytest.raises(KeyboardInterrupt):
        trained_with(params, tmp_path / "killed", UNLABELLED[:4])
    again, told = trained_with(params, tmp_path / "killed", UNLABELLED[:4])
    assert told == history
    assert rows_of(again.segments(VAL[0].features)) == rows_of(whole.segments(VAL[0].features))


def test_a_saved_localiser_says_the_same(trained, tmp_path):
    save_localizer(tmp_path / "localizer", trained[0])
    loaded = load_localizer(tmp_path / "localizer")
    assert loaded.spec == trained[0].spec
    assert rows_of(loaded.segments(VAL[0].features)) == rows_of(trained[0].segments(VAL[0].features))
    other = replace(VAL[0].features, values=np.zeros((120, 4), np.float32))
    with pytest.raises(InputError, match=r"v50: expected features of 8 numbers.*found 4"):
        loaded.segments(other)


def test_a_video_longer_than_all_it_learnt_with_is_looked_at_in_windows(trained):
    parts = UNSEEN[:6]
    values = np.concatenate([one.features.values for one in parts])
    shift_s = np.cumsum([0.0, *(one.features.duration_s for one in parts)])
    features = Features("shift", (np.arange(len(values)) + 0.5) / 5, values, float(shift_s[-1]))
    truth = segments_of(
        ("shift", start_s + begin_s, end_s + begin_s, label, 1.0)
        for one, begin_s in zip(parts, shift_s, strict=False)
        for _, start_s, end_s, label, _ in rows_of(one.truth)
    )
    score = average_precision(truth, trained[0].segments(features), (0.1, 0.3, 0.5, 0.7)).average
    assert score is not None
    assert score >= 0.6  # cells of the whole at once, each of 1.9 s: 0.3 and less


def test_a_video_without_any_action_has_no_sure_segment(trained):
    looks = np.random.default_rng(7).normal(0, 1, (4, 8))
    noise = np.random.default_rng(1).normal(0, 0.5, (120, 8))
    found = trained[0].segments(replace(VAL[0].features, values=(looks[3] + noise).astype(np.float32)))
    assert not (found.scores > 0.3).any()


def test_what_cannot_be_learnt_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"of every action.*none of sneeze"):
        train_spot(PARAMS, (*LABELS, "sneeze"), STUDENT, CLIPS, TRAIN, UNLABELLED, VAL, tmp_path)
    with pytest.raises(ValueError, match=r"fit\.epochs must be pretrain_epochs \+ train_epochs, 12, found 5"):
        replace(PARAMS, fit=replace(PARAMS.fit, epochs=5))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"width": 30}, "width must be a multiple of attention_heads 4, found 30"),
        ({"temporal_scale": 4}, "temporal_scale must be at least 8, found 4"),
        ({"balance": 1.5}, "balance must be 0 to 1"),
        ({"dropout": 1.0}, "dropout must be 0 to below 1"),
        ({"train_epochs": 0}, "train_epochs must be at least 1"),
        ({"consistency": -1.0}, "consistency must be at least 0"),
    ],
)
def test_settings_that_make_no_network_are_refused(changes, told):
    with pytest.raises(ValueError, match=told):
        replace(SPOT, **changes)


def test_a_epochs_of_pretraining_and_training_take_turns():
    seed = replace(SPOT, pretrain_epochs=30, train_epochs=40, block_epochs=3)
    turns = seed.pretrains
    assert turns[:9] == (True, True, True, False, False, False, True, True, True)
    assert (sum(turns), len(turns)) == (30, 70)
    assert not any(turns[-10:])
    one_after_the_other = replace(seed, changes=replace(ALL, alternate=False)).pretrains
    assert one_after_the_other == (True,) * 30 + (False,) * 40
    assert replace(seed, pretrain_epochs=0).pretrains == (False,) * 40


@pytest.mark.parametrize("change", [field.name for field in fields(SpotChanges)])
def test_each_change_makes_another_localiser(change, tmp_path):
    few = replace(SPOT, pretrain_epochs=2, train_epochs=2, block_epochs=1, temporal_scale=24, fitted_scale=32)
    params = replace(PARAMS, spot=few, fit=replace(PARAMS.fit, epochs=4, patience=4))
    with_it, history = trained_with(params, tmp_path / "with", UNLABELLED[:4])
    without = replace(params, spot=replace(few, changes=replace(ALL, **{change: False})))
    other, other_history = trained_with(without, tmp_path / "without", UNLABELLED[:4])
    assert [one.train_loss for one in history] != [one.train_loss for one in other_history]
    assert (with_it.spec.spot.scale, other.spec.spot.scale) == (32, 24 if change == "fitted_scale" else 32)


def test_b_rows_are_rebuilt_after_the_crop_too():
    torch.manual_seed(0)
    kept, wanted = _crops(20, 64)
    assert kept.any(dim=1).all()
    assert not kept.all(dim=1).any()
    # A cell that is left lies in its own mask, which lies in what is left; others have none.
    assert (wanted.diagonal(dim1=1, dim2=2).bool() == kept).all()
    assert (wanted.sum(dim=2)[~kept] == 0).all()
    assert (wanted <= kept[:, None, :]).all()


def test_c_the_actions_loss_punishes_wrong_certainty_without_bound():
    classes, asked = torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1, dtype=torch.bool)
    wrong = torch.tensor([[[-20.0, 20.0]]])
    assert float(class_loss(wrong, classes, asked, log_likelihood=True)) == pytest.approx(40.0)
    assert float(class_loss(wrong, classes, asked, log_likelihood=False)) == pytest.approx(2.0)
    for log_likelihood in (True, False):
        assert float(class_loss(-wrong, classes, asked, log_likelihood)) == pytest.approx(0.0, abs=1e-6)
        assert float(class_loss(wrong, classes, ~asked, log_likelihood)) == 0.0


def test_d_the_masks_loss_is_the_paper_s_equation():
    wanted = torch.zeros(1, 4, 4)
    wanted[0, 1:3, 1:3] = 1
    asked = torch.ones(1, 4, dtype=torch.bool)
    logits = torch.randn(1, 4, 4, generator=torch.Generator().manual_seed(0))
    found = logits.sigmoid()[0].flatten().double()
    y = wanted[0].flatten().double()
    entropy = -(y * found.log() + (1 - y) * (1 - found).log()).mean()
    on_action, on_background = (found * y).sum() / (y.sum() + 1), (found * (1 - y)).sum() / ((1 - y).sum() + 1)
    told = entropy + (MOST_VARIANCE - found.var(correction=0)) + 5.0 * (1 - on_action) + on_background
    assert float(mask_loss(logits, wanted, asked, SPOT)) == pytest.approx(float(told), rel=1e-5)
    assert float(pretraining_mask_loss(logits, wanted, SPOT)) == pytest.approx(
        float(((found - y) ** 2).mean()), rel=1e-5
    )


@pytest.mark.parametrize("changes", [ALL, NONE])
def test_right_masks_cost_less_and_cells_that_are_not_asked_nothing(changes):
    params = replace(SPOT, changes=changes)
    wanted = torch.zeros(2, 8, 8)
    wanted[:, 2:5, 2:5] = 1
    asked = torch.ones(2, 8, dtype=torch.bool)
    right, wrong = (2 * wanted - 1) * 8, (1 - 2 * wanted) * 8
    for loss in (mask_loss(right, wanted, asked, params), pretraining_mask_loss(right, wanted, params)):
        assert 0 <= float(loss) < 1.6
    assert float(mask_loss(wrong, wanted, asked, params)) > float(mask_loss(right, wanted, asked, params)) + 1
    half = asked.clone()
    half[:, 4:] = False
    changed = right.clone()
    changed[:, 4:] = -changed[:, 4:]
    assert float(mask_loss(changed, wanted, half, params)) == pytest.approx(
        float(mask_loss(right, wanted, half, params))
    )
    assert float(mask_loss(right, wanted, ~asked, params)) == 0.0


def test_e_short_actions_need_many_cells():
    one = example(0)
    truth = one.truth
    for scale, least in ((8, 0.0), (96, 0.75)):
        classes = truth_of(one.features, truth, LABELS, scale).classes
        edges = edges_s(one.features, scale)
        shares = []
        for row in range(3):
            cells = np.flatnonzero(classes.numpy() == row)
            begin, end = edges[cells[0]], edges[cells[-1] + 1]
            common = min(end, truth.end_s[row]) - max(begin, truth.start_s[row])
            shares.append(common / (max(end, truth.end_s[row]) - min(begin, truth.start_s[row])))
        assert min(shares) >= least
        if scale == 8:
            assert min(shares) < 0.6


def test_every_action_has_a_cell_and_its_mask():
    features = Features("v", np.arange(20.0), np.zeros((20, 2), np.float32), 20.0)
    rows = [("v", 2.0, 9.0, "turn", 1.0), ("v", 3.0, 3.1, "fix", 1.0), ("w", 11.0, 12.0, "fix", 1.0)]
    truth = truth_of(features, segments_of([*rows, ("v", 15.0, 16.0, "sneeze", 1.0)]), LABELS, 10)
    assert truth.classes.tolist() == [3, 0, 1, 1, 1, 3, 3, 3, 3, 3]
    assert (truth.masks.sum(dim=1) > 0).tolist() == (truth.classes < 3).tolist()
    nothing = truth_of(features, segments_of([]), LABELS, 10)
    assert (nothing.classes == 3).all()
    assert not nothing.masks.any()


@given(rows=st.integers(1, 60), scale=st.integers(8, 64))
@settings(max_examples=40, deadline=None)
def test_cells_cover_the_video_and_keep_constant_rows(rows, scale):
    features = Features("v", (np.arange(rows) + 0.5) / 2, np.ones((rows, 3), np.float32), rows / 2)
    edges = edges_s(features, scale)
    assert (edges[0], edges[-1]) == (0.0, pytest.approx(rows / 2))
    assert np.allclose(np.diff(edges), rows / 2 / scale)
    assert torch.allclose(cell_rows(torch.ones(rows, 3), scale), torch.ones(scale, 3))


def test_cells_lie_where_their_rows_do_over_a_gap_too():
    times_s = np.array([0.5, 1.5, 2.5, 3.5, 100.5, 101.5, 102.5, 103.5])
    edges = edges_s(Features("v", times_s, np.zeros((8, 1), np.float32), 104.0), 8)
    assert edges.tolist() == [0.0, 1.0, 2.0, 3.0, 52.0, 101.0, 102.0, 103.0, 104.0]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(4, 10), st.integers(3, 9)), max_size=4))
@settings(max_examples=30, deadline=None)
def test_perfect_answers_become_the_true_segments(parts):
    classes, masks, truth, at = torch.full((64,), 3), torch.full((64, 64), -9.0), [], 0
    for kind, gap, length in parts:
        begin, end = at + gap, min(at + gap + length, 63)
        if end - begin < 2:
            break
        classes[begin:end] = kind
        masks[begin:end, begin:end] = 9.0
        truth.append((begin / 2, end / 2, LABELS[kind]))
        at = end
    logits = 20.0 * torch.nn.functional.one_hot(classes, 4)
    answers = Answers(logits[None], masks[None], torch.zeros(1, 64, 2))
    found = decode(answers, np.arange(65) / 2, LABELS, "v", DECODE)
    sure = found.take(found.scores > 0.5)
    told = sorted(zip(sure.start_s.tolist(), sure.end_s.tolist(), sure.labels.tolist(), strict=True))
    assert len(told) == len(truth)
    for (start_s, end_s, label), wanted in zip(told, sorted(truth), strict=True):
        assert label == wanted[2]
        assert np.allclose([start_s, end_s], wanted[:2], atol=0.5)


def test_all_videos_come_before_any_comes_again():
    dealt = _dealt(5, 4, 2, np.random.default_rng(0))
    assert [len(hand) for hand in dealt] == [2] * 4
    flat = [number for hand in dealt for number in hand]
    assert sorted(flat[:5]) == list(range(5))
    assert _dealt(0, 3, 2, np.random.default_rng(0)) == [[], [], []]


def test_order_is_told_of_halves():
    network = Spot(SPOT, 8, 3)
    logits = network.told_order(torch.zeros(2, SPOT.scale, 8))
    assert logits.shape == (2, 2)
    assert bool(logits.isfinite().all())
