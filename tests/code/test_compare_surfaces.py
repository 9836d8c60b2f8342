"""The comparison's scoring: all pairs of thresholds at once, held against one pair at a time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineact.bundle.processing import select_boxes
from lineact.compare.choice import CHOICES, ScoredDetector, best_pair, table_rows
from lineact.compare.plots import draw_maps, draw_surfaces
from lineact.compare.report import markdown, write_report
from lineact.compare.surfaces import KeptBoxes, Surfaces, kept_by_suppression, kept_by_text, score_surfaces
from lineact.metrics import ScoredFrame, score_detection

FIRST = np.array([0.1, 0.3, 0.5, 0.7])
SECOND = np.array([0.2, 0.5, 0.8])
MIN_IOUS = (0.3, 0.4)
GRADES = [0.05, 0.3, 0.4, 0.5, 0.9]  # some are thresholds themselves


@st.composite
def boxes(draw, max_count=5):
    count = draw(st.integers(0, max_count))
    numbers = draw(st.lists(st.integers(0, 8), min_size=4 * count, max_size=4 * count))
    rows = np.array(numbers, np.float64).reshape(count, 4)
    return np.concatenate([rows[:, :2], rows[:, :2] + 1 + rows[:, 2:]], axis=1)


@st.composite
def graded_boxes(draw):
    """Boxes, falling scores and text scores."""
    found = draw(boxes())
    grades = st.lists(st.sampled_from(GRADES), min_size=len(found), max_size=len(found))
    return found, np.array(sorted(draw(grades), reverse=True)), np.array(draw(grades))


@given(st.lists(st.tuples(graded_boxes(), boxes(3)), min_size=1, max_size=4))
def test_every_pair_scores_as_it_does_alone(drawn):
    frames = [
        KeptBoxes(found, kept_by_text(scores, texts, FIRST, SECOND), truth) for (found, scores, texts), truth in drawn
    ]
    surfaces = score_surfaces(frames, MIN_IOUS)
    for index, min_iou in enumerate(MIN_IOUS):
        for at in np.ndindex(len(FIRST), len(SECOND)):
            alone = []
            for (found, scores, texts), truth in drawn:
                rows = [row for row in range(len(found)) if scores[row] > FIRST[at[0]] and texts[row] > SECOND[at[1]]]
                alone.append(ScoredFrame(found[rows], scores[rows], truth))
            expected = score_detection(alone, min_iou)
            for name in ("recall", "accuracy", "one_to_one_precision", "one_to_one_recall"):
                value = getattr(surfaces, name)[(index, *at)]
                assert (None if np.isnan(value) else value) == getattr(expected, name), name
            assert surfaces.predicted_count[at] == expected.predicted_count
            assert surfaces.truth_count == expected.truth_count


@given(graded_boxes())
def test_one_suppression_serves_every_confidence(drawn):
    found, scores, _ = drawn
    kept = kept_by_suppression(found, scores, FIRST, SECOND)
    output = np.concatenate([found.T, scores[None]])  # 4 + 1 x anchors
    for row, confidence in enumerate(FIRST):
        for column, nms_iou in enumerate(SECOND):
            expected, _ = select_boxes(output, confidence, nms_iou, max_hands=100)
            assert found[kept[row, column]].tolist() == expected.tolist()


HAND, ELSEWHERE = np.array([[0.0, 0, 10, 10]]), np.array([[50.0, 50, 60, 60]])
NOTHING = np.zeros((0, 4))


@pytest.mark.parametrize(
    ("found", "truth", "recall", "accuracy", "precision"),
    [
        pytest.param(HAND, HAND, 1.0, 1.0, 1.0, id="found"),
        pytest.param(ELSEWHERE, HAND, 0.0, 0.0, 0.0, id="elsewhere"),
        pytest.param(np.concatenate([HAND, HAND]), HAND, 1.0, 1.0, 0.5, id="a duplicate counts as right"),
        pytest.param(NOTHING, HAND, 0.0, None, None, id="nothing predicted: undefined, not right"),
        pytest.param(HAND, NOTHING, None, 0.0, 0.0, id="no hand there"),
    ],
)
def test_formulas(found, truth, recall, accuracy, precision):
    surfaces = score_surfaces([KeptBoxes(found, np.ones((1, 1, len(found)), bool), truth)], (0.4,))
    figures = (surfaces.recall, surfaces.accuracy, surfaces.one_to_one_precision)
    assert [None if np.isnan(value.item()) else value.item() for value in figures] == [recall, accuracy, precision]


def test_the_greatest_iou_is_looked_for_within_one_frame():
    kept = np.ones((1, 1, 1), bool)
    surfaces = score_surfaces([KeptBoxes(HAND, kept, ELSEWHERE), KeptBoxes(ELSEWHERE, kept, HAND)], (0.4,))
    assert surfaces.recall.item() == surfaces.accuracy.item() == 0


@pytest.mark.parametrize(
    ("frames", "min_ious", "named"),
    [
        ([], (0.4,), "at least one frame"),
        ([KeptBoxes(HAND, np.ones((1, 1, 1), bool), HAND)], (0.4, 0.0), "above 0"),
    ],
)
def test_what_cannot_be_scored_is_refused(frames, min_ious, named):
    with pytest.raises(ValueError, match=named):
        score_surfaces(frames, min_ious)


UNDEFINED = float("nan")


@pytest.mark.parametrize(
    ("recall", "precision", "pair"),
    [
        pytest.param([[0.2, 0.8]], [[1.0, 0.9]], (0, 1), id="best"),
        pytest.param([[0.9, 0.9, 0.9]], [[0.8, 0.8, 0.8]], (0, 1), id="the middle of equals"),
        pytest.param([[1.0], [0.5], [1.0]], [[1.0], [1.0], [1.0]], (0, 0), id="the middle itself is worse"),
        pytest.param([[0.0, 0.1]], [[UNDEFINED, 0.1]], (0, 1), id="undefined is never chosen"),
        pytest.param([[0.0, 0.0]], [[UNDEFINED, 0.0]], (0, 1), id="nor where nothing is right"),
        pytest.param([[0.0]], [[UNDEFINED]], None, id="nothing predicted at all"),
    ],
)
def test_best_pair(recall, precision, pair):
    assert best_pair(np.array(recall), np.array(precision)) == pair


def surfaces_of(accuracy: list[list[float]], recall: list[list[float]]) -> Surfaces:
    """One T_IoU; the one-to-one figures are half of the others."""
    right, found = np.array([accuracy]), np.array([recall])
    return Surfaces((0.4,), found, right, right / 2, found / 2, np.full(right.shape[1:], 7), 10)


def detectors() -> list[ScoredDetector]:
    """A detector with thresholds that says nothing at the highest, one that never says anything, and a fixed one."""
    thresholds = np.array([0.1, 0.2]), np.array([0.5])
    held_out = surfaces_of([[0.5], [UNDEFINED]], [[0.9], [0.0]])
    silent = surfaces_of([[UNDEFINED]] * 2, [[0.0]] * 2)
    return [
        ScoredDetector(
            "yolov5_own", "own", ("Conf", "NMS"), *thresholds, held_out, surfaces_of([[0.4], [0.9]], [[0.9]] * 2)
        ),
        ScoredDetector("grounding_dino", "words", ("Box", "Text"), *thresholds, silent, silent),
        ScoredDetector("labelling", "set", None, np.zeros(1), np.zeros(1), surfaces_of([[1.0]], [[0.8]]), None),
    ]


def test_the_table_says_what_the_held_out_frames_say_at_the_chosen_pair():
    rows = {(row.chosen_on, row.name): row for row in table_rows(detectors())}
    assert len(rows) == 3 * len(CHOICES)
    # 0.2 is better on the validation frames, and predicts nothing on the held-out ones
    validated = rows["validation", "yolov5_own"]
    assert (validated.thresholds, validated.accuracy, validated.recall) == ("Conf=0.20, NMS=0.50", None, 0.0)
    flattered = rows["held_out", "yolov5_own"]
    assert (flattered.thresholds, flattered.accuracy, flattered.recall) == ("Conf=0.10, NMS=0.50", 0.5, 0.9)
    silent = rows["held_out", "grounding_dino"]
    assert (silent.thresholds, silent.accuracy, silent.recall) == ("none: nothing predicted", None, None)
    assert (silent.predicted_count, silent.truth_count) == (0, 10)
    assert {rows[chosen_on, "labelling"].accuracy for chosen_on in CHOICES} == {1.0}


def test_the_greatest_recall_is_bold_and_the_undefined_a_gap(tmp_path):
    compared = detectors()
    rows = table_rows(compared)
    text = markdown("demo", rows, 60)
    assert "60 held-out frames, 10 hands" in text
    assert "| 0.4 | set | as the line is set | 100.00% | **80.00%** | 50.00% | 40.00% | 7 |" in text
    assert "| 0.4 | own | Conf=0.10, NMS=0.50 | 50.00% | **90.00%** | 25.00% | 45.00% | 7 |" in text
    assert "| 0.4 | words | none: nothing predicted | undefined | undefined | undefined | undefined | 0 |" in text
    write_report(tmp_path, text, compared, rows)
    assert (tmp_path / "table.md").read_text() == text
    assert 'validation,0.4,yolov5_own,"Conf=0.20, NMS=0.50",,0.0,,0.0,7,10' in (tmp_path / "table.csv").read_text()
    lines = (tmp_path / "surfaces.csv").read_text().splitlines()
    assert lines[0].startswith("model,frames,min_iou,first_threshold,second_threshold,accuracy,recall")
    assert "yolov5_own,held_out,0.4,0.20,0.50,,0.000000,,0.000000,7,10" in lines
    assert len(lines) == 1 + 2 * 2 + 2 * 2 + 1


def test_plots_are_drawn_with_gaps_and_without_a_pair(tmp_path):
    import cv2

    thresholds = np.array([0.2, 0.5, 0.8])
    figures = surfaces_of([[0.5, 0.6, 0.7], [0.8, 0.9, 1.0], [UNDEFINED] * 3], [[0.5] * 3, [0.4] * 3, [0.0] * 3])
    compared = [
        ScoredDetector("yolov5_own", "own", ("Conf", "NMS"), thresholds, thresholds, figures, figures),
        ScoredDetector(
            "grounding_dino",
            "words",
            ("Box", "Text"),
            thresholds,
            thresholds,
            *[surfaces_of([[UNDEFINED] * 3] * 3, [[0.0] * 3] * 3)] * 2,
        ),
    ]
    rows = [row for row in table_rows(compared) if row.chosen_on == "validation"]
    draw_maps(tmp_path / "maps.png", compared, rows, 0)
    draw_surfaces(tmp_path / "surfaces.png", compared, 0)
    for name in ("maps.png", "surfaces.png"):
        picture = cv2.imread(str(tmp_path / name))
        assert picture is not None
        assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
