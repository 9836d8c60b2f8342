"""What a config.json in timm's hub layout says: the architecture and how images become its pixels."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from lineact.errors import InputError
from lineact.foundation.weights import Preprocessing

if TYPE_CHECKING:
    from torch import nn

Architecture = TypeVar("Architecture", bound="nn.Module")


def build_described(
    config: Mapping[str, Any], expected: type[Architecture], where: str, **changed: int
) -> Architecture:
    """Builds the architecture that a config.json describes, with random weights.

    Args:
        config: "architecture" (a timm name) and "model_args" (its arguments).
        expected: the class that it must be of.
        where: what to call the config in errors.
        changed: arguments in place of the config's.

    Raises:
        InputError: where timm knows no such architecture or it is of another class.
    """
    import timm

    arguments = dict(config.get("model_args") or {}) | changed
    try:
        model = timm.create_model(config["architecture"], pretrained=False, **arguments)
    except (KeyError, RuntimeError, TypeError) as error:
        raise InputError(f"{where}: expected a timm architecture in config.json, found none ({error})") from error
    if not isinstance(model, expected):
        raise InputError(f"{where}: expected a timm {expected.__name__}, found {type(model).__name__}")
    return model


def preprocessing_of(config: dict[str, Any], where: str) -> Preprocessing:
    """How images become pixels, from the config's "pretrained_cfg".

    Raises:
        InputError: where it is missing.
    """
    try:
        cfg = config["pretrained_cfg"]
        return Preprocessing(int(cfg["input_size"][-1]), tuple(cfg["mean"]), tuple(cfg["std"]))
    except (KeyError, TypeError, IndexError) as error:
        raise InputError(
            f"{where}: expected pretrained_cfg with input_size, mean and std in config.json ({error})"
        ) from error
