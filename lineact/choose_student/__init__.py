"""The student chosen by latency: candidates are timed on this machine, and the most accurate one in time is taken."""

from dataclasses import dataclass

from lineact.bundle.networks import Setup
from lineact.distil import DistilParams


@dataclass(frozen=True)
class CandidateParams:
    """A student that may be chosen: how it differs from the one that `distil` would train. None takes what that has.

    Attributes:
        hub_model: hub name or local folder of another start, where `foundation` is "hub".
        hub_revision: its commit; None for the newest.
        width: numbers per token. No start has other widths than its own: a candidate of a new one begins with random
            weights.
        depth: transformer blocks. Fewer than the start's keep the first ones, added ones begin with random weights.
        patch_px: side of a patch in pixels; the start's patch weights are resampled.
        side_px: side of the input in pixels, a multiple of `patch_px`; the start's positions are resampled.
    """

    hub_model: str | None = None
    hub_revision: str | None = None
    width: int | None = None
    depth: int | None = None
    patch_px: int | None = None
    side_px: int | None = None

    def __post_init__(self) -> None:
        for name in ("width", "depth", "patch_px", "side_px"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be null or at least 1, found {value}")
        if self.hub_revision is not None and self.hub_model is None:
            raise ValueError("hub_revision belongs to a hub_model, found none")


@dataclass(frozen=True)
class ChooseStudentParams:
    """Settings of the stage `choose_student`.

    Attributes:
        candidates: to choose from, where `distil.student` is "auto".
        most_trained: of those in time at most so many are trained, the slowest ones: they can hold most.
        calls: measured calls of each candidate with one crop.
        warmup: calls before them.
        max_p95_ms: the line's budget for a call, milliseconds.
        target_machine: host name that the times must come from, or "any".
        setup: what runs the released networks.
        distil: how students are trained.
    """

    candidates: tuple[CandidateParams, ...]
    most_trained: int
    calls: int
    warmup: int
    max_p95_ms: float
    target_machine: str
    setup: Setup
    distil: DistilParams

    def __post_init__(self) -> None:
        if self.most_trained < 1 or self.calls < 1 or self.warmup < 0:
            raise ValueError("most_trained and calls must be at least 1, warmup at least 0")
        if self.distil.student == "auto" and not self.candidates:
            raise ValueError("candidates must name at least one where distil.student is auto")
        if len(set(self.candidates)) < len(self.candidates):
            raise ValueError("candidates must differ from one another, found one twice")
        if self.distil.foundation == "tiny" and any(candidate.hub_model for candidate in self.candidates):
            raise ValueError("candidates: hub_model is for foundation: hub, found it with tiny")
