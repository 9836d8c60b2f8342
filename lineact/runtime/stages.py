"""Work in stages that overlap: each has a thread, and what it finished waits for the next one in a queue of one."""

import threading
from collections.abc import Callable, Generator, Iterable
from typing import Any, NamedTuple


class Stopped(Exception):
    """The other side has gone."""


class _Failure(NamedTuple):
    error: BaseException


_END = object()


class _Slot:
    """Room for one item between two threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._items: list[Any] = []
        self._closed = False

    def put(self, item: Any) -> None:
        """Waits until there is room. Raises Stopped where the slot was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._items)
            if self._closed:
                raise Stopped
            self._items.append(item)
            self._changed.notify_all()

    def take(self, most_s: float | None = None) -> Any:
        """Waits until there is an item; None where none came within `most_s`. Raises Stopped where it was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or bool(self._items), most_s)
            if self._closed:
                raise Stopped
            if not self._items:
                return None
            item = self._items.pop()
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """Wakes whoever waits."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()


def overlapped(
    source: Iterable[Any], stages: list[Callable[[Any], Any]], pause_s: float | None = None
) -> Generator[Any, None, None]:
    """Each item of a source through all stages in turn, in its order; several items are on their way at once.

    At most one item waits before each stage, so that an item is not old when its turn comes. An error of the source or
    of a stage is raised here, after the results before it. Whoever stops iterating stops the threads; a source that
    waits for its next item notices when that comes.

    Args:
        source: read in a thread of its own.
        stages: each is called by one thread alone.
        pause_s: None is given wherever no item came for so long, seconds; None waits for items alone.
    """
    slots = [_Slot() for _ in range(len(stages) + 1)]
    threads = [threading.Thread(target=_read, args=(source, slots[0]), name="source", daemon=True)]
    for stage, before, after in zip(stages, slots, slots[1:], strict=False):
        name = getattr(stage, "__name__", "stage")
        threads.append(threading.Thread(target=_work, args=(stage, before, after), name=name, daemon=True))
    for thread in threads:
        thread.start()
    try:
        while (item := slots[-1].take(pause_s)) is not _END:
            if isinstance(item, _Failure):
                raise item.error
            yield item
    finally:
        for slot in slots:
            slot.close()
        for thread in threads[1:]:
            thread.join()


def _read(source: Iterable[Any], after: _Slot) -> None:
    def read() -> None:
        for item in source:
            after.put(item)

    _guarded(read, after)


def _work(stage: Callable[[Any], Any], before: _Slot, after: _Slot) -> None:
    def work() -> None:
        while (item := before.take()) is not _END:
            if isinstance(item, _Failure):
                raise item.error
            after.put(stage(item))

    _guarded(work, after)


def _guarded(work: Callable[[], object], after: _Slot) -> None:
    try:
        try:
            work()
        except Stopped:
            raise
        except BaseException as error:
            after.put(_Failure(error))
        else:
            after.put(_END)
    except Stopped:
        return
