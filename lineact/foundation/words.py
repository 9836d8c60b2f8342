"""The tiny Grounding DINO's words: what its prompts may call the things in scenes, and its tokenizer's vocabulary."""

import string
from dataclasses import dataclass

import numpy as np

from lineact.foundation.corpus import NAMES

CLS, SEP, FULL_STOP, QUESTION_MARK = 101, 102, 1012, 1029  # transformers' Grounding DINO splits prompts at these ids
PADDING = 0
SPECIAL_IDS = {"[PAD]": PADDING, "[UNK]": 100, "[CLS]": CLS, "[SEP]": SEP, "[MASK]": 103, ".": FULL_STOP}
SPECIAL_IDS["?"] = QUESTION_MARK
VOCABULARY_SIZE = QUESTION_MARK + 1


@dataclass(frozen=True)
class Concept:
    """Something that prompts ask for.

    Attributes:
        phrases: ways to say it, alike.
        names: which of the scenes' NAMES it covers.
    """

    phrases: tuple[str, ...]
    names: tuple[str, ...]


_PHRASES: dict[str, tuple[str, ...]] = {
    "screwdriver": ("screwdriver", "screw driver"),
    "driver": ("drill", "power drill", "electric drill"),
    "cloth": ("cloth", "rag", "towel"),
    "sponge": ("sponge", "cleaning sponge"),
    "label": ("label", "sticker"),
    "plate": ("name plate", "badge", "logo"),
    "booklet": ("booklet", "manual", "instructions"),
    "phone": ("phone", "smartphone", "mobile phone"),
    "bottle": ("bottle", "flask"),
    "wrench": ("wrench", "spanner"),
    "pen": ("pen", "pencil"),
    "box": ("box", "carton", "cardboard box"),
    "cup": ("cup", "mug"),
    "cable": ("cable", "wire", "cord"),
    "lamp": ("lamp", "torch", "flashlight"),
    "wheel": ("wheel", "tire"),
    "tape": ("tape", "roll of tape"),
    "hammer": ("hammer", "mallet"),
    "pliers": ("pliers", "pincers"),
    "scanner": ("scanner", "barcode scanner"),
}
HAND = Concept(("hand", "hands", "human hand"), ("hand", "glove"))  # a gloved hand is a hand, too
CONCEPTS: tuple[Concept, ...] = (
    HAND,
    Concept(("glove", "gloves", "gloved hand"), ("glove",)),
    Concept(("bare hand", "naked hand"), ("hand",)),
    Concept(("tool", "tools"), ("screwdriver", "driver", "wrench", "hammer", "pliers")),
    *(Concept(phrases, (name,)) for name, phrases in _PHRASES.items()),
)
# Spelled with letters, like any word that is not known. They stand for nothing in any scene.
UNKNOWN_WORDS: tuple[str, ...] = (
    "dog",
    "cat",
    "horse",
    "bird",
    "fish",
    "tree",
    "flower",
    "house",
    "car",
    "bus",
    "train",
    "boat",
    "plane",
    "chair",
    "sofa",
    "bed",
    "clock",
    "mirror",
    "window",
    "shoe",
    "hat",
    "shirt",
    "dress",
    "umbrella",
    "banana",
    "apple",
    "bread",
    "pizza",
    "cake",
    "fork",
    "spoon",
    "guitar",
    "piano",
    "ball",
    "kite",
    "skateboard",
    "tent",
    "mountain",
    "river",
    "cloud",
    "star",
    "moon",
    "candle",
    "pillow",
    "carpet",
    "ladder",
    "bucket",
    "shovel",
    "fence",
    "bridge",
    "robot",
    "camel",
    "tiger",
    "elephant",
    "spider",
)


def vocabulary() -> dict[str, int]:
    """Word pieces to ids: BERT's ids for the special ones, whole words for what scenes show, letters for the rest."""
    words = {word for concept in CONCEPTS for phrase in concept.phrases for word in phrase.split()}
    signs = string.ascii_lowercase + string.digits
    pieces = [*sorted(words - set(signs)), *signs, *(f"##{sign}" for sign in signs), "-", "'", "/", ","]
    ids = dict(SPECIAL_IDS)
    free = (number for number in range(104, FULL_STOP) if number not in ids.values())
    ids |= {piece: next(free) for piece in pieces}
    taken = set(ids.values())
    unused = [number for number in range(VOCABULARY_SIZE) if number not in taken]
    ids |= {f"[unused{count}]": number for count, number in enumerate(unused)}
    return dict(sorted(ids.items(), key=lambda entry: entry[1]))


def covered_names(concept: Concept) -> np.ndarray:
    """Indices into the scenes' NAMES, int64."""
    return np.array([NAMES.index(name) for name in concept.names])


@dataclass(frozen=True)
class Prompt:
    """What is asked of one picture.

    Attributes:
        phrases: in order.
        names: for each phrase, the indices into NAMES that it covers; none for a word that is not known.
    """

    phrases: tuple[str, ...]
    names: tuple[tuple[int, ...], ...]


def random_prompt(generator: np.random.Generator, seen: np.ndarray) -> Prompt:
    """A prompt for a picture: often just the hand, else several things in view and not in view, or nothing in view.

    Args:
        generator: all randomness.
        seen: indices into NAMES of what the picture shows.
    """
    shown = [concept for concept in CONCEPTS[1:] if np.isin(covered_names(concept), seen).any()]
    hidden = [concept for concept in CONCEPTS[1:] if concept not in shown]
    case = generator.random()
    if case < 0.28:
        return _spoken(generator, [HAND], 0)
    if case < 0.4:
        return _spoken(generator, _some(generator, shown or hidden, 1), 0)
    if case < 0.7:  # HAND is not among them: most pictures show one
        unknown = int(generator.integers(0, 3))
        return _spoken(generator, _some(generator, hidden, int(generator.integers(0, 4)) + (not unknown)), unknown)
    wanted = _some(generator, shown, int(generator.integers(0, 6)))
    wanted += _some(generator, hidden, int(generator.integers(0, 4)))
    if generator.random() < 0.6 or not wanted:
        wanted.append(HAND)
    return _spoken(generator, wanted, int(generator.random() < 0.3))


def _some(generator: np.random.Generator, concepts: list[Concept], count: int) -> list[Concept]:
    order = generator.permutation(len(concepts))[:count]
    return [concepts[index] for index in order]


def _spoken(generator: np.random.Generator, concepts: list[Concept], unknown_words: int) -> Prompt:
    """One way to say each, in random order."""
    spoken = [(str(generator.choice(concept.phrases)), tuple(covered_names(concept).tolist())) for concept in concepts]
    spoken += [(spelled(generator), ()) for _ in range(unknown_words)]
    order = generator.permutation(len(spoken))
    return Prompt(tuple(spoken[index][0] for index in order), tuple(spoken[index][1] for index in order))


def spelled(generator: np.random.Generator) -> str:
    """A word that names nothing: an unknown one, or letters at random."""
    if generator.random() < 0.5:
        return str(generator.choice(UNKNOWN_WORDS))
    return "".join(generator.choice(list(string.ascii_lowercase), int(generator.integers(2, 10))))


def concept_phrases(name: str) -> tuple[str, ...]:
    """Ways to say what the scenes call `name`."""
    return _PHRASES[name]
