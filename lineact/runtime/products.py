"""Which product, or cycle, the station works on: told from outside, carried through to the events."""

import json
import threading
from collections import deque

MOST_LENGTH = 200  # characters of a product's number
REMEMBERED = 100  # changes: an event asks for the product at its start


class Products:
    """The products that were told, by the time they were told. For use by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told: deque[tuple[float, str]] = deque(maxlen=REMEMBERED)

    def tell(self, product: str, at_s: float) -> None:
        """From now on it is this one.

        Args:
            product: its number; "" for none.
            at_s: `time.monotonic()`.
        """
        with self._lock:
            self._told.append((at_s, product))

    def at(self, arrived_s: float) -> str:
        """The product when a frame arrived, by `time.monotonic()`; "" where none was told before."""
        with self._lock:
            return next((product for told_s, product in reversed(self._told) if told_s <= arrived_s), "")


def product_of(payload: bytes) -> str:
    """The product in a message: its text, or the string `product` of a JSON object.

    Raises:
        ValueError: where it is neither, or too long.
    """
    text = payload.decode().strip()
    if text.startswith("{"):
        text = json.loads(text).get("product")
        if not isinstance(text, str):
            raise ValueError("expected a string `product` in the object")
    if len(text) > MOST_LENGTH:
        raise ValueError(f"expected at most {MOST_LENGTH} characters, found {len(text)}")
    return text
