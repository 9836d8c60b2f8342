"""Where a choice starts from: a committed folder, one made on demand and kept in the cache, or a hub name."""

from pathlib import Path

from lineact.classifiers.settings import ClassifierParams
from lineact.files import CACHE
from lineact.foundation.weights import WEIGHTS

MADE = CACHE / "foundation_starts"  # git-ignored: these starts are made where they are asked for


def start_of_choice(params: ClassifierParams, committed: Path) -> str | None:
    """The folder or hub name to start from.

    Args:
        params: the choice.
        committed: folder of the embedded models that are in git.

    Returns:
        None where the choice starts from random weights, or where its embedded start was not made yet.
    """
    name = params.start_name
    if name is None or params.foundation == "hub":
        return name
    for folder in (committed / name, MADE / name):
        if (folder / WEIGHTS).is_file():
            return str(folder)
    return None
