"""Overlapping stages: order, errors, and an end for all threads."""

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineact.runtime.stages import overlapped


def threads_left(before):
    deadline_s = time.monotonic() + 60
    while (left := set(threading.enumerate()) - before) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    return left


@given(items=st.lists(st.integers(), max_size=30), stages=st.integers(0, 4))
def test_every_item_goes_through_all_stages_in_order(items, stages):
    assert list(overlapped(items, [lambda item: item + 1] * stages)) == [item + stages for item in items]


def test_stages_work_at_the_same_time():
    met = threading.Barrier(2, timeout=60)  # breaks where one stage waits for the other's end

    def first(item):
        if item:
            met.wait()
        return item

    def second(item):
        if item < 3:  # while the first stage has the item after this one
            met.wait()
        return item

    assert list(overlapped(range(4), [first, second])) == [0, 1, 2, 3]


def test_time_that_passes_without_an_item_is_told():
    go_on = threading.Event()

    def source():
        yield 1
        assert go_on.wait(10)
        yield 2

    results = overlapped(source(), [str], 0.05)
    assert [next(results), next(results), next(results)] == ["1", None, None]
    go_on.set()
    assert [item for item in results if item is not None] == ["2"]


def test_a_stages_error_comes_after_the_results_before_it():
    before = set(threading.enumerate())

    def halve(item):
        return 12 // item

    results = overlapped([4, 3, 0, 2], [halve, str])
    assert [next(results), next(results)] == ["3", "4"]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert not threads_left(before)


def test_a_sources_error_comes_after_its_items():
    def source():
        yield 1
        raise OSError("unplugged")

    results = overlapped(source(), [str])
    assert next(results) == "1"
    with pytest.raises(OSError, match="unplugged"):
        next(results)


def test_who_stops_iterating_stops_the_threads():
    before = set(threading.enumerate())
    read = []

    def endless():
        for number in range(10**9):
            read.append(number)
            yield number

    results = overlapped(endless(), [lambda item: item, lambda item: item])
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    results.close()
    assert not threads_left(before)
    assert len(read) < 20  # few items are on their way at once
