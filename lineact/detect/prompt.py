"""Being asked with words: what all backends have in common that look for what a prompt names."""

from dataclasses import dataclass

from lineact.errors import InputError

MAX_WORDS = 256  # Grounding DINO reads as many tokens, and a word is at least one


@dataclass(frozen=True)
class PromptParams:
    """Settings of every backend that is asked with words.

    Attributes:
        prompt: the words to look for, e.g. ["hand"].
        text_threshold: least probability with which a word of the prompt names a box, 0 to 1.
        score_floor: boxes below this score are not even stored, 0 to 1; `filters.box_threshold` may be raised and
            lowered above it without running the model again.
        batch_size: images per forward pass.
    """

    prompt: tuple[str, ...]
    text_threshold: float
    score_floor: float
    batch_size: int

    def __post_init__(self) -> None:
        _check_prompt(self.prompt)
        for name in ("text_threshold", "score_floor"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, found {getattr(self, name)}")
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, found {self.batch_size}")

    @property
    def answer_settings(self) -> dict[str, object]:
        """Those that the boxes depend on."""
        return {"prompt": self.prompt, "text_threshold": self.text_threshold, "score_floor": self.score_floor}


def _check_prompt(prompt: tuple[str, ...]) -> None:
    """Raises ValueError where the words cannot be asked for: none, too many, an empty one, or one with a separator."""
    if not prompt:
        raise ValueError("prompt must name at least one thing to look for, e.g. [hand], found an empty list")
    for words in prompt:
        if not words.strip():
            raise ValueError(f"prompt must hold words, found {words!r}")
        if "." in words or "?" in words:  # both separate phrases in the model's text
            raise ValueError(f"prompt must list phrases one by one, without '.' and '?', found {words!r}")
    if (count := sum(len(words.split()) for words in prompt)) > MAX_WORDS:
        raise ValueError(f"prompt must have at most {MAX_WORDS} words, found {count}; ask for fewer things")


def prompt_text(prompt: tuple[str, ...]) -> str:
    """The model's text for a list of phrases: lower case, each ended by a full stop."""
    return " ".join(f"{words.strip().lower()}." for words in prompt)


def refuse_long_text(tokens: int, longest: int, backend: str) -> None:
    """Lets pass what a model reads to its end.

    Args:
        tokens: of the prompt's text.
        longest: how many the model reads.
        backend: whose section holds the prompt.

    Raises:
        InputError: where there are more.
    """
    if tokens > longest:
        raise InputError(
            f"detect.{backend}.prompt: expected at most {longest} tokens, found {tokens}; ask for fewer things"
        )
