"""Latencies: every key is written, the choice keeps to settings that answer right, the machine says what it is."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from lineact import machine
from lineact.benchmark import (
    PARTS,
    BenchmarkParams,
    Measurement,
    Recording,
    _some_frames,
    fastest,
    headline,
    judged,
    refuse_unsound,
    setups,
)
from lineact.bundle.networks import Setup, supported_precisions
from lineact.errors import ConfigError, InputError
from lineact.machine import MachineParams, cpu_model, describe_machine, instruction_sets, quota_cores
from lineact.schema import VIDEOS, table_of, write_table
from lineact.variants import Accuracy, Labelled, VariantLimits
from tests.code.test_evaluate import write_video

PARAMS = BenchmarkParams(
    runtimes=("openvino", "onnxruntime"),
    precisions=("f32", "bf16", "int8"),
    threads=(1,),
    recordings=2,
    frames=8,
    every=2,
    calls_per_frame=2,
    event_frames=3,
    variants=VariantLimits(crops=4, frames=2, max_loss=0.01, max_call_p99_ms=50.0, max_frame_p95_ms=1000.0),
    warmup=2,
    logits_tolerance={"f32": 1e-3, "bf16": 0.3, "int8": 5.0},
    scores_tolerance={"f32": 1e-3, "bf16": 0.05, "int8": 0.5},
)
CPU_INFO = """processor\t: 0
model name\t: Some CPU @ 2 GHz
flags\t\t: fpu sse4_2 avx avx2 avx512_bf16 rdrand

