"""Where a choice starts from: a committed folder, one made on demand and kept in the cache, or a hub name."""

from pathlib import Path

from lineact.classifiers.settings import ClassifierParams
from lineact.errors import ConfigError
from lineact.foundation.tiny import MADE
from lineact.foundation.weights import WEIGHTS


def start_of_choice(params: ClassifierParams, committed: Path, *, make: bool = False) -> str | None:
    """The folder or hub name to start from.

    Args:
        params: the choice.
        committed: folder of the embedded models that are in git.
        make: whether to make an embedded start that was not made yet: 20 to 31 minutes of one core and the corpus
            before the first, with progress; goes on after a kill.

    Returns:
        None where the choice starts from random weights, or its embedded start is neither there nor made.

    Raises:
        ConfigError: where nobody can make it.
    """
    name = params.start_name
    if name is None or params.foundation == "hub":
        return name
    for folder in (committed / name, MADE / name):
        if (folder / WEIGHTS).is_file():
            return str(folder)
    if not make:
        return None
    from lineact.foundation.build import MADE_ON_DEMAND, build_start

    if name not in MADE_ON_DEMAND:
        raise ConfigError(f"tiny: expected a committed start or one of {', '.join(MADE_ON_DEMAND)}, found {name!r}")
    build_start(name, MADE / name)
    return str(MADE / name)
