"""The choices of conf/classifier/, composed with what they have in common."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from lineact.classifiers.settings import ClassifierParams
from lineact.errors import ConfigError
from lineact.settings import from_mapping

PRIMARY = "compare_classifiers"


def choices_of(conf: Path) -> list[str]:
    """Names of all choices."""
    return sorted(path.stem for path in (conf / "classifier").glob("*.yaml"))


def classifier_of(
    conf: Path, choice: str, foundation: Literal["tiny", "hub"] = "tiny", overrides: Sequence[str] = ()
) -> ClassifierParams:
    """A choice's settings.

    Args:
        conf: the folder conf/.
        choice: name of a file in conf/classifier/.
        foundation: embedded-size, or full-size.
        overrides: Hydra's, e.g. "classifier.fit.epochs=2".

    Raises:
        ConfigError: where there is no such choice, or it does not compose.
    """
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    known = choices_of(conf)
    if choice not in known:
        raise ConfigError(f"choice {choice!r}: expected one of {', '.join(known)}")
    where = f"{conf}/classifier/{choice}.yaml"
    try:
        with initialize_config_dir(config_dir=str(conf.resolve()), version_base="1.3"):
            composed = compose(PRIMARY, overrides=[f"classifier={choice}", f"foundation={foundation}", *overrides])
            values: Any = OmegaConf.to_container(composed.classifier, resolve=True, throw_on_missing=True)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"{where}: does not compose: {' '.join(str(error).split())}") from error
    return from_mapping(ClassifierParams, values, where)
