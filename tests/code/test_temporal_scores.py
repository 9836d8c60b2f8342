"""Segments in time against slow and obviously right ways to score them, and files that must be refused."""

import json
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineact.errors import ConfigError, InputError
from lineact.temporal.activitynet import (
    GroundTruth,
    read_ground_truth,
    read_predictions,
    rows_of,
    write_ground_truth,
    write_predictions,
)
from lineact.temporal.average_precision import average_precision, average_recall, true_positives
from lineact.temporal.cycles import CycleError, cycle_error
from lineact.temporal.evaluate import main, t_ious_of
from lineact.temporal.segmentation import frame_labels, runs_of, segmentation_scores
from lineact.temporal.segments import segments_of, t_iou

T_IOUS = (0.1, 0.3, 0.5, 0.7)
VIDEOS, LABELS = ("a", "b"), ("fix", "turn", "wipe")
quarters = st.integers(0, 40).map(lambda number: number / 4)
lengths = st.integers(1, 16).map(lambda number: number / 4)


twentieths = st.integers(0, 20).map(lambda number: number / 20)


def rows(scores=twentieths):
    row = st.tuples(st.sampled_from(VIDEOS), quarters, lengths, st.sampled_from(LABELS), scores)
    return st.lists(row.map(lambda one: (one[0], one[1], one[1] + one[2], one[3], one[4])), max_size=14)


def slow_iou(one, other):
    shared = max(0.0, min(one[2], other[2]) - max(one[1], other[1]))
    return shared / ((one[2] - one[1]) + (other[2] - other[1]) - shared)


def slow_average_precision(truth, predictions, label, threshold):
    """As one would do it by hand: down the list, each prediction takes the best that is free."""
    wanted = [row for row in truth if row[3] == label]
    told = sorted((row for row in predictions if row[3] == label), key=lambda row: -row[4])
    taken, hits = set(), []
    for row in told:
        best = None
        for number, one in enumerate(wanted):
            reaches = one[0] == row[0] and number not in taken and slow_iou(row, one) >= threshold
            if reaches and (best is None or slow_iou(row, one) > slow_iou(row, wanted[best])):
                best = number
        hits.append(best is not None)
        if best is not None:
            taken.add(best)
    area = 0.0
    for number, hit in enumerate(hits):
        if hit:
            area += max(sum(hits[: last + 1]) / (last + 1) for last in range(number, len(hits))) / len(wanted)
    return area


@given(truth=rows(scores=st.just(1.0)).filter(bool), predictions=rows())
def test_average_precision_is_what_one_counts_by_hand(truth, predictions):
    found = average_precision(segments_of(truth), segments_of(predictions), T_IOUS)
    assert found.labels == tuple(sorted({row[3] for row in truth}))
    for label, values in zip(found.labels, found.values, strict=True):
        by_hand = [slow_average_precision(truth, predictions, label, threshold) for threshold in T_IOUS]
        assert np.allclose(values, by_hand)


@given(truth=rows(scores=st.just(1.0)).filter(bool), predictions=rows(), seed=st.integers(0, 99))
def test_the_order_of_files_changes_nothing(truth, predictions, seed):
    rng = np.random.default_rng(seed)
    distinct = [(*row[:4], rank / 100) for rank, row in enumerate(predictions)]  # equal scores keep their file's order
    shuffled = [distinct[number] for number in rng.permutation(len(distinct))]
    one, other = (average_precision(segments_of(truth), segments_of(told), T_IOUS) for told in (distinct, shuffled))
    assert np.array_equal(one.values, other.values)


@given(truth=rows(scores=st.just(1.0)).filter(bool))
def test_the_truth_itself_is_perfect_and_nothing_is_worth_nothing(truth):
    perfect = segments_of(sorted(set(truth)))
    assert average_precision(perfect, perfect, T_IOUS, strict=True).average == 1.0
    assert average_recall(perfect, perfect, T_IOUS, 100) == 1.0
    nothing = segments_of([])
    assert average_precision(perfect, nothing, T_IOUS).average == 0.0
    assert average_recall(perfect, nothing, T_IOUS, 100) == 0.0


@given(truth=rows(scores=st.just(1.0)).filter(bool), predictions=rows(), per_video=st.integers(1, 5))
def test_average_recall_is_what_one_counts_by_hand(truth, predictions, per_video):
    reached = 0
    for one in truth:
        told = sorted((row for row in predictions if row[0] == one[0]), key=lambda row: -row[4])[:per_video]
        best = max((slow_iou(row, one) for row in told), default=0.0)
        reached += sum(best >= threshold for threshold in T_IOUS)
    found = average_recall(segments_of(truth), segments_of(predictions), T_IOUS, per_video)
    assert found == pytest.approx(reached / len(truth) / len(T_IOUS))


