"""The comparison's figures: of each trial, and of each choice over seeds and lines with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from lineact.compare.classifiers.calls import CallTime
from lineact.compare.classifiers.statistics import (
    Answers,
    Estimate,
    accuracy_over,
    difference_over,
    fewer_errors_over,
)
from lineact.compare.classifiers.trials import Choice, Line, Trial
from lineact.metrics import (
    accuracy,
    confusion_matrix,
    macro_f1,
    macro_precision,
    macro_recall,
    top_k_accuracy,
)

TOP_KS = (2, 5)
STATIONS = 20  # "all training time for 20 posts" of LRIHAR, table 4
BASELINE = "resnet18_retrained"
STUDENT = "vit_s_distilled"


@dataclass(frozen=True)
class Compared:
    """All trials of a comparison: every choice on every line with every seed.

    Attributes:
        choices: in the order of the table.
        lines: likewise.
        seeds: likewise.
        trials: by (choice, line, seed).
    """

    choices: tuple[Choice, ...]
    lines: tuple[Line, ...]
    seeds: tuple[int, ...]
    trials: dict[tuple[str, str, int], Trial]

    def answers(self, choice: str) -> list[Answers]:
        """Whether a choice answers right, line by line."""
        return [self.answers_on(choice, line) for line in self.lines]

    def answers_on(self, choice: str, line: Line) -> Answers:
        """Likewise, of one line."""
        predicted = np.stack([self.trials[choice, line.name, seed].logits.argmax(axis=1) for seed in self.seeds])
        return Answers(predicted == line.held_out.classes, line.held_out.blocks)

    def confusion(self, choice: str, line: Line) -> np.ndarray:
        """Counts over all seeds, K x K, rows are actual classes."""
        return np.sum([confusion_of(self.trials[choice, line.name, seed], line) for seed in self.seeds], axis=0)


@dataclass(frozen=True)
class Row:
    """A choice in the papers' table.

    Attributes:
        choice: its name.
        by_line: accuracy on each line, 0 to 1.
        average: mean accuracy over the lines.
        from_scratch: whether it began with random weights.
        parameters: mean over lines (the head differs).
        trainable_share: likewise.
        pretraining_crops: how many pictures its start saw; None where lineact did not train it.
        training_s: of one line, mean over lines and seeds, its teacher's not included.
        teacher_s: of its teacher likewise; 0 without one.
        call: one call's time.
    """

    choice: str
    by_line: dict[str, Estimate]
    average: Estimate
    from_scratch: bool
    parameters: float
    trainable_share: float
    pretraining_crops: int | None
    training_s: float
    teacher_s: float
    call: CallTime

    @property
    def stations_s(self) -> float:
        """Training on STATIONS lines: the start is trained once for all and is not in it."""
        return STATIONS * (self.training_s + self.teacher_s)


def trial_metrics(trial: Trial, line: Line) -> dict[str, float]:
    """A trial's figures on the line's test crops; 0 to 1. The same names for every choice."""
    confusion = confusion_of(trial, line)
    figures = {
        "accuracy": accuracy(confusion),
        "macro_precision": macro_precision(confusion),
        "macro_recall": macro_recall(confusion),
        "macro_f1": macro_f1(confusion),
        **{f"top_{k}": top_k_accuracy(trial.logits, line.held_out.classes, k) for k in TOP_KS},
    }
    return {name: value for name, value in figures.items() if value is not None}


def confusion_of(trial: Trial, line: Line) -> np.ndarray:
    """K x K, rows are actual classes."""
    return confusion_matrix(line.held_out.classes, trial.logits.argmax(axis=1), len(line.labels))


def table_rows(compared: Compared, calls: Mapping[str, CallTime]) -> list[Row]:
    """A row for each choice.

    Args:
        compared: the trials.
        calls: choice -> time of a call.
    """
    return [_row(compared, choice, calls[choice.name]) for choice in compared.choices]


def _row(compared: Compared, choice: Choice, call: CallTime) -> Row:
    trials = [compared.trials[choice.name, line.name, seed] for line in compared.lines for seed in compared.seeds]
    facts = [trial.facts for trial in trials]
    answers = compared.answers(choice.name)
    return Row(
        choice=choice.name,
        by_line={line.name: accuracy_over([one]) for line, one in zip(compared.lines, answers, strict=True)},
        average=accuracy_over(answers),
        from_scratch=any(one.from_scratch for one in facts),
        parameters=float(np.mean([one.parameters for one in facts])),
        trainable_share=float(np.mean([one.trainable_share for one in facts])),
        pretraining_crops=choice.pretraining_crops,
        training_s=float(np.mean([one.train_s for one in facts])),
        teacher_s=float(np.mean([trial.teacher_s for trial in trials])),
        call=call,
    )


@dataclass(frozen=True)
class Versus:
    """One choice against another, on the same crops.

    Attributes:
        choice: the one.
        other: the other.
        lines: the lines it is about.
        difference: of mean accuracies, -1 to 1.
        fewer_errors: share of the other's errors that the one does not make; None where the other makes none.
    """

    choice: str
    other: str
    lines: tuple[str, ...]
    difference: Estimate
    fewer_errors: Estimate | None


def versus(compared: Compared, choice: str, other: str) -> list[Versus]:
    """One choice against another over all lines, and then on each where there are several."""
    sets: list[Sequence[Line]] = [compared.lines]
    if len(compared.lines) > 1:
        sets += [(line,) for line in compared.lines]
    found = []
    for lines in sets:
        ours, others = ([compared.answers_on(name, line) for line in lines] for name in (choice, other))
        names = tuple(line.name for line in lines)
        found.append(Versus(choice, other, names, difference_over(ours, others), fewer_errors_over(ours, others)))
    return found


def paired_choices(compared: Compared) -> list[tuple[str, str]]:
    """Which choices are held against which: students against the retrained ResNet-18, and against their teachers."""
    names = [choice.name for choice in compared.choices]
    pairs = []
    for choice in compared.choices:
        if choice.teacher is not None:
            pairs += [(choice.name, other) for other in (BASELINE, choice.teacher.name) if other in names]
    return pairs
