"""Where a choice starts from: an embedded folder, or a hub name."""

from pathlib import Path

from lineact.classifiers.settings import ClassifierParams
from lineact.foundation.weights import WEIGHTS


def start_of_choice(params: ClassifierParams, embedded: Path) -> str | None:
    """The folder or hub name to start from.

    Args:
        params: the choice.
        embedded: folder of the embedded models.

    Returns:
        None where the choice starts from random weights, or its embedded start is not there.
    """
    name = params.start_name
    if name is None or params.foundation == "hub":
        return name
    folder = embedded / name
    return str(folder) if (folder / WEIGHTS).is_file() else None
