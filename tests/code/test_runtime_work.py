"""The work sense: cycles, and every difference from the standard work, each once and as early as it is sure."""

import itertools
import json
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from lineact.bundle.manifest import EventSettings
from lineact.bundle.work import WorkSettings, WorkStep
from lineact.errors import ConfigError
from lineact.runtime.events import Debouncer, Event
from lineact.runtime.run import run
from lineact.runtime.settings import SourceSettings
from lineact.runtime.sources import open_source
from lineact.runtime.work.alignment import align, orders_of, prefix_costs
from lineact.runtime.work.replay import replay
from lineact.runtime.work.sense import MOST_WAITING, WorkSense
from lineact.settings import from_mapping
from tests.station import ORIGIN, hand, result_at

NG = "NG"


def work(actions: str = "ABC", **settings) -> WorkSettings:
    """Steps of 1 to 5 s; a small letter is an optional one."""
    steps = tuple(WorkStep(action.upper(), 1.0, 5.0, action.islower()) for action in actions)
    return WorkSettings(steps, **({"join_s": 0.3} | settings))


def doing(action: str, start_s: float, end_s: float, hand_id: int = 1, product: str = "") -> Event:
    return Event(
        *ORIGIN[:2], action, start_s, end_s, 1_000_000 + start_s, 0.9, hand_id, ORIGIN.bundle, product
    )  # fmt: skip


def one_by_one(actions: str, take_s: float = 2.0, pause_s: float = 0.5) -> list[Event]:
    """Steps of one hand; a blank is half a minute of nothing."""
    at_s, events = 1.0, []
    for action in actions:
        if action == " ":
            at_s += 30
            continue
        events.append(doing(action, at_s, at_s + take_s))
        at_s += take_s + pause_s
    return events


def told(events, settings=None) -> list[tuple[str, str]]:
    return [(one.kind, one.words) for one in replay(events, settings or work(), ORIGIN)]


def deviations(events, settings=None) -> list[tuple[str, str, int]]:
    return [
        (one.kind, one.action, one.cycle)
        for one in replay(events, settings or work(), ORIGIN)
        if one.kind not in ("cycle", "idle")
    ]


@pytest.mark.parametrize(
    ("done", "expected"),
    [
        ("ABCABC", []),
        ("ABCACABC", [("missing_step", "B", 2)]),
        ("ABCBCABC", [("missing_step", "A", 2)]),
        ("ABCABABC", [("missing_step", "C", 2)]),
        ("ABCACBABC", [("wrong_order", "B", 2)]),
        ("ABCBACABC", [("wrong_order", "A", 2)]),
        ("ABCCABABC", [("wrong_order", "C", 2)]),
        ("ABCABACABC", [("repeated_step", "A", 2)]),
        ("ABCABXCABC", [("extra_step", "X", 2)]),
        ("BCABC", []),  # the shift begins in the middle of a cycle
        ("CABC", []),
        ("ABCAB", []),  # and ends in one
        ("ABCAC", [("missing_step", "B", 2)]),
        ("AC ABC", [("missing_step", "B", 1)]),  # a long pause after the last step ends a cycle
        ("AB CABC", []),  # but not one before it
        ("ABCXXX", [("extra_step", "X", 2)] * 3),
    ],
)
def test_what_a_cycle_differs_in(done, expected):
    assert deviations(one_by_one(done)) == expected


def test_a_cycle_is_told_with_its_times():
    cycles = [one.times for one in replay(one_by_one("ABCABC"), work(), ORIGIN) if one.times]
    assert [(one.cycle_s, one.interval_s, one.wait_s, one.idle_s, one.deviations, one.whole) for one in cycles] == [
        (7.0, None, None, 1.0, 0, True),
        (7.0, 7.5, 0.5, 1.0, 0, True),
    ]


def test_a_cycle_whose_begin_nobody_saw_has_no_times():
    said = replay(one_by_one("BCABCABC"), work(), ORIGIN)
    assert said[0].words == "cycle 1 was not seen whole"
    cycles = [(one.times.whole, one.times.interval_s) for one in said if one.times]
    assert cycles == [(False, None), (True, None), (True, 7.5)]


