"""Which weights a training starts from, and what names their exact bytes in its cache key."""

from pathlib import Path
from typing import Literal

from lineact.files import sha256_of_file
from lineact.foundation.weights import identity_of


def start_of(foundation: Literal["tiny", "hub"], hub_model: str, tiny: Path) -> str:
    """The folder, file or hub name of the start.

    Args:
        foundation: the embedded weights, or full-size ones.
        hub_model: hub name, local folder or file, used where `foundation` is "hub".
        tiny: folder of the embedded start.
    """
    return str(tiny) if foundation == "tiny" else hub_model


def start_key(start: str, revision: str | None = None) -> str:
    """Changes with the start's bytes: the hash of a file or of a folder's files, or a hub name with its commit.

    Args:
        start: see `start_of`.
        revision: of a hub name; None for the newest.

    Raises:
        InputError: where a hub name is neither cached nor can be fetched.
    """
    return sha256_of_file(Path(start)) if Path(start).is_file() else identity_of(start, revision)
