"""What the flow `compare_detectors` reads of a line, which weights it takes, and what MLflow shows of it."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from flows import comparison
from lineact.compare.answers import answers_of
from lineact.compare.choice import ScoredDetector, table_rows
from lineact.compare.labelling import boxes_as_set
from lineact.compare.pictures import held_out_pictures, validation_pictures
from lineact.compare.surfaces import Surfaces
from lineact.detect import DetectParams, detect_boxes, open_backend
from lineact.detect.grounding_dino import GroundingDinoParams
from lineact.errors import InputError
from lineact.evaluate.truth import truth_frames
from lineact.files import sha256_of_file, write_text
from lineact.schema import FRAMES, HOLDOUT_BOXES, read_table, table_of, write_table
from lineact.settings import from_mapping
from lineact.video import read_frames
from tests.generated_videos import passing_hand, write_video

ROOT = Path(__file__).resolve().parents[2]
HAND = {"x1": 140.0, "y1": 80.0, "x2": 180.0, "y2": 120.0}


def demo_params(**changes: Any) -> DetectParams:
    """Settings of demo's stage `detect`, with `motion`."""
    sections = yaml.safe_load((ROOT / "params.yaml").read_text())["lines"]["demo"]["detect"]
    settings = yaml.safe_load((ROOT / "conf/config.yaml").read_text())["detect"]
    settings |= yaml.safe_load((ROOT / "conf/detector/motion.yaml").read_text())
    assert set(settings) >= set(sections) - {"grounding_dino", "motion"}
    return replace(from_mapping(DetectParams, settings, "conf"), **changes)


@pytest.fixture
def line(tmp_path, monkeypatch) -> comparison.LineData:
    """A line as its stages leave it: one recording, two held-out frames (a hand, and none), two validation images."""
    import cv2

    monkeypatch.chdir(tmp_path)
    data = comparison.data_of("demo")
    pictures, at_work = passing_hand(seconds=6.0)
    recording = write_video(data.raw / "a.mp4", pictures)
    sha256, frames = sha256_of_file(recording), list(read_frames(recording))
    rows = [
        {
            "video_sha256": sha256,
            "pts_s": frame.pts_s,
            "index": frame.index,
            "width_px": 320,
            "height_px": 180,
            "sharpness": 1.0,
            "motion": 0.1,
            "kept": True,
            "reason": "kept",
        }
        for frame in frames
    ]
    write_table(table_of(rows, FRAMES), data.frames, FRAMES)
    truth: list[dict[str, Any]] = [
        {"video_sha256": sha256, "pts_s": frames[0].pts_s, "decided_by": "person"},
        {"video_sha256": sha256, "pts_s": frames[at_work[2]].pts_s, "decided_by": "person", **HAND},
    ]
    write_table(table_of(truth, HOLDOUT_BOXES), data.holdout, HOLDOUT_BOXES)
    write_text(data.detection / "data.yaml", "names: {0: hand}\n")
    for split in ("train", "val"):
        (data.detection / "images" / split).mkdir(parents=True)
        for name, label in (("empty", ""), ("hand", "0 0.5 0.5 0.125 0.2\n")):
            picture = pictures[0 if name == "empty" else at_work[0]]
            assert cv2.imwrite(str(data.detection / "images" / split / f"{name}.png"), picture[..., ::-1])
            write_text(data.detection / "labels" / split / f"{name}.txt", label)
    own = {"input_wh": [320, 192], "names": {0: "hand"}, "score_threshold": 0.3}
    general = ROOT / "models/foundation/tiny/yolov5"
    described = yaml.safe_load((general / "detector.yaml").read_text())
    write_text(data.own / "detector.yaml", yaml.safe_dump(described | own))
    shutil.copyfile(general / "model.safetensors", data.own / "detector.safetensors")
    sections = {"detect": yaml.safe_load((ROOT / "params.yaml").read_text())["lines"]["demo"]["detect"]}
    write_text(Path("params.yaml"), yaml.safe_dump({"lines": {"demo": {**sections, "hub_cache": "hub"}}}))
    Path("conf").symlink_to(ROOT / "conf")
    Path("models/foundation").mkdir()
    Path("models/foundation/tiny").symlink_to(ROOT / "models/foundation/tiny")
    return data


