"""When somebody is reminded of a review, and when it is overdue."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

Word = Literal["reminder", "overdue"]


@dataclass(frozen=True)
class ReviewParams:
    """What a line's review gate asks, and for how long.

    Attributes:
        policy: see `lineact.dataset.DatasetParams`, to which it goes, as does the next.
        max_label_error: likewise.
        deadline_h: so many hours after the first word that the line waits, the review is overdue.
        remind_every_h: hours between two reminders.
    """

    policy: Literal["required", "sampled", "none"]
    max_label_error: float
    deadline_h: float
    remind_every_h: float

    def __post_init__(self) -> None:
        for name in ("deadline_h", "remind_every_h"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} must be above 0, found {getattr(self, name)}")


def word_due(since: datetime, told_at: datetime, now: datetime, params: ReviewParams) -> Word | None:
    """What is to be said now of a line that waits.

    Args:
        since: when it was first said that the line waits.
        told_at: when it was last said.
        now: the time.
        params: the line's settings.

    Returns:
        "overdue" as soon as the deadline has passed and at every reminder from then on, "reminder" at those before;
        None where nothing is due.
    """
    deadline = since + timedelta(hours=params.deadline_h)
    is_overdue = now >= deadline
    if (is_overdue and told_at < deadline) or now - told_at >= timedelta(hours=params.remind_every_h):
        return "overdue" if is_overdue else "reminder"
    return None
