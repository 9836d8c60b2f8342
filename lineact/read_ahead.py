"""Runs an iterator in a thread of its own, a few items ahead: frames are decoded while a network works."""

import contextlib
import queue
import threading
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")
POLL_S = 0.1  # how often a full queue is asked whether anybody still reads


@dataclass(frozen=True)
class _End:
    """The last thing in the queue, with the error that ended the source, if one did."""

    error: BaseException | None


def read_ahead(source: Iterable[Item], count: int) -> Generator[Item, None, None]:
    """The same items in the same order.

    Args:
        source: is iterated in another thread; an error of it is raised here, after the items before it.
        count: at most so many items wait, at least 1; memory holds two more, one being made and one being used.

    Yields:
        Its items. Whoever stops reading ends the thread.
    """
    waiting: queue.Queue[Item | _End] = queue.Queue(count)
    is_left = threading.Event()

    def put(item: Item | _End) -> None:
        while not is_left.is_set():
            with contextlib.suppress(queue.Full):
                waiting.put(item, timeout=POLL_S)
                return

    def work() -> None:
        try:
            for item in source:
                put(item)
                if is_left.is_set():
                    return
        except BaseException as error:  # to be raised where the items are read
            put(_End(error))
        else:
            put(_End(None))

    thread = threading.Thread(target=work, daemon=True, name="read_ahead")
    thread.start()
    try:
        while not isinstance(item := waiting.get(), _End):
            yield item
        if item.error is not None:
            raise item.error
    finally:
        is_left.set()
        thread.join()
