"""What the report says of labels by matching: counts, lambda's warning, and the confusion of labels."""

import csv

import numpy as np
import pytest

from lineact.dataset.calibration import Lambda, Sample
from lineact.dataset.matching import Matches
from lineact.dataset.report import label_metrics, write_label_plots
from tasks.dataset import _tell_lambdas

LAMBDAS = {
    "NG": Lambda(0.5, "pooled", 40, 0),
    "screw": Lambda(0.5, "action", 100, 0),
    "wipe": Lambda(0.5, "constant", 2, 1),
}


@pytest.fixture
def matches() -> Matches:
    """Two screw, one of them doubtful; NG; two wipe, one of them contradicted; screw that a person calls NG."""
    names = ("NG", "screw", "wipe")
    similarity = np.array([0.9, 0.3, 0.9, 0.9, 0.9, 0.9])
    contradicted = np.array([False, False, False, True, False, False])
    actions = np.array([1, 1, 0, 2, 2, 1], np.int16)
    return Matches(np.arange(6), names, actions, similarity, np.zeros(6), np.ones(6), contradicted)


SAMPLE = Sample(np.array([4, 5]), ("wipe", "NG"), np.arange(4))


def test_taken_rejected_ng_and_contradicted_are_counted_apart(matches):
    metrics = label_metrics(matches, LAMBDAS, SAMPLE)
    assert metrics == {
        "label_coverage": 0.5,
        "label_ng_rate": 0.25,
        "label_rejected_rate": 0.5,
        "labels_ng": 1,
        "labels_rejected": 2,
        "labels_contradicted": 1,
        "audited": 2,
        "audited_taken": 2,
        "audit_right": 0.5,
        "lambdas_calibrated": 2,
        "lambda_NG": 0.5,
        "lambda_screw": 0.5,
        "lambda_wipe": 0.5,
    }


def test_the_confusion_has_a_row_for_what_was_said_and_a_column_for_rejected(matches, tmp_path):
    doubtful = Sample(np.array([1, 2, 4, 5]), ("screw", "NG", "wipe", "NG"), np.array([0, 3]))
    write_label_plots(tmp_path, matches, LAMBDAS, doubtful, ("screw", "wipe"))
    with (tmp_path / "label_confusion.csv").open() as file:
        rows = {row.pop("said"): {name: int(count) for name, count in row.items()} for row in csv.DictReader(file)}
    assert rows["screw"] == {"screw": 0, "wipe": 0, "NG": 0, "rejected": 1}
    assert rows["wipe"] == {"screw": 0, "wipe": 1, "NG": 0, "rejected": 0}
    assert rows["NG"] == {"screw": 1, "wipe": 0, "NG": 1, "rejected": 0}
    with (tmp_path / "precision_coverage.csv").open() as file:
        curve = [row for row in csv.DictReader(file) if row["ranked_by"] == "similarity"]
    assert [float(row["coverage"]) for row in curve] == sorted(float(row["coverage"]) for row in curve)
    for name in ("precision_coverage.png", "label_confusion.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_too_little_evidence_is_a_warning_that_names_the_actions(capsys):
    _tell_lambdas(LAMBDAS, 0.99)
    told = capsys.readouterr().out
    assert "lambda of wipe: 0.500 (constant; of 2 audited labels 1 are wrong)" in told
    assert "warning: too few audited crops to calibrate lambda of wipe to a precision of 0.99" in told
    _tell_lambdas({"screw": LAMBDAS["screw"]}, 0.99)
    assert "warning" not in capsys.readouterr().out
