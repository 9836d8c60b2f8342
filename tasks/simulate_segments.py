"""Stage `simulate_segments`: the true segments of simulated recordings, where a person's would be."""

from pathlib import Path

from lineact.files import write_metrics
from lineact.schema import TRUTH_BOXES, VIDEOS, read_table
from lineact.simulate_segments import SimulateSegmentsParams, true_segments
from lineact.temporal.activitynet import write_ground_truth
from tasks.stage import run_stage


def simulate_segments(
    params: SimulateSegmentsParams, *, ingest: Path, simulate: Path, segments: Path, out: Path
) -> None:
    """Writes when each action of the simulated recordings was, in ActivityNet's layout."""
    videos = read_table(ingest / "videos.parquet", VIDEOS)
    truth = true_segments(params, videos, read_table(simulate / "truth_boxes.parquet", TRUTH_BOXES))
    write_ground_truth(segments, truth, "all")
    seconds, acting_s = sum(truth.duration_s.values()), float((truth.segments.end_s - truth.segments.start_s).sum())
    counts = {"recordings": len(truth.videos), "segments": len(truth.segments), "acting_share": acting_s / seconds}
    write_metrics(out, counts)
    print(f"simulate_segments: {counts['segments']}, {counts['acting_share']:.0%} of the time", flush=True)


if __name__ == "__main__":
    run_stage(simulate_segments, SimulateSegmentsParams)
