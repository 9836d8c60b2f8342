import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from lineact.boxes import iou_matrix
from lineact.metrics import (
    ScoredFrame,
    accuracy,
    average_precision,
    confusion_matrix,
    f1_per_class,
    macro_f1,
    macro_precision,
    macro_recall,
    paired_bootstrap,
    recall_per_class,
    score_detection,
    time_blocks,
    top_k_accuracy,
)

CLASSES = 4
pairs = st.lists(st.tuples(st.integers(0, CLASSES - 1), st.integers(0, CLASSES - 1)), min_size=1, max_size=60)


@st.composite
def boxes(draw, max_count=4):
    count = draw(st.integers(0, max_count))
    numbers = draw(st.lists(st.integers(0, 12), min_size=4 * count, max_size=4 * count))
    rows = np.array(numbers, np.float64).reshape(count, 4)
    return np.concatenate([rows[:, :2], rows[:, :2] + 1 + rows[:, 2:]], axis=1)


@st.composite
def frames(draw):
    result = []
    for _ in range(draw(st.integers(0, 4))):
        predicted = draw(boxes())
        scores = draw(st.lists(st.sampled_from([0.1, 0.3, 0.5, 0.9]), min_size=len(predicted), max_size=len(predicted)))
        result.append(ScoredFrame(predicted, np.array(scores), draw(boxes())))
    return result


@given(pairs)
def test_classification_agrees_with_scikit_learn(drawn):
    actual, predicted = np.array(drawn).T
    confusion = confusion_matrix(actual, predicted, CLASSES)
    assert (confusion == sk.confusion_matrix(actual, predicted, labels=range(CLASSES))).all()
    assert accuracy(confusion) == pytest.approx(sk.accuracy_score(actual, predicted))
    assert macro_f1(confusion) == pytest.approx(sk.f1_score(actual, predicted, average="macro", zero_division=0))
    precision = sk.precision_score(actual, predicted, average="macro", zero_division=0)
    assert macro_precision(confusion) == pytest.approx(precision)
    recall = sk.recall_score(actual, predicted, labels=np.unique(actual), average="macro", zero_division=0)
    assert macro_recall(confusion) == pytest.approx(recall)
    recalls = recall_per_class(confusion)
    expected = sk.recall_score(actual, predicted, labels=range(CLASSES), average=None, zero_division=np.nan)
    np.testing.assert_allclose(recalls, expected)


@given(st.data())
def test_top_k_agrees_with_scikit_learn(data):
    count = data.draw(st.integers(1, 20))
    order = [data.draw(st.permutations(range(CLASSES))) for _ in range(count)]  # no ties: there the two may differ
    logits = np.array(order, np.float64)
    classes = np.array(data.draw(st.lists(st.integers(0, CLASSES - 1), min_size=count, max_size=count)))
    for k in range(1, CLASSES):
        expected = sk.top_k_accuracy_score(classes, logits, k=k, labels=range(CLASSES))
        assert top_k_accuracy(logits, classes, k) == pytest.approx(expected)
    assert top_k_accuracy(logits, classes, CLASSES) == top_k_accuracy(logits, classes, CLASSES + 3) == 1
    assert top_k_accuracy(logits, classes, 1) == pytest.approx((logits.argmax(axis=1) == classes).mean())


def test_of_equal_logits_the_first_is_the_surer():
    assert top_k_accuracy(np.zeros((2, 3)), np.array([0, 1]), 1) == 0.5


def test_undefined_scores_are_none_or_nan():
    nothing = confusion_matrix(np.array([], int), np.array([], int), 2)
    assert accuracy(nothing) is None
    assert macro_f1(nothing) is None
    assert macro_precision(nothing) is None
    assert macro_recall(nothing) is None
    assert top_k_accuracy(np.zeros((0, 2)), np.zeros(0, int), 1) is None
    assert np.isnan(recall_per_class(confusion_matrix(np.array([0]), np.array([0]), 2))[1])
    # A class that is only ever predicted counts: it is a mistake.
    assert f1_per_class(confusion_matrix(np.array([0]), np.array([1]), 2)).tolist() == [0, 0]


@pytest.mark.parametrize(("actual", "predicted"), [([0, 1], [0]), ([0], [2]), ([-1], [0])])
def test_impossible_classes_are_refused(actual, predicted):
    with pytest.raises(ValueError, match="class"):
        confusion_matrix(np.array(actual), np.array(predicted), 2)


@given(frames(), st.sampled_from([0.3, 0.4, 0.5]))
def test_detection_follows_its_definition(drawn, min_iou):
    """Written out as the sums of DESIGN section 2.6, box by box."""
    right, found, predicted, truths = 0, 0, 0, 0
    for frame in drawn:
        for box in frame.boxes_xyxy_px:
            predicted += 1
            right += any(iou_matrix(box, truth)[0, 0] >= min_iou for truth in frame.truth_xyxy_px)
        for truth in frame.truth_xyxy_px:
            truths += 1
            found += any(iou_matrix(box, truth)[0, 0] >= min_iou for box in frame.boxes_xyxy_px)
    score = score_detection(drawn, min_iou)
    assert score.accuracy == (right / predicted if predicted else None)
    assert score.recall == (found / truths if truths else None)
    if score.accuracy is not None and score.one_to_one_precision is not None:
        assert score.one_to_one_precision <= score.accuracy
    if score.recall is not None and score.one_to_one_recall is not None:
        assert score.one_to_one_recall <= score.recall


