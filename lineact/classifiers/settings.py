"""Settings of a classifier to compare, light to import. Defaults are in conf/compare_classifiers.yaml."""

from dataclasses import dataclass
from typing import Literal

from lineact.training.settings import AugmentParams, FitParams, HeadStart

Family = Literal["resnet", "vit", "clip", "cnn"]
Trains = Literal["nothing", "head", "stages", "all", "lora"]
LoraTarget = Literal["qkv", "proj", "fc1", "fc2"]
OTHER_ACTIONS = "*"  # key of the prompts of actions that have none of their own


@dataclass(frozen=True)
class LoraParams:
    """Low-rank updates of a ViT, h = W0 x + B A x.

    Attributes:
        r: rank; lora_alpha is the same.
        dropout: share of the updates' input that is dropped, 0 to below 1.
        targets: which linear layers of each block get an update.
        head: whether the head is trained with them.
    """

    r: int
    dropout: float
    targets: tuple[LoraTarget, ...]
    head: bool

    def __post_init__(self) -> None:
        if self.r < 1 or not 0 <= self.dropout < 1:
            raise ValueError(f"r must be at least 1 and dropout 0 to below 1, found {self.r} and {self.dropout}")
        if not self.targets or len(set(self.targets)) < len(self.targets):
            raise ValueError(f"LoRA targets must be one or more different layers, found {list(self.targets)}")


@dataclass(frozen=True)
class DistillationParams:
    """How a student learns from a teacher.

    Attributes:
        teacher: the choice that teaches.
        teacher_temperature: divides the teacher's logits alone; below 1 sharpens them.
        student_temperature: divides the student's logits in the soft loss.
        soft_share: alpha of alpha * soft loss + (1 - alpha) * cross-entropy with the labels, 0 to 1.
        feature_share: weight of the distance of pooled features, added to that; 0 leaves it out.
        relation_share: weight of the relations between crops, likewise.
        teach_epochs: the best of the teacher's first so many epochs teaches.
        teacher_sees: "clean" asks the teacher once per crop, "augmented" again for each varied crop (slower).
    """

    teacher: str
    teacher_temperature: float
    student_temperature: float
    soft_share: float
    feature_share: float
    relation_share: float
    teach_epochs: int
    teacher_sees: Literal["clean", "augmented"]

    def __post_init__(self) -> None:
        if not (self.teacher_temperature > 0 and self.student_temperature > 0):
            raise ValueError("teacher_temperature and student_temperature must be above 0")
        if not 0 <= self.soft_share <= 1:
            raise ValueError(f"soft_share must be 0 to 1, found {self.soft_share}")
        if self.feature_share < 0 or self.relation_share < 0:
            raise ValueError("feature_share and relation_share must be at least 0")
        if self.teach_epochs < 1:
            raise ValueError(f"teach_epochs must be at least 1, found {self.teach_epochs}")


@dataclass(frozen=True)
class ClassifierParams:
    """A classifier and how it is trained.

    Attributes:
        family: architecture.
        foundation: the embedded size, or the full one.
        tiny: name of the embedded start; None starts from random weights.
        hub_model: hub name or local folder of the full-size start; None starts from random weights.
        hub_revision: commit of the hub's model; None for the newest.
        trains: what is trained. The head is trained with "stages" and "all", and with "lora" as that says.
        stages: names of the stages that are trained where `trains` is "stages".
        depth: transformer blocks of a ViT; None takes the start's.
        side_px: side of a ViT's input, a multiple of its patch; None takes the start's.
        head_start: "probe" starts the head at the best linear classifier of its start's features; a random start
            has none.
        lora: where `trains` is "lora".
        distil: None for labels alone.
        prompts: of CLIP: phrases by action; `*` is for the others, with {} where the action's name goes.
        fit: the loop's settings.
        augment: variation of the training crops.
    """

    family: Family
    foundation: Literal["tiny", "hub"]
    tiny: str | None
    hub_model: str | None
    hub_revision: str | None
    trains: Trains
    stages: tuple[str, ...]
    depth: int | None
    side_px: int | None
    head_start: HeadStart
    lora: LoraParams | None
    distil: DistillationParams | None
    prompts: dict[str, tuple[str, ...]]
    fit: FitParams
    augment: AugmentParams

    def __post_init__(self) -> None:
        self._check_family()
        if (self.trains == "stages") != bool(self.stages):
            raise ValueError(f"stages must be named where trains is stages, and only there, found {list(self.stages)}")
        if self.trains == "lora" and self.lora is None:
            raise ValueError("lora must be set where trains is lora")
        if self.trains == "nothing" and self.distil is not None:
            raise ValueError("distil must be null where trains is nothing")
        if self.depth is not None and self.depth < 1:
            raise ValueError(f"depth must be null or at least 1, found {self.depth}")
        if self.side_px is not None and self.side_px < 1:
            raise ValueError(f"side_px must be null or at least 1, found {self.side_px}")

    def _check_family(self) -> None:
        if self.family != "vit" and self.trains == "lora":
            raise ValueError(f"trains: lora is for the family vit, whose attention it adapts; found {self.family}")
        if self.family != "vit" and self.depth is not None:
            raise ValueError(f"depth is for the family vit, found {self.family}")
        if self.family != "vit" and self.side_px is not None:
            raise ValueError(f"side_px is for the family vit, found {self.family}")
        if self.family != "clip" and self.trains == "nothing":
            raise ValueError(f"trains: nothing is for the family clip, which reads its prompts; found {self.family}")
        if self.family == "clip" and self.start_name is None:
            raise ValueError("the family clip needs a start: set tiny, or hub_model where foundation is hub")
        if self.family == "clip" and not self.prompts:
            raise ValueError("the family clip needs prompts")

    @property
    def start_name(self) -> str | None:
        """Name of the embedded start, or of the full-size one; None for random weights."""
        return self.tiny if self.foundation == "tiny" else self.hub_model

    @property
    def revision(self) -> str | None:
        """Commit of the start; None for the newest, and for an embedded start."""
        return self.hub_revision if self.foundation == "hub" else None
