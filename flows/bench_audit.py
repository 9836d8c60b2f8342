"""`python -m flows.bench_audit line=demo [draws=200]`: labels by matching over redraws of the crops that calibrate.

The line must be a simulated one whose queue is decided: its truth answers for the reviewer.
"""

import sys

from rich.console import Console
from rich.table import Table

from flows import command_line
from flows.gate import decisions_of, found_of, params_of
from flows.pipeline import artefact_folder, refuse_without_truth
from lineact.bench_audit import redraw, table_of_draws
from lineact.dataset.labels import resolve
from lineact.decisions import read_decisions
from lineact.errors import ConfigError, InputError
from lineact.schema import TRUTH_BOXES, read_table
from lineact.simulate_review import SimulatedTruth
from lineact.splits import Holdout
from tasks.stage import section_of

DRAWS = 200
HEADINGS = (
    "random crops",
    "right of those taken",
    "at least, 9 of 10 times",
    "draws that keep to it",
    "taken",
    "right: drawn ones",
    "right: the rest",
)


def bench_audit(line: str, draws: int = DRAWS) -> list[list[str]]:
    """Draws again, labels the rest, and prints how right that was.

    Args:
        line: its name; `queue` must have run and be decided.
        draws: how many.

    Returns:
        The rows printed.

    Raises:
        ConfigError: where the line has no simulated truth.
        InputError: where `queue` has not run, or no crop that calibrates was answered.
    """
    refuse_without_truth(line, "queue")
    params, found = params_of(line), found_of(line)
    holdout = Holdout(params.holdout, found.videos)
    resolved = resolve(found, read_decisions(decisions_of(line), params.actions), holdout, params)
    if not resolved.crop_actions.keys() & set(found.asked.calibrating):
        raise InputError(
            f"{decisions_of(line)}: expected answers to random crops that calibrate, found none; "
            f"run `python -m flows.retrain line={line}`"
        )
    boxes = read_table(artefact_folder("simulate", line) / "truth_boxes.parquet", TRUTH_BOXES)
    truth = SimulatedTruth(boxes, section_of(line, "simulate_review")["min_iou"])
    rows = table_of_draws(redraw(found, resolved, holdout, params, truth, draws), params.labels.precision)
    table = Table(title=f"{line}: {draws} draws, wanted precision {params.labels.precision:.1%}")
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading == HEADINGS[0] else "right")
    for row in rows:
        table.add_row(*row)
    Console(width=None if Console().is_terminal else 140).print(table)
    return rows


def main() -> None:
    """`line=demo [draws=200]`."""
    values = command_line.parse(sys.argv[1:], ("line",), ("draws",))
    draws = values.get("draws") or str(DRAWS)
    if not draws.isdecimal() or not int(draws):
        raise ConfigError(f"argument draws={draws}: expected a whole number from 1 on")
    bench_audit(values["line"], int(draws))


if __name__ == "__main__":
    command_line.run(main)