def test_duplicates_count_as_right_but_not_one_to_one():
    truth = np.array([[0, 0, 10, 10]])
    score = score_detection([ScoredFrame(np.repeat(truth, 4, axis=0), np.ones(4), truth)], 0.4)
    assert (score.accuracy, score.one_to_one_precision, score.recall) == (1.0, 0.25, 1.0)


def test_the_greatest_overlap_is_looked_for_within_one_frame():
    box, none = np.array([[0, 0, 10, 10]]), np.zeros((0, 4))
    score = score_detection([ScoredFrame(box, np.ones(1), none), ScoredFrame(none, np.ones(0), box)], 0.4)
    assert (score.recall, score.accuracy) == (0.0, 0.0)


def test_no_threshold_of_zero():
    with pytest.raises(ValueError, match="min_iou"):
        score_detection([], 0.0)


@given(frames())
def test_average_precision_follows_its_definition(drawn):
    """Envelope precision at each new recall level, with matching by hand."""
    truths = sum(len(frame.truth_xyxy_px) for frame in drawn)
    value = average_precision(drawn, 0.5)
    if not truths:
        assert value is None
        return
    ranked = sorted(
        ((-score, number, row) for number, frame in enumerate(drawn) for row, score in enumerate(frame.scores)),
    )
    taken, hits = set(), []
    for _, number, row in ranked:
        frame = drawn[number]
        free = [
            (iou_matrix(frame.boxes_xyxy_px[row], truth)[0, 0], -index)
            for index, truth in enumerate(frame.truth_xyxy_px)
            if (number, index) not in taken
        ]
        best = max(free, default=(0.0, 0))
        hits.append(best[0] >= 0.5)
        if hits[-1]:
            taken.add((number, -best[1]))
    precisions = [sum(hits[: rank + 1]) / (rank + 1) for rank in range(len(hits))]
    expected = sum(max(precisions[rank:]) / truths for rank in range(len(hits)) if hits[rank])
    assert value == pytest.approx(expected)


@given(frames())
def test_average_precision_depends_on_the_order_of_scores_alone(drawn):
    cubed = [ScoredFrame(frame.boxes_xyxy_px, frame.scores**3, frame.truth_xyxy_px) for frame in drawn]
    assert average_precision(drawn, 0.5) == average_precision(cubed, 0.5)


def test_average_precision_agrees_with_ultralytics():
    from lineact.foundation.yolov5 import import_ultralytics

    import_ultralytics()
    from ultralytics.utils.metrics import ap_per_class

    rng = np.random.default_rng(0)
    box = np.array([[0.0, 0.0, 10.0, 10.0]])
    drawn = [
        ScoredFrame(box + (0 if rng.random() < 0.7 else 50), rng.random(1), box if rng.random() < 0.9 else box + 20)
        for _ in range(400)
    ]
    hit = np.array([[bool((frame.boxes_xyxy_px == frame.truth_xyxy_px).all())] for frame in drawn])
    scores = np.concatenate([frame.scores for frame in drawn])
    theirs = ap_per_class(hit, scores, np.zeros(400), np.zeros(400))[5][0, 0]
    assert average_precision(drawn, 0.5) == pytest.approx(theirs, abs=0.01)  # they sample recall at 101 points


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30), st.floats(0.5, 20))
def test_time_blocks_hold_only_neighbours(times, block_s):
    numbers = time_blocks(["a"] * len(times), np.array(times), block_s)
    assert set(numbers) == set(range(len(set(numbers))))
    for number in set(numbers):
        inside = np.array(times)[numbers == number]
        assert inside.max() - inside.min() < block_s


def test_videos_never_share_a_block():
    assert len(set(time_blocks(["a", "b"], np.array([1.0, 1.0]), np.inf))) == 2


@given(st.floats(-1, 1), st.integers(1, 40))
def test_a_constant_difference_has_a_point_interval(difference, count):
    base = np.linspace(0, 1, count)
    interval = paired_bootstrap(base + difference, base, np.arange(count) // 3, resamples=50)
    assert interval.low == pytest.approx(difference)
    assert interval.high == pytest.approx(difference)
    assert interval.block_count == len(set(np.arange(count) // 3))


@settings(max_examples=25)
@given(st.integers(0, 1000))
def test_the_interval_holds_the_mean_and_turns_over_with_the_pair(seed):
    rng = np.random.default_rng(seed)
    a, b, blocks = rng.random(60), rng.random(60), rng.integers(0, 12, 60)
    interval, turned = paired_bootstrap(a, b, blocks), paired_bootstrap(b, a, blocks)
    assert interval.low <= interval.mean <= interval.high
    assert interval.mean == pytest.approx(np.mean(a - b))
    assert turned.low == pytest.approx(-interval.high, abs=1e-9)
    assert paired_bootstrap(a, b, blocks) == interval


def test_the_interval_covers_the_true_difference_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        of_block = rng.normal(0.1, 0.3, 40)  # items of a block are alike
        difference = np.repeat(of_block, 5) + rng.normal(0, 0.1, 200)
        interval = paired_bootstrap(difference, np.zeros(200), np.repeat(np.arange(40), 5), resamples=400)
        covered += interval.low <= 0.1 <= interval.high
    assert 0.88 <= covered / 200 <= 0.99


def test_pairs_must_belong_together():
    with pytest.raises(ValueError, match="same number"):
        paired_bootstrap(np.ones(3), np.ones(3), np.zeros(2))
