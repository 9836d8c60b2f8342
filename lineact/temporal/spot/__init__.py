"""SPOT (Nag et al. 2022), a localiser that learns from labelled and unlabelled videos, with the five changes of Indris
et al. (2025), each of which can be switched.

`network` tells each cell of a video its action and the mask of the whole action that it lies in, `cells` cuts videos
and segments into cells, `losses` says how wrong answers are, `decode` makes segments of them, `training` teaches.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class SpotChanges:
    """The five changes; SPOT itself is all off.

    Attributes:
        alternate: A: epochs of pretraining and of training take turns, in place of one after the other.
        rebuild_cropped: B: rows are rebuilt after the temporal crop, too, in place of before it alone.
        log_likelihood: C: negative log likelihood of the actions, in place of squared error.
        contrast: D: masks learn from squared error in pretraining, and from cross-entropy with variance and contrast of
            action and background in training, in place of weighted cross-entropy and Dice.
        fitted_scale: E: `SpotParams.fitted_scale` cells, in place of `temporal_scale`.
    """

    alternate: bool
    rebuild_cropped: bool
    log_likelihood: bool
    contrast: bool
    fitted_scale: bool


@dataclass(frozen=True)
class SpotParams:
    """Settings of SPOT.

    Attributes:
        changes: see `SpotChanges`.
        width: channels.
        attention_heads: of the one transformer block, a divisor of `width`.
        dropout: share of channels dropped in the block, 0 to below 1.
        temporal_scale: cells that a video is cut into, whatever its length.
        fitted_scale: likewise with change E: many for short actions, few for actions as long as the video.
        pretrain_epochs: without labels.
        train_epochs: with labels, and with labels that it gives itself.
        block_epochs: epochs before the other kind's turn, with change A.
        balance: weight of the actions' loss; that of the masks has the rest, 0 to 1.
        mask_balance: weight of cross-entropy in the masks' loss; Dice has the rest, 0 to 1; without change D.
        action_weight: how much more action counts than background in the masks' contrast; with change D.
        sure_action: a cell of an unlabelled video learns its own likeliest action from this probability on, 0 to 1.
        sure_background: likewise of background.
        consistency: greatest weight of the squared distance between answers to a video and to a varied one.
        ramp_epochs: epochs of training in which what unlabelled videos teach grows to its weight.
    """

    changes: SpotChanges
    width: int
    attention_heads: int
    dropout: float
    temporal_scale: int
    fitted_scale: int
    pretrain_epochs: int
    train_epochs: int
    block_epochs: int
    balance: float
    mask_balance: float
    action_weight: float
    sure_action: float
    sure_background: float
    consistency: float
    ramp_epochs: int

    def __post_init__(self) -> None:
        for name in ("width", "attention_heads", "train_epochs", "block_epochs", "ramp_epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        for name in ("temporal_scale", "fitted_scale"):
            if getattr(self, name) < 8:
                raise ValueError(f"{name} must be at least 8, found {getattr(self, name)}")
        for name in ("balance", "mask_balance", "sure_action", "sure_background"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be 0 to 1, found {getattr(self, name)}")
        for name in ("pretrain_epochs", "action_weight", "consistency"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be at least 0, found {getattr(self, name)}")
        if self.width % self.attention_heads:
            raise ValueError(f"width must be a multiple of attention_heads {self.attention_heads}, found {self.width}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be 0 to below 1, found {self.dropout}")

    @property
    def scale(self) -> int:
        """Cells that a video is cut into."""
        return self.fitted_scale if self.changes.fitted_scale else self.temporal_scale

    @property
    def pretrains(self) -> tuple[bool, ...]:
        """For each epoch whether it pretrains."""
        left = [self.pretrain_epochs, self.train_epochs]
        block = self.block_epochs if self.changes.alternate else sum(left)
        schedule: list[bool] = []
        while any(left):
            for kind in (0, 1):
                taken = min(block, left[kind])
                left[kind] -= taken
                schedule += [kind == 0] * taken
        return tuple(schedule)
