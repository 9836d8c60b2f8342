"""Stage `simulate`: recordings of a simulated station, with exact ground truth."""

from pathlib import Path

from lineact.files import write_metrics
from lineact.schema import TRUTH_BOXES, write_table
from lineact.simulation import SimulateParams
from lineact.simulation.recordings import render_line
from tasks.stage import run_stage


def simulate(params: SimulateParams, *, raw: Path, out: Path) -> None:
    """Renders recordings of a simulated station and writes the box and action of every visible hand."""
    truth = render_line(params, raw)
    write_table(truth, out / "truth_boxes.parquet", TRUTH_BOXES)
    hands = truth["action"].to_pylist()
    counts = {f"hands_{action}": hands.count(action) for action in (*params.actions, "NG")}
    frames = params.recordings * round(params.seconds * params.fps)
    write_metrics(out, {"recordings": params.recordings, "frames": frames, "hands": len(hands)} | counts)


if __name__ == "__main__":
    run_stage(simulate, SimulateParams)
