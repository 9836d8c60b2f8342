"""Stage `export`: the trained pair becomes the bundle that is released."""

from pathlib import Path

from lineact.export import ExportParams
from lineact.files import write_metrics, write_whole
from tasks.stage import run_stage


def export(
    params: ExportParams,
    *,
    line: str,
    crops: Path,
    detection: Path,
    train_detector: Path,
    train_teacher: Path,
    distil: Path,
    out: Path,
) -> None:
    """Writes the released pair as ONNX and OpenVINO, checked against PyTorch on real crops and frames."""
    from lineact.export.release import build_bundle, hash_of_data, load_pair, read_calibration, read_inputs

    pair = load_pair(params, train_detector, train_teacher, distil)
    inputs = read_inputs(params, crops, detection, pair.input_wh)
    calibration = read_calibration(params, crops, detection, pair)
    data_sha256 = hash_of_data(crops, detection)
    metrics: dict[str, float] = {}
    write_whole(
        out / "bundle",
        lambda folder: metrics.update(build_bundle(params, pair, inputs, calibration, line, data_sha256, folder)),
    )
    write_metrics(out, metrics)


if __name__ == "__main__":
    run_stage(export, ExportParams)