processor\t: 1
model name\t: Other
"""


RIGHT = Accuracy(0.9, 0.8, 0.7)


def measured(name, frame_ms, difference, precision="f32", scores_difference=0.0, accuracy=RIGHT):
    durations_ms = {part: np.full(10, frame_ms) for part in PARTS}
    return Measurement(
        Setup(name, precision, 1), durations_ms, np.ones(10), accuracy, difference, scores_difference, 5.0, 100.0
    )


def best(measurements):
    found = fastest(judged(PARAMS, measurements))
    return found and found.setup


def test_the_fastest_that_answers_right_is_chosen():
    slow, fast = measured("onnxruntime", 9.0, 1e-6), measured("openvino", 4.0, 1e-6)
    wrong = measured("openvino", 2.0, 0.4, "bf16")
    shifted = measured("openvino", 2.0, 1e-6, "bf16", scores_difference=0.06)
    assert best([slow, wrong, shifted, fast]) == fast.setup


def test_a_burst_of_other_work_does_not_decide():
    steady, hit = measured("onnxruntime", 9.0, 1e-6), measured("openvino", 4.0, 1e-6)
    hit.durations_ms["frame"][-2:] = 60.0
    assert best([steady, hit]) == hit.setup


def test_a_release_that_answers_otherwise_than_pytorch_is_refused():
    refuse_unsound(PARAMS, measured("openvino", 1.0, 1e-6))
    for wrong in (
        measured("openvino", 1.0, float("nan")),
        measured("openvino", 1.0, 0.4, "bf16"),
        measured("openvino", 1.0, 1e-6, scores_difference=0.01),
    ):
        with pytest.raises(InputError, match=r"release.setup openvino_\w+_1t: expected logits within"):
            refuse_unsound(PARAMS, wrong)
        assert best([wrong]) is None


def test_the_headline_is_the_released_one_whichever_is_fastest():
    slow, fast = measured("onnxruntime", 9.0, 1e-6), measured("openvino", 4.0, 1e-6)
    metrics = headline(slow, [slow, fast], np.array([7.0, 8.0]))
    assert metrics["classifier_p95_ms"] == metrics["frame_p99_ms"] == 9.0
    assert metrics["frames_per_s"] == pytest.approx(1000 / 9)
    assert metrics["openvino_f32_1t_frame_p95_ms"] == 4.0
    assert metrics["event_p50_ms"] == 7.5


def test_settings_that_the_machine_lacks_are_left_out_and_told():
    params = dataclasses.replace(PARAMS, runtimes=("openvino", "onnxruntime", "tensorrt"), threads=(1, 64))
    released = Setup("onnxruntime", "f32", 2)
    (first, *found), missing = setups(params, released, cores=2, has_int8=False)
    assert first == released
    here = set(supported_precisions("openvino")) & set(params.precisions) - {"int8"}
    expected = {("openvino", precision) for precision in here}
    assert {(setup.runtime, setup.precision) for setup in found} == expected | {("onnxruntime", "f32")}
    assert {setup.threads for setup in found} == {1}
    told = dict(missing)
    assert told["openvino_int8"] == "the bundle has no such networks: export.calibration_crops is 0"
    assert told["onnxruntime_bf16"] == "the networks are stored in f32"
    assert told["tensorrt_f32"] == "no onnxruntime with TensorRT and its GPU here"
    assert told["64 threads"] == "more than 2 cores"


def test_the_released_precision_needs_a_tolerance():
    with pytest.raises(InputError, match=r"expected logits_tolerance and scores_tolerance .* f16, found none"):
        setups(PARAMS, Setup("openvino", "f16", 1), cores=2, has_int8=False)


@pytest.fixture(scope="module")
def made(released, tmp_path_factory):
    from tasks.benchmark import benchmark
    from tasks.machine import machine as machine_stage

    folder = tmp_path_factory.mktemp("benchmark")
    (folder / "raw").mkdir()
    write_video(folder / "raw/a.mp4", frames=5)  # too short for its share: the second makes it up
    write_video(folder / "raw/b.mp4", frames=40)
    (folder / "raw/0.mp4").write_bytes(b"a broken file that ingest tolerates")
    videos = [video_row("a.mp4", frame_count=5), video_row("b.mp4", frame_count=40)]
    write_table(table_of(videos, VIDEOS), folder / "ingest/videos.parquet", VIDEOS)
    machine_stage(MachineParams(("numpy", "openvino")), out=folder / "machine")
    params = dataclasses.replace(PARAMS, precisions=("f32",))
    inputs = {name: folder / name for name in ("raw", "ingest", "machine")}
    data = {"crops": released / "data/crops.parquet", "detection": released / "data/detection"}
    benchmark(params, **inputs, **data, export=released / "export", out=folder / "out")
    return folder


def video_row(name, frame_count):
    row = {
        "video_sha256": name,
        "name": name,
        "start_s": 0.0,
        "duration_s": frame_count / 10,
        "fps": 10.0,
        "frame_count": frame_count,
    }
    return row | {"width_px": 64, "height_px": 48, "codec": "h264"}


def test_the_stage_writes_every_key(made):
    metrics = json.loads((made / "out/metrics.json").read_text())
    for part in PARTS:
        assert 0 < metrics[f"{part}_p50_ms"] <= metrics[f"{part}_p95_ms"] <= metrics[f"{part}_p99_ms"]
    assert metrics["frames"] == PARAMS.frames
    assert metrics["hands_per_frame"] > 0
    assert metrics["memory_peak_mb"] > 20
    for name in ("openvino_f32_1t", "onnxruntime_f32_1t"):
        assert metrics[f"{name}_logits_difference"] < 1e-3
        assert metrics[f"{name}_scores_difference"] < 1e-3
        assert metrics[f"{name}_frame_p95_ms"] > 0
    assert metrics["frame_p50_ms"] > metrics["detector_p50_ms"]


def test_the_stage_writes_a_row_per_setting_and_part(made):
    with (made / "out/latency.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["runtime"], row["part"]) for row in rows] == [
        (runtime, part) for runtime in PARAMS.runtimes for part in PARTS
    ]
    assert {row["count"] for row in rows} == {str(PARAMS.frames), str(PARAMS.frames * PARAMS.calls_per_frame)}
    assert {path.name for path in (made / "out/plots").iterdir()} == {"cdf.csv", "cdf.png"}


def labelled(released):
    return Labelled(released / "data/crops.parquet", released / "data/detection")


def test_too_few_frames_say_so(released, tmp_path):
    from lineact.benchmark import measure

    write_video(tmp_path / "short.mp4", frames=4)
    short = Recording(tmp_path / "short.mp4", 4)
    with pytest.raises(InputError, match=r"expected more than 4 frames, found fewer"):
        measure(PARAMS, Setup("openvino", "f32", 1), released / "export/bundle", [short], labelled(released))


def test_what_lies_behind_a_break_is_not_read(tmp_path):
    write_video(tmp_path / "short.mp4", frames=20)
    frames = [frame.index for frame, _ in _some_frames(PARAMS, [Recording(tmp_path / "short.mp4", 7)])]
    assert frames == [0, 2, 4, 6]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"threads": ()}, "at least one"),
        ({"threads": (0,)}, "at least 1"),
        ({"every": 0}, "at least 1"),
        ({"warmup": -1}, "warmup"),
        ({"precisions": ("f16",)}, "logits_tolerance must name every precision, found none for f16"),
    ],
)
def test_settings_out_of_range_are_refused(change, says):
    with pytest.raises(ValueError, match=says):
        dataclasses.replace(PARAMS, **change)


def test_the_same_machine_gives_the_same_description():
    params = MachineParams(("openvino", "numpy"))
    first = describe_machine(params)
    assert first == describe_machine(params)
    assert {"host", "cpu", "cores", "memory_gib", "instruction_sets", "libraries"} <= set(first)
    assert first["libraries"]["numpy"] == np.__version__
    assert first["cpu"]
    assert first["cores"] >= 1


def test_cpu_info_is_read():
    assert cpu_model(CPU_INFO) == "Some CPU @ 2 GHz"
    assert instruction_sets(CPU_INFO) == ["sse4_2", "avx", "avx2", "avx512_bf16"]
    assert cpu_model("") == ""
    assert instruction_sets("Features\t: fp asimd bf16\n") == ["asimd", "bf16"]


@pytest.mark.parametrize(
    ("cpu_max", "cores"), [("max 100000\n", None), ("200000 100000\n", 2), ("50000 100000\n", 1), ("150000 100000", 2)]
)
def test_a_container_has_the_cores_of_its_quota(cpu_max, cores, tmp_path, monkeypatch):
    assert quota_cores(cpu_max) == cores
    (tmp_path / "cpu.max").write_text(cpu_max)
    monkeypatch.setattr(machine, "CPU_QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda _: set(range(16)))
    assert machine.usable_cores() == (cores or 16)


def test_a_library_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match=r"machine.libraries: .* found no no-such-library"):
        describe_machine(MachineParams(("no-such-library",)))