def test_pictures_come_with_their_truth(line):
    held_out, validation = held_out_pictures(line.holdout, line.raw), validation_pictures(line.detection)
    assert [len(truth) for truth in held_out.truth_xyxy_px] == [0, 1]
    assert held_out.truth_xyxy_px[1].tolist() == [list(HAND.values())]
    assert [len(truth) for truth in validation.truth_xyxy_px] == [0, 1]
    assert validation.truth_xyxy_px[1].tolist() == [[140, 72, 180, 108]]
    assert len({*held_out.names, *validation.names}) == 4
    (hand,) = held_out.images([1])
    assert hand[100, 160].tolist() == pytest.approx([215, 70, 60], abs=30)
    empty, _ = validation.images([0, 1])
    assert empty.shape == (180, 320, 3)


def test_the_three_detectors_answer_about_a_line(line, tmp_path):
    from tests.tiny_grounding_dino import write_hub_model

    comparison.check_data("demo", line)
    weights = str(write_hub_model(tmp_path / "weights"))
    candidates = comparison.candidates_of("demo", line, weights, None)
    assert [one.name for one in candidates] == ["yolov5_general", "yolov5_own", "grounding_dino"]
    for candidate in candidates:
        answers = answers_of(candidate.title, candidate.detector, held_out_pictures(line.holdout, line.raw))
        assert [answer.size_wh for answer in answers] == [(320, 180)] * 2
    # one architecture and one file of weights: what differs is the key alone
    general, own, _ = (candidate.detector.key for candidate in candidates)
    assert general["weights"] == own["weights"]
    assert general["architecture"] != own["architecture"]


def test_the_labelling_is_scored_as_the_stage_detect_labels(line):
    params, frames = demo_params(), read_table(line.frames, FRAMES)
    truth = truth_frames(read_table(line.holdout, HOLDOUT_BOXES), line.holdout)
    found = boxes_as_set(params, frames, truth, line.raw)
    table = detect_boxes(line.raw, frames, params, open_backend(params))
    for frame, one in zip(truth, found, strict=True):
        rows = [row for row in table.to_pylist() if row["pts_s"] == frame.pts_s and row["dropped_by"] is None]
        assert one.boxes_xyxy_px[one.kept[0, 0]].tolist() == [[row[side] for side in HAND] for row in rows]
        assert one.truth_xyxy_px.tolist() == frame.boxes_xyxy_px.tolist()
    assert found[1].kept.any()
    (line.raw / "a.mp4").rename(line.raw / "b.txt")
    write_video(line.raw / "c.mp4", passing_hand(seconds=1.0)[0])
    with pytest.raises(InputError, match=f"expected the recording {truth[0].video_sha256[:12]}"):
        boxes_as_set(params, frames, truth, line.raw)


@pytest.mark.parametrize("missing", ["raw", "holdout", "detection", "own", "frames"])
def test_what_is_not_there_yet_is_named_with_the_command_that_makes_it(missing, line):
    path = getattr(line, missing)
    path.rename(path.with_name("elsewhere"))
    with pytest.raises(InputError, match=f"^{path}.*found nothing; `python -m flows.retrain line=demo` makes it$"):
        comparison.check_data("demo", line)


DINO = GroundingDinoParams(("hand", "box"), 0.3, 0.1, 4, "line/weights", "abc", "float32", "torch")


