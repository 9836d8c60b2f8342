"""`python -m flows.bench_label line=demo [recording=rec_00.mp4]`: labelling beside a plain loop, in one run.

The line must detect with Grounding DINO and be a simulated one, whose truth says how many hands each way finds.
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from flows import command_line
from flows.pipeline import TINY, artefact_folder, refuse_without_truth
from lineact.bench_label import labelled, plain_loop, recall_on, table_of_runs
from lineact.detect import DetectParams
from lineact.detect.grounding_dino import GroundingDino, load_grounding_dino
from lineact.errors import ConfigError, InputError
from lineact.files import sha256_of_file
from lineact.ingest import IngestParams
from lineact.schema import FRAMES, TRUTH_BOXES, VIDEOS, read_table
from lineact.settings import from_mapping
from tasks.stage import section_of

MIN_IOU = 0.4
HEADINGS = ("", "ready after s", "seconds", "video s/s", "ratio", "images", "calls", f"recall at IoU {MIN_IOU:g}")


def bench_label(line: str, recording: str) -> list[list[str]]:
    """Measures the three ways on one recording and prints them; with OpenVINO, torch's two as well.

    Recall is of the frames that `ingest` keeps, so that all ways are asked about the same hands.

    Args:
        line: its name; `ingest` must have run.
        recording: name of one of its files; the first where empty.

    Returns:
        The rows printed.

    Raises:
        ConfigError: where the line detects with something else, or has no simulated truth.
        InputError: where it has no such recording, or `ingest` has not run.
    """
    refuse_without_truth(line, "ingest")
    detect = from_mapping(DetectParams, section_of(line, "detect"), f"params.yaml: lines.{line}.detect")
    detect = detect.with_embedded(TINY / "grounding_dino")
    if detect.grounding_dino is None:
        raise ConfigError(
            f"line {line}: expected `detector: grounding_dino` or grounding_dino_tiny, found {detect.backend!r}; "
            f"change conf/line/{line}.yaml and run `dvc repro ingest@{line}`"
        )
    ingest = from_mapping(IngestParams, section_of(line, "ingest"), f"params.yaml: lines.{line}.ingest")
    path, video_s, truth = _recording(line, recording)
    load_grounding_dino(detect.grounding_dino)  # the libraries are imported here
    runs = [plain_loop(path, video_s, detect)]
    runs += [
        labelled(path, video_s, ingest, way, sifted=sifted)
        for way in ways_to_detect(detect)
        for sifted in (False, True)
    ]
    rows = table_of_runs(runs, [recall_on(run, truth, MIN_IOU) for run in runs])
    table = Table(title=f"{path}: {video_s:.0f} s of video, prompt {', '.join(detect.grounding_dino.prompt)}")
    for heading in HEADINGS:
        table.add_column(heading, justify="right" if heading else "left")
    for row in rows:
        table.add_row(*row)
    Console(width=None if Console().is_terminal else 140).print(table)
    return rows


def ways_to_detect(detect: DetectParams) -> list[DetectParams]:
    """By torch, and by OpenVINO where the settings choose it on this machine."""
    assert detect.grounding_dino is not None
    by_torch = replace(detect, grounding_dino=replace(detect.grounding_dino, engine="torch"))
    return [by_torch, detect] if "engine" in GroundingDino(detect.grounding_dino).key else [by_torch]


def _recording(line: str, name: str) -> tuple[Path, float, dict[float, np.ndarray]]:
    """A recording, its length, and the true boxes on its kept frames."""
    folder = artefact_folder("ingest", line)
    videos = {row["name"]: row for row in read_table(folder / "videos.parquet", VIDEOS).to_pylist()}
    name = name or min(videos)
    path = Path("data") / line / "raw" / name
    if name not in videos or not path.is_file():
        raise InputError(f"line {line}: expected one of the recordings {', '.join(sorted(videos))}, found {name!r}")
    sha256 = sha256_of_file(path)
    frames = read_table(folder / "frames.parquet", FRAMES).to_pylist()
    truth: dict[float, list] = {row["pts_s"]: [] for row in frames if row["kept"] and row["video_sha256"] == sha256}
    for row in read_table(artefact_folder("simulate", line) / "truth_boxes.parquet", TRUTH_BOXES).to_pylist():
        if row["video_sha256"] == sha256 and row["pts_s"] in truth:
            truth[row["pts_s"]].append([row[key] for key in ("x1", "y1", "x2", "y2")])
    return path, videos[name]["duration_s"], {time_s: np.array(boxes).reshape(-1, 4) for time_s, boxes in truth.items()}


def main() -> None:
    """`line=demo [recording=rec_00.mp4]`."""
    values = command_line.parse(sys.argv[1:], ("line",), ("recording",))
    bench_label(values["line"], values.get("recording", ""))


if __name__ == "__main__":
    command_line.run(main)
