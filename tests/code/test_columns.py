"""Labelling in columns is the same as row by row, bit by bit: against slow, obviously right code."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineact.boxes import iou_matrix
from lineact.dataset import matching
from lineact.dataset.accepted import label_the_rest
from lineact.dataset.frames import SIDES, Frames, PlacedBoxes, boxes_on_frames, frame_keys, rows_on
from lineact.dataset.labels import resolve
from lineact.dataset.named import named_crops
from lineact.decisions import frame_key, standing
from lineact.embeddings import Embeddings, mean_of
from lineact.errors import InputError
from lineact.lookup import Lookup
from lineact.reviewer import answer_queue
from lineact.simulate_review import SimulatedTruth
from tests.labelled_line import dataset_params, looked_at_last, match_params, queue_params, review_params

# --- lookups


@pytest.mark.parametrize("hashes_collide", [False, True])
def test_rows_are_found_by_their_text(monkeypatch, hashes_collide):
    if hashes_collide:
        monkeypatch.setattr("lineact.lookup.hash", len, raising=False)

    @given(st.lists(st.text("ab#", max_size=3), max_size=30), st.text("ab#", max_size=3))
    def check(texts, other):
        lookup = Lookup(pa.chunked_array([pa.array(texts[:9], pa.string()), pa.array(texts[9:], pa.string())]))
        for text in (*texts, other):
            rows = [row for row, one in enumerate(texts) if one == text]
            assert lookup.rows(text) == rows
            assert (lookup.get(text), text in lookup) == (rows[0] if rows else None, bool(rows))
        if other not in texts:
            with pytest.raises(KeyError):
                lookup[other]

    check()


def test_frames_and_boxes_of_today_are_found_by_their_keys(line):
    frames, boxes = Frames(line.frames), PlacedBoxes(line.boxes)
    keys = frame_keys(line.frames).to_pylist()
    placed = boxes_on_frames(line.boxes)
    for row, key in zip(line.frames.to_pylist(), keys, strict=True):
        frame = row["video_sha256"], row["pts_s"]
        assert key == frame_key(*frame)
        assert frames.get(key) == frame
        assert boxes.on(key) == placed.get(frame, [])
    assert frames.get("0" * 12 + "@0.000000") is None
    for row in line.boxes.to_pylist():
        assert row["box_id"] in boxes
        assert boxes.frame_of(row["box_id"]) == (row["video_sha256"], row["pts_s"])


def test_dropped_boxes_are_not_there(line):
    dropped = pa.array(["rule"] * 3 + [None] * (line.boxes.num_rows - 3), pa.string())
    table = line.boxes.set_column(line.boxes.schema.get_field_index("dropped_by"), "dropped_by", dropped)
    boxes = PlacedBoxes(table)
    there = [box_id in boxes for box_id in table["box_id"].to_pylist()]
    assert there == [False] * 3 + [True] * (len(there) - 3)


def test_parts_and_frames_of_all_rows_at_once(line):
    rows = [(row["video_sha256"], row["pts_s"]) for row in line.frames.to_pylist()]
    for part in ("train", "guard", "holdout"):
        expected = [line.holdout.part_of(*frame) == part for frame in rows]
        assert line.holdout.mask(line.frames, part).tolist() == expected
    some = rows[3:40:7]
    assert rows_on(line.frames, some).tolist() == [frame in some for frame in rows]
    assert not rows_on(line.frames, []).any()


# --- embeddings


@given(st.integers(1, 5000), st.integers(2, 6), st.integers(0, 10**6))
def test_the_mean_has_the_bits_of_numpys(count, width, seed):
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(count, width)).astype(np.float32)
    wanted = rng.random(count) < 0.7
    wanted[0] = True
    np.testing.assert_array_equal(mean_of(embeddings, wanted), np.mean(embeddings, axis=0, where=wanted[:, None]))


def test_embeddings_are_read_by_rows_from_their_file(tmp_path):
    whole = np.random.default_rng(0).normal(size=(700, 5)).astype(np.float32)
    np.save(tmp_path / "embeddings.npy", whole)
    read = Embeddings(tmp_path / "embeddings.npy")
    assert len(read) == 700
    for rows in (slice(0, 300), slice(690, 900), np.array([5, 699, 5]), np.arange(0, 700, 3), np.array([], int)):
        np.testing.assert_array_equal(read[rows], whole[rows])
        assert read[rows].dtype == np.float32
    np.save(tmp_path / "other.npy", whole + 1)
    (tmp_path / "other.npy").rename(tmp_path / "embeddings.npy")  # as another run of the stage does
    np.testing.assert_array_equal(read[:9], whole[:9])


@pytest.mark.parametrize("content", [None, b"", b"no array"])
def test_a_file_without_embeddings_is_told(tmp_path, content):
    path = tmp_path / "embeddings.npy"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"embeddings\.npy: expected embeddings.*run `dvc repro`"):
        Embeddings(path)


# --- labels


def slow_labels(found, resolved, holdout, params, labelling):
    """Accepted labels, one crop after the other."""
    rows = found.embedded.to_pylist()
    trains = [holdout.part_of(row["video_sha256"], row["pts_s"]) == "train" for row in rows]
    named = named_crops(found, resolved, params.min_iou)
    vectors = {row["box_id"]: found.embeddings[index] for index, row in enumerate(rows)}
    asked = set(found.asked.otherwise.to_pylist()) | set(found.asked.calibrating)
    asked |= set(resolved.crop_actions) - found.asked.audits
    audits = [rows[row]["box_id"] for row in labelling.sample.audited]

    def near_by_itself(box_id):
        means = {}
        for action in sorted(set(named.values())):
            others = [vectors[one] for one, name in named.items() if name == action and one != box_id]
            cosines = sorted((float(vectors[box_id] @ other) for other in others), reverse=True)
            nearest = cosines[: params.labels.nearest]
            means[action] = sum(nearest) / len(nearest) if nearest else -1.0
        return means

    places = {row["box_id"]: row for row in found.boxes.to_pylist()}
    matched = [row for row, is_trained in zip(rows, trains, strict=True) if is_trained]

    def a_moment_away(row):
        for other in matched:
            seconds = abs(other["pts_s"] - row["pts_s"])
            if other["video_sha256"] == row["video_sha256"] and 0 < seconds <= params.labels.moment_s + 1e-6:
                boxes = [np.array([[places[one["box_id"]][side] for side in SIDES]]) for one in (row, other)]
                if iou_matrix(*boxes)[0, 0] >= 0.3:
                    yield other["box_id"]

    alone = 0.5 if any(any(a_moment_away(row)) for row in matched) else 1.0
    accepted = {}
    for row, is_trained in zip(rows, trains, strict=True):
        box_id = row["box_id"]
        if not is_trained or box_id in asked or (row["video_sha256"], row["pts_s"]) in resolved.hands:
            continue
        own, around = near_by_itself(box_id), [near_by_itself(one) for one in a_moment_away(row)]
        means = {
            action: (one + float(np.mean([other[action] for other in around]))) / 2 if around else one
            for action, one in own.items()
        }
        heard = max(audits, key=lambda one: float(vectors[box_id] @ vectors[one])) if audits else None
        first, second = sorted(means.values(), reverse=True)[:2]
        best = max(means, key=lambda action: means[action])
        same = np.mean([max(one, key=lambda action: one[action]) == best for one in around]) if around else alone
        if heard and named[heard] != best and float(vectors[box_id] @ vectors[heard]) >= own[best] - 0.1:
            continue
        if first + first - second - 0.6 * (1 - same) >= labelling.lambdas[best].certainty - 1e-6:
            accepted[box_id] = best
    return accepted


@pytest.fixture(scope="module", params=[0, 20])
def reviewed(request, line, embedded):
    matched = line.match(embedded, match_params())
    queue = line.queue(embedded, matched, queue_params(audit_calibrate=request.param))
    found = line.found(embedded, matched, queue)
    decided = answer_queue(queue, line.boxes, SimulatedTruth(line.truth, 0.4), review_params().reviewer).decisions
    return found, decided


@pytest.mark.parametrize("moment_s", [0.0, 0.6])
@pytest.mark.parametrize("left_out", [None, "box", "crop", "group"])
def test_the_same_crops_get_the_same_labels_as_one_by_one(line, reviewed, left_out, moment_s):
    found, decided = reviewed
    some = looked_at_last(line, found, [one for one in decided if one.task != left_out])
    params = dataset_params()
    params = replace(params, labels=replace(params.labels, moment_s=moment_s))
    resolved = resolve(found, standing(some), line.holdout, params)
    labelling = label_the_rest(found, resolved, line.holdout, params)
    accepted = labelling.accepted
    assert accepted.labels() == slow_labels(found, resolved, line.holdout, params, labelling)
    assert accepted.sizes.total() == len(accepted)
    wanted = ["none", *found.embedded["box_id"].to_pylist()[::3]]
    assert accepted.of(wanted) == {one: accepted.labels()[one] for one in wanted if one in accepted.labels()}


def test_the_crops_of_the_line_have_neighbours_that_move_their_certainty(line, reviewed):
    found, decided = reviewed
    params = dataset_params()
    resolved = resolve(found, standing(decided), line.holdout, params)
    labellings = [
        label_the_rest(found, resolved, line.holdout, replace(params, labels=replace(params.labels, moment_s=moment_s)))
        for moment_s in (0.0, 0.6)
    ]
    alone, together = (labelling.matches.certainty for labelling in labellings)
    assert (alone != together).mean() > 0.5


@pytest.mark.parametrize("at_once", [1, 7, 50])
def test_so_many_at_once_change_no_label(line, reviewed, monkeypatch, at_once):
    found, decided = reviewed
    resolved = resolve(found, standing(decided), line.holdout, dataset_params())
    whole = label_the_rest(found, resolved, line.holdout, dataset_params())
    monkeypatch.setattr(matching, "ROWS_AT_ONCE", at_once)
    parts = label_the_rest(found, resolved, line.holdout, dataset_params())
    assert parts.accepted.labels() == whole.accepted.labels()
    np.testing.assert_allclose(parts.matches.certainty, whole.matches.certainty, atol=1e-5)
