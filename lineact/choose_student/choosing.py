"""Which candidate becomes the student."""

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lineact.bundle.networks import at_hand
from lineact.choose_student import ChooseStudentParams
from lineact.choose_student.latency import Timed, open_untrained, read_crops, time_calls
from lineact.choose_student.report import Score, write_report
from lineact.choose_student.starts import Candidate, Start, make_candidate
from lineact.context import crops_in
from lineact.distil import DistilParams, train_from
from lineact.errors import ConfigError, InputError
from lineact.files import write_whole


def choose(
    params: ChooseStudentParams, crops: Path, teacher: Path, machine: Path, tiny: Sequence[Path], out: Path
) -> None:
    """Times all candidates, trains those in time, and writes the best one's start.

    Args:
        params: the settings.
        crops: LABELLED_CROPS table with both splits.
        teacher: folder of the stage `train_teacher`.
        machine: folder of the stage `machine`.
        tiny: folders of the embedded starts, the student's own first; used where `foundation` is "tiny".
        out: gets start/, candidates.csv, metrics.json and plots/.

    Raises:
        ConfigError: on candidates that are the same network.
        InputError: where none is in time, one cannot be built, or this is not the target machine.
        TrainingDivergedError: where a loss is no longer finite.
    """
    description = json.loads((machine / "machine.json").read_text())
    _refuse_other_machine(params, description["host"])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        candidates = make_candidates(params, tiny, folder)
        timed = _time_all(params, candidates, crops)
        trained = short_list(params, timed, f"{description['cpu']}, {description['cores']} cores")
        scores = {}
        for number, each in enumerate(trained, 1):
            name = each.candidate.name
            print(f"training {name}, {number} of {len(trained)}", flush=True)
            scores[name] = _train(params.distil, each.candidate, crops, teacher, folder / "trained" / name)
        chosen = best_of(trained, scores)
        print(f"chosen: {chosen.candidate.name}", flush=True)
        source = chosen.candidate.folder
        write_whole(out / "start", lambda start: shutil.copytree(source, start))
    write_report(out, params.max_p95_ms, timed, scores, chosen.candidate.name, description["cpu"])


def make_candidates(params: ChooseStudentParams, tiny: Sequence[Path], folder: Path) -> list[Candidate]:
    """Writes every candidate's start into a folder of its own.

    Raises:
        InputError: where one cannot be built, or its weights cannot be had.
        ConfigError: where two are the same network.
    """
    made: list[Candidate] = []
    for number, wanted in enumerate(params.candidates):
        named = {name: value for name, value in dataclasses.asdict(wanted).items() if value is not None}
        where = f"choose_student.candidates[{number}] {named}"
        if params.distil.foundation == "tiny":
            starts = [Start(str(start), None) for start in tiny]
        elif wanted.hub_model is None:
            starts = [Start(params.distil.hub_model, params.distil.hub_revision)]
        else:
            starts = [Start(wanted.hub_model, wanted.hub_revision)]
        depth, sized = None, wanted
        if wanted.hub_model is None:
            depth, side_px = params.distil.depth, wanted.side_px or params.distil.side_px
            sized = dataclasses.replace(wanted, side_px=side_px)
        try:
            candidate = make_candidate(sized, depth, starts, params.distil.seed, folder / f"start_{number}")
        except InputError as error:
            raise InputError(f"{where}: cannot be built: {error}; change it or leave it out") from error
        twin = next((index for index, other in enumerate(made) if other.name == candidate.name), None)
        if twin is not None:
            raise ConfigError(
                f"{where}: expected another network than that of candidates[{twin}], found {candidate.name} again; "
                "leave one of them out"
            )
        made.append(candidate)
    return made


def short_list(params: ChooseStudentParams, timed: Sequence[Timed], machine: str) -> list[Timed]:
    """The candidates to train: the slowest of those within the budget, slowest first.

    p95 decides what is in time, the median which is slower: other work on this machine shows less in it.

    Args:
        params: budget and number.
        timed: all candidates.
        machine: what to call this machine in errors.

    Raises:
        InputError: where none is within the budget.
    """
    budget_ms = params.max_p95_ms
    for each in sorted(timed, key=lambda each: each.p95_ms):
        verdict = "within" if each.p95_ms <= budget_ms else "over"
        times = f"p50 {each.p50_ms:.3f} ms, p95 {each.p95_ms:.3f} ms"
        print(f"{each.candidate.name}: {times}, {verdict} {budget_ms:g} ms", flush=True)
    inside = [each for each in timed if each.p95_ms <= budget_ms]
    if not inside:
        fastest = min(timed, key=lambda each: each.p95_ms)
        raise InputError(
            f"choose_student: expected a candidate within register.max_p95_ms {budget_ms:g} ms, found none: the "
            f"fastest of {len(timed)}, {fastest.candidate.name}, takes {fastest.p95_ms:.3f} ms at p95 "
            f"and {fastest.p50_ms:.3f} ms at p50 ({params.setup.name} on {machine}); ways out: a machine without other "
            "work where the two lie far apart, smaller candidates in choose_student.candidates, more "
            "threads or a lower precision in release.setup, a higher register.max_p95_ms, or distil.student: fixed"
        )
    return sorted(inside, key=lambda each: -each.p50_ms)[: params.most_trained]


def best_of(trained: Sequence[Timed], scores: dict[str, Score]) -> Timed:
    """The one with the highest macro F1 on the validation crops; of equal ones the faster by its median."""
    return max(trained, key=lambda each: (scores[each.candidate.name].val_macro_f1 or 0.0, -each.p50_ms))


def _refuse_other_machine(params: ChooseStudentParams, host: str) -> None:
    if params.target_machine not in ("any", host):
        raise InputError(
            f"choose_student: expected to time students on register.target_machine {params.target_machine}, found "
            f"{host}; run `dvc repro` there and push its results, or set distil.student: fixed"
        )


def _time_all(params: ChooseStudentParams, candidates: Sequence[Candidate], crops: Path) -> list[Timed]:
    setup = at_hand(params.setup)
    if setup.precision == "int8":  # untrained networks have no int8 graphs
        setup = dataclasses.replace(setup, precision="f32")
    print(f"timing {len(candidates)} untrained candidates, {setup.name}", flush=True)
    label_count = len(params.distil.labels)
    called_with = read_crops(crops)
    strip = crops_in(called_with[0][0])
    classifiers = [open_untrained(candidate, label_count, setup, strip) for candidate in candidates]
    calls_ms = time_calls(classifiers, called_with, params.calls, params.warmup)
    return [Timed(candidate, row) for candidate, row in zip(candidates, calls_ms, strict=True)]


def _train(params: DistilParams, candidate: Candidate, crops: Path, teacher: Path, out: Path) -> Score:
    train_from(candidate.folder, params, crops, teacher, out)
    metrics = json.loads((out / "metrics.json").read_text())
    return Score(metrics["val_accuracy"], metrics["val_macro_f1"])