def test_many_videos_and_classes_are_scored_in_pieces_as_in_one(monkeypatch):
    import lineact.temporal.average_precision as module

    rng = np.random.default_rng(0)
    truth, told = (many(rng, count) for count in (400, 2000))
    whole = true_positives(truth, told, T_IOUS)
    monkeypatch.setattr(module, "CELLS_AT_ONCE", 200)
    assert np.array_equal(true_positives(truth, told, T_IOUS), whole)
    assert whole.any()


def many(rng, count, videos=20, labels=5):
    start_s = rng.uniform(0, 100, count)
    columns = zip(
        (f"v{number}" for number in rng.integers(videos, size=count)),
        start_s,
        start_s + rng.uniform(0.5, 8, count),
        (f"action {number}" for number in rng.integers(labels, size=count)),
        rng.random(count),
        strict=True,
    )
    return segments_of(columns)


def test_a_hundred_thousand_predictions(record_property):
    rng = np.random.default_rng(1)
    truth, told = many(rng, 10_000, videos=500, labels=20), many(rng, 100_000, videos=500, labels=20)
    began_s = time.perf_counter()
    found = average_precision(truth, told, t_ious_of("0.1:0.1:0.7"))
    took_s = time.perf_counter() - began_s
    record_property("seconds", took_s)
    print(f"100,000 predictions on 500 videos, 7 thresholds: {took_s:.2f} s")
    assert found.values.shape == (20, 7)


def test_labels_that_the_truth_lacks_count_only_where_asked():
    truth = segments_of([("a", 0.0, 1.0, "fix", 1.0)])
    told = segments_of([("a", 0.0, 1.0, "fix", 0.9), ("a", 0.0, 1.0, "dance", 0.9)])
    assert average_precision(truth, told, (0.5,)).average == 1.0
    strict = average_precision(truth, told, (0.5,), strict=True)
    assert (strict.average, strict.labels, strict.unknown) == (0.5, ("fix", "dance"), ("dance",))
    twice = segments_of([("a", 0.0, 1.0, "fix", 1.0)] * 2)
    with pytest.raises(InputError, match=r"found twice: a: fix \[0, 1\]"):
        average_precision(twice, told, (0.5,), strict=True)
    with pytest.raises(InputError, match="at least one action, found none"):
        average_precision(segments_of([]), told, (0.5,))


def test_a_video_that_the_truth_does_not_have_is_a_false_positive():
    truth = segments_of([("a", 0.0, 1.0, "fix", 1.0)])
    told = segments_of([("z", 0.0, 1.0, "fix", 0.9), ("a", 0.0, 1.0, "fix", 0.8)])
    assert average_precision(truth, told, (0.5,)).average == 0.5


@given(quarters, lengths, quarters, lengths)
def test_t_iou_is_symmetric_and_one_only_for_the_same(start, length, other, other_length):
    pair = (start, start + length), (other, other + other_length)
    one, two, three, four = (np.array([number]) for number in (*pair[0], *pair[1]))
    value = float(t_iou(one, two, three, four)[0])
    assert value == t_iou(three, four, one, two)[0]
    assert 0 <= value <= 1
    assert (value == 1) == (pair[0] == pair[1])


def slow_edits(one, other):
    if not one or not other:
        return len(one) + len(other)
    kept = slow_edits(one[1:], other[1:]) + (one[0] != other[0])
    return min(kept, 1 + slow_edits(one[1:], other), 1 + slow_edits(one, other[1:]))


sequences = st.lists(st.sampled_from(["", "fix", "turn"]), min_size=1, max_size=9)


