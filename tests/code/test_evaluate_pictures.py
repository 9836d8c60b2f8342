"""The exported pair on the pictures that a YOLO line holds out."""

import json
import shutil

import numpy as np
import pytest

from lineact.errors import InputError
from lineact.evaluate import EvaluatePicturesParams
from lineact.evaluate.held_out import held_out_pictures
from lineact.import_yolo import import_yolo
from lineact.png import encode_png
from lineact.training.crops import HELD_OUT
from tasks.evaluate_pictures import evaluate_pictures
from tests.labelled_pictures import write_yolo_folder, yolo_params
from tests.released_pair import INPUT_WH, smooth_noise

PARAMS = EvaluatePicturesParams(match_iou=0.4, min_score=0.01)


@pytest.fixture
def holdout(tmp_path):
    """The held-out pictures of an imported folder: the last of four recordings, eight pictures, one without a hand."""
    import_yolo(yolo_params(), write_yolo_folder(tmp_path / "raw"), tmp_path / "dataset", tmp_path / "out")
    return tmp_path / "dataset" / HELD_OUT


def test_held_out_pictures_come_with_what_their_data_set_says(holdout):
    found = list(held_out_pictures(holdout))
    assert len(found) == 8
    assert [frame.actions for frame, _ in found] == [*[(("open", "closed")[number % 2],) for number in range(7)], ()]
    for frame, image_rgb in found[:7]:
        assert image_rgb.shape == (30, 40, 3)
        assert np.allclose(frame.boxes_xyxy_px, [[12, 6, 28, 24]], atol=1e-4)
    assert found[7][0].boxes_xyxy_px.shape == (0, 4)
    assert len({frame.video_sha256 for frame, _ in found}) == 8


def test_a_pair_that_draws_the_truth_itself_is_right_throughout(released, holdout, tmp_path):
    """Pictures are labelled with what the pair finds on them: then nothing is missed and every action is right."""
    from lineact.bundle import load_bundle

    pair = load_bundle(released / "export/bundle")
    shutil.rmtree(holdout)
    for kind in ("images", "labels"):
        (holdout / kind / "test").mkdir(parents=True)
    (holdout / "data.yaml").write_text(f"test: images/test\nnames: [{', '.join(pair.labels)}]\n")
    width, height = INPUT_WH
    for number in range(4):
        image_rgb = smooth_noise(np.random.default_rng(number), INPUT_WH[::-1])
        (holdout / f"images/test/{number}.png").write_bytes(encode_png(image_rgb))
        lines = []
        for hand in pair.recognise(image_rgb):
            x1, y1, x2, y2 = map(float, hand.box_xyxy_px)
            shares = (x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height
            lines.append(f"{pair.labels.index(hand.action)} " + " ".join(map(str, shares)))
        (holdout / f"labels/test/{number}.txt").write_text("\n".join(lines))
    evaluate_pictures(PARAMS, holdout=holdout, export=released / "export", out=tmp_path / "scores")
    metrics = json.loads((tmp_path / "scores/metrics.json").read_text())
    assert metrics["truth_hands"] == metrics["matched_hands"] > 0
    assert metrics["detection_recall_iou40"] == metrics["detection_accuracy_iou40"] == 1.0
    assert metrics["action_accuracy"] == metrics["truth_box_action_accuracy"] == 1.0
    assert (tmp_path / "scores/plots/precision_recall.png").is_file()
    assert (tmp_path / "scores/plots/confusion.csv").is_file()


def test_labels_that_are_gone_are_named(holdout):
    gone = sorted((holdout / "labels/test").iterdir())[0]
    gone.unlink()
    with pytest.raises(InputError, match=rf"{gone.stem}\.png: expected a picture and its labels, found .*`dvc repro`"):
        list(held_out_pictures(holdout))
