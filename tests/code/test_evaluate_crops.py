"""Teacher and student on held-out crops."""

import csv
import json

import pytest
import torch

from lineact.errors import InputError
from lineact.evaluate_crops import EvaluateCropsParams, evaluate_crops
from lineact.foundation.vit import load_vit
from lineact.foundation.weights import read_config
from lineact.schema import LABELLED_CROPS, read_table, table_of, write_table
from lineact.training.classifier import ClassifierSpec, save_classifier
from tests.training_sets import ACTIONS, LABELS, write_crops, write_vit


def write_classifier(folder, name, says):
    """A classifier that gives every crop the same class."""
    start = str(write_vit(folder / "start"))
    model, _ = load_vit(start, None, class_count=len(LABELS))
    head = model.get_submodule("head")
    assert isinstance(head, torch.nn.Linear)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.copy_(torch.eye(len(LABELS))[LABELS.index(says)])
    save_classifier(folder / name, name, model, ClassifierSpec(read_config(start, None), LABELS))
    return folder / name


def write_holdout(path, actions):
    rows = read_table(write_crops(path, count=len(actions)), LABELLED_CROPS).to_pylist()
    held_out = [row | {"action": action, "split": "holdout"} for row, action in zip(rows, actions, strict=True)]
    write_table(table_of(held_out, LABELLED_CROPS), path, LABELLED_CROPS)
    return path


@pytest.fixture
def folders(tmp_path):
    teacher = write_classifier(tmp_path / "teacher", "teacher", "screw")
    return {"train_teacher": teacher, "distil": write_classifier(tmp_path / "student", "student", "wipe")}


def test_both_are_scored_on_what_neither_has_seen(folders, tmp_path):
    holdout = write_holdout(tmp_path / "holdout.parquet", ["screw"] * 5 + ["wipe"] * 3)
    evaluate_crops(EvaluateCropsParams(ACTIONS), holdout, out=tmp_path / "out", **folders)
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["teacher_accuracy"] == metrics["majority_accuracy"] == 5 / 8
    assert metrics["student_accuracy"] == 3 / 8
    assert metrics["student_macro_f1"] == pytest.approx((2 * 3 / 8 / (1 + 3 / 8)) / 2)
    assert (metrics["student_recall_wipe"], metrics["student_recall_screw"]) == (1, 0)
    assert metrics["student_recall_NG"] is None
    assert metrics["crops"] == 8
    with (tmp_path / "out" / "plots" / "confusion.csv").open() as stream:
        assert {row["predicted"] for row in csv.DictReader(stream)} == {"wipe"}
    assert (tmp_path / "out" / "plots" / "confusion.png").is_file()


def test_crops_that_trained_do_not_measure(folders, tmp_path):
    with pytest.raises(InputError, match=r"expected held-out crops, found \['train', 'val'\]"):
        evaluate_crops(EvaluateCropsParams(ACTIONS), write_crops(tmp_path / "c.parquet"), out=tmp_path, **folders)
