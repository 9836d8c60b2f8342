"""What a student learns from its teacher: soft answers (Hinton et al.), pooled features, relations between crops."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from lineact.classifiers.families import pooled_and_logits
from lineact.classifiers.settings import DistillationParams
from lineact.training.augment import stacked, stripped
from lineact.training.classifier import ClassifierSpec, normalise, to_unit, training_device
from lineact.training.crops import CropSet

ANGLE_WEIGHT = 2.0  # of the angles beside the distances, as Park et al. set it
RELATED_CROPS = 64  # angles are between all triples: of a larger batch its first crops are related
BATCH = 128  # crops per call of the teacher


@dataclass(frozen=True)
class Teacher:
    """A trained classifier that teaches.

    Attributes:
        model: B x 3 x S x S, normalised -> B x K logits; in evaluation mode.
        spec: what it is.
    """

    model: torch.nn.Module
    spec: ClassifierSpec


class Answers(NamedTuple):
    """A teacher's answers to crops: logits, N x K, and pooled features, N x width; on the CPU."""

    logits: torch.Tensor
    features: torch.Tensor


def soft_cross_entropy(
    student_logits: torch.Tensor,
    teacher_logits: torch.Tensor,
    student_temperature: float,
    teacher_temperature: float,
) -> torch.Tensor:
    """Cross-entropy of the student's answer with the teacher's: -mean_b sum_k q_bk log p_bk.

    q = softmax(teacher / T_t), p = softmax(student / T_s). There is no factor T^2: the temperatures are independent and
    the share of this loss is a setting.

    Args:
        student_logits: B x K.
        teacher_logits: B x K, without graph.
        student_temperature: T_s, above 0.
        teacher_temperature: T_t, above 0; 0.07 nearly makes them one-hot.

    Returns:
        Scalar.
    """
    targets = (teacher_logits / teacher_temperature).softmax(dim=1)  # B x K
    return -(targets * (student_logits / student_temperature).log_softmax(dim=1)).sum(dim=1).mean()


def relation_loss(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Relational knowledge distillation, distances and angles (Park et al. 2019, equations 6 to 9).

    Args:
        student: pooled features, B x width.
        teacher: likewise, of any width, without graph.

    Returns:
        Scalar; 0 for a single crop.
    """
    if len(student) < 2:
        return student.sum() * 0.0
    student, teacher = student[:RELATED_CROPS].float(), teacher[:RELATED_CROPS].float()
    distances = functional.smooth_l1_loss(_distances(student), _distances(teacher))
    return distances + ANGLE_WEIGHT * functional.smooth_l1_loss(_angles(student), _angles(teacher))


def _distances(features: torch.Tensor) -> torch.Tensor:
    """Distances between different crops over their mean, B (B - 1) / 2."""
    distances = functional.pdist(features)
    return distances / distances.mean().clamp_min(1e-12)


def _angles(features: torch.Tensor) -> torch.Tensor:
    """Cosines of the angle at each crop between each two others, B x B x B; 0 where two of the three are the same."""
    apart = functional.normalize(features[None] - features[:, None], dim=2)  # B x B x width
    return apart @ apart.transpose(1, 2)


class Student(torch.nn.Module):
    """A student beside the linear map by which its features are held against the teacher's; the map is left behind."""

    def __init__(self, network: torch.nn.Module, width: int, taught_width: int) -> None:
        super().__init__()
        self.network = network
        self.projection = torch.nn.Linear(width, taught_width)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The student's logits, B x K."""
        return self.network(images)

    def pooled_and_logits(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The student's features, B x width, and logits, B x K."""
        return pooled_and_logits(self.network, images)


class Lesson:
    """A teacher with its answers to the training crops, asked once (or for each varied crop, where that is set).

    Args:
        params: which losses.
        teacher: is moved to the training's device.
        train: training crops, of any side.
    """

    def __init__(self, params: DistillationParams, teacher: Teacher, train: CropSet) -> None:
        self._params, self._teacher = params, teacher
        teacher.model.to(training_device()).eval().requires_grad_(False)
        self.answers = answers_of(teacher, train)

    @property
    def wants_features(self) -> bool:
        """Whether pooled features are compared, too."""
        return self._params.feature_share > 0 or self._params.relation_share > 0

    def soft_loss(self, logits: torch.Tensor, rows: np.ndarray, images: torch.Tensor) -> torch.Tensor:
        """Of logits, B x K, for rows of the training crops, varied as in images (B x 3 x S x S, 0 to 1)."""
        asked = self._asked(rows, images).logits
        return soft_cross_entropy(logits, asked, self._params.student_temperature, self._params.teacher_temperature)

    def feature_loss(
        self, student: Student, features: torch.Tensor, rows: np.ndarray, images: torch.Tensor
    ) -> torch.Tensor:
        """Weighted distance of features (1 - cosine after a linear map) and of relations."""
        asked = self._asked(rows, images).features
        loss = features.new_zeros(())
        if self._params.feature_share > 0:
            cosine = functional.cosine_similarity(student.projection(features), asked)  # B
            loss = loss + self._params.feature_share * (1 - cosine).mean()
        if self._params.relation_share > 0:
            loss = loss + self._params.relation_share * relation_loss(features, asked)
        return loss

    def _asked(self, rows: np.ndarray, images: torch.Tensor) -> Answers:
        if self._params.teacher_sees == "clean":
            index = torch.from_numpy(rows)
            return Answers(*(kept[index].to(images.device) for kept in self.answers))
        preprocessing = self._teacher.spec.preprocessing
        size, crops = (preprocessing.side_px, preprocessing.side_px), self._teacher.spec.crops
        resized = functional.interpolate(stacked(images, crops), size, mode="bilinear", antialias=True)
        with torch.no_grad():
            seen = normalise(stripped(resized, crops), preprocessing)
            features, logits = pooled_and_logits(self._teacher.model, seen)
        return Answers(logits, features)


def answers_of(teacher: Teacher, crops: CropSet) -> Answers:
    """A teacher's answers to crops of any side."""
    preprocessing = teacher.spec.preprocessing
    images_rgb = crops.at_side(preprocessing.side_px).images_rgb
    device = next(teacher.model.parameters()).device
    parts = []
    with torch.inference_mode():
        for start in range(0, len(images_rgb), BATCH):
            images = normalise(to_unit(images_rgb[start : start + BATCH], device), preprocessing)
            parts.append(pooled_and_logits(teacher.model, images))
    # Clones outside inference mode may take part in a loss.
    features, logits = (torch.cat([part[index] for part in parts]).float().cpu().clone() for index in range(2))
    return Answers(logits, features)
