"""The comparison as Markdown, as one HTML file with the plots in it, and as CSV."""

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lineact.compare.classifiers.calls import CROPS_PER_CALL, SETUP
from lineact.compare.classifiers.plots import REAL_TIME_MS
from lineact.compare.classifiers.scores import (
    BASELINE,
    STATIONS,
    STUDENT,
    TOP_KS,
    Compared,
    Row,
    Versus,
    trial_metrics,
)
from lineact.compare.classifiers.statistics import LEVEL, Estimate
from lineact.files import write_csv, write_text

MARKDOWN, HTML, TABLE = "report.md", "report.html", "table.csv"
FEWER_ERRORS = 0.4  # what the student is to make fewer of than the retrained ResNet-18
NEAR_TEACHER = 0.005  # how near to its teacher it is to come, share of the crops
FEW_SEEDS = 5
FIGURES = ("accuracy", "macro_precision", "macro_recall", "macro_f1", *(f"top_{k}" for k in TOP_KS))
STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:1100px;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;display:block;overflow-x:auto}td,th{border:1px solid #ccc;padding:.25em .6em}"
    "th{background:#f3f3f3}img{max-width:100%}"
)


@dataclass(frozen=True)
class Findings:
    """All that the report tells.

    Attributes:
        compared: the trials.
        rows: the papers' table.
        pairs: choices held against one another.
        machine: its CPU, in words.
        left_out: choice -> why it could not be trained.
    """

    compared: Compared
    rows: Sequence[Row]
    pairs: Sequence[Versus]
    machine: str
    left_out: Mapping[str, str]


def write_report(folder: Path, findings: Findings, plots: Sequence[str]) -> None:
    """Writes report.md, report.html (with the pictures in it) and table.csv.

    Args:
        folder: holds the pictures.
        findings: what to tell.
        plots: names of the pictures, in their order.
    """
    text = markdown(findings, plots)
    write_text(folder / MARKDOWN, text)
    write_text(folder / HTML, as_html(text, folder))
    write_csv(folder / TABLE, ("choice", "line", "seed", *FIGURES, *FACTS), _csv_rows(findings))


def markdown(findings: Findings, plots: Sequence[str]) -> str:
    """The whole report, which shows the pictures beside it."""
    compared = findings.compared
    seeds = ", ".join(map(str, compared.seeds))
    parts = [
        "# Classifiers compared\n",
        f"{len(compared.choices)} choices on {len(compared.lines)} lines with the seeds {seeds}; the same crops and "
        "splits for all. Tested on crops that neither trained nor validated:\n",
        *_table(
            ("line", "training", "validation", "test", "blocks of time", "labels", "test crops are"),
            (_line_cells(compared, number) for number in range(len(compared.lines))),
            numbers=range(1, 5),
        ),
        *(f"Left out: {choice}: {reason}\n" for choice, reason in findings.left_out.items()),
        "## Accuracy\n",
        f"Per cent, with {LEVEL:.0%} intervals: trainings (seeds) and blocks of time of the test crops are both drawn "
        "again. The average weighs every line the same. The greatest of each column is bold.\n",
        *_accuracy_table(findings),
        *([_FEW] if len(compared.seeds) < FEW_SEEDS else []),
        "## The student, its teacher and the retrained ResNet-18\n",
        *(f"- {sentence(pair)}" for pair in findings.pairs),
        *_targets(findings),
        "",
        "## Time\n",
        f"One call is of {CROPS_PER_CALL} crops, scaling and normalisation included, by {SETUP.runtime} in "
        f"{SETUP.precision} with {SETUP.threads} threads on {findings.machine}; the choices took turns. Training is of "
        f"one line (mean over lines and seeds), the teacher's beside it; all stations are {STATIONS} lines, each "
        "trained for itself, from a start that is trained once.\n",
        *_time_table(findings.rows),
        "## Precision, recall, F1, top-k\n",
        "Means over seeds; precision, recall and F1 are means over classes.\n",
        *_figures_table(compared),
        "## Pictures\n",
        *(f"![{name.removesuffix('.png').replace('_', ' ')}]({name})\n" for name in plots),
    ]
    return "\n".join(parts)


_FEW = (
    f"Fewer than {FEW_SEEDS} seeds tell little of how trainings differ: the intervals are then too narrow rather than "
    "too wide.\n"
)


def as_html(text: str, folder: Path) -> str:
    """The report as one file: the pictures are in it.

    Args:
        text: Markdown.
        folder: of the pictures.
    """
    from markdown_it import MarkdownIt

    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    for path in sorted(folder.glob("*.png")):
        encoded = base64.b64encode(path.read_bytes()).decode()
        body = body.replace(f'src="{html.escape(path.name)}"', f'src="data:image/png;base64,{encoded}"')
    title = text.splitlines()[0].removeprefix("# ")
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )


def sentence(pair: Versus) -> str:
    """One choice against another, in words."""
    where = f"on {pair.lines[0]}" if len(pair.lines) == 1 else f"over {len(pair.lines)} lines"
    difference = pair.difference
    points = f"{100 * difference.value:+.2f} points [{100 * difference.low:+.2f}, {100 * difference.high:+.2f}]"
    text = f"{pair.choice} against {pair.other} {where}: {points}"
    if pair.fewer_errors is None:
        return f"{text}; {pair.other} makes no error."
    fewer = pair.fewer_errors
    word = "fewer" if fewer.value >= 0 else "more"
    share = f"{abs(100 * fewer.value):.0f} % {word} errors"
    bounds = f"95 % interval of fewer errors {100 * fewer.low:.0f} to {100 * fewer.high:.0f} %"
    certain = "" if difference.excludes_zero else "; the interval of the difference holds zero"
    return f"{text}, {share} ({bounds}){certain}."