def test_times_that_are_too_short_or_too_long():
    events = [doing("A", 1, 1.5), doing("B", 2, 8), doing("C", 9, 11)]
    assert told(events)[:2] == [
        ("step_too_short", "A took 0.5 s; at least 1 s are expected"),
        ("step_too_long", "B takes longer than the 5 s that are expected at most"),
    ]


def test_a_step_that_takes_too_long_is_told_while_it_goes_on():
    sense, debouncer = WorkSense(work(), ORIGIN), Debouncer(EventSettings(0.3, 0.5), ORIGIN)
    first: dict[str, float] = {}
    for result in at_ten_fps("AAAAAAAAA"):
        at_s = result.frame.pts_s
        ended = debouncer.push(result)
        for one in sense.see(ended, debouncer.begun(), debouncer.settled_s(at_s), 0.0):
            assert first.setdefault(one.kind, at_s) == at_s
    assert first == {"step_too_long": 5.1}


def test_idle_time_is_told_once_and_irrelevant_movements_are_no_work():
    events = [*one_by_one("ABC"), doing(NG, 9.0, 40.0, 2), doing("A", 60.0, 62.0)]
    said = [one for one in replay(events, work(idle_s=20.0), ORIGIN) if one.kind == "idle"]
    assert [(one.start_s, one.end_s, one.words) for one in said] == [(8.0, 28.0, "no step for 20 s")]
    assert said[0].as_json()["start_utc"] == "1970-01-12T13:46:48.000Z"


def test_the_takt_is_told_once_where_a_cycle_takes_longer():
    said = told(one_by_one("ABCABC"), work(takt_s=6.0))
    assert said.count(("cycle_too_long", "the cycle takes longer than the takt of 6 s")) == 2
    assert told(one_by_one("ABCABC"), work(takt_s=7.5)) == told(one_by_one("ABCABC"))


def test_a_step_of_both_hands_or_in_two_parts_is_one():
    both = [doing("A", 1, 3, 1), doing("A", 1.2, 3.5, 2), doing("B", 4, 6), doing("B", 6.8, 8), doing("C", 9, 11, 2)]
    cycle = replay(both, work(join_s=1.0), ORIGIN)
    assert [one.kind for one in cycle] == ["cycle"]
    again = [doing("A", 1, 3), doing("B", 4, 6), doing("B", 7.5, 9), doing("C", 10, 12)]
    assert deviations(again, work(join_s=1.0)) == [("repeated_step", "B", 1)]


def test_two_hands_at_once_are_in_no_order():
    events = [*one_by_one("ABC"), doing("A", 10, 12), doing("C", 13, 15, 2), doing("B", 13.2, 15.2, 1)]
    assert deviations(events) == []
    later = [*events[:-1], doing("B", 14.5, 16.5, 1)]
    assert deviations(later) == [("wrong_order", "B", 2)]


def test_optional_steps_and_other_orders():
    for done in ("ABCABC", "ACAC", "ABCAC"):
        assert deviations(one_by_one(done), work("AbC")) == []
    either = work("ABCD", orders=(("A", "C", "B", "D"),))
    assert deviations(one_by_one("ABCDACBDABCD"), either) == []
    assert deviations(one_by_one("ABCDCABDABCD"), either) == [("wrong_order", "C", 2)]


def test_a_standard_with_a_step_twice():
    twice = work("ABAC")
    assert deviations(one_by_one("ABACABAC"), twice) == []
    assert deviations(one_by_one("ABACABCABAC"), twice) == [("missing_step", "A", 2)]


def test_products_separate_cycles():
    def of(product: str, actions: str, at_s: float) -> list[Event]:
        return [doing(action, at_s + 3 * row, at_s + 3 * row + 2, 1, product) for row, action in enumerate(actions)]

    by_product = work(cycle_by="product")
    events = [*of("P1", "ABC", 0), *of("P2", "ABAC", 10), *of("P3", "AC", 30), *of("P4", "ABC", 40)]
    said = replay(events, by_product, ORIGIN)
    assert [(one.kind, one.product) for one in said if one.kind not in ("cycle", "idle")] == [
        ("repeated_step", "P2"),
        ("missing_step", "P3"),
    ]
    assert [one.product for one in said if one.kind == "cycle"] == ["P1", "P2", "P3", "P4"]


