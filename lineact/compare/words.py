"""Which of a prompt's tokens must be sure for a box of Grounding DINO to be named as a hand."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from lineact.detect.prompt import prompt_text


def naming_positions(tokenizer: Any, prompt: tuple[str, ...], hand_words: tuple[str, ...]) -> list[list[int]]:
    """Where the prompt's text names what is looked for.

    A box's phrase holds the prompt's tokens above the text threshold (transformers,
    `post_process_grounded_object_detection`). It names a hand where it holds all tokens of a hand word; without hand
    words, any token of any word of the prompt. Full stops and the tokenizer's own marks name nothing.

    Args:
        tokenizer: of the model.
        prompt: phrases that were asked for.
        hand_words: see `lineact.detect.filters.FilterParams`.

    Returns:
        Alternatives; each lists positions among the prompt's tokens that must all be above the text threshold.
    """
    ids = tokenizer(prompt_text(prompt))["input_ids"]
    if not hand_words:
        marks = {*tokenizer.all_special_ids, *tokenizer.convert_tokens_to_ids([".", "?"])}
        return [[position] for position, token in enumerate(ids) if token not in marks]
    alternatives = []
    for words in hand_words:
        wanted = tokenizer(words.strip().lower(), add_special_tokens=False)["input_ids"]
        starts = range(len(ids) - len(wanted) + 1)
        places = [range(start, start + len(wanted)) for start in starts if ids[start : start + len(wanted)] == wanted]
        alternatives += [list(place) for place in places]
    return alternatives


def text_scores(token_probabilities: np.ndarray, alternatives: Sequence[Sequence[int]]) -> np.ndarray:
    """The text threshold up to which each box is named as a hand.

    Args:
        token_probabilities: P x L, 0 to 1.
        alternatives: see `naming_positions`.

    Returns:
        float32, P, 0 to 1: the best alternative's least sure token; 0 where there is none.
    """
    best = np.zeros(len(token_probabilities), np.float32)
    for positions in alternatives:
        best = np.maximum(best, token_probabilities[:, list(positions)].min(axis=1, initial=1.0))
    return best