@pytest.mark.parametrize(
    ("of_line", "weights", "embedded", "expected"),
    [
        pytest.param(DINO, None, True, ("line/weights", "abc", ("hand", "box")), id="the line's own"),
        pytest.param(DINO, "other/name@123", True, ("other/name", "123", ("hand", "box")), id="a hub name's commit"),
        pytest.param(DINO, "other/name", True, ("other/name", "main", ("hand", "box")), id="a hub name"),
        pytest.param(None, "a@b", True, ("a@b", "main", ("hand",)), id="a folder may hold an @"),
        pytest.param(None, None, True, ("models/foundation/tiny/grounding_dino", "main", ("hand",)), id="embedded"),
        pytest.param(None, None, False, None, id="none"),
    ],
)
def test_which_weights_of_grounding_dino_are_compared(of_line, weights, embedded, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("conf").symlink_to(ROOT / "conf")
    Path("a@b").mkdir()
    if embedded:
        (comparison.TINY / "grounding_dino").mkdir(parents=True)
    params = demo_params()
    if of_line is not None:
        params = replace(params, backend="grounding_dino", motion=None, grounding_dino=of_line)
    if expected is None:
        with pytest.raises(InputError, match=r"line demo labels with 'motion', found nothing; .*weights=DIR"):
            comparison.grounding_dino_params("demo", params, weights)
        return
    found = comparison.grounding_dino_params("demo", params, weights)
    name, revision, prompt = expected
    assert (found.weights, found.prompt) == (name, prompt)
    assert Path(name).is_dir() or found.revision == revision


@pytest.mark.slow
@pytest.mark.usefixtures("line")
def test_a_second_comparison_asks_no_model(tmp_path, monkeypatch, capfd):
    import flows.compare_detectors as module
    from flows import tracking
    from tests.tiny_grounding_dino import write_hub_model

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setattr(module, "score_candidate", module.score_candidate.fn)  # without a Prefect server
    weights = str(write_hub_model(tmp_path / "weights"))
    folder = module.compare_detectors.fn("demo", weights)
    assert capfd.readouterr().out.count(": 2 of 2 frames to go") == 7  # two sets of frames each, and the labelling
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    module.compare_detectors.fn("demo", weights)
    assert capfd.readouterr().out.count(": 0 of 2 frames to go") == 7
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first
    plots = {f"{kind}_iou{percent}.png" for kind in ("maps", "surfaces") for percent in (30, 40)}
    assert set(first) == {"table.md", "table.csv", "surfaces.csv", *plots}
    client = tracking.client()
    experiment = client.get_experiment_by_name("lineact-demo")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    parents = [run.info.run_id for run in runs if run.data.tags["lineact.kind"] == "comparison"]
    assert len(parents) == 2
    for parent_id in parents:
        assert {artifact.path for artifact in client.list_artifacts(parent_id)} == set(first)


@pytest.mark.slow
def test_mlflow_shows_one_child_for_each_detector(tmp_path, monkeypatch):
    from flows import tracking

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    share = np.array([[[0.5]]])
    undefined = np.full((1, 1, 1), np.nan)
    scored = [
        ScoredDetector(name, name, axes, np.array([0.3]), np.array([0.6]), figures, figures if axes else None)
        for name, axes, figures in (
            ("yolov5_own", ("Conf", "NMS"), Surfaces((0.4,), share, share, share, share, np.array([[4]]), 4)),
            ("grounding_dino", ("Box", "Text"), Surfaces((0.4,), undefined, share, share, share, np.array([[0]]), 0)),
            ("labelling", None, Surfaces((0.4,), share, share, share, share, np.array([[4]]), 4)),
        )
    ]
    (tmp_path / "results").mkdir()
    write_text(tmp_path / "results" / "table.md", "a table\n")
    parent_id = comparison.log_comparison("demo", [], table_rows(scored), tmp_path / "results")
    store = tracking.client()
    parent = store.get_run(parent_id)
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["lineact.kind"] == "comparison"
    assert parent.data.metrics["yolov5_own.recall_validation_iou40"] == 0.5
    assert [artifact.path for artifact in store.list_artifacts(parent_id)] == ["table.md"]
    children = store.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent_id}'")
    assert {child.info.run_name for child in children} == {"yolov5_own", "grounding_dino", "labelling"}
    own = next(child for child in children if child.info.run_name == "yolov5_own")
    assert own.data.params["thresholds_validation_iou40"] == "Conf=0.30, NMS=0.60"
    assert own.data.metrics["accuracy_held_out_iou40"] == 0.5
    silent = next(child for child in children if child.info.run_name == "grounding_dino")
    assert "recall_validation_iou40" not in silent.data.metrics
