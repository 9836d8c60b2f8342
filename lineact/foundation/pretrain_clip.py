"""Pretraining of the embedded CLIP: crops and generated captions find one another."""

import zlib
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from lineact.foundation.captions import agree, caption, tokenizer
from lineact.foundation.corpus import ATTRIBUTES, Crops
from lineact.foundation.pretrain import EncoderRun, pooled
from lineact.foundation.scenes import ABSENT, HELD, NOTHING, POSE_NAMES
from lineact.foundation.weights import Preprocessing
from lineact.foundation.words import concept_phrases


class Captions(nn.Module):
    """The text tower and both projections of a CLIP, and the contrastive loss between crops and captions.

    Args:
        clip: a transformers `CLIPModel`; its vision tower is left to the caller.
    """

    def __init__(self, clip: Any) -> None:
        super().__init__()
        self.text_model, self.text_projection = clip.text_model, clip.text_projection
        self.visual_projection, self.logit_scale = clip.visual_projection, clip.logit_scale
        self._tokenizer = tokenizer()

    def loss(self, features: torch.Tensor, attributes: torch.Tensor, run: EncoderRun) -> torch.Tensor:
        """Symmetric contrastive loss; of several captions that are true of a crop each counts the same, and vice versa.

        Args:
            features: of the vision tower, N x width.
            attributes: int64, N x 6.
            run: for the seed.
        """
        values = attributes.numpy()
        # The batch itself decides its captions: nothing to restore on resuming.
        generator = np.random.default_rng([run.seed, zlib.crc32(values.tobytes())])
        captions, said = zip(*(caption(row, generator) for row in values), strict=True)
        true = torch.from_numpy(agree(np.stack(said), values)).float()  # crops x captions
        scale = self.logit_scale.clamp(max=np.log(100.0)).exp()
        cosine = scale * functional.normalize(self.visual_projection(features), dim=1) @ self.texts(captions).T
        of_crops = -(cosine.log_softmax(dim=1) * true).sum(dim=1) / true.sum(dim=1)
        of_captions = -(cosine.log_softmax(dim=0) * true).sum(dim=0) / true.sum(dim=0)
        return (of_crops.mean() + of_captions.mean()) / 2

    def texts(self, phrases: tuple[str, ...]) -> torch.Tensor:
        """Unit vectors of phrases, N x projection_dim."""
        tokens = self._tokenizer(list(phrases), padding=True, return_tensors="pt")
        output = self.text_model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"])
        return functional.normalize(self.text_projection(output.pooler_output), dim=1)


@torch.no_grad()
def zero_shot_accuracy(
    encoder: nn.Module, captions: Captions, crops: Crops, preprocessing: Preprocessing
) -> dict[str, float]:
    """Share of crops whose held thing is told among all, by one prompt each; crops without a hand are left out.

    Args:
        encoder: the vision tower.
        captions: trained with it.
        crops: held-out ones.
        preprocessing: the encoder's.
    """
    encoder.eval()
    prompts = tuple(
        "an empty hand" if held == NOTHING else f"a hand holding a {concept_phrases(held)[0]}" for held in HELD
    )
    texts = captions.eval().texts(prompts)
    shown = crops.attributes[:, ATTRIBUTES.index("pose")] != POSE_NAMES.index(ABSENT)
    images_rgb, held = crops.images_rgb[shown], crops.attributes[shown, ATTRIBUTES.index("held")]
    right = 0
    for start in range(0, len(images_rgb), 256):
        pixels = preprocessing.to_tensor(images_rgb[start : start + 256])
        unit = functional.normalize(captions.visual_projection(pooled(encoder, pixels)), dim=1)
        right += int(((unit @ texts.T).argmax(dim=1).numpy() == held[start : start + 256]).sum())
    commonest = np.bincount(held).max() / len(held)
    return {"held_zero_shot": right / len(held), "held_majority": float(commonest)}
