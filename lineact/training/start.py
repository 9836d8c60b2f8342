"""Which weights a training starts from, and what names their exact bytes in its cache key."""

from pathlib import Path
from typing import Literal

from lineact.files import sha256_of_tree


def start_of(foundation: Literal["tiny", "hub"], hub_model: str, tiny: Path) -> str:
    """The folder or hub name of the start.

    Args:
        foundation: the embedded weights, or full-size ones.
        hub_model: hub name or local folder, used where `foundation` is "hub".
        tiny: folder of the embedded start.
    """
    return str(tiny) if foundation == "tiny" else hub_model


def start_key(start: str) -> str:
    """A folder's hash; a hub name as it is."""
    return sha256_of_tree(Path(start)) if Path(start).is_dir() else start
