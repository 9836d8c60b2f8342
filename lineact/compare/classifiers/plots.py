"""What the comparison draws: accuracies with intervals, accuracy over call time, learning curves, confusions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lineact.charts import draw_confusions
from lineact.compare.classifiers.scores import Compared, Row
from lineact.files import write_whole

REAL_TIME_MS = 10.0  # what the papers' lines need


def draw_plots(folder: Path, compared: Compared, rows: Sequence[Row]) -> list[str]:
    """Draws everything and returns the files' names, in the order in which the report shows them."""
    _draw_accuracies(folder / "accuracy.png", compared, rows)
    _draw_tradeoff(folder / "calls.png", rows)
    names = ["accuracy.png", "calls.png"]
    for line in compared.lines:
        confusions = {choice.name: compared.confusion(choice.name, line) for choice in compared.choices}
        draw_confusions(folder / f"confusion_{line.name}.png", confusions, line.labels)
        _draw_curves(folder / f"curves_{line.name}.png", compared, line.name)
        names += [f"confusion_{line.name}.png", f"curves_{line.name}.png"]
    return names


def _draw_accuracies(path: Path, compared: Compared, rows: Sequence[Row]) -> None:
    from matplotlib.figure import Figure

    columns = [line.name for line in compared.lines]
    figure = Figure(figsize=(2.6 * (len(columns) + 1) + 1.8, 0.42 * len(rows) + 1.4), layout="constrained")
    all_axes = figure.subplots(1, len(columns) + 1, sharey=True, squeeze=False)[0]
    places = np.arange(len(rows))[::-1]
    for axes, column in zip(all_axes, (*columns, "average"), strict=True):
        found = [row.average if column == "average" else row.by_line[column] for row in rows]
        values = np.array([one.value for one in found])
        errors = np.array([[one.value - one.low, one.high - one.value] for one in found]).T.clip(0)
        axes.errorbar(values, places, xerr=errors, fmt="o", capsize=3)
        axes.set(title=column, xlabel="accuracy")
        axes.grid(alpha=0.3)
    all_axes[0].set_yticks(places, [row.choice for row in rows])
    figure.suptitle("held-out crops; 95 % intervals over seeds and blocks of time")
    write_whole(path, lambda temporary: figure.savefig(temporary, dpi=110))


def _draw_tradeoff(path: Path, rows: Sequence[Row]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.6), layout="constrained")
    axes = figure.subplots()
    for row in rows:
        axes.plot(row.call.p95_ms, row.average.value, "o", label=row.choice)
        axes.annotate(row.choice, (row.call.p95_ms, row.average.value), (5, 3), textcoords="offset points", fontsize=8)
    axes.axvline(REAL_TIME_MS, color="grey", linestyle="--", label=f"{REAL_TIME_MS:g} ms")
    axes.set(xscale="log", xlabel="one call with two crops, p95, milliseconds", ylabel="mean accuracy")
    axes.grid(alpha=0.3)
    write_whole(path, lambda temporary: figure.savefig(temporary, dpi=110))


def _draw_curves(path: Path, compared: Compared, line: str) -> None:
    """Validation loss and macro F1 over epochs: a colour for each choice, a curve for each seed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.4), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    for number, choice in enumerate(compared.choices):
        for seed in compared.seeds:
            history = compared.trials[choice.name, line, seed].history
            if not history:
                continue  # nothing was trained
            epochs = [record.epoch for record in history]
            style = {"color": f"C{number % 10}", "linestyle": "-" if number < 10 else "--", "alpha": 0.8}
            label = choice.name if seed == compared.seeds[0] else None
            losses.plot(epochs, [record.val_loss for record in history], label=label, **style)
            scores.plot(epochs, [record.val_macro_f1 for record in history], label=label, **style)
    losses.set(xlabel="epoch", ylabel="validation loss", yscale="log", title=line)
    scores.set(xlabel="epoch", ylabel="validation macro F1", ylim=(0, 1.02), title=line)
    for axes in (losses, scores):
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    if losses.lines:
        figure.legend(*losses.get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    write_whole(path, lambda temporary: figure.savefig(temporary, dpi=110))
