"""Real footage: the motion backend with the shipped settings, and the labelling half as a user runs it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from lineact.boxes import iou_matrix
from lineact.detect.backend import Recording
from lineact.detect.motion import MotionDetector, MotionParams
from lineact.errors import AwaitingReview
from lineact.files import sha256_of_file
from lineact.settings import from_mapping
from lineact.video import read_frames
from tests.small_line import clone_checkout, run

FOLDER = Path(__file__).parents[2] / ".." / "shared" / "data" / "bottle_bench"
SETTINGS = Path(__file__).parents[2] / "conf" / "detector" / "motion.yaml"
MIN_IOU = 0.4
BOX_THRESHOLD = 0.25


@pytest.mark.real_data
@pytest.mark.skipif(not FOLDER.is_dir(), reason="../shared/data/bottle_bench is not there")
def test_hands_of_the_last_third():
    """The settings were chosen on the first two thirds of the time."""
    annotations = json.loads((FOLDER / "annotations.json").read_text())
    truth = {int(index): np.array(boxes).reshape(-1, 4) for index, boxes in annotations["hand_boxes_xyxy"].items()}
    truth |= {index: np.zeros((0, 4)) for index in annotations["negative_frames"]}
    indices = sorted(index for index in truth if index >= annotations["frames"] * 2 / 3)

    path = FOLDER / annotations["video"]
    times_s = np.array([frame.pts_s for frame in read_frames(path)])
    params = from_mapping(MotionParams, yaml.safe_load(SETTINGS.read_text())["motion"], "motion.yaml")
    recording = Recording(path, sha256_of_file(path), times_s)
    found = MotionDetector(params).detect(recording, [float(times_s[index]) for index in indices])
    recalled, right = [], []
    for index, one in zip(indices, found, strict=True):
        iou = iou_matrix(one.boxes_xyxy_px[one.scores >= BOX_THRESHOLD], truth[index])
        recalled += [bool((column >= MIN_IOU).any()) for column in iou.T]
        right += [bool((row >= MIN_IOU).any()) for row in iou]
    print(f"recall {np.mean(recalled):.3f} of {len(recalled)}, accuracy {np.mean(right):.3f} of {len(right)}")
    assert len(recalled) == 21
    assert np.mean(recalled) >= 0.85
    assert np.mean(right) >= 0.9


@pytest.mark.real_data
@pytest.mark.skipif(not FOLDER.is_dir(), reason="../shared/data/bottle_bench is not there")
def test_the_labelling_half_as_a_user_runs_it(tmp_path):
    """`make line`, label to the gate, answer from the annotations, and on to the data set."""
    checkout = clone_checkout(tmp_path / "checkout")
    videos = tmp_path / "videos"
    videos.mkdir()
    shutil.copyfile(FOLDER / "bottle-detection.mp4", videos / "bottle-detection.mp4")
    wanted = ["name=bottle_bench", f"videos={videos}", "actions=remove,place", "detector=motion"]
    added = run(checkout, "flows.lines", *wanted)
    assert added.returncode == 0, added.stdout
    waiting = run(checkout, "flows.label_line", "line=bottle_bench")
    assert waiting.returncode == AwaitingReview.exit_code, waiting.stdout[-3000:]
    assert "awaiting review" in waiting.stdout.lower()
    by_hand = run(checkout, "dvc", "repro", "dataset@bottle_bench")
    assert by_hand.returncode != 0
    assert f"exited with {AwaitingReview.exit_code}" in by_hand.stdout
    assert "make review LINE=bottle_bench" in by_hand.stdout
    annotations = FOLDER / "annotations.json"
    answered = run(checkout, "flows.answer_queue", "line=bottle_bench", f"annotations={annotations.resolve()}")
    assert answered.returncode == 0, answered.stdout
    labelled = run(checkout, "dvc", "repro", "dataset@bottle_bench")
    assert labelled.returncode == 0, labelled.stdout[-3000:]
    metrics = json.loads((checkout / "data/bottle_bench/dataset/metrics.json").read_text())
    assert metrics["crops_train_remove"] > 0
    assert metrics["crops_train_place"] > 0
    assert metrics["holdout_hands"] == 21
