"""Stage `detect`: boxes of hands on the kept frames."""

from pathlib import Path

from lineact.detect import DetectParams, count_metrics, detect_boxes, open_backend
from lineact.detect.pictures import write_pictures
from lineact.files import write_metrics
from lineact.scale.detect import detect_on_workers
from lineact.schema import BOXES, FRAMES, read_table, write_table
from tasks.compute import cluster_of
from tasks.stage import run_stage


def detect(params: DetectParams, *, raw: Path, ingest: Path, tiny: Path, out: Path, line: str | None = None) -> None:
    """Runs the detector over the kept frames and writes its boxes, each with the rule that dropped it.

    A line's settings tell where it is computed.
    """
    params = params.with_embedded(tiny)
    frames = read_table(ingest / "frames.parquet", FRAMES)
    cluster = cluster_of(line)
    backend = detect_on_workers(cluster, raw, frames, params) if cluster else open_backend(params)
    boxes = detect_boxes(raw, frames, params, backend)
    metrics = count_metrics(frames, boxes)
    write_table(boxes, out / "boxes.parquet", BOXES)
    write_pictures(out / "plots", raw, frames, boxes, params.contact_sheet_frames)
    write_metrics(out, metrics)
    print(
        f"detect: {metrics['boxes_kept']} of {metrics['boxes_found']} boxes stay, "
        f"on {metrics['frames_with_boxes']} of {metrics['frames']} frames",
        flush=True,
    )


if __name__ == "__main__":
    run_stage(detect, DetectParams)
