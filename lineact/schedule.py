"""When a line is retrained, who runs it, and how patiently."""

import math
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
_POOL = re.compile(r"[\w-]+", re.ASCII)
_PART = re.compile(r"(?:\*|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>\d+))?", re.ASCII)


@dataclass(frozen=True)
class ScheduleParams:
    """When the line's deployment retrains it, and how.

    Attributes:
        cron: five fields: minute, hour, day of the month, month, day of the week.
        timezone: the IANA name of the one in which `cron` is read.
        work_pool: Prefect's work pool whose workers run it.
        retries: of a stage or a push that failed for want of disk, network or a server.
        retry_delay_s: seconds before each of them.
        mlflow_wait_s: so many seconds at most a run waits for an MLflow that is away.
        remote: DVC's remote that results are pushed to; None for DVC's default remote, where there is one.
    """

    cron: str
    timezone: str
    work_pool: str
    retries: int
    retry_delay_s: float
    mlflow_wait_s: float
    remote: str | None

    def __post_init__(self) -> None:
        _refuse_cron(self.cron)
        try:
            ZoneInfo(self.timezone)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(
                f"timezone: expected a name such as UTC or Europe/Berlin, found {self.timezone!r}"
            ) from error
        if not _POOL.fullmatch(self.work_pool) or self.work_pool.lower().startswith("prefect"):
            raise ValueError(
                f"work_pool: expected letters, digits, - and _, not beginning with prefect, found {self.work_pool!r}"
            )
        for name in ("retries", "retry_delay_s", "mlflow_wait_s"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name}: expected a number from 0 on, found {getattr(self, name)}")
        if self.remote == "":
            raise ValueError("remote: expected the name of a remote of DVC or null, found an empty name")


def _refuse_cron(cron: str) -> None:
    fields = cron.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(
            f"cron: expected five fields (minute, hour, day of the month, month, day of the week) such as "
            f"'0 2 * * *', found {cron!r}"
        )
    for field, (name, lowest, highest, names) in zip(fields, _FIELDS, strict=True):
        if not all(_is_part(part, lowest, highest, names) for part in field.lower().split(",")):
            raise ValueError(
                f"cron: expected *, numbers from {lowest} to {highest}, ranges, lists or steps as its "
                f"{name}, found {field!r} in {cron!r}"
            )


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
