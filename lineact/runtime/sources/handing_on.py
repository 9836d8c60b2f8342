"""Between the thread that reads a camera and the one that recognises: drop what is late, or let it wait."""

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from lineact.runtime.frame import Frame
from lineact.runtime.sources.counts import SourceCounts
from lineact.runtime.sources.packets import Packet

POLL_S = 0.5  # how often a waiting thread looks whether it is to stop

Item = TypeVar("Item")


class _Shelf(Generic[Item]):
    """What one thread puts down and another takes up, in order."""

    def __init__(self, stop: threading.Event) -> None:
        self.items: deque[Item] = deque()
        self.changed = threading.Condition()
        self.stop = stop
        self._ended = False
        self._error: BaseException | None = None

    def fill_from(self, items: Iterable[Item]) -> None:
        """Body of the reading thread; its error is raised where the items are taken."""
        try:
            for item in items:
                self.put(item)
                if self.stop.is_set():
                    break
        except BaseException as error:
            self._error = error
        with self.changed:
            self._ended = True
            self.changed.notify_all()

    def put(self, item: Item) -> None:
        with self.changed:
            self.items.append(item)
            self.changed.notify_all()

    def take(self) -> Iterator[Item]:
        while True:
            with self.changed:
                while not (self.items or self._ended or self.stop.is_set()):
                    self.changed.wait(POLL_S)
                if self.stop.is_set() or not self.items:
                    break
                item = self.items.popleft()
                self.changed.notify_all()
            yield item
        if self._error is not None and not self.stop.is_set():
            raise self._error


class _Newest(_Shelf[Frame]):
    """Keeps one frame: a new one takes the place of one that nobody took."""

    def __init__(self, counts: SourceCounts, stop: threading.Event) -> None:
        super().__init__(stop)
        self._counts = counts

    def put(self, item: Frame) -> None:
        with self.changed:
            self._counts.dropped += len(self.items)
            self.items.clear()
            self.items.append(item)
            self.changed.notify_all()


class _Waiting(_Shelf[Packet]):
    """Keeps all packets, up to so many bytes; then the reader waits."""

    def __init__(self, most_bytes: int, stop: threading.Event) -> None:
        super().__init__(stop)
        self._most_bytes = most_bytes
        self._bytes = 0

    def put(self, item: Packet) -> None:
        with self.changed:
            while self._bytes > self._most_bytes and not self.stop.is_set():
                self.changed.wait(POLL_S)
            self._bytes += item.data.size if item.data else 0
        super().put(item)

    def take(self) -> Iterator[Packet]:
        for item in super().take():
            with self.changed:
                self._bytes -= item.data.size if item.data else 0
                self.changed.notify_all()
            yield item


def newest_only(frames: Iterable[Frame], counts: SourceCounts, stop: threading.Event) -> Iterator[Frame]:
    """Reads frames in a thread of its own and hands on the newest; those nobody had time for are counted as dropped."""
    return _through(_Newest(counts, stop), frames)


def in_packets(packets: Iterable[Packet], most_bytes: int, stop: threading.Event) -> Iterator[Packet]:
    """Reads a camera's packets in a thread of its own: they wait compressed, so a minute takes few megabytes."""
    return _through(_Waiting(most_bytes, stop), packets)


def _through(shelf: _Shelf[Item], items: Iterable[Item]) -> Iterator[Item]:
    reader = threading.Thread(target=shelf.fill_from, args=(items,), name="source", daemon=True)
    reader.start()
    try:
        yield from shelf.take()
    finally:
        shelf.stop.set()
        reader.join()