def test_a_product_that_never_changes_does_not_grow_for_ever():
    sense = WorkSense(work(cycle_by="product"), ORIGIN)
    said: list = []
    for event in one_by_one("ABC" * 300):
        said += sense.see([replace(event, product="P1")], [], event.end_s, 0.0)
        assert len(sense._steps) <= MOST_WAITING
    cycles = [one for one in said if one.times]
    assert len(cycles) == 900 // MOST_WAITING
    assert not any(one.times.whole for one in cycles)
    assert not [one for one in said if one.kind == "missing_step"]


def test_products_that_nobody_tells_are_told_once_and_make_no_deviation(caplog):
    sense = WorkSense(work(cycle_by="product", takt_s=5.0), ORIGIN)
    said: list = []
    nameless, named = one_by_one("ABC" * 200), one_by_one("ABC" * 2)
    for event in nameless:
        said += sense.see([event], [], event.end_s, 0.0)
        assert len(sense._steps) <= MOST_WAITING
    assert said == []
    later_s = nameless[-1].end_s
    shown = [
        replace(event, start_s=event.start_s + later_s, end_s=event.end_s + later_s, product=product)
        for event, product in zip(named, ["P1"] * 3 + ["P2"] * 3, strict=True)
    ]
    for event in shown:
        said += sense.see([event], [], event.end_s, 0.0)
    said += sense.close([], shown[-1].end_s + 1.0)
    assert [(one.kind, one.product) for one in said if one.times] == [("cycle", "P1"), ("cycle", "P2")]
    assert {one.kind for one in said} <= {"cycle", "cycle_too_long"}
    assert caplog.text.count("nobody tells a product") == 1


def test_an_event_that_is_told_late_takes_its_place():
    """A long step of one hand ends after a short one of the other that began later."""
    sense = WorkSense(work(), ORIGIN)
    first, second, third = doing("A", 1, 6), doing("B", 2, 5, 2), doing("C", 7, 9)
    said = []
    for ended, settled_s in (([second], 0.5), ([first], 6.0), ([], 7.5), ([third], 9.0)):
        said += sense.see(ended, [], settled_s, 0.0)
    said += sense.close([], 11.0)
    assert [(one.kind, one.start_s, one.end_s) for one in said] == [("cycle", 1, 9)]


def test_what_nobody_saw_is_not_missing():
    sense = WorkSense(work(), ORIGIN)
    events = one_by_one("ABCABC")
    said = sense.see(events[:4], [], 11.0, 0.0)
    said += sense.look_away(15.0)
    later = [doing("C", 16, 18), doing("A", 19, 21), doing("B", 22, 24), doing("C", 25, 27)]
    said += sense.see(later, [], 28.5, 0.0) + sense.close([], 29.0)
    assert [(one.words) for one in said] == [
        "cycle 1 took 7.0 s",
        "cycle 2 was not seen whole",
        "cycle 3 was not seen whole",
        "cycle 4 took 8.0 s",
    ]


letters = st.integers(3, 6).map(lambda count: "ABCDEF"[:count])
times = st.lists(st.tuples(st.integers(9, 40), st.integers(0, 16)), min_size=40, max_size=40)


def at_times(done: str, taken, from_s: float = 1.0) -> list[Event]:
    """Steps with durations of 1.1 to 5 s and pauses of 0 to 2 s."""
    events, at_s = [], from_s
    for action, (take, pause) in zip(done, taken, strict=False):
        events.append(doing(action, at_s, at_s + take / 8))
        at_s += take / 8 + pause / 8
    return events


@given(letters, times, st.integers(1, 4))
def test_perfect_cycles_have_no_deviation(steps, taken, count):
    said = replay(at_times(steps * count, taken), work(steps), ORIGIN)
    assert [one.kind for one in said] == ["cycle"] * count
    assert all(one.times and one.times.whole and one.times.deviations == 0 for one in said)


