"""Frozen settings classes from plain mappings: unknown keys, wrong types and values out of range are refused."""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from lineact.errors import ConfigError

Settings = TypeVar("Settings")


def from_mapping(settings_class: type[Settings], values: Mapping[str, Any], where: str) -> Settings:
    """Builds a frozen dataclass from a mapping, recursively.

    A class may check ranges in `__post_init__` by raising ValueError; the message is prefixed with `where`.

    Args:
        settings_class: a frozen dataclass whose fields are bool, int, float, str, tuple[X, ...], dict[str, X],
            Literal, optional (X | None) or further such dataclasses.
        values: the mapping, as read from YAML.
        where: what to call it in errors, e.g. "params.yaml: lines.demo.detect".

    Raises:
        ConfigError: on an unknown or missing key, a wrong type or a value out of range.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where}: expected a mapping of settings, found {values!r}")
    fields = {field.name: field for field in dataclasses.fields(settings_class)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise ConfigError(
            f"{where}: unknown key {', '.join(map(repr, unknown))}; known keys are {', '.join(sorted(fields))}"
        )
    hints = typing.get_type_hints(settings_class)
    arguments = {}
    for name, field in fields.items():
        if name in values:
            arguments[name] = _convert(hints[name], values[name], f"{where}.{name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{where}: key {name!r} is missing")
    try:
        return settings_class(**arguments)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in typing.get_args(hint):
            return None
        inner = [argument for argument in typing.get_args(hint) if argument is not type(None)]
        return _convert(inner[0], value, where)
    if origin is typing.Literal:
        if value not in typing.get_args(hint):
            choices = ", ".join(repr(choice) for choice in typing.get_args(hint))
            raise ConfigError(f"{where}: expected one of {choices}, found {value!r}")
        return value
    if origin is tuple:
        return _convert_tuple(hint, value, where)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: expected a mapping, found {value!r}")
        item_hint = typing.get_args(hint)[1]
        return {str(key): _convert(item_hint, item, f"{where}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        return from_mapping(hint, value, where)  # type: ignore[arg-type]
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is Any:
        return value
    if not isinstance(value, hint) or (hint is not bool and isinstance(value, bool)):
        raise ConfigError(f"{where}: expected {hint.__name__}, found {value!r}")
    return value


def _convert_tuple(hint: Any, value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{where}: expected a list, found {value!r}")
    hints = typing.get_args(hint)
    if hints[-1] is Ellipsis:
        return tuple(_convert(hints[0], item, f"{where}[{index}]") for index, item in enumerate(value))
    if len(value) != len(hints):
        raise ConfigError(f"{where}: expected {len(hints)} values, found {len(value)}")
    pairs = zip(hints, value, strict=True)
    return tuple(_convert(item_hint, item, f"{where}[{index}]") for index, (item_hint, item) in enumerate(pairs))
