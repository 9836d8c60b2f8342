"""What groundingdino-py 0.4 calls on a BERT model, and transformers 5 took away."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import BertModel


class BertWithMasks(BertModel):
    """BertModel with the three methods that `groundingdino.models.GroundingDINO.bertwarper` looks up.

    They compute what transformers 4 computed.
    """

    def get_extended_attention_mask(
        self, attention_mask: torch.Tensor, input_shape: Any = None, device: Any = None
    ) -> torch.Tensor:
        """Additive mask, B x 1 x (1 or L) x L: 0 to look at a token, the dtype's lowest number not to.

        Args:
            attention_mask: B x L, or B x L x L with a mask per token; 1 or True to look.
            input_shape: not needed here; callers pass it.
            device: likewise.
        """
        del input_shape, device
        spread = attention_mask[:, None] if attention_mask.dim() == 3 else attention_mask[:, None, None]
        return (1.0 - spread.to(self.dtype)) * torch.finfo(self.dtype).min

    def invert_attention_mask(self, encoder_attention_mask: torch.Tensor) -> torch.Tensor:
        """The same, for the encoder that a decoder looks at."""
        return self.get_extended_attention_mask(encoder_attention_mask)

    def get_head_mask(self, head_mask: None, num_hidden_layers: int) -> list[None]:
        """No head is ever masked here: None for each layer."""
        if head_mask is not None:
            raise ValueError("expected no head mask: Grounding DINO passes none")
        return [None] * num_hidden_layers


@contextmanager
def local_text_encoder() -> Iterator[None]:
    """While active, groundingdino-py builds its text encoder from a local folder, as `BertWithMasks`."""
    from groundingdino.util import get_tokenlizer

    original = get_tokenlizer.get_pretrained_language_model
    get_tokenlizer.get_pretrained_language_model = BertWithMasks.from_pretrained
    try:
        yield
    finally:
        get_tokenlizer.get_pretrained_language_model = original
