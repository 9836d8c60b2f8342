"""A text encoder that runs once per prompt instead of once per image."""

from typing import Any

import torch
from transformers.modeling_outputs import BaseModelOutput


class EncodedOnce(torch.nn.Module):
    """Stands in for a text encoder whose rows all hold the same prompt, and remembers its last answer.

    Attributes:
        encoder: the text encoder.
        forward_count: how often it ran.
    """

    def __init__(self, encoder: torch.nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.forward_count = 0
        self._ids: torch.Tensor | None = None
        self._hidden: torch.Tensor | None = None

    def forward(self, input_ids: torch.Tensor, *rest: Any, **named: Any) -> BaseModelOutput:
        """The encoder's last hidden state, repeated for each row.

        Args:
            input_ids: int64, B x L, all rows alike.
            rest: further arguments of the encoder; tensors of them have B rows, all alike.
            named: likewise.

        Returns:
            `last_hidden_state`: B x L x D.
        """
        first = input_ids[:1]  # 1 x L
        if self._ids is None or self._hidden is None or not torch.equal(first, self._ids):
            one_row = [_first_row(value) for value in rest]
            output = self.encoder(first, *one_row, **{name: _first_row(value) for name, value in named.items()})
            self.forward_count += 1
            self._ids, self._hidden = first, output[0]  # 1 x L x D
        return BaseModelOutput(last_hidden_state=self._hidden.expand(len(input_ids), -1, -1))


def _first_row(value: Any) -> Any:
    return value[:1] if isinstance(value, torch.Tensor) else value
