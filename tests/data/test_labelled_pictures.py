"""Real labelled pictures as a user brings them: a line of crops and a line of a YOLO folder, trained and measured."""

import json
from pathlib import Path

import pytest

from lineact.schema import LABELLED_CROPS, read_table
from tests.small_line import clone_checkout, run

DATA = Path(__file__).parents[2] / ".." / "shared" / "data"
SIGNS = DATA / "sign_digits" / "Dataset"
FINGERS = DATA / "fingercount_hands"
SHORT = "train_detector:\n  epochs: 3\ntrain_teacher:\n  fit:\n    epochs: 3\ndistil:\n  fit:\n    epochs: 4\n"


def measured(checkout, name, *arguments):
    """Adds a line, runs it with few epochs to the held-out crops, and gives the import's and the last metrics."""
    added = run(checkout, "flows.lines", f"name={name}", *arguments)
    assert added.returncode == 0, added.stdout
    with (checkout / "conf" / "line" / f"{name}.yaml").open("a") as stream:
        stream.write(SHORT)
    last = ["evaluate_crops"] + ["evaluate_pictures"] * any(one.startswith("yolo=") for one in arguments)
    done = run(checkout, "dvc", "repro", *(f"{stage}@{name}" for stage in last))
    assert done.returncode == 0, done.stdout[-3000:]
    imported = next((checkout / "data" / name).glob("import_*/metrics.json"))
    metrics = checkout / "models" / name / "evaluate_crops" / "metrics.json"
    return json.loads(imported.read_text()), json.loads(metrics.read_text())


@pytest.mark.real_data
@pytest.mark.timeout(1800)  # trainings in a checkout of its own
@pytest.mark.skipif(not SIGNS.is_dir(), reason="../shared/data/sign_digits is not there")
def test_folders_of_sign_digits(tmp_path):
    checkout = clone_checkout(tmp_path / "checkout")
    imported, scores = measured(checkout, "signs", f"crops={SIGNS.resolve()}")
    assert sum(imported[f"pictures_{part}"] for part in ("train", "val", "holdout", "guard")) == 2062
    assert imported["pictures_bad"] == imported["pictures_repeated"] == 0
    folder = checkout / "data" / "signs" / "dataset"
    at = {
        name: read_table(folder / name, LABELLED_CROPS)["pts_s"].to_numpy()
        for name in ("crops.parquet", "holdout_crops.parquet")
    }
    gaps = [abs(at["crops.parquet"] - number).min() for number in at["holdout_crops.parquet"]]
    assert min(gaps) >= 20
    print(scores)
    assert scores["majority_accuracy"] < 0.15
    assert scores["student_accuracy"] > 0.4


@pytest.mark.real_data
@pytest.mark.timeout(1800)  # trainings in a checkout of its own
@pytest.mark.skipif(not FINGERS.is_dir(), reason="../shared/data/fingercount_hands is not there")
def test_a_yolo_folder_of_counting_hands(tmp_path):
    checkout = clone_checkout(tmp_path / "checkout")
    imported, scores = measured(checkout, "fingers", f"yolo={FINGERS.resolve()}")
    assert [imported[f"pictures_{part}"] for part in ("holdout", "guard")] == [242, 0]  # its own list measures
    assert imported["pictures_train"] + imported["pictures_val"] == 589
    assert sum(imported[f"crops_{part}"] for part in ("train", "val", "holdout")) == 921
    assert imported["recordings"] == 17
    tables = [
        read_table(checkout / "data" / "fingers" / "dataset" / name, LABELLED_CROPS)
        for name in ("crops.parquet", "holdout_crops.parquet")
    ]
    seen, measuring = (set(table["video_sha256"].to_pylist()) for table in tables)
    assert not seen & measuring
    print(scores)
    assert scores["crops"] == imported["crops_holdout"]
    hands = json.loads((checkout / "models/fingers/evaluate_pictures/metrics.json").read_text())
    print(hands)
    assert hands["frames"] == 242
    assert hands["truth_hands"] == imported["crops_holdout"]
    assert hands["detection_recall_iou40"] > 0.5
