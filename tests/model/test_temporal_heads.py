"""Heads that make segments of features: geometry, losses, padding, and whether they learn."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from lineact.temporal.average_precision import average_precision
from lineact.temporal.features import Features
from lineact.temporal.heads import DecodeParams, PyramidParams
from lineact.temporal.heads.decode import decode
from lineact.temporal.heads.layers import near_attention
from lineact.temporal.heads.losses import diou_loss, focal_loss, pyramid_loss
from lineact.temporal.heads.pyramid import Answers, Pyramid, padded
from lineact.temporal.heads.soft_nms import soft_nms
from lineact.temporal.heads.targets import points_of, targets_of
from lineact.temporal.segments import segments_of

ACTIONFORMER = PyramidParams("actionformer", 16, 4, 1, 2, 5, 3, 0.0, 1.5, 0.0)
KINDS = (ACTIONFORMER, replace(ACTIONFORMER, kind="temporalmaxer"))
DECODE = DecodeParams(min_score=0.01, most_before=500, most_after=50, min_duration_s=0.05, sigma=0.5, vote_t_iou=0.7)
LABELS = ("fix", "turn", "wipe")
ROWS = 64
intervals = st.lists(
    st.tuples(st.integers(0, 200), st.integers(3, 160)).map(lambda one: (one[0] / 4, min((one[0] + one[1]) / 4, 63.0))),
    max_size=6,
)


@given(st.integers(1, 40), st.integers(0, 9), st.integers(0, 40), st.integers(0, 2**16))
def test_attention_in_blocks_is_that_of_all_rows_with_the_far_ones_masked(rows, reach, padding, seed):
    generator = torch.Generator().manual_seed(seed)
    query, key, value = (torch.randn(2, 3, rows, 4, generator=generator) for _ in range(3))
    mask = torch.stack([torch.ones(rows, dtype=torch.bool), torch.arange(rows) < max(rows - padding, 1)])
    places = torch.arange(rows)
    seen = ((places[:, None] - places).abs() <= reach) & mask[:, None, None]
    wanted = functional.scaled_dot_product_attention(query, key, value, seen | torch.eye(rows, dtype=torch.bool))
    found = near_attention(query, key, value, mask, reach, 0.0)
    there = mask[:, None, :, None].expand_as(wanted)
    torch.testing.assert_close(found[there], wanted[there], rtol=1e-4, atol=1e-5)


@given(intervals, st.integers(1, 5), st.sampled_from([0.75, 1.5, 3.0]))
def test_targets_are_what_one_decides_point_by_point(actions, levels, radius):
    points = points_of(ROWS, levels)
    classes = torch.arange(len(actions)) % len(LABELS)
    found = targets_of(points, torch.tensor(actions).reshape(-1, 2), classes, len(LABELS), radius)
    for row, (place, stride, least, most) in enumerate(zip(*(column.tolist() for column in points), strict=True)):
        learnt = [
            (end - start, number)
            for number, (start, end) in enumerate(actions)
            if start < place < end
            and abs(place - (start + end) / 2) <= radius * stride
            and least <= max(place - start, end - place) < most
        ]
        assert bool(found.has_action[row]) is bool(learnt)
        if not learnt:
            assert not found.classes[row].any()
            continue
        shortest = [number for length, number in learnt if length == min(learnt)[0]]
        chosen = [[(place - actions[number][0]) / stride, (actions[number][1] - place) / stride] for number in shortest]
        assert int(found.classes[row].argmax()) in {int(classes[number]) for number in shortest}
        assert any(np.allclose(found.distances[row], one) for one in chosen)


@pytest.mark.parametrize("params", KINDS, ids=lambda params: params.kind)
def test_padding_changes_no_answer(params):
    torch.manual_seed(0)
    network = Pyramid(params, 6, len(LABELS)).eval()
    short, long = torch.randn(40, 6), torch.randn(72, 6)
    alone = network(*padded([short], network.granularity))
    together = network(*padded([short, long], network.granularity))
    for level in range(params.levels):
        begin = [sum(rows // 2**below for below in range(level)) for rows in (40, 72)]
        rows = slice(begin[0], begin[0] + 40 // 2**level), slice(begin[1], begin[1] + 40 // 2**level)
        for one, other in zip(alone[:2], together[:2], strict=True):
            assert torch.allclose(one[0, rows[0]], other[0, rows[1]], atol=1e-5)
    assert together.mask.sum(dim=1).tolist() == [40 + 20 + 10 + 5, 72 + 36 + 18 + 9]


@pytest.mark.parametrize("params", KINDS, ids=lambda params: params.kind)
def test_what_lies_in_the_padding_is_never_seen(params):
    torch.manual_seed(0)
    network = Pyramid(params, 6, len(LABELS)).eval()
    batch, mask = padded([torch.randn(40, 6), torch.randn(64, 6)], network.granularity)
    noisy = torch.where(mask[..., None], batch, torch.randn_like(batch))
    clean, disturbed = network(batch, mask), network(noisy, mask)
    assert torch.equal(clean.logits[0], disturbed.logits[0])


@given(st.lists(st.tuples(*[st.floats(0.01, 50)] * 4), min_size=1, max_size=20))
def test_diou_is_nothing_for_the_same_and_at_most_two(rows):
    distances = torch.tensor(rows, dtype=torch.float64)
    found, wanted = distances[:, :2], distances[:, 2:]
    loss = diou_loss(found, wanted)
    assert torch.allclose(loss, diou_loss(wanted, found))
    assert torch.allclose(diou_loss(wanted, wanted), torch.zeros(len(rows), dtype=torch.float64), atol=1e-9)
    assert ((loss >= -1e-9) & (loss <= 2)).all()
    starts, ends = -distances[:, [0, 2]], distances[:, [1, 3]]
    shared = ends.amin(dim=1) - starts.amax(dim=1)
    union = (ends - starts).sum(dim=1) - shared
    hull = ends.amax(dim=1) - starts.amin(dim=1)
    apart = (starts + ends).diff(dim=1)[:, 0] / 2
    assert torch.allclose(loss, 1 - shared / union + apart**2 / hull**2)


def test_focal_loss_forgives_what_is_sure_and_right():
    loss = focal_loss(torch.tensor([6.0, 0.0, -6.0]), torch.ones(3))
    assert loss[0] < 1e-6 < loss[1] < loss[2]
    assert float(loss[1]) == pytest.approx(0.25 * 0.25 * np.log(2), rel=1e-5)


def slow_soft_nms(rows, params):
    kept: list[tuple[float, ...]] = []
    left = [list(row) for row in rows]
    while left and len(kept) < params.most_after:
        best = max(left, key=lambda row: row[2])
        if best[2] < params.min_score:
            break
        left.remove(best)
        kept.append(tuple(best))
        for row in left:
            shared = max(0.0, min(row[1], best[1]) - max(row[0], best[0]))
            overlap = shared / (row[1] - row[0] + best[1] - best[0] - shared)
            row[2] *= np.exp(-(overlap**2) / params.sigma)
    return kept


@given(
    st.lists(
        st.tuples(st.floats(0, 20), st.floats(0.1, 9), st.floats(0, 1)), max_size=12, unique_by=lambda row: row[2]
    ),
    st.integers(1, 12),
)
def test_soft_nms_is_what_one_does_by_hand(rows, most):
    params = replace(DECODE, most_after=most, vote_t_iou=1.0)
    rows = [(start, start + length, score) for start, length, score in rows]
    columns = np.array(rows, np.float64).reshape(-1, 3).T
    found = np.stack(soft_nms(columns[0], columns[1], columns[2], params), axis=1)
    by_hand = np.array(slow_soft_nms(rows, params)).reshape(-1, 3)
    assert found.shape == by_hand.shape
    assert np.allclose(found, by_hand)
    assert (np.diff(found[:, 2]) <= 1e-12).all()


def test_answers_that_agree_vote_for_the_ends():
    start_s, end_s, scores = np.array([0.0, 0.4, 9.0]), np.array([4.0, 4.0, 12.0]), np.array([0.9, 0.3, 0.5])
    voted_s, _, _ = soft_nms(start_s, end_s, scores, DECODE)
    assert voted_s[:2].tolist() == [pytest.approx(0.1), 9.0]


def decoded(answers, points, video="v", first_s=0.0, step_s=1.0, duration_s=float(ROWS)):
    times_s = first_s + np.arange(ROWS) * step_s
    return decode(answers, points, LABELS, Features(video, times_s, np.zeros((ROWS, 1)), duration_s), DECODE)


@given(st.lists(st.floats(0.1, 9), min_size=2, max_size=20), st.data())
def test_places_and_seconds_are_each_others_inverse_over_gaps_too(steps_s, data):
    features = Features("v", np.cumsum(steps_s), np.zeros((len(steps_s), 1)), sum(steps_s) + 10)
    places = np.array(data.draw(st.lists(st.floats(-5, len(steps_s) + 5), min_size=1)))
    assert np.allclose(features.places_at(features.seconds_at(places)), places)
    assert np.array_equal(features.seconds_at(np.arange(len(steps_s))), features.times_s)


def test_a_gap_in_the_recording_moves_no_segment():
    times_s = np.concatenate([np.arange(ROWS // 2), 1000 + np.arange(ROWS - ROWS // 2)]).astype(float)
    gapped = Features("v", times_s, np.zeros((ROWS, 1)), times_s[-1] + 1)
    points = points_of(ROWS, 4)
    truth_s = np.array([[3.0, 9.0], [1004.0, 1010.0]])
    intervals = torch.from_numpy(gapped.places_at(truth_s)).float()
    wanted = targets_of(points, intervals, torch.tensor([0, 1]), len(LABELS), 1.5)
    answers = Answers(
        torch.where(wanted.classes > 0, 8.0, -20.0)[None],
        wanted.distances[None],
        torch.ones(1, len(points.places), dtype=torch.bool),
    )
    found = decode(answers, points, LABELS, gapped, DECODE)
    sure = found.take(found.scores > 0.9)
    assert np.allclose(np.sort(np.stack([sure.start_s, sure.end_s], axis=1), axis=0), truth_s, atol=1e-3)


@given(intervals, st.integers(0, 99))
def test_perfect_answers_become_the_truth(actions, seed):
    """What the points should answer, taken for their answers, gives the actions that any point learns."""
    points = points_of(ROWS, 4)
    classes = torch.from_numpy(np.random.default_rng(seed).integers(len(LABELS), size=len(actions)))
    wanted = targets_of(points, torch.tensor(actions).reshape(-1, 2), classes, len(LABELS), 1.5)
    logits = torch.where(wanted.classes > 0, 8.0, -20.0)
    answers = Answers(logits[None], wanted.distances[None], torch.ones(1, len(points.places), dtype=torch.bool))
    found = decoded(answers, points, first_s=0.5, step_s=0.25, duration_s=30.0)
    sure = found.take(found.scores > 0.9)
    truth = [(LABELS[int(kind)], *row) for kind, row in zip(classes, actions, strict=True)]
    for start_s, end_s, label in zip(sure.start_s, sure.end_s, sure.labels, strict=True):
        # Two actions that nearly cover each other vote together.
        assert any(
            label == name and np.allclose([start_s, end_s], [0.5 + 0.25 * begin, 0.5 + 0.25 * end], atol=2.0)
            for name, begin, end in truth
        )
    assert bool(len(sure)) is bool(wanted.has_action.any())


def videos(count, seed):
    """Features that tell the action in its own channel, with noise; actions in order, with gaps."""
    rng = np.random.default_rng(seed)
    features, truths = [], []
    for _ in range(count):
        rows = rng.normal(0, 0.3, (ROWS, 4)).astype(np.float32)
        truth, at = [], float(rng.uniform(1, 4))
        for kind in range(3):
            length = float(rng.uniform(4, 12))
            rows[round(at) : round(at + length), kind] += 1
            truth.append((at, at + length, kind))
            at += length + float(rng.uniform(3, 7))
        features.append(torch.from_numpy(rows))
        truths.append(truth)
    return features, truths


@pytest.mark.parametrize("params", KINDS, ids=lambda params: params.kind)
def test_it_learns_when_actions_begin_and_end(params):
    torch.manual_seed(0)
    network = Pyramid(params, 4, len(LABELS))
    optimiser = torch.optim.AdamW(network.parameters(), lr=5e-3)
    features, truths = videos(16, seed=0)
    points = points_of(ROWS, params.levels)
    targets = [
        targets_of(points, torch.tensor([one[:2] for one in truth]), torch.tensor([one[2] for one in truth]), 3, 1.5)
        for truth in truths
    ]
    for _ in range(150):
        optimiser.zero_grad()
        loss = pyramid_loss(network(*padded(features, network.granularity)), targets, params.label_smoothing)
        loss.backward()
        optimiser.step()
    network.eval()
    unseen, truths = videos(8, seed=1)
    told, whole = [], []
    for number, (video, truth) in enumerate(zip(unseen, truths, strict=True)):
        with torch.inference_mode():
            found = decoded(network(*padded([video], network.granularity)), points, str(number))
        columns = (found.videos, found.start_s, found.end_s, found.labels, found.scores)
        told += list(zip(*(column.tolist() for column in columns), strict=True))
        whole += [(str(number), start, end, LABELS[kind], 1.0) for start, end, kind in truth]
    score = average_precision(segments_of(whole), segments_of(told), (0.3, 0.5, 0.7)).average
    print(params.kind, score)
    assert score > 0.85


def test_a_video_with_no_action_teaches_and_is_scored():
    points = points_of(ROWS, 4)
    nothing = targets_of(points, torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), 3, 1.5)
    network = Pyramid(ACTIONFORMER, 4, 3)
    loss = pyramid_loss(network(*padded([torch.zeros(ROWS, 4)], network.granularity)), [nothing], 0.0)
    loss.backward()
    assert torch.isfinite(loss)
    count = len(points.places)
    no = Answers(torch.full((1, count, 3), -20.0), torch.ones(1, count, 2), torch.ones(1, count, dtype=torch.bool))
    assert not len(decoded(no, points))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"window": 4}, "window must be an odd number"),
        ({"width": 15}, "width must be a multiple of attention_heads 2, found 15"),
        ({"levels": 0}, "levels must be at least 1"),
        ({"dropout": 1.0}, "dropout must be 0 to below 1"),
        ({"centre_radius": 0.0}, "centre_radius above 0"),
    ],
)
def test_settings_that_make_no_network_are_refused(changes, told):
    with pytest.raises(ValueError, match=told):
        replace(ACTIONFORMER, **changes)