@given(letters, times, st.data())
def test_a_step_left_out_is_exactly_that_step(steps, taken, data):
    left_out = data.draw(st.sampled_from(steps))
    events = at_times(steps + steps.replace(left_out, "") + steps * 2, taken)
    assert deviations(events, work(steps)) == [("missing_step", left_out, 2)]


@given(letters, times, st.data())
def test_two_steps_that_changed_places_are_one_step_out_of_order(steps, taken, data):
    row = data.draw(st.integers(0, len(steps) - 2))
    swapped = steps[:row] + steps[row + 1] + steps[row] + steps[row + 2 :]
    found = deviations(at_times(steps + swapped + steps * 2, taken), work(steps))
    assert [one[0] for one in found] == ["wrong_order"]
    assert found[0][1] in steps[row : row + 2]
    assert found[0][2] == 2


@given(letters, times, st.data())
def test_a_step_done_again_is_exactly_that_step(steps, taken, data):
    again = data.draw(st.integers(0, len(steps) - 2))
    place = data.draw(st.integers(again + 2, len(steps)))
    done = steps[:place] + steps[again] + steps[place:]
    # after the last step its first one begins the next cycle
    assume(not (again == 0 and place == len(steps)))
    found = deviations(at_times(steps + done + steps * 2, taken), work(steps))
    assert [(kind, action) for kind, action, _ in found] == [("repeated_step", steps[again])]


@given(letters, times, st.text("ABCDEFX", max_size=16), st.floats(0, 1e5))
def test_shifted_times_tell_the_same(steps, taken, done, shift_s):
    shift_s = round(shift_s)
    told_now, told_later = (
        [(one.kind, one.words, one.cycle, one.start_s - from_s) for one in replay(events, work(steps), ORIGIN)]
        for from_s, events in ((0.0, at_times(done, taken)), (shift_s, at_times(done, taken, 1.0 + shift_s)))
    )
    assert told_now == told_later


@given(letters, times, st.text("ABCDEFX", max_size=16))
def test_each_deviation_is_told_once_and_every_step_belongs_to_one_cycle(steps, taken, done):
    said = replay(at_times(done, taken), work(steps), ORIGIN)
    wrong = [one for one in said if one.kind in ("wrong_order", "repeated_step", "extra_step")]
    assert len({one.start_s for one in wrong}) == len(wrong)
    cycles = sorted((one.start_s, one.end_s) for one in said if one.kind == "cycle")
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(cycles))
    assert [one.cycle for one in said if one.kind == "cycle"] == list(range(1, len(cycles) + 1))


@given(letters, st.text("ABCDEFX", min_size=1, max_size=10))
def test_a_cycle_costs_what_its_alignment_tells(steps, done):
    orders = orders_of(work(steps))
    costs = prefix_costs(done, orders)
    alignment = align(done, orders)
    again = costs[-1].closed - alignment.cost  # first steps after a last one
    assert 0 <= again <= done.count(steps[0])
    assert all(cost.open <= cost.closed for cost in costs)
    assert sorted((*alignment.in_order, *alignment.moved, *alignment.extra)) == list(range(len(done)))
    found = Counter(done[row] for row in (*alignment.in_order, *alignment.moved)) + Counter(alignment.missing)
    assert found == Counter(steps)


def test_another_bundle_may_bring_another_standard():
    sense = WorkSense(work(), ORIGIN)
    sense.expect("b2", work("AB"))
    said = sense.see(one_by_one("ABCA"), [], 11.0, 0.0)
    sense.change("b2")
    later = [doing("A", 12, 14), doing("B", 15, 17), doing("A", 18, 20), doing("B", 21, 23)]
    said += sense.see(later, [], 24.0, 0.0)
    assert [(one.words, one.origin.bundle) for one in said] == [
        ("cycle 1 took 7.0 s", ORIGIN.bundle),
        ("cycle 2 was not seen whole", ORIGIN.bundle),
        ("cycle 3 took 5.0 s", "b2"),
        ("cycle 4 took 5.0 s", "b2"),
    ]
    sense.expect("b3", None)
    sense.change("b3")
    assert sense.see([doing("A", 30, 32)], [], 60.0, 0.0) == []