def _targets(findings: Findings) -> list[str]:
    """Whether the product's default reaches what it is meant to, as found and as far as the interval shows it."""
    rows = {row.choice: row for row in findings.rows}
    if STUDENT not in rows:
        return []
    overall = [
        pair for pair in findings.pairs if pair.choice == STUDENT and len(pair.lines) == len(rows[STUDENT].by_line)
    ]
    told = []
    for pair in overall:
        if pair.other == BASELINE and pair.fewer_errors is not None:
            told.append(
                f"- {FEWER_ERRORS:.0%} fewer errors than {BASELINE}: {_reached(pair.fewer_errors, FEWER_ERRORS)}"
            )
        if pair.other != BASELINE:
            near = f"within {100 * NEAR_TEACHER:g} points of {pair.other}"
            told.append(f"- {near}: {_reached(pair.difference, -NEAR_TEACHER)}")
    p95_ms = rows[STUDENT].call.p95_ms
    verdict = "reached" if p95_ms < REAL_TIME_MS else "not reached"
    return [f"\nWhat {STUDENT} is meant to reach:\n", *told, f"- a call under {REAL_TIME_MS:g} ms p95: {verdict}"]


def _reached(found: Estimate, least: float) -> str:
    if found.value < least:
        return "not reached" if found.high < least else "not reached (the interval does not exclude it)"
    return "reached" if found.low >= least else "reached (the interval does not exclude less)"


def _line_cells(compared: Compared, number: int) -> tuple[str, ...]:
    line = compared.lines[number]
    facts = compared.trials[compared.choices[0].name, line.name, compared.seeds[0]].facts
    counts = (facts.train_crops, facts.val_crops, len(line.held_out.classes), len(set(line.held_out.blocks.tolist())))
    return (line.name, *map(str, counts), ", ".join(line.labels), line.held_out.how)


def _accuracy_table(findings: Findings) -> list[str]:
    lines = [line.name for line in findings.compared.lines]
    found = [[*(row.by_line[line] for line in lines), row.average] for row in findings.rows]
    best = [max(round(cells[column].value, 6) for cells in found) for column in range(len(lines) + 1)]
    cells = [
        (_name(row), *(_percent(one, round(one.value, 6) == best[column]) for column, one in enumerate(of_row)))
        for row, of_row in zip(findings.rows, found, strict=True)
    ]
    return _table(("choice", *lines, "average"), cells, numbers=range(1, len(lines) + 2))


def _time_table(rows: Sequence[Row]) -> list[str]:
    head = (
        "choice",
        "pretraining",
        "training of a line",
        "its teacher's",
        f"{STATIONS} stations",
        "call p50",
        "call p95",
    )
    cells = [
        (
            _name(row),
            _pretraining(row),
            _duration(row.training_s),
            _duration(row.teacher_s) if row.teacher_s else "",
            _duration(row.stations_s),
            f"{row.call.p50_ms:.2f} ms",
            f"{row.call.p95_ms:.2f} ms",
            f"{row.parameters / 1e6:.2f} M",
            f"{row.trainable_share:.1%}",
        )
        for row in rows
    ]
    return _table((*head, "parameters", "trained"), cells, numbers=range(1, 9))


def _figures_table(compared: Compared) -> list[str]:
    cells = []
    for line in compared.lines:
        for choice in compared.choices:
            found = [trial_metrics(compared.trials[choice.name, line.name, seed], line) for seed in compared.seeds]
            means = [sum(one[name] for one in found) / len(found) for name in FIGURES]
            cells.append((line.name, choice.name, *(f"{100 * mean:.2f}" for mean in means)))
    heads = ("accuracy", "precision", "recall", "F1", *(f"top-{k}" for k in TOP_KS))
    return _table(("line", "choice", *heads), cells, numbers=range(2, 2 + len(heads)))


FACTS = ("train_s", "images_per_s", "epochs", "best_epoch", "parameters", "call_p50_ms", "call_p95_ms")


def _csv_rows(findings: Findings) -> Iterable[tuple[object, ...]]:
    compared, calls = findings.compared, {row.choice: row.call for row in findings.rows}
    for (choice, line_name, seed), trial in compared.trials.items():
        line = next(line for line in compared.lines if line.name == line_name)
        figures, facts, call = trial_metrics(trial, line), trial.facts, calls[choice]
        yield (
            choice,
            line_name,
            seed,
            *(f"{figures[name]:.6f}" for name in FIGURES),
            f"{facts.train_s:.2f}",
            "" if facts.images_per_s is None else f"{facts.images_per_s:.1f}",
            len(trial.history),
            facts.best_epoch,
            facts.parameters,
            f"{call.p50_ms:.3f}",
            f"{call.p95_ms:.3f}",
        )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], numbers: Iterable[int]) -> list[str]:
    right = set(numbers)
    rule = "|".join("---:" if column in right else "---" for column in range(len(head)))
    return [f"| {' | '.join(head)} |", f"|{rule}|", *(f"| {' | '.join(row)} |" for row in rows), ""]


def _name(row: Row) -> str:
    return f"{row.choice} (from scratch)" if row.from_scratch else row.choice


def _percent(found: Estimate, is_best: bool) -> str:
    value = f"**{100 * found.value:.2f}**" if is_best else f"{100 * found.value:.2f}"
    return f"{value} [{100 * found.low:.1f}, {100 * found.high:.1f}]"


def _pretraining(row: Row) -> str:
    if row.from_scratch:
        return "none"
    return "not by lineact" if row.pretraining_crops is None else f"{row.pretraining_crops:,} pictures"


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
