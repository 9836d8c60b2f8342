"""`python -m flows.compare_detectors line=demo [weights=DIR] [general=DIR]`: detectors at all pairs of thresholds.

Grounding DINO by box and text threshold, a general YOLOv5 and the line's own by confidence and suppression, all on the
line's held-out frames. Every model looks at every frame once; its answers are kept in .lineact/cache.
"""

import sys

from flows import command_line

if __name__ == "__main__":
    command_line.run(lambda: command_line.begin_flow(("weights", "general")))

from pathlib import Path

from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from flows.comparison import Candidate, candidates_of, check_data, data_of, labelling_as_set, log_comparison
from flows.one_run import only_run_of
from flows.pipeline import refuse_without_recordings
from lineact.compare import MIN_IOUS, THRESHOLDS
from lineact.compare.answers import answers_of
from lineact.compare.choice import Row, ScoredDetector, table_rows
from lineact.compare.pictures import Pictures, held_out_pictures, validation_pictures
from lineact.compare.plots import draw_maps, draw_surfaces
from lineact.compare.report import TABLE, markdown, write_report
from lineact.compare.surfaces import KeptBoxes, Surfaces, score_surfaces

RESULTS = Path(".lineact/compare_detectors")


@task(cache_policy=NO_CACHE, task_run_name="{candidate.name}")
def score_candidate(candidate: Candidate, held_out: Pictures, validation: Pictures) -> ScoredDetector:
    """Asks one detector about all frames, or takes its kept answers, and scores every pair of its thresholds."""
    return ScoredDetector(
        name=candidate.name,
        title=candidate.title,
        axes=candidate.axes,
        first=THRESHOLDS,
        second=THRESHOLDS,
        held_out=_surfaces(candidate, held_out),
        validation=_surfaces(candidate, validation),
    )


@flow(name="compare_detectors", flow_run_name="compare detectors of {line}")
def compare_detectors(line: str, weights: str | None = None, general: str | None = None) -> Path:
    """Compares the detectors and logs the comparison to the line's experiment in MLflow.

    Args:
        line: the line.
        weights: Grounding DINO's: a folder in the hub's layout, or a hub name, with `@` and a commit or without; None
            for what the line is set to, or else the embedded ones.
        general: folder of the general YOLOv5 (detector.yaml, model.safetensors); None for the embedded one.

    Returns:
        The folder with table.md, table.csv, surfaces.csv and the plots.

    Raises:
        InputError: where the line has no held-out truth or no detector yet, or weights are missing.
    """
    with only_run_of(line):
        data = data_of(line)
        check_data(line, data)
        candidates = candidates_of(line, data, weights, general)
        held_out = held_out_pictures(data.holdout, data.raw)
        validation = validation_pictures(data.detection)
        scored = [score_candidate(candidate, held_out, validation) for candidate in candidates]
        scored.append(labelling_as_set(line, data))
        rows, folder = table_rows(scored), RESULTS / line
        write_report(folder, markdown(line, rows, len(held_out.names)), scored, rows)
        _draw(folder, scored, rows)
        log_comparison(line, candidates, rows, folder)
        return folder


def _surfaces(candidate: Candidate, pictures: Pictures) -> Surfaces:
    detector = candidate.detector
    answers = answers_of(candidate.title, detector, pictures)
    frames = [
        KeptBoxes(answer.boxes_inside_px, detector.kept(answer, THRESHOLDS, THRESHOLDS), truth)
        for answer, truth in zip(answers, pictures.truth_xyxy_px, strict=True)
    ]
    return score_surfaces(frames, MIN_IOUS)


def _draw(folder: Path, scored: list[ScoredDetector], rows: list[Row]) -> None:
    with_thresholds = [detector for detector in scored if detector.axes is not None]
    for index, min_iou in enumerate(MIN_IOUS):
        chosen = [row for row in rows if row.min_iou == min_iou and row.chosen_on == "validation"]
        draw_maps(folder / f"maps_iou{round(100 * min_iou)}.png", with_thresholds, chosen, index)
        draw_surfaces(folder / f"surfaces_iou{round(100 * min_iou)}.png", with_thresholds, index)


def main() -> None:
    """`line=demo [weights=...] [general=...]`; an empty value counts as none."""
    values = command_line.parse(sys.argv[1:], ("line",), ("weights", "general"))
    refuse_without_recordings(values["line"])
    folder = compare_detectors(values["line"], values.get("weights") or None, values.get("general") or None)
    print((folder / TABLE).read_text())
    print(f"tables and plots are in {folder}, and in MLflow (`make ui`, experiment lineact-{values['line']})")


if __name__ == "__main__":
    command_line.run(main)
