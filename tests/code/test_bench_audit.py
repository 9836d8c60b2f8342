"""`make bench-audit`: what redraws count, against the labels that the line takes."""

from dataclasses import replace

import numpy as np
import pyarrow.compute as pc
import pytest

from flows import bench_audit as command
from flows import pipeline
from lineact import bench_audit
from lineact.bench_audit import JUDGE, TEACH, Draw, redraw, table_of_draws
from lineact.dataset.calibration import calibrate, labels_taken
from lineact.dataset.labels import resolve
from lineact.dataset.matching import match_to_named
from lineact.decisions import MIXED, standing
from lineact.errors import ConfigError, InputError
from lineact.reviewer import answer_queue
from lineact.simulate_review import SimulatedTruth
from tests.labelled_line import dataset_params, review_params


@pytest.fixture(scope="module")
def resolved(line, found):
    truth = SimulatedTruth(line.truth, 0.4)
    decided = answer_queue(found.queue, line.boxes, truth, review_params().reviewer).decisions
    return resolve(found, standing(decided), line.holdout, dataset_params())


def test_each_draw_is_labelled_as_the_stage_would(line, found, resolved, monkeypatch):
    """The calibrating crops drawn are made those of the queue; a reviewer without errors says the truth."""
    params, truth = dataset_params(), SimulatedTruth(line.truth, 0.4)
    seen = []

    def remember(matches, sample, *settings):
        lambdas = calibrate(matches, sample, *settings)
        seen.append((matches, sample, lambdas))
        return lambdas

    monkeypatch.setattr(bench_audit, "calibrate", remember)
    results = redraw(found, resolved, line.holdout, params, truth, draws=3)
    assert [len(draws) for draws in results.values()] == [3, 3]
    others = {box_id: said for box_id, said in resolved.crop_actions.items() if box_id not in found.asked.audits}
    asking_none = replace(found, queue=found.queue.filter(pc.invert(pc.equal(found.queue["task"], "audit"))))
    for (matches, sample, lambdas), draw in zip(seen[1::2], results[TEACH], strict=True):
        drawn = dict(zip(found.embedded["box_id"].take(sample.audited).to_pylist(), sample.said, strict=True))
        by_hand = match_to_named(
            asking_none, replace(resolved, crop_actions=others | drawn), sample.audited, line.holdout, params
        )
        np.testing.assert_array_equal(matches.certainty, by_hand.certainty)
        undecided = matches.places_of(sample.undecided)
        assert draw.taken == labels_taken(by_hand, lambdas)[undecided].sum()
        assert draw.undecided == len(sample.undecided) > 0
        assert 0 <= draw.wrong <= draw.taken
    assert seen[0][0] is seen[2][0]  # crops that judge alone leave all labels as they are
    assert len({tuple(sample.audited) for _, sample, _ in seen}) == 3


def test_where_only_audits_are_named_nothing_else_is_taken_by_judges_alone(line, found, resolved):
    mixed = replace(resolved, names=dict.fromkeys(resolved.names, MIXED), hands={})
    said = {box_id: action for box_id, action in resolved.crop_actions.items() if box_id in found.asked.audits}
    answers = replace(mixed, crop_actions=said)
    results = redraw(found, answers, line.holdout, dataset_params(), SimulatedTruth(line.truth, 0.4), draws=1)
    assert (results[JUDGE][0].taken, results[JUDGE][0].rest_right) == (0, 0.0)
    assert results[TEACH][0].rest_right > 0.5


def test_the_table_says_how_often_a_draw_keeps_to_the_precision():
    draws = [Draw(100, 50, 0, 0.9, 0.95), Draw(100, 100, 10, 0.8, 0.85), Draw(100, 0, 0, 0.7, 0.9)]
    rows = table_of_draws({JUDGE: draws, TEACH: draws[:1]}, precision=0.95)
    assert all(len(row) == len(command.HEADINGS) for row in rows)
    assert rows[0] == [JUDGE, "96.67%", "92.00%", "67%", "50%", "80.0%", "90.0%"]
    assert rows[1][1:5] == ["100.00%", "100.00%", "100%", "50%"]


@pytest.mark.parametrize("draws", ["0", "-1", "many", "1.5", "²"])
def test_draws_are_a_whole_number_from_one_on(monkeypatch, draws):
    monkeypatch.setattr("sys.argv", ["bench_audit", "line=demo", f"draws={draws}"])
    with pytest.raises(ConfigError, match=rf"argument draws={draws}: expected a whole number"):
        command.main()


def test_a_line_on_real_video_has_no_truth(monkeypatch):
    monkeypatch.setattr(pipeline, "stages_of", lambda _: ["ingest", "detect"])
    with pytest.raises(ConfigError, match="line press_a: expected a simulated line"):
        command.bench_audit("press_a")


@pytest.mark.parametrize("lock", [None, "", "stages:\n  ingest@demo: {}\n"])
def test_a_line_without_a_queue_is_told_what_to_run(monkeypatch, tmp_path, lock):
    monkeypatch.setattr(pipeline, "stages_of", lambda _: ["simulate", "ingest", "queue"])
    monkeypatch.chdir(tmp_path)
    if lock is not None:
        (tmp_path / "dvc.lock").write_text(lock)
    with pytest.raises(InputError, match=r"dvc\.lock: expected a result of queue@demo.*flows\.retrain line=demo"):
        command.bench_audit("demo")
