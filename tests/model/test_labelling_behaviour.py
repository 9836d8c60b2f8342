"""How labels behave: what must not change them, and in which direction what does."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from lineact.dataset.labels import label_crops, resolve
from lineact.decisions import Decisions
from lineact.match import count_metrics, match_crops
from lineact.reviewer import answer_queue
from lineact.schema import LABELLED_CROPS, table_of
from lineact.simulate_review import SimulatedTruth, label_quality
from tests.labelled_line import dataset_params, labels_of, match_params, queue_params, review_params


def review(line, queue, error_rate):
    truth = SimulatedTruth(line.truth, 0.4)
    return answer_queue(
        queue, line.boxes, truth, review_params(error_rate=error_rate, audit_error_rate=error_rate).reviewer
    )


def wrong_labels(line, embedded, matched, queue, error_rate):
    decisions = Decisions(tuple(review(line, queue, error_rate).decisions), (), ())
    found = line.found(embedded, matched, queue)
    resolved = resolve(found, decisions, line.holdout, dataset_params())
    crops = label_crops(found, resolved, line.holdout, labels_of(found, resolved, line.holdout, dataset_params()))
    hands = {(row["video_sha256"], row["pts_s"]): row["action"] for row in line.truth.to_pylist()}
    wrong = sum(crop.action != hands.get(crop.frame) for crop in crops)
    return wrong, len(crops)


@pytest.mark.parametrize("seed", [0, 1])
def test_the_order_of_crops_does_not_change_their_labels(line, embedded, seed):
    order = np.random.default_rng(seed).permutation(embedded.crops.num_rows)
    ids, trains = np.array(embedded.crops["box_id"].to_pylist()), line.holdout.mask(embedded.crops, "train")
    straight = match_crops(list(ids), embedded.embeddings, trains, match_params())
    mixed = match_crops(list(ids[order]), embedded.embeddings[order], trains[order], match_params())

    def labels(matched):
        return {crop["box_id"]: (crop["group"], crop["status"]) for crop in matched.crops.to_pylist()}

    assert labels(straight) == labels(mixed)
    assert straight.templates["box_id"].to_pylist() == mixed.templates["box_id"].to_pylist()


def test_a_higher_lambda_never_lets_more_crops_through(line, embedded):
    coverage = [
        count_metrics(line.match(embedded, match_params(min_similarity=value)))["coverage"] or 0.0
        for value in (-1.0, 0.5, 0.9, 0.98, 0.999, 1.0)
    ]
    assert coverage == sorted(coverage, reverse=True)
    assert coverage[0] == 1.0
    assert coverage[-1] < 0.3


def test_what_all_crops_share_does_not_count_where_matching_is_centred(line, embedded):
    shared = np.zeros(embedded.embeddings.shape[1])
    shared[0] = 20.0
    biased = embedded.embeddings + shared
    biased = (biased / np.linalg.norm(biased, axis=1, keepdims=True)).astype(np.float32)
    raw, centred = (
        line.match(replace(embedded, embeddings=biased), match_params(centre=centre)).crops["similarity"].to_numpy()
        for centre in (False, True)
    )
    assert raw.min() > 0.99
    assert centred.std() > 10 * raw.std()


def labelled(line, embedded, matched, queue, error_rate):
    """What the stage labels, as a table of schema LABELLED_CROPS, and its truth."""
    decisions = Decisions(tuple(review(line, queue, error_rate).decisions), (), ())
    found = line.found(embedded, matched, queue)
    resolved = resolve(found, decisions, line.holdout, dataset_params())
    crops = label_crops(found, resolved, line.holdout, labels_of(found, resolved, line.holdout, dataset_params()))
    rows = [
        {"video_sha256": crop.frame[0], "pts_s": crop.frame[1], "box_id": crop.box_id, "action": crop.action}
        | dict(zip(("x1", "y1", "x2", "y2"), crop.box_xyxy_px, strict=True))
        | {"split": "train", "decided_by": crop.decided_by, "crop_png": b""}
        for crop in crops
    ]
    return table_of(rows, LABELLED_CROPS), SimulatedTruth(line.truth, 0.4)


def test_crops_that_nobody_decided_are_named_right(line, embedded):
    matched = line.match(embedded, match_params(min_similarity=-1.0))
    queue = line.queue(embedded, matched, queue_params())
    quality = label_quality(*labelled(line, embedded, matched, queue, 0.0))
    assert (quality["labels_by_match"] or 0) > 20
    assert quality["labels_right"] == quality["labels_right_without_ng"] == 1.0


def test_more_reviewer_errors_make_more_wrong_labels(line, embedded):
    matched = line.match(embedded, match_params())
    queue = line.queue(embedded, matched, queue_params())
    shares = []
    for error_rate in (0.0, 0.3, 1.0):
        wrong, count = wrong_labels(line, embedded, matched, queue, error_rate)
        shares.append(wrong / count)
    assert shares == sorted(shares)
    assert shares[0] == 0.0
    assert shares[-1] > 0.5


def test_errors_at_a_low_rate_are_errors_at_a_high_one_and_held_out_items_are_exact(line, embedded):
    matched = line.match(embedded, match_params())
    queue = line.queue(embedded, matched, queue_params())
    exact, some, many = (
        {one.item_id: one.decided for one in review(line, queue, rate).decisions} for rate in (0.0, 0.3, 0.6)
    )
    wrong_in_some = {item for item in exact if some[item] != exact[item]}
    wrong_in_many = {item for item in exact if many[item] != exact[item]}
    assert wrong_in_some
    assert wrong_in_some < wrong_in_many
    held_out = {row["item_id"] for row in queue.to_pylist() if row["holdout"]}
    assert not held_out & wrong_in_many


def test_the_order_of_the_queue_does_not_change_the_answers(line, embedded):
    matched = line.match(embedded, match_params())
    queue = line.queue(embedded, matched, queue_params())
    turned = queue.take(list(reversed(range(queue.num_rows))))
    assert review(line, queue, 0.3).decisions == review(line, turned, 0.3).decisions


def test_an_impure_group_is_called_mixed(line, embedded):
    matched = line.match(embedded, match_params())
    everything = [crop["box_id"] for crop in matched.crops.to_pylist()]
    queue = line.queue(embedded, matched, queue_params()).to_pylist()
    group = next(item for item in queue if item["task"] == "group") | {"box_ids": everything}
    asked = line.queue(embedded, matched, queue_params()).schema
    answers = review(line, pa.Table.from_pylist([group], asked), 0.0)
    assert [one.decided for one in answers.decisions] == ["mixed"]


def test_a_box_that_is_no_hand_is_ng(line, embedded):
    matched = line.match(embedded, match_params())
    queue = line.queue(embedded, matched, queue_params())
    rows = [row | {"x1": 300.0, "y1": 0.0, "x2": 310.0, "y2": 10.0} for row in line.boxes.to_pylist()]
    nowhere = pa.Table.from_pylist(rows, line.boxes.schema)
    answers = answer_queue(queue, nowhere, SimulatedTruth(line.truth, 0.4), review_params().reviewer)
    assert {one.decided for one in answers.decisions if one.task in ("crop", "audit")} == {"NG"}


def test_coverage_is_the_share_of_crops_that_their_group_accepts(line, embedded):
    matched = line.match(embedded, match_params(min_similarity=0.99))
    assert count_metrics(matched)["coverage"] == pytest.approx(np.mean(matched.crops["similarity"].to_numpy() >= 0.99))
