"""Items made in another thread: the same ones, in order, with errors, and without a thread left behind."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineact.read_ahead import read_ahead


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "read_ahead"]


@given(st.lists(st.integers()), st.integers(1, 5))
def test_the_same_items_in_the_same_order(items, count):
    assert list(read_ahead(items, count)) == items
    assert threads() == []


def test_at_most_so_many_items_are_made_ahead():
    made = []

    def source():
        for number in range(100):
            made.append(number)
            yield number

    reader = read_ahead(source(), 2)
    assert next(reader) == 0
    reader.close()
    assert len(made) <= 5
    assert threads() == []


def test_an_error_comes_after_the_items_before_it():
    def source():
        yield 1
        yield 2
        raise ValueError("broken")

    reader = read_ahead(source(), 3)
    assert [next(reader), next(reader)] == [1, 2]
    with pytest.raises(ValueError, match="broken"):
        next(reader)
    assert threads() == []


def test_the_next_item_is_made_while_one_is_used():
    second_is_made = threading.Event()

    def source():
        yield 1
        second_is_made.set()
        yield 2

    reader = read_ahead(source(), 1)
    assert next(reader) == 1
    assert second_is_made.wait(timeout=120)
    assert list(reader) == [2]
