"""From true boxes and features to who trains, who validates and who measures a localiser, and to its figures."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineact.errors import InputError
from lineact.evaluate_events import Interval
from lineact.evaluate_localizer import EvaluateLocalizerParams, Measured, figures_of, write_answers
from lineact.features import Extracted, extraction_metrics
from lineact.schema import TRUTH_BOXES, VIDEOS, table_of
from lineact.simulate_segments import SimulateSegmentsParams, merged, true_segments
from lineact.splits import HoldoutParams
from lineact.temporal.activitynet import GroundTruth, rows_of
from lineact.temporal.features import Features, write_features
from lineact.temporal.parts import Example, between, evenly, features_path, of_recordings, parts_of, read_examples
from lineact.temporal.segments import segments_of
from lineact.train_localizer import left_out

LAST = HoldoutParams((), 0.5, 1.0)
WHOLE = HoldoutParams(("b.mp4",), 0.0, 0.0)


def videos(*names, start_s=0.0, duration_s=20.0):
    rows = [
        {"video_sha256": name[0] * 64, "name": name, "start_s": start_s, "duration_s": duration_s, "fps": 10.0}
        | {"frame_count": 200, "width_px": 640, "height_px": 360, "codec": "h264"}
        for name in names
    ]
    return table_of(rows, VIDEOS)


def example(name, segments=((1.0, 3.0), (12.0, 14.0)), duration_s=20.0):
    times_s = np.arange(0.25, duration_s, 0.5)
    rows = segments_of((name, start_s, end_s, "fix", 1.0) for start_s, end_s in segments)
    return Example(Features(name, times_s, times_s[:, None].astype(np.float32), duration_s), rows)


def spans(one):
    return [(start_s, end_s) for _, start_s, end_s, _, _ in rows_of(one.truth)]


def test_true_boxes_become_segments_counted_from_the_first_frame():
    hands = [
        ("left", "fix", 5.0, 6.0),
        ("right", "fix", 5.5, 7.0),
        ("left", "NG", 6.0, 8.0),
        ("left", "turn", 8.0, 8.2),
    ]
    rows = [
        {
            "video_sha256": "a" * 64,
            "pts_s": tick / 10,
            "hand": hand,
            "action": action,
            "x1": 0,
            "y1": 0,
            "x2": 9,
            "y2": 9,
        }
        for hand, action, start_s, end_s in hands
        for tick in range(round(start_s * 10), round(end_s * 10))
    ]
    table = videos("a.mp4", "b.mp4", start_s=4.0)
    truth = true_segments(SimulateSegmentsParams(0.3), table, table_of(rows, TRUTH_BOXES))
    assert [(row[0], row[3]) for row in rows_of(truth.segments)] == [("a.mp4", "fix")]  # both hands: once; 0.2 s: not
    assert [row[1:3] for row in rows_of(truth.segments)] == [pytest.approx((1.0, 3.0))]
    assert truth.videos == ("a.mp4", "b.mp4")  # one without an action too
    assert truth.duration_s == {"a.mp4": 20.0, "b.mp4": 20.0}


intervals = st.builds(
    lambda action, start, length: Interval(action, start / 4, (start + length) / 4),
    st.sampled_from(["fix", "turn"]), st.integers(0, 40), st.integers(1, 12),
)  # fmt: skip


@given(st.lists(intervals, max_size=12))
def test_merged_intervals_cover_the_same_time_without_touching(some):
    found = merged(some)
    for action in ("fix", "turn"):
        ticks = {
            tick for one in some if one.action == action for tick in range(int(one.start_s * 4), int(one.end_s * 4))
        }
        own = sorted(one for one in found if one.action == action)
        covered = [tick for one in own for tick in range(int(one.start_s * 4), int(one.end_s * 4))]
        assert sorted(ticks) == covered
        assert all(before.end_s < after.start_s for before, after in pairwise(own))


def test_a_part_is_a_video_of_its_own():
    part = between(example("a.mp4", [(1, 3), (9, 13), (9.5, 13.5), (15, 16)]), 10.0, 16.0)
    assert part is not None
    assert spans(part) == [(0.0, 3.0), (0.0, 3.5), (5.0, 6.0)]
    assert part.features.duration_s == 6.0
    assert part.features.times_s.tolist() == np.arange(0.25, 6, 0.5).tolist()
    assert part.features.values[0] == 10.25
    quarter = between(example("a.mp4", [(9, 13)]), 12.0, 20.0)
    assert quarter is not None
    assert spans(quarter) == []
    assert between(example("a.mp4"), 5.0, 5.0) is None
    assert between(example("a.mp4"), 5.3, 5.6) is None  # no row's middle


def test_the_end_of_each_recording_is_held_out_with_a_guard_before_it():
    examples = {"a.mp4": example("a.mp4")}
    parts = parts_of(examples, videos("a.mp4", start_s=3.0), LAST, val_share=0.0, labelled_share=1.0)
    [train], [held] = parts.train, parts.holdout
    assert (train.features.duration_s, spans(train)) == (9.0, [(1.0, 3.0)])
    assert (held.features.duration_s, spans(held)) == (10.0, [(2.0, 4.0)])
    assert parts.val == parts.train
    assert not parts.unlabelled


def test_whole_recordings_are_held_out_and_others_validate():
    names = [f"{letter}.mp4" for letter in "abcdefg"]
    examples = {name: example(name) for name in names if name != "g.mp4"}  # of g nobody wrote segments down
    parts = parts_of(examples, videos(*names), WHOLE, val_share=0.2, labelled_share=0.1)
    assert [one.features.video for one in parts.holdout] == ["b.mp4"]
    assert [one.features.video for one in parts.val] == ["d.mp4"]
    assert [one.features.video for one in parts.train] == ["a.mp4", "e.mp4", "f.mp4"]
    assert len(parts.unlabelled) == 1
    assert not len(parts.unlabelled[0].truth)
    assert {one.features.video for one in (*parts.train, *parts.unlabelled)} == {"a.mp4", "c.mp4", "e.mp4", "f.mp4"}


def test_two_recordings_validate_with_their_ends():
    parts = parts_of({n: example(n) for n in ("a.mp4", "c.mp4")}, videos("a.mp4", "b.mp4", "c.mp4"), WHOLE, 0.25, 1.0)
    assert [one.features.duration_s for one in parts.train] == [15.0, 15.0]
    assert [spans(one) for one in parts.train] == [[(1.0, 3.0), (12.0, 14.0)]] * 2
    assert [one.features.duration_s for one in parts.val] == [5.0, 5.0]


@given(st.integers(1, 60), st.data())
def test_numbers_are_spread_evenly(count, data):
    wanted = data.draw(st.integers(1, count))
    chosen = sorted(evenly(count, wanted))
    assert len(chosen) == wanted
    assert set(chosen) <= set(range(count))
    steps = np.diff(chosen)
    assert not len(steps) or steps.max() - steps.min() <= 1


def test_segments_of_unknown_recordings_are_named(tmp_path):
    truth = GroundTruth(segments_of([("x.mp4", 0.0, 1.0, "fix", 1.0)]), ("x.mp4",), {"x.mp4": 2.0})
    with pytest.raises(InputError, match=r"found some of x\.mp4; name them as the files under data/<line>/raw"):
        read_examples(tmp_path, videos("a.mp4"), truth)


def test_segments_beyond_a_recordings_end_are_named_even_where_the_file_tells_no_length(tmp_path):
    write_features(features_path(tmp_path, "a.mp4"), example("a.mp4").features)
    rows = [("a.mp4", 1.0, 2.0, "fix", 1.0), ("a.mp4", 18.0, 60.0, "fix", 1.0), ("a.mp4", 30.0, 31.0, "turn", 1.0)]
    truth = GroundTruth(segments_of(rows), ("a.mp4",), {})
    told = r"a\.mp4: expected an end within the video \(20 s\), found fix \[18, 60\]; a\.mp4: .*found turn \[30, 31\]"
    with pytest.raises(InputError, match=told):
        read_examples(tmp_path, videos("a.mp4"), truth)
    within = GroundTruth(segments_of([*rows[:1], ("a.mp4", 18.0, 20.1, "fix", 1.0)]), ("a.mp4",), {})
    frames_last_longer = videos("a.mp4", duration_s=20.1)  # than the container declares
    assert list(read_examples(tmp_path, frames_last_longer, within)) == ["a.mp4"]


def test_segments_of_no_action_of_the_line_are_named():
    rows = [("a.mp4", 1.0, 2.0, label, 1.0) for label in ("fix", "Fix", "Fix", "turn")]
    truth = GroundTruth(segments_of(rows), ("a.mp4",), {})
    assert left_out(("fix", "turn", "Fix"), truth) is None
    assert left_out(("fix",), truth) == (
        "leaves segments out whose label is no action of the line (fix): 2 of Fix, 1 of turn"
    )


def test_timelines_of_recordings_of_one_name_are_all_there(tmp_path):
    names = ("early/a.mp4", "late/a.mp4")
    truth = GroundTruth(segments_of((name, 1.0, 2.0, "fix", 1.0) for name in names), names, dict.fromkeys(names, 9.0))
    params = EvaluateLocalizerParams(WHOLE, ("0.5",), 0.3, 10.0, None)
    measured = Measured(truth, truth.segments, 1.0)
    _, by_class = figures_of(params, measured)
    write_answers(tmp_path, params, measured, by_class)
    assert sorted(path.name for path in (tmp_path / "plots").glob("*.png")) == [
        "timeline_early_a.png",
        "timeline_late_a.png",
    ]


def test_a_recording_is_known_without_its_suffix_and_named_once():
    rows = [("shift/a", 0.0, 1.0, "fix", 1.0), ("b.mp4", 0.0, 1.0, "fix", 1.0)]
    truth = GroundTruth(segments_of(rows), ("shift/a", "b.mp4"), {"shift/a": 2.0})
    found = of_recordings(truth, ["shift/a.mp4", "b.mp4", "c.mp4"])
    assert found.videos == ("shift/a.mp4", "b.mp4")
    assert found.segments.videos.tolist() == ["shift/a.mp4", "b.mp4"]
    assert found.duration_s == {"shift/a.mp4": 2.0}
    twice = GroundTruth(segments_of([]), ("a", "a.mp4"), {})
    with pytest.raises(InputError, match=r"each recording once, found a, a\.mp4"):
        of_recordings(twice, ["a.mp4"])


def test_examples_are_read_by_name(tmp_path):
    one = example("shift/a.mp4")
    write_features(features_path(tmp_path, "shift/a.mp4"), one.features)
    truth = GroundTruth(one.truth, ("shift/a.mp4",), {"shift/a.mp4": 20.0})
    table = videos("shift/a.mp4", "z.mp4")
    assert list(read_examples(tmp_path, table, truth)) == ["shift/a.mp4"]
    held_out = replace(WHOLE, recordings=("shift/a.mp4",))
    with pytest.raises(InputError, match="expected recordings with segments to train with"):
        parts_of(read_examples(tmp_path, table, truth), table, held_out, 0.2, 1.0)


def test_what_features_cost_is_told_of_all_recordings():
    done = [Extracted("a.mp4", 40, 26, 20.0, 2.0, 250.0), Extracted("b.mp4", 20, 26, 10.0, 2.5, 300.0)]
    assert extraction_metrics(done) == {
        "recordings": 2,
        "rows": 60,
        "row_numbers": 26,
        "video_s": 30.0,
        "real_time_factor": 0.15,
        "memory_peak_mb": 300.0,
    }
    assert extraction_metrics([])["real_time_factor"] is None