@given(st.lists(st.tuples(sequences, st.randoms()), min_size=1, max_size=3))
def test_segmentation_scores_are_what_one_counts_by_hand(videos):
    truth, told = {}, {}
    for number, (labels, random) in enumerate(videos):
        truth[str(number)] = np.array(labels, "U4")
        told[str(number)] = np.array([random.choice([label, "", "turn"]) for label in labels], "U4")
    scores = segmentation_scores(truth, told, (0.25, 0.5))
    pairs = [(runs_of(truth[name]), runs_of(told[name])) for name in truth]
    edits = [
        1 - slow_edits(list(one.labels), list(other.labels)) / max(len(one.labels), len(other.labels), 1)
        for one, other in pairs
    ]
    assert scores["edit"] == pytest.approx(np.mean(edits))
    right = sum(int((truth[name] == told[name]).sum()) for name in truth)
    assert scores["frame_accuracy"] == pytest.approx(right / sum(map(len, truth.values())))
    for overlap in (0.25, 0.5):
        hits, total = 0, 0
        for one, other in pairs:
            taken = set()
            for label, start, end in zip(other.labels, other.starts, other.ends, strict=True):
                ious = [
                    slow_iou((None, start, end), (None, begin, finish)) if name == label else 0.0
                    for name, begin, finish in zip(one.labels, one.starts, one.ends, strict=True)
                ]
                if ious and max(ious) >= overlap and ious.index(max(ious)) not in taken:
                    taken.add(ious.index(max(ious)))
            hits, total = hits + len(taken), total + len(one.labels) + len(other.labels)
        assert scores[f"f1_{round(100 * overlap)}"] == (pytest.approx(2 * hits / total) if total else None)


def test_frames_take_the_surest_label():
    told = segments_of([("a", 0.0, 2.0, "fix", 0.4), ("a", 1.0, 3.0, "turning", 0.9), ("b", 0.0, 9.0, "wipe", 1.0)])
    assert frame_labels(told, "a", 4.0, 1.0).tolist() == ["fix", "turning", "turning", ""]
    assert frame_labels(told, "none", 2.0, 2.0).tolist() == [""] * 4
    runs = runs_of(np.array(["", "fix", "fix", "", "fix"]))
    assert (runs.labels.tolist(), runs.starts.tolist(), runs.ends.tolist()) == (["fix", "fix"], [1, 4], [3, 5])


def test_segmentations_of_other_videos_are_refused():
    with pytest.raises(InputError, match=r"expected labels of the videos \['a'\], found those of \['b'\]"):
        segmentation_scores({"a": np.array(["x"])}, {"b": np.array(["x"])})
    with pytest.raises(InputError, match="a: expected labels of 1 frames, found 2"):
        segmentation_scores({"a": np.array(["x"])}, {"a": np.array(["x", "x"])})


def test_cycle_times():
    truth = segments_of([("a", start, start + 1.0, "fix", 1.0) for start in (0.0, 10.0, 21.0, 30.0)])
    told = segments_of(
        [("a", start, start + 1.0, "fix", 0.9) for start in (0.5, 10.0, 30.2)] + [("a", 15.0, 16.0, "turn", 0.9)]
    )
    error = cycle_error(truth, told, "fix")
    assert error == CycleError(cycles=3, found=1, mean_absolute_s=0.5, mean_s=10.0)
    assert cycle_error(truth, segments_of([]), "fix").mean_absolute_s is None
    assert cycle_error(segments_of([]), told, "fix").cycles == 0


@given(truth=rows(scores=st.just(1.0)), predictions=rows())
def test_files_come_back(tmp_path_factory, truth, predictions):
    folder = tmp_path_factory.mktemp("files")
    said = GroundTruth(segments_of(truth), VIDEOS, {"a": 20.0})
    write_ground_truth(folder / "truth.json", said, "validation")
    found = read_ground_truth(folder / "truth.json", "validation")
    assert (found.videos, found.duration_s) == (VIDEOS, {"a": 20.0})
    assert sorted(rows_of(found.segments)) == sorted(truth)
    write_predictions(folder / "told.json", segments_of(predictions))
    assert sorted(rows_of(read_predictions(folder / "told.json"))) == sorted(predictions)


