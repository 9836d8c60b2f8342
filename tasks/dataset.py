"""Stage `dataset`: labels and decisions become a detection set, classification crops and held-out truth."""

from dataclasses import astuple, fields
from pathlib import Path

from lineact.dataset import DatasetParams
from lineact.dataset.accepted import label_the_rest
from lineact.dataset.awaiting import refuse_bad_rows, refuse_undecided, still_waiting, words_of
from lineact.dataset.calibration import Lambda, needed_audits
from lineact.dataset.labels import PROBLEMS, Problem, label_crops, read_found, resolve
from lineact.dataset.matching import looking_alike
from lineact.dataset.parts import frames_for_detector, split
from lineact.dataset.pictures import write_pictures
from lineact.dataset.report import (
    certificate_metrics,
    count_metrics,
    holdout_rows,
    label_metrics,
    write_certificate_plots,
    write_label_plots,
)
from lineact.decisions import read_decisions
from lineact.files import write_csv, write_metrics, write_whole
from lineact.schema import EMBEDDED, HOLDOUT_BOXES, LABELLED_CROPS, read_table, table_of, write_table
from lineact.splits import Holdout
from tasks.stage import run_stage


def dataset(
    params: DatasetParams,
    *,
    line: str,
    raw: Path,
    ingest: Path,
    detect: Path,
    embed: Path,
    match: Path,
    queue: Path,
    decisions: Path,
    out: Path,
) -> None:
    """Writes detection/, crops.parquet, holdout.parquet and problems.csv, or says that decisions are missing."""
    found = read_found(ingest=ingest, detect=detect, embed=embed, match=match, queue=queue)
    decided = read_decisions(decisions, params.actions)
    refuse_bad_rows(decided, params.max_bad_share, decisions, found.items)
    holdout = Holdout(params.holdout, found.videos)
    resolved = resolve(found, decided, holdout, params)
    _tell_problems(resolved.problems)
    labelling = label_the_rest(found, resolved, holdout, params)
    waiting = still_waiting(found, resolved, labelling.certificate, params)
    refuse_undecided(waiting, params, line)

    _tell_lambdas(labelling.lambdas, params.labels.precision)
    print(f"dataset: {words_of(labelling.certificate, params.max_label_error, line)}", flush=True)
    crops = label_crops(found, resolved, holdout, labelling.accepted.labels())
    alike = looking_alike(found, labelling.matches, params.labels.min_hand_certainty)
    frames = frames_for_detector(found, resolved, holdout, alike, params.detector_frames)
    parts = split(crops, frames, resolved.holdout_hands, params)
    stored = read_table(embed / "crops.parquet", EMBEDDED, ("box_id", "crop_png"))
    rows: list[dict] = []
    write_whole(out / "detection", lambda folder: rows.extend(write_pictures(raw, stored, parts, params, folder)))
    labelled = table_of(rows, LABELLED_CROPS)
    write_table(labelled, out / "crops.parquet", LABELLED_CROPS)
    write_table(table_of(holdout_rows(resolved.holdout_hands), HOLDOUT_BOXES), out / "holdout.parquet", HOLDOUT_BOXES)
    header = [field.name for field in fields(Problem)]
    write_csv(out / "problems.csv", header, (astuple(problem) for problem in resolved.problems))
    metrics = count_metrics(resolved, waiting, parts, labelled, params) | certificate_metrics(labelling.certificate)
    metrics |= label_metrics(labelling.matches, labelling.lambdas, labelling.sample)
    write_label_plots(out / "plots", labelling.matches, labelling.lambdas, labelling.sample, params.actions)
    write_certificate_plots(out / "plots", labelling.certificate, params.max_label_error)
    write_metrics(out, metrics)
    print(
        f"dataset: {metrics['crops_train']} crops train and {metrics['crops_val']} validate "
        f"({metrics['crops_by_person']} decided by a person), {metrics['frames_train']} and {metrics['frames_val']} "
        f"frames for the detector, {metrics['holdout_frames']} held-out frames",
        flush=True,
    )


def _tell_lambdas(lambdas: dict[str, Lambda], precision: float) -> None:
    """Prints each action's lambda, and a warning where the audit is too small to calibrate it."""
    for action, one in lambdas.items():
        print(
            f"dataset: lambda of {action}: {one.certainty:.3f} ({one.source}; of {one.audited} audited labels "
            f"{one.wrong} are wrong)",
            flush=True,
        )
    constant = [action for action, one in lambdas.items() if one.source == "constant"]
    if constant:
        print(
            f"dataset: warning: too few audited crops to calibrate lambda of {', '.join(constant)} to a precision of "
            f"{precision:g} (at least {needed_audits(1 - precision)} without a wrong label): the configured "
            "dataset.labels.min_certainty holds; queue.audit_calibrate asks for more",
            flush=True,
        )


def _tell_problems(problems: list[Problem]) -> None:
    """Prints how many decisions of each kind were not used as they stand, and the first of each; all go to a file."""
    for kind in PROBLEMS:
        of_kind = [problem for problem in problems if problem.problem == kind]
        if of_kind:
            first = of_kind[0]
            print(
                f"dataset: {len(of_kind)} decisions {kind} (problems.csv), the first: {first.task} {first.item_id} "
                f"{first.detail}",
                flush=True,
            )


if __name__ == "__main__":
    run_stage(dataset, DatasetParams)
