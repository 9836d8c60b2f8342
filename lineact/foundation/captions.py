"""What CLIP's pretraining says of the corpus' crops: captions made from their attributes, and their tokenizer."""

import string
from typing import Any

import numpy as np

from lineact.foundation.corpus import ATTRIBUTES
from lineact.foundation.scenes import ABSENT, HELD, NOTHING, POSE_NAMES, TARGETS
from lineact.foundation.words import CLS, PADDING, SEP, SPECIAL_IDS, concept_phrases

MAX_TOKENS = 48  # of a caption or prompt; unknown words are spelled with letters
UNSAID = -1
# Ways to say a pose; none where nobody would.
_POSES: dict[str, tuple[str, ...]] = {
    "flat": ("flat",),
    "spread": ("spread", "open"),
    "point": ("pointing",),
    "fist": ("clenched",),
    "grip": ("gripping",),
    "pinch": ("pinching",),
    "tripod": ("writing",),
    "hook": ("hooked",),
    "thumb_press": ("pressing",),
    "cup": ("cupped",),
}
_SAID = {"held": 0.85, "pose": 0.4, "target": 0.4, "gloved": 0.3, "left": 0.15}  # how often each is spoken of
_OTHER_WORDS = {
    *("a", "an", "the", "no", "empty", "nothing", "hand", "hands", "left", "right", "gloved", "bare"),
    *("doing", "holding", "with", "touching", "at", "on", "of", "in", "over", "and", "photo"),
}


def caption(attributes: np.ndarray, generator: np.random.Generator) -> tuple[str, np.ndarray]:
    """A caption that says some of what is true of a crop.

    Args:
        attributes: int, in the order of ATTRIBUTES.
        generator: all randomness.

    Returns:
        The caption, and what it says: int64, in the order of ATTRIBUTES, UNSAID where it says nothing.
    """
    said = np.full(len(ATTRIBUTES), UNSAID)
    if POSE_NAMES[attributes[ATTRIBUTES.index("pose")]] == ABSENT:
        said[ATTRIBUTES.index("pose")] = POSE_NAMES.index(ABSENT)
        return "no hand", said

    def says(name: str) -> bool:
        column = ATTRIBUTES.index(name)
        if generator.random() < _SAID[name]:
            said[column] = attributes[column]
            return True
        return False

    def value(name: str) -> int:
        return int(attributes[ATTRIBUTES.index(name)])

    words = []
    if says("gloved"):
        words.append(("bare", "gloved")[value("gloved")])
    if says("left"):
        words.append(("right", "left")[value("left")])
    if says("pose"):
        words.append(str(generator.choice(_POSES[POSE_NAMES[value("pose")]])))
    ending = ""
    if says("held"):
        held = HELD[value("held")]
        if held == NOTHING:
            words.insert(0, "empty")
        else:
            thing = str(generator.choice(concept_phrases(held)))
            ending = f" {generator.choice(('holding', 'with'))} {_with_article(thing)}"
    if says("target"):
        ending += f" {generator.choice(('at', 'touching'))} {_with_article(TARGETS[value('target')])}"
    return f"{_with_article(' '.join([*words, 'hand']))}{ending}", said


def _with_article(phrase: str) -> str:
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def agree(said: np.ndarray, attributes: np.ndarray) -> np.ndarray:
    """Which captions are true of which crops.

    Args:
        said: of captions, N x attributes.
        attributes: of crops, M x attributes.

    Returns:
        bool, M x N.
    """
    said_is_so = ((said[None] == UNSAID) | (said[None] == attributes[:, None])).all(axis=2)
    pose, absent = ATTRIBUTES.index("pose"), POSE_NAMES.index(ABSENT)
    # Whatever else is said, it is said of a hand.
    return said_is_so & ((said[:, pose] == absent)[None] == (attributes[:, pose] == absent)[:, None])


def vocabulary() -> dict[str, int]:
    """Word pieces to ids: whole words of captions, letters for the rest."""
    phrases = [phrase for held in HELD if held != NOTHING for phrase in concept_phrases(held)]
    words = {word for phrase in (*phrases, *TARGETS) for word in phrase.split()}
    words |= {word for spoken in _POSES.values() for word in spoken} | _OTHER_WORDS
    signs = string.ascii_lowercase + string.digits
    pieces = [*sorted(words - set(signs)), *signs, *(f"##{sign}" for sign in signs), *"-',.:/"]
    ids = {name: number for name, number in SPECIAL_IDS.items() if name.startswith("[")}
    free = (number for number in range(1, len(pieces) + len(ids) + 200) if number not in ids.values())
    return ids | {piece: next(free) for piece in pieces}


def tokenizer() -> Any:
    """A transformers tokenizer of the vocabulary."""
    from transformers import BertTokenizer

    return BertTokenizer(vocab=vocabulary(), model_max_length=MAX_TOKENS)


TOKEN_IDS = {"bos_token_id": CLS, "eos_token_id": SEP, "pad_token_id": PADDING}  # as CLIP's text tower calls them
