"""Events: debounced, half-open, and in agreement with the frames they came from."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineact.bundle.manifest import EventSettings
from lineact.runtime.events import Debouncer, Event
from tests.station import ORIGIN, event, hand, result_at

SETTINGS = EventSettings(min_duration_s=0.3, max_gap_s=0.5)
ACTIONS = ("pick", "place", "NG")


def events_of(results, settings=SETTINGS, last_s=None, product_at=lambda _: "") -> list[Event]:
    debouncer = Debouncer(settings, ORIGIN, product_at)
    found = [event for result in results for event in debouncer.push(result)]
    end_s = results[-1].frame.pts_s + 0.1 if last_s is None else last_s
    return found + debouncer.close(end_s)


def at_ten_fps(shown: str) -> list:
    """Frames 0.1 s apart: p is pick, q is place, a blank is no hand."""
    names = {"p": "pick", "q": "place"}
    return [result_at(index / 10, *([hand(names[one])] if one != " " else [])) for index, one in enumerate(shown)]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ("pppp", [("pick", 0, 0.4)]),
        ("pp", []),  # too short
        ("  pppp  ", [("pick", 0.2, 0.6)]),
        ("ppp   ppp", [("pick", 0, 0.9)]),  # a short gap is bridged
        ("ppp      ppp", [("pick", 0, 0.3), ("pick", 0.9, 1.2)]),  # a long one is not
        ("ppppqqpppp", [("pick", 0, 1.0)]),  # something else for a moment
        ("ppppqqqpppp", [("pick", 0, 0.4), ("place", 0.4, 0.7), ("pick", 0.7, 1.1)]),
        ("pqpqpqpq", []),  # nothing that lasts
        ("ppp qqq", [("pick", 0, 0.3), ("place", 0.4, 0.7)]),
        ("p p p", [("pick", 0, 0.5)]),
    ],
)
def test_what_counts_as_an_event(shown, expected):
    found = [(one.action, one.start_s, pytest.approx(one.end_s)) for one in events_of(at_ten_fps(shown))]
    assert found == expected


def test_a_frame_stands_for_no_longer_than_the_gap():
    results = [result_at(0.0, hand()), result_at(0.2, hand()), result_at(60.0)]
    assert [(one.start_s, one.end_s) for one in events_of(results)] == [(0.0, 0.7)]


def test_an_event_is_told_as_soon_as_it_cannot_go_on():
    debouncer = Debouncer(SETTINGS, ORIGIN, lambda _: "")
    told = [len(debouncer.push(result)) for result in at_ten_fps("pppp       ")]
    assert told == [0] * 10 + [1]  # its last frame ended at 0.4 s, more than 0.5 s before
    assert debouncer.close(1.1) == []


def test_each_hand_has_its_own_events():
    both = [result_at(index / 10, hand("pick", hand_id=1), hand("place", hand_id=2)) for index in range(5)]
    assert sorted((one.hand, one.action) for one in events_of(both)) == [(1, "pick"), (2, "place")]


def test_an_event_has_the_product_of_its_first_frame():
    shown = at_ten_fps("ppppqqqq")
    found = events_of(shown, product_at=lambda arrived_s: "A" if arrived_s < 0.35 else "B")
    assert [(one.action, one.product) for one in found] == [("pick", "A"), ("place", "B")]


def test_a_clock_that_is_set_changes_no_duration():
    results = at_ten_fps("pppp")
    behind = [result._replace(frame=result.frame._replace(utc_s=result.frame.utc_s - 3600)) for result in results[2:]]
    (found,) = events_of([*results[:2], *behind])
    said = found.as_json()
    assert (said["start_utc"], said["end_utc"]) == ("1970-01-12T13:46:40.000Z", "1970-01-12T13:46:40.400Z")


def test_the_json_form():
    said = event(3).as_json()
    assert len(str(said.pop("event_id"))) == 32
    assert said == {
        "version": 2,
        "kind": "action",
        "line": "press_a",
        "camera": "top",
        "action": "pick",
        "start_s": 3.0,
        "end_s": 3.5,
        "start_utc": "1970-01-12T13:46:43.000Z",
        "end_utc": "1970-01-12T13:46:43.500Z",
        "confidence": 0.75,
        "hand": 1,
        "bundle": "0123456789ab",
        "product": "",
        "view": "unchecked",
    }


def test_ids_differ():
    assert event().event_id != event().event_id


hands = st.dictionaries(
    st.sampled_from([1, 2]), st.tuples(st.sampled_from(ACTIONS), st.sampled_from([0.25, 0.5, 1.0])), max_size=2
)
settings_drawn = st.builds(
    EventSettings,
    min_duration_s=st.sampled_from([0.0, 0.1, 0.3, 1.0]),
    max_gap_s=st.sampled_from([0.05, 0.3, 0.5, 2.0]),
)
# steps are quarters and the like, so that sums are exact
frames_drawn = st.lists(st.tuples(st.sampled_from([0.03125, 0.125, 0.25, 0.5, 3.0]), hands), min_size=1, max_size=40)


@given(frames_drawn, settings_drawn)
def test_events_agree_with_the_frames_they_came_from(drawn, settings):
    times_s = list(itertools.accumulate(step for step, _ in drawn))
    end_s = times_s[-1] + 0.25
    results = [
        result_at(pts_s, *(hand(action, confidence, number) for number, (action, confidence) in shown.items()))
        for pts_s, (_, shown) in zip(times_s, drawn, strict=True)
    ]
    events = events_of(results, settings, end_s)
    ends_s = [min(after, at + settings.max_gap_s) for at, after in zip(times_s, [*times_s[1:], end_s], strict=True)]
    for number in (1, 2):
        shown = [
            (at, end, *frame[number])
            for at, end, (_, frame) in zip(times_s, ends_s, drawn, strict=True)
            if number in frame
        ]
        ours = sorted((one for one in events if one.hand == number), key=lambda one: one.start_s)
        for one in ours:
            within = [row for row in shown if row[2] == one.action and one.start_s <= row[0] < one.end_s]
            # from its first frame to the end of its last one, with short gaps, long enough, its mean confidence
            assert within[0][0] == one.start_s
            assert within[-1][1] == one.end_s
            assert all(after[0] - before[1] <= settings.max_gap_s for before, after in itertools.pairwise(within))
            assert one.end_s - one.start_s >= settings.min_duration_s
            assert one.confidence == pytest.approx(sum(row[3] for row in within) / len(within))
        # a hand does one thing at a time
        assert all(before.end_s <= after.start_s for before, after in itertools.pairwise(ours))
        # what lasts without a gap is reported
        for begin in range(len(shown)):
            for stop in range(begin, len(shown)):
                stretch = shown[begin : stop + 1]
                gapless = all(before[1] == after[0] for before, after in itertools.pairwise(stretch))
                alike = len({row[2] for row in stretch}) == 1
                if gapless and alike and stretch[-1][1] - stretch[0][0] >= settings.min_duration_s:
                    assert any(
                        one.action == stretch[0][2] and one.start_s <= stretch[0][0] and stretch[-1][1] <= one.end_s
                        for one in ours
                    )


@given(frames_drawn, settings_drawn, st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=40, max_size=40))
def test_time_that_passes_without_a_frame_changes_no_event(drawn, settings, waits):
    """It only makes some known earlier."""
    times_s = list(itertools.accumulate(step for step, _ in drawn))
    results = [
        result_at(pts_s, *(hand(action, confidence, number) for number, (action, confidence) in shown.items()))
        for pts_s, (_, shown) in zip(times_s, drawn, strict=True)
    ]
    debouncer = Debouncer(settings, ORIGIN, lambda _: "")
    told = []
    for result, after_s, share in zip(results, [*times_s[1:], times_s[-1] + 0.25], waits, strict=False):
        told += debouncer.push(result)
        told += debouncer.pass_time(result.frame.pts_s + share * (after_s - result.frame.pts_s))
    told += debouncer.close(times_s[-1] + 0.25)
    expected = events_of(results, settings, times_s[-1] + 0.25)
    facts = [{name: value for name, value in one.as_json().items() if name != "event_id"} for one in (*told, *expected)]
    assert sorted(map(str, facts[: len(told)])) == sorted(map(str, facts[len(told) :]))


def test_an_event_is_told_though_no_frame_comes_any_more():
    debouncer = Debouncer(SETTINGS, ORIGIN, lambda _: "")
    for result in at_ten_fps("pppp"):
        assert debouncer.push(result) == []
    assert debouncer.pass_time(1.2) == []  # a frame at 0.8 s might still go on with it
    (event,) = debouncer.pass_time(1.4)
    assert (event.start_s, event.end_s) == (0, 0.3 + 0.5)
    assert debouncer.push(result_at(1.3, hand("pick"))) == []  # too late: that time has been told of
    assert debouncer.close(2.0) == []


@pytest.mark.parametrize("wrong", [{"min_duration_s": -0.1}, {"max_gap_s": 0.0}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="expected min_duration_s"):
        EventSettings(**wrong)
