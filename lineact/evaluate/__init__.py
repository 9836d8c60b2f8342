"""The released pair on held-out frames: does it find the hands, does it name their actions, is it better than the last?

Two views of the classifier: end to end, on detected boxes that match a true one (misses are counted beside it), and
alone, on the true boxes. `truth` reads what persons decided, `held_out` a line's labelled pictures, `looking` shows the
frames to a pair, `scoring` counts, `champion` compares with the last release.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class ChampionParams:
    """The release to compare with.

    Attributes:
        version: in the registry, for messages.
        bundle_sha256: of its bundle's tree, where `CHAMPIONS` keeps it.
    """

    version: str
    bundle_sha256: str


@dataclass(frozen=True)
class EvaluatePicturesParams:
    """Settings of the stage `evaluate_pictures`.

    Attributes:
        match_iou: a box counts as found from this IoU on, one to one, 0 to 1.
        min_score: boxes from this score on enter mAP50, mAP50-95 and the precision-recall curve, 0 to 1.
    """

    match_iou: float
    min_score: float

    def __post_init__(self) -> None:
        if not 0 < self.match_iou <= 1:
            raise ValueError(f"match_iou must be above 0 and at most 1, found {self.match_iou}")
        if not 0 <= self.min_score < 1:
            raise ValueError(f"min_score must be from 0 to below 1, found {self.min_score}")


@dataclass(frozen=True)
class EvaluateParams(EvaluatePicturesParams):
    """Settings of the stage `evaluate`, beside those that it shares with `evaluate_pictures`.

    Attributes:
        champion: the release to compare with, or none.
        block_s: seconds that the bootstrap resamples as one.
        resamples: number of bootstrap samples.
        level: coverage of the interval, 0 to 1.
        seed: of the resampling.
    """

    champion: ChampionParams | None
    block_s: float
    resamples: int
    level: float
    seed: int

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.level < 1:
            raise ValueError(f"level must lie between 0 and 1, found {self.level}")
        if self.resamples < 1 or not self.block_s > 0:
            raise ValueError("resamples must be at least 1, block_s above 0")