class Kept:
    """An output."""

    def __init__(self) -> None:
        self.events: list = []

    def write(self, event) -> None:
        self.events.append(event)

    def close(self) -> None:
        raise AssertionError("whoever opened it closes it")


def at_ten_fps(done: str) -> list:
    """A letter is a second of an action, a blank one without a hand, n one of NG."""
    results = []
    for index in range(10 * len(done)):
        shown = done[index // 10].replace("n", NG)
        results.append(result_at(index / 10, *([] if shown == " " else [hand(shown)]), number=index))
    return results


def reported(results, settings) -> list:
    kept = Kept()
    source = open_source("nowhere", SourceSettings())
    run(iter(results), Debouncer(EventSettings(0.3, 0.5), ORIGIN), [kept], [], source, WorkSense(settings, ORIGIN))
    return kept.events


@given(letters, st.lists(st.tuples(st.sampled_from("ABCDEFXn "), st.integers(2, 6)), max_size=14))
def test_a_station_tells_the_same_as_a_replay_of_its_events(steps, drawn):
    done = "".join(action * count for action, count in drawn)
    if not done.strip():
        return
    said = reported(at_ten_fps(done), work(steps))
    actions = [one for one in said if isinstance(one, Event)]
    kinds = ("cycle", "missing_step", "wrong_order", "repeated_step", "extra_step", "step_too_short")
    live = sorted((one.kind, one.words, one.start_s) for one in said if one not in actions and one.kind in kinds)
    assert live == sorted(
        (one.kind, one.words, one.start_s) for one in replay(actions, work(steps), ORIGIN) if one.kind in kinds
    )


def test_a_station_reports_cycles_and_deviations_among_its_events():
    said = reported(at_ten_fps("AA BB CC AA CC AA BB CC  "), work())
    assert [one.words for one in said if not isinstance(one, Event)] == [
        "cycle 1 took 8.0 s",
        "B is missing",
        "cycle 2 took 5.0 s",
        "cycle 3 took 8.0 s",
    ]
    lines = [json.loads(json.dumps(one.as_json())) for one in said]
    (missing,) = [line for line in lines if line["kind"] == "missing_step"]
    assert missing["start_s"] == 9.0
    assert missing["end_s"] == 14.0
    assert (missing["line"], missing["camera"], missing["action"], missing["cycle"]) == ("press_a", "top", "B", 2)
    (first, *_) = [line for line in lines if line["kind"] == "cycle"]
    assert (first["cycle_s"], first["whole"], first["deviations"]) == (8.0, True, 0)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"steps": []}, "work: steps: expected at least one that is not optional"),
        ({"steps": [{"action": "NG"}]}, r"work.steps\[0\]: action: expected one of the line's actions, found 'NG'"),
        ({"steps": [{"action": "A", "min_s": 3, "max_s": 2}]}, "A: expected 0 <= min_s < max_s, found 3.0 and 2.0"),
        ({"steps": [{"action": "A"}], "orders": [["A", "A"]]}, "orders: expected A, each as often, found A, A"),
        ({"steps": [{"action": "A"}], "takt": 3}, "unknown key 'takt'"),
        ({"steps": [{"action": "A"}], "takt_s": 0}, "expected takt_s and idle_s above 0"),
        (
            {"steps": [{"action": "A", "max_s": 3}, {"action": "B"}, {"action": "A"}]},
            "steps: expected the same min_s and max_s wherever A comes",
        ),
    ],
)
def test_wrong_standards_are_named(values, words):
    with pytest.raises(ConfigError, match=words):
        from_mapping(WorkSettings, values, "work")


def test_steps_that_nobody_recognises_are_refused():
    with pytest.raises(ConfigError, match=r"work: expected steps among the line's actions pick, place, found A, B, C"):
        work().refuse_unknown(("pick", "place", NG), "work")
