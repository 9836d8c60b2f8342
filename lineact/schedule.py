"""When a line is retrained: a cron expression in a timezone."""

import re
from dataclasses import dataclass
from zoneinfo import ZoneInfo

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# name, lowest, highest, names of values: the five fields of crontab(5)
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    ("day of the week", 0, 7, {name: number for number, name in enumerate(_DAYS)}),
)
_PART = re.compile(r"(?:\*|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>\d+))?", re.ASCII)


@dataclass(frozen=True)
class ScheduleParams:
    """When the line's deployment retrains it.

    Attributes:
        cron: five fields: minute, hour, day of the month, month, day of the week.
        timezone: the IANA name of the one in which `cron` is read.
    """

    cron: str
    timezone: str

    def __post_init__(self) -> None:
        fields = self.cron.split()
        if len(fields) != len(_FIELDS):
            raise ValueError(
                f"cron: expected five fields (minute, hour, day of the month, month, day of the week) such as "
                f"'0 2 * * *', found {self.cron!r}"
            )
        for field, (name, lowest, highest, names) in zip(fields, _FIELDS, strict=True):
            if not all(_is_part(part, lowest, highest, names) for part in field.lower().split(",")):
                raise ValueError(
                    f"cron: expected *, numbers from {lowest} to {highest}, ranges, lists or steps as its "
                    f"{name}, found {field!r} in {self.cron!r}"
                )
        try:
            ZoneInfo(self.timezone)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(
                f"timezone: expected a name such as UTC or Europe/Berlin, found {self.timezone!r}"
            ) from error


def _is_part(part: str, lowest: int, highest: int, names: dict[str, int]) -> bool:
    """Whether this is *, a value or a range of values in order, each with or without a step."""
    found = _PART.fullmatch(part)
    if found is None or not 1 <= int(found["step"] or 1) <= highest:
        return False
    ends = [end for end in (found["first"], found["last"]) if end is not None]
    if not all(end in names or end.isdecimal() for end in ends):
        return False
    values = [names[end] if end in names else int(end) for end in ends]
    return values == sorted(values) and all(lowest <= value <= highest for value in values)
