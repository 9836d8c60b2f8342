"""Settings of a training, light to import. Defaults are in conf/config.yaml."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class FitParams:
    """How the loop trains.

    Attributes:
        epochs: at most so many passes over the training crops.
        patience: epochs without a better `stop_on` before the loop stops.
        stop_on: what "better" means on the validation crops; "epochs" runs all of them and takes the last.
        batch_size: crops per step.
        crops_at_once: so many of them go through the network together, and their gradients are summed up; None for
            all. Means over the batch stay what they are; only BatchNorm sees the smaller share.
        mixed_precision: whether a GPU computes losses in bfloat16 where that is exact enough; weights stay float32.
        lr: peak learning rate of AdamW.
        warmup_epochs: epochs (fractions allowed) in which the rate climbs from 0 to `lr`.
        final_lr_share: the cosine ends at this share of `lr`, 0 to 1.
        weight_decay: of AdamW, on matrices only.
        clip_norm: greatest norm of the gradient.
        label_smoothing: share of the target spread over all classes, 0 to below 1.
        class_weight_power: 0 leaves classes as frequent as they are, 1 weighs each the same in total.
    """

    epochs: int
    patience: int
    stop_on: Literal["val_macro_f1", "val_loss", "epochs"]
    batch_size: int
    crops_at_once: int | None
    mixed_precision: bool
    lr: float
    warmup_epochs: float
    final_lr_share: float
    weight_decay: float
    clip_norm: float
    label_smoothing: float
    class_weight_power: float

    def __post_init__(self) -> None:
        _at_least(1, epochs=self.epochs, patience=self.patience, batch_size=self.batch_size)
        if self.crops_at_once is not None:
            _at_least(1, crops_at_once=self.crops_at_once)
        _at_least(0, warmup_epochs=self.warmup_epochs, weight_decay=self.weight_decay)
        _above_zero(lr=self.lr, clip_norm=self.clip_norm)
        _share(final_lr_share=self.final_lr_share, class_weight_power=self.class_weight_power)
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing must be 0 to below 1, found {self.label_smoothing}")


@dataclass(frozen=True)
class AugmentParams:
    """How training crops vary. The camera is fixed, so only a little.

    Attributes:
        shift: greatest displacement, share of the crop's side.
        scale: greatest change of size, share.
        brightness: greatest change of brightness, share of full white.
        contrast: greatest change of contrast, share.
        saturation: greatest change of saturation, share.
        blur: share of crops that are blurred.
        erase: share of crops of which a rectangle is painted over.
        flip: share of crops mirrored left to right; 0 where left and right mean something at the station.
        sided: actions for which they do: their crops are never mirrored.
        mixup: both parameters of the Beta distribution from which a batch's share of a second crop is drawn
            (Zhang et al. 2018); 0 mixes nothing.
    """

    shift: float
    scale: float
    brightness: float
    contrast: float
    saturation: float
    blur: float
    erase: float
    flip: float
    sided: tuple[str, ...]
    mixup: float

    def __post_init__(self) -> None:
        _share(
            shift=self.shift,
            scale=self.scale,
            brightness=self.brightness,
            contrast=self.contrast,
            saturation=self.saturation,
            blur=self.blur,
            erase=self.erase,
            flip=self.flip,
        )
        _at_least(0, mixup=self.mixup)


HeadStart = Literal["random", "probe"]


@dataclass(frozen=True)
class ClassifierTrainingParams:
    """What the teacher's and the student's settings have in common.

    Attributes:
        actions: the line's actions; NG is added as the last class.
        foundation: where the start comes from.
        hub_model: hub name or local folder of a timm ViT, used where `foundation` is "hub".
        hub_revision: commit of the hub's model; null for the newest.
        seed: of the head's start, the order of crops and their variation.
        split_gap_s: seconds that must lie between training and validation crops of one video.
        side_px: side of the ViT's input, a multiple of its patch; None takes the start's.
        head_start: "probe" starts the head at the best linear classifier of the start's features, "random" at random.
        fit: the loop's settings.
        augment: variation of the training crops.
    """

    actions: tuple[str, ...]
    foundation: Literal["tiny", "hub"]
    hub_model: str
    hub_revision: str | None
    seed: int
    split_gap_s: float
    side_px: int | None
    head_start: HeadStart
    fit: FitParams
    augment: AugmentParams

    def __post_init__(self) -> None:
        _check_actions(self.actions)
        _at_least(0, split_gap_s=self.split_gap_s)
        if self.side_px is not None:
            _at_least(1, side_px=self.side_px)

    @property
    def labels(self) -> tuple[str, ...]:
        """Class names in the order of the logits; NG is the last one."""
        return (*self.actions, "NG")

    @property
    def revision(self) -> str | None:
        """Commit of the start; None for the newest, and for the embedded start."""
        return self.hub_revision if self.foundation == "hub" else None


def _check_actions(actions: tuple[str, ...]) -> None:
    """Refuses a list of actions that cannot be classes.

    Raises:
        ValueError: where it is empty, repeats a name or names NG, which is added by itself.
    """
    if not actions or len(set(actions)) != len(actions) or "NG" in actions:
        raise ValueError(f"actions must be different names without NG (added as the last class), found {list(actions)}")


def _at_least(least: float, **values: float) -> None:
    for name, value in values.items():
        if value < least:
            raise ValueError(f"{name} must be at least {least}, found {value}")


def _above_zero(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} must be above 0, found {value}")


def _share(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be 0 to 1, found {value}")
