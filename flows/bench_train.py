"""`python -m flows.bench_train [counts=1000,10000,100000] [choices=...] [images=2000]`: training beside a plain loop.

Generated crops and embedded-size networks. First every choice at the first count, then the growth with the number of
crops for the last choice. 100,000 crops need 4 GB of disk for the while.
"""

import sys
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from flows import command_line
from flows.classifier_choices import choices_of, classifier_of
from flows.command_line import names_of
from flows.pipeline import CONF, TINY
from lineact.bench_label import empty_cache
from lineact.bench_train import Job, TrainRun, as_a_plain_loop, as_the_product, measured, write_generated_crops
from lineact.classifiers.starts import start_of_choice
from lineact.errors import ConfigError

COUNTS = (1_000, 10_000, 100_000)
IMAGES = 2_000
GROWS = "vit_s"
HEADINGS = ("crops", "choice", "way", "ready, first s", "again s", "images/s", "ratio", "own MB", "peak MB")


def bench_train(counts: tuple[int, ...], choices: tuple[str, ...], images: int) -> list[list[str]]:
    """Measures and prints.

    Args:
        counts: training crops; all choices at the first, the growth over all.
        choices: names; all that learn from labels alone where there is none.
        images: crops that are trained with in each measurement.

    Returns:
        The rows printed.

    Raises:
        ConfigError: on an unknown choice, or one without a start that it needs.
    """
    jobs = {name: _job(name, images) for name in choices or _trained_by_labels()}
    grows = jobs.get(GROWS) or next(iter(jobs.values()))
    rows: list[list[str]] = []
    with empty_cache() as folder:
        for count in counts:
            path = folder / f"crops_{count}.parquet"
            write_generated_crops(path, count)
            for job in jobs.values() if count == counts[0] else (grows,):
                rows += _rows(count, job(path))
            path.unlink()
    table = Table(title=f"training with {images} crops of so many, beside a DataLoader that decodes PNGs")
    for heading in HEADINGS:
        table.add_column(heading, justify="left" if heading in ("choice", "way") else "right")
    for row in rows:
        table.add_row(*row)
    Console(width=None if Console().is_terminal else 140).print(table)
    return rows


def _rows(count: int, job: Job) -> list[list[str]]:
    plain, ours = measured(as_a_plain_loop, job), measured(as_the_product, job)
    rows = [_row(count, job.choice, way, run, plain) for way, run in (("plain loop", plain), ("lineact", ours))]
    print("\n".join(" ".join(row) for row in rows), flush=True)  # the table comes minutes later
    return rows


def _row(count: int, choice: str, way: str, run: TrainRun, plain: TrainRun) -> list[str]:
    figures = [f"{run.ready_s:.1f}", f"{run.again_s:.1f}", f"{run.images_per_s:.0f}"]
    figures += [f"{run.images_per_s / plain.images_per_s:.2f}", f"{run.own_mb:.0f}", f"{run.peak_mb:.0f}"]
    return [f"{count:,}", choice, way, *figures]


def _job(name: str, images: int) -> partial[Job]:
    params = classifier_of(CONF, name)
    start = start_of_choice(params, TINY)
    if params.distil is not None or params.trains == "nothing" or (params.family == "clip" and start is None):
        raise ConfigError(
            f"choices: expected ones that learn from labels alone and whose start is there, found {name!r}"
        )
    here = None if start is None else str(Path(start).resolve())  # the measurement has a folder of its own
    return partial(Job, choice=name, params=params, start=here, images=images)


def _trained_by_labels() -> list[str]:
    found = []
    for name in choices_of(CONF):
        params = classifier_of(CONF, name)
        without_start = params.family == "clip" and start_of_choice(params, TINY) is None
        if params.distil is None and params.trains != "nothing" and not without_start:
            found.append(name)
    return found


def main() -> None:
    """`[counts=1000,10000,100000] [choices=...] [images=2000]`."""
    values = command_line.parse(sys.argv[1:], (), ("counts", "choices", "images"))
    numbers = [*names_of(values.get("counts", "")), values.get("images") or str(IMAGES)]
    if not all(number.isdecimal() and int(number) > 0 for number in numbers):
        raise ConfigError(f"counts and images: expected numbers from 1 on, found {', '.join(numbers)}")
    *counts, images = map(int, numbers)
    bench_train(tuple(counts) or COUNTS, names_of(values.get("choices", "")), images)


if __name__ == "__main__":
    command_line.run(main)
