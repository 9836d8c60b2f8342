"""Settings from mappings: what is refused, and how it is said."""

from dataclasses import dataclass
from typing import Literal

import pytest

from lineact.errors import ConfigError
from lineact.settings import from_mapping


@dataclass(frozen=True)
class Inner:
    share: float

    def __post_init__(self):
        if not 0 <= self.share <= 1:
            raise ValueError(f"share: expected 0 to 1, found {self.share}")


@dataclass(frozen=True)
class Outer:
    count: int
    kind: Literal["a", "b"]
    names: tuple[str, ...]
    size_wh: tuple[int, int]
    inner: Inner
    by_name: dict[str, float]
    maybe: Inner | None


VALID = {
    "count": 3,
    "kind": "a",
    "names": ["x", "y"],
    "size_wh": [4, 5],
    "inner": {"share": 1},
    "by_name": {"x": 2},
    "maybe": None,
}


def test_builds_nested_settings():
    settings = from_mapping(Outer, VALID, "params.yaml: lines.demo.outer")
    assert settings == Outer(3, "a", ("x", "y"), (4, 5), Inner(1.0), {"x": 2.0}, None)
    assert isinstance(settings.inner.share, float)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": 1}, r"here: unknown key 'colour'; known keys are by_name, count"),
        ({"count": "3"}, r"here\.count: expected int, found '3'"),
        ({"count": True}, r"here\.count: expected int, found True"),
        ({"kind": "c"}, r"here\.kind: expected one of 'a', 'b', found 'c'"),
        ({"names": "x"}, r"here\.names: expected a list, found 'x'"),
        ({"size_wh": [1]}, r"here\.size_wh: expected 2 values, found 1"),
        ({"inner": {"share": 2}}, r"here\.inner: share: expected 0 to 1, found 2"),
        ({"inner": {"shore": 2}}, r"here\.inner: unknown key 'shore'"),
        ({"inner": 7}, r"here\.inner: expected a mapping"),
        ({"by_name": [1]}, r"here\.by_name: expected a mapping"),
        ({"maybe": {"share": "x"}}, r"here\.maybe\.share: expected float, found 'x'"),
    ],
)
def test_refuses(change, message):
    with pytest.raises(ConfigError, match=message):
        from_mapping(Outer, VALID | change, "here")


def test_refuses_a_missing_key():
    with pytest.raises(ConfigError, match="here: key 'count' is missing"):
        from_mapping(Outer, {key: value for key, value in VALID.items() if key != "count"}, "here")