def truth_file(**entry):
    whole = {"subset": "test", "duration": 10.0, "annotations": [{"segment": [1.0, 2.0], "label": "fix"}]} | entry
    return {"database": {"a": whole}}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "expected JSON"),
        ("[1]", r"expected \{.database.*found \[1\]"),
        (json.dumps({"results": {}}), "database: expected"),
        (json.dumps(truth_file(annotations=None)), "a: expected a list as in .*found nothing"),
        (json.dumps(truth_file(annotations=[{"segment": [1], "label": "x"}])), r"entry 1: expected segment: .*\[1\]"),
        (json.dumps(truth_file(annotations=[{"segment": [1, "2"], "label": "x"}])), "entry 1: segment: expected a num"),
        (json.dumps(truth_file(annotations=[{"segment": [1, 2]}])), "expected the action's name as label"),
        (json.dumps(truth_file(annotations=[{"segment": [2, 2], "label": "x"}])), r"an end after the start.* x \[2, 2"),
        (json.dumps(truth_file(annotations=[{"segment": [-1, 2], "label": "x"}])), "a start at or after 0"),
        (json.dumps(truth_file(annotations=[{"segment": [9, 11], "label": "x"}])), r"within the video \(10 s\)"),
        (json.dumps(truth_file(duration=float("nan"))), "duration: expected a number, found NaN"),
        (json.dumps(truth_file(duration=10**400)), "duration: expected a number, found 1000"),
        (json.dumps(truth_file(subset="train")), "videos of the subset test, found train"),
    ],
)
def test_a_wrong_file_is_told(tmp_path, content, told):
    path = tmp_path / "truth.json"
    path.write_text(content)
    with pytest.raises(InputError, match=told):
        read_ground_truth(path, "test")


def test_faults_are_named_and_the_rest_counted(tmp_path):
    path = tmp_path / "told.json"
    wrong = [{"segment": [number + 1, number], "label": "fix", "score": 0.5} for number in range(13)]
    path.write_text(json.dumps({"results": {"a": wrong}}))
    with pytest.raises(InputError, match=r"fix \[1, 0\].*and 3 more\. Mend or remove"):
        read_predictions(path)
    with pytest.raises(InputError, match="found no file"):
        read_predictions(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("text", "found"), [("0.5", (0.5,)), ("0.1:0.1:0.7", (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)), ("0.5:0.05:0.95", 10)]
)
def test_thresholds(text, found):
    assert t_ious_of(text) == found or len(t_ious_of(text)) == found


@pytest.mark.parametrize(
    "text", ["", "x", "0", "1.5", "0.1:0.7", "0.7:0.1:0.1", "0.1:0:0.7", "0.1:1e-9:0.7", "0.1:inf:0.7", "nan"]
)
def test_thresholds_that_are_none(text):
    with pytest.raises(ConfigError, match="expected first:step:last or one number"):
        t_ious_of(text)


def test_the_command_prints_and_writes_what_it_found(tmp_path, capsys):
    truth = [("a", 0.0, 2.0, "fix", 1.0), ("a", 4.0, 6.0, "turn", 1.0), ("a", 8.0, 9.0, "fix", 1.0)]
    write_ground_truth(tmp_path / "truth.json", GroundTruth(segments_of(truth), ("a",), {"a": 10.0}), "test")
    told = [("a", 0.0, 2.0, "fix", 0.9), ("a", 4.0, 6.0, "turn", 0.8), ("a", 7.0, 8.0, "dance", 0.9)]
    write_predictions(tmp_path / "told.json", segments_of(told))
    files = ["--ground-truth", str(tmp_path / "truth.json"), "--predictions", str(tmp_path / "told.json")]
    out = tmp_path / "scores.json"
    assert main([*files, "--first-step", "fix", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "map_0.1:0.1:0.7          0.7500" in printed
    assert "labels that the ground truth does not have: dance" in printed
    scores = json.loads(out.read_text())
    assert scores["by_class"]["fix"]["0.5"] == 0.5
    assert scores["map_0.95"] == 0.75
    assert (scores["cycles"], scores["cycles_found"], scores["cycle_error_s"]) == (1, 0, None)
    assert scores["frame_accuracy"] == pytest.approx(0.8)
    assert main([*files, "--strict", "--t-iou", "0.5"]) == 0
    assert "map_0.5                  0.5000" in capsys.readouterr().out
    assert main([*files, "--fps", "0"]) == 2
    assert main(["--ground-truth", str(tmp_path / "none"), "--predictions", str(tmp_path / "told.json")]) == 3
    assert "found no file" in capsys.readouterr().err


def test_rates_that_are_none_are_refused(tmp_path, capsys):
    (tmp_path / "truth.json").write_text(json.dumps(truth_file()))
    (tmp_path / "told.json").write_text(json.dumps({"results": {}}))
    files = ["--ground-truth", str(tmp_path / "truth.json"), "--predictions", str(tmp_path / "told.json")]
    for fps in ("0", "inf", "nan"):
        assert main([*files, "--fps", fps]) == 2
        assert f"--fps {fps}: expected a number above 0 up to 1000" in capsys.readouterr().err


def test_the_command_starts_without_what_trains_networks():
    code = "import sys, lineact.temporal.evaluate; print([name for name in ('torch', 'mlflow') if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
