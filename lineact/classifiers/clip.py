"""CLIP as a classifier: images against the text prompts of each action.

While it is trained, both towers are there (`ClipPair`). What is kept is the vision tower with the prompts' directions
as a linear head (`ClipClassifier`): the same logits, and no text at run time.
"""

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from lineact.classifiers.settings import OTHER_ACTIONS
from lineact.errors import ConfigError
from lineact.foundation.weights import Preprocessing

ARCHITECTURE = "clip"
MAX_LOG_SCALE = math.log(100.0)  # as CLIP clips it
_VISION_KEYS = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "image_size",
    "patch_size",
    "hidden_act",
    "layer_norm_eps",
)


class ClipClassifier(nn.Module):
    """A vision tower whose unit vectors meet one direction per action.

    The methods are those by which timm's networks are taken apart.

    Args:
        vision: of transformers' CLIPVisionConfig.
        projection_dim: width of the space that images and texts share.
        class_count: outputs.
    """

    def __init__(self, vision: dict[str, Any], projection_dim: int, class_count: int) -> None:
        from transformers import CLIPVisionConfig, CLIPVisionModel

        super().__init__()
        self.vision_model = CLIPVisionModel(CLIPVisionConfig(**vision))
        self.visual_projection = nn.Linear(int(vision["hidden_size"]), projection_dim, bias=False)
        self.head = nn.Linear(projection_dim, class_count, bias=False)

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        """B x 3 x S x S to the tower's pooled output, B x hidden_size."""
        return self.vision_model(pixel_values=images).pooler_output

    def forward_head(self, features: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        """The pooled output to unit vectors, B x projection_dim, or to logits, B x K."""
        unit = functional.normalize(self.visual_projection(features), dim=1)
        return unit if pre_logits else self.head(unit)

    def get_classifier(self) -> nn.Module:
        """The head."""
        return self.head

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """B x 3 x S x S to logits, B x K."""
        return self.forward_head(self.forward_features(images))


class ClipPair(nn.Module):
    """Both towers, and the tokens of each action's prompts; answers as the `ClipClassifier` that `merged` makes.

    Args:
        clip: a transformers `CLIPModel`.
        tokenizer: of it.
        phrases: per action, one or more; their directions are averaged.
    """

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    owner: torch.Tensor

    def __init__(self, clip: Any, tokenizer: Any, phrases: tuple[tuple[str, ...], ...]) -> None:
        super().__init__()
        self.clip = clip
        tokens = tokenizer(
            [phrase for own in phrases for phrase in own],
            padding=True,
            truncation=True,
            max_length=clip.config.text_config.max_position_embeddings,
            return_tensors="pt",
        )
        owner = torch.tensor([index for index, own in enumerate(phrases) for _ in own])
        self.register_buffer("input_ids", tokens["input_ids"])  # P x T
        self.register_buffer("attention_mask", tokens["attention_mask"])
        self.register_buffer("owner", functional.one_hot(owner, len(phrases)).T.float())  # K x P

    def head_weight(self) -> torch.Tensor:
        """Directions of the actions times the scale of the logits, K x projection_dim."""
        text = self.clip.text_model(input_ids=self.input_ids, attention_mask=self.attention_mask).pooler_output
        unit = functional.normalize(self.clip.text_projection(text), dim=1)  # P x projection_dim
        mean = functional.normalize(self.owner @ unit, dim=1)  # K x projection_dim
        return self.clip.logit_scale.clamp(max=MAX_LOG_SCALE).exp() * mean

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """B x 3 x S x S to logits, B x K."""
        return self.pooled_and_logits(images)[1]

    def pooled_and_logits(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Unit vectors of images, B x projection_dim, and logits, B x K."""
        pooled = self.clip.vision_model(pixel_values=images).pooler_output
        unit = functional.normalize(self.clip.visual_projection(pooled), dim=1)
        return unit, unit @ self.head_weight().T

    @torch.no_grad()
    def merged(self) -> dict[str, torch.Tensor]:
        """The state of the `ClipClassifier` that gives the same logits."""
        kept = {
            name: value
            for name, value in self.clip.state_dict().items()
            if name.startswith(("vision_model.", "visual_projection."))
        }
        return kept | {"head.weight": self.head_weight()}


def clip_config(clip: Any, preprocessing: Preprocessing) -> dict[str, Any]:
    """A `ClipClassifier` in timm's hub layout."""
    vision = clip.config.vision_config.to_dict()
    side_px = preprocessing.side_px
    return {
        "architecture": ARCHITECTURE,
        "model_args": {
            "vision": {key: vision[key] for key in _VISION_KEYS},
            "projection_dim": clip.config.projection_dim,
        },
        "pretrained_cfg": {
            "input_size": [3, side_px, side_px],
            "mean": list(preprocessing.mean),
            "std": list(preprocessing.std),
        },
    }


def phrases_of(prompts: dict[str, tuple[str, ...]], labels: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """Each label's phrases; of a label without any, those of `*` with its name for {}.

    Raises:
        ConfigError: where a label has none.
    """
    found = []
    for label in labels:
        phrases = prompts.get(label) or tuple(
            phrase.replace("{}", label.replace("_", " ")) for phrase in prompts.get(OTHER_ACTIONS, ())
        )
        if not phrases:
            raise ConfigError(f"prompts: expected phrases for {label}, or for {OTHER_ACTIONS!r}, found none")
        found.append(phrases)
    return tuple(found)


def prompt_contrast(logits: torch.Tensor, classes: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The symmetric contrastive loss of CLIP where several images share a text.

    Images look for their action among all, as in cross-entropy; each action that is there looks for its images among
    those of the batch, which share its probability evenly.

    Args:
        logits: B x K.
        classes: int64, B.
        weights: of the classes, K.

    Returns:
        Scalar.
    """
    of_images = functional.cross_entropy(logits, classes, weight=weights)
    present = classes.unique()
    mine = (classes[:, None] == present[None]).float()  # B x present
    log_share = logits[:, present].log_softmax(dim=0)
    of_texts = -(log_share * mine).sum(dim=0) / mine.sum(dim=0)
    return (of_images + of_texts.mean()) / 2
