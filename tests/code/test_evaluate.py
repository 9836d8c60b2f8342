"""Evaluation against truth tables: what counts as found, as right, as missed, and what is undefined."""

import dataclasses
import json
import math

import av
import numpy as np
import pyarrow.parquet as pq
import pytest

from lineact.errors import InputError
from lineact.evaluate import ChampionParams, EvaluateParams
from lineact.evaluate.champion import gains
from lineact.evaluate.looking import look
from lineact.evaluate.scoring import all_labels, score
from lineact.evaluate.truth import TruthFrame, truth_frames
from lineact.files import sha256_of_file, sha256_of_tree
from lineact.schema import HOLDOUT_BOXES, PREDICTIONS, read_table, table_of, write_table
from tests.released_pair import INPUT_WH, LABELS, export_pair, smooth_noise

PARAMS = EvaluateParams(
    champion=None,
    match_iou=0.4,
    min_score=0.01,
    block_s=1.0,
    resamples=200,
    level=0.95,
    seed=0,
)
IMAGE = np.zeros((100, 100, 3), np.uint8)
A, B, FAR = (0, 0, 20, 20), (50, 50, 80, 80), (80, 0, 95, 15)
HALF_A = (0, 0, 20, 7)  # IoU 0.35 with A: found at 0.3, missed at 0.4


class Scripted:
    """A recogniser that finds and names what it is told."""

    labels = LABELS
    score_threshold = 0.5
    lags_s = (0.0,)

    def __init__(self, boxes=(), actions=(), scores=None, named=None):
        self.boxes_xyxy_px = np.array(boxes, np.float32).reshape(-1, 4)
        self.scores = np.array(scores if scores is not None else [0.9] * len(boxes), np.float32)
        self.named = dict(zip(boxes, actions, strict=True)) | (named or {})

    def detect(self, image_rgb, min_score=None):  # noqa: ARG002
        kept = self.scores >= (self.score_threshold if min_score is None else min_score)
        return self.boxes_xyxy_px[kept], self.scores[kept]

    def crops(self, image_rgb, boxes_xyxy_px, earlier_rgb=()):  # noqa: ARG002
        return boxes_xyxy_px

    def classify(self, crops_rgb):
        rows = [LABELS.index(self.named.get(tuple(int(value) for value in box), "NG")) for box in crops_rgb]
        return np.eye(len(LABELS))[rows].reshape(-1, len(LABELS))


def truth(boxes=(), actions=(), pts_s=0.0):
    return TruthFrame("a" * 64, pts_s, np.array(boxes, float).reshape(-1, 4), tuple(actions))


def scored(recogniser, *frames):
    return score([look(recogniser, frame, IMAGE, PARAMS.match_iou, PARAMS.min_score) for frame in frames], LABELS)


CASES: dict[str, tuple[Scripted, list[TruthFrame], dict[str, float | None]]] = {
    "all right": (
        Scripted([A, B], ["screw", "wipe"]),
        [truth([A, B], ["screw", "wipe"])],
        {
            "detection_recall_iou40": 1, "detection_accuracy_iou40": 1, "detection_map50": 1, "action_accuracy": 1,
            "detection_map50_95": 1,
            "action_macro_f1": 1, "missed_hands": 0, "majority_accuracy": 0.5, "ng_recall": None,
            "action_accuracy_misses_wrong": 1,
        },
    ),
    "no predictions": (
        Scripted(),
        [truth([A, B], ["screw", "NG"])],
        {
            "detection_recall_iou40": 0, "detection_accuracy_iou40": None, "detection_precision_iou40": None,
            "detection_map50": 0, "detection_map50_95": 0,
            "action_accuracy": None, "action_macro_f1": None, "ng_recall": None,
            "majority_accuracy": None, "missed_hands": 2, "truth_box_action_accuracy": 0.5, "truth_box_ng_recall": 1,
            "action_accuracy_misses_wrong": 0,
        },
    ),
    "no truth": (
        Scripted([A], ["screw"]),
        [truth(), truth(pts_s=1)],
        {
            "detection_recall_iou40": None, "detection_accuracy_iou40": 0, "detection_map50": None,
            "detection_map50_95": None, "action_accuracy": None, "truth_box_action_accuracy": None, "empty_frames": 2,
            "false_boxes_on_empty_frames": 2, "action_accuracy_misses_wrong": None, "truth_hands": 0,
        },
    ),
    "found, named wrong": (
        Scripted([A, B], ["wipe", "wipe"]),
        [truth([A, B], ["screw", "wipe"])],
        {"detection_recall_iou40": 1, "action_accuracy": 0.5, "action_accuracy_misses_wrong": 0.5},
    ),
    "one missed, the other right": (
        Scripted([A], ["screw"], named={B: "screw"}),
        [truth([A, B], ["screw", "wipe"])],
        {
            "detection_recall_iou40": 0.5, "detection_accuracy_iou40": 1, "action_accuracy": 1, "missed_hands": 1,
            "truth_box_action_accuracy": 0.5, "action_accuracy_misses_wrong": 0.5,
        },
    ),
    "overlap between the two thresholds": (
        Scripted([HALF_A], ["screw"]),
        [truth([A], ["screw"])],
        {"detection_recall_iou30": 1, "detection_recall_iou40": 0, "detection_accuracy_iou30": 1, "actions": 0},
    ),
    "duplicates are right, but not one to one": (
        Scripted([A, (0, 0, 20, 19)], ["screw", "wipe"]),
        [truth([A], ["screw"])],
        {"detection_accuracy_iou40": 1, "detection_precision_iou40": 0.5, "action_accuracy": 1, "matched_hands": 1},
    ),
    "a weak box counts for mAP alone": (
        Scripted([A], ["screw"], scores=[0.2]),
        [truth([A], ["screw"])],
        {"detection_recall_iou40": 0, "detection_map50": 1, "predicted_hands": 0, "missed_hands": 1},
    ),
    "a hand without a decided action": (
        Scripted([A, B], ["screw", "wipe"]),
        [truth([A, B], ["screw", None])],
        {"detection_recall_iou40": 1, "actions": 1, "action_accuracy": 1, "action_accuracy_misses_wrong": 1},
    ),
    "boxes of one frame do not answer for another": (
        Scripted([A], ["screw"]),
        [truth([A], ["screw"]), truth([FAR], ["screw"], pts_s=1)],
        {"detection_recall_iou40": 0.5, "detection_accuracy_iou40": 0.5},
    ),
    "NG": (
        Scripted([A, B, FAR], ["NG", "screw", "screw"]),
        [truth([A, B, FAR], ["NG", "NG", "screw"])],
        {"ng_recall": 0.5, "action_accuracy": 2 / 3, "majority_accuracy": 2 / 3},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_scores_by_hand(case):
    recogniser, frames, expected = CASES[case]
    found = scored(recogniser, *frames)
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert all(value is None or math.isfinite(value) for value in found.values())


def results_of(recogniser, frames):
    return [look(recogniser, frame, IMAGE, PARAMS.match_iou, PARAMS.min_score) for frame in frames]


def test_champion_and_challenger_alike_gain_nothing():
    frames = [truth([A, B], ["screw", "wipe"], pts_s=time / 2) for time in range(8)]
    results = results_of(Scripted([A], ["wipe"]), frames)
    found = gains(PARAMS, results, results)
    for name in ("action", "recall"):
        assert [found[f"{name}_gain_{end}"] for end in ("low", "mean", "high")] == [0, 0, 0]
        assert found[f"{name}_gain_blocks"] == 4


def test_a_better_challenger_gains_and_the_other_way_round():
    frames = [truth([A, B], ["screw", "wipe"], pts_s=float(time)) for time in range(12)]
    better = results_of(Scripted([A, B], ["screw", "wipe"]), frames)
    worse = [
        look(Scripted([A], ["screw" if index % 3 else "wipe"]), frame, IMAGE, PARAMS.match_iou, PARAMS.min_score)
        for index, frame in enumerate(frames)
    ]
    found, turned = gains(PARAMS, better, worse), gains(PARAMS, worse, better)
    assert found["recall_gain_mean"] == pytest.approx(0.5)
    assert found["action_gain_mean"] == pytest.approx(1 - 8 / 24)
    low, mean, high = (found[f"action_gain_{end}"] or 0 for end in ("low", "mean", "high"))
    assert 0 < low < mean < high
    assert (turned["action_gain_high"] or 0) < 0
    assert gains(PARAMS, better, worse) == found


def test_more_false_boxes_are_a_loss_whatever_recall_says():
    frames = [truth([A], ["screw"], pts_s=float(time)) for time in range(12)]
    clean = results_of(Scripted([A], ["screw"]), frames)
    noisy = results_of(Scripted([A, FAR], ["screw", "screw"]), frames)
    found = gains(PARAMS, noisy, clean)
    assert found["recall_gain_low"] == 0
    assert found["false_boxes_gain_high"] == -1
    assert gains(PARAMS, clean, noisy)["false_boxes_gain_low"] == 1


def test_a_hand_without_a_decided_action_has_no_part_in_the_action_gain():
    frames = [truth([A, B], [None, "wipe"], pts_s=float(time)) for time in range(4)]
    ours, theirs = results_of(Scripted([B], ["wipe"]), frames), results_of(Scripted([A], ["screw"]), frames)
    found = gains(PARAMS, ours, theirs)
    assert found["action_gain_mean"] == 1
    assert found["recall_gain_mean"] == 0


def test_gains_are_undefined_without_hands():
    results = results_of(Scripted(), [truth()])
    found = gains(PARAMS, results, results)
    assert {value for name, value in found.items() if not name.startswith("false_boxes")} == {None}
    assert found["false_boxes_gain_low"] == 0  # an empty frame can hold a false box


def test_actions_that_the_pair_does_not_know_are_wrong_and_named():
    frames = [truth([A], ["weld"])]
    labels = all_labels(Scripted(), frames)
    assert labels == ("weld", *LABELS)
    found = score(results_of(Scripted([A], ["screw"]), frames), labels)
    assert found["action_accuracy"] == 0


def test_truth_without_a_row_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"holdout.parquet: expected decisions on held-out frames, found none"):
        truth_frames(HOLDOUT_BOXES.empty_table(), tmp_path / "holdout.parquet")


# the stage on files


@pytest.fixture(scope="module")
def exports(released, tmp_path_factory):
    return [released / "export", export_pair(tmp_path_factory.mktemp("other"), seed=1)]


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    """raw/ with one recording, and its held-out truth: hands, and a frame checked as empty."""
    folder = tmp_path_factory.mktemp("line")
    (folder / "raw").mkdir()
    write_video(folder / "raw/rec.mp4")
    frame = {"video_sha256": sha256_of_file(folder / "raw/rec.mp4"), "decided_by": "person"}
    box = {"x1": 20.0, "y1": 20.0, "x2": 60.0, "y2": 50.0}
    rows = [frame | box | {"pts_s": time / 10, "action": LABELS[time % 3]} for time in range(0, 20, 2)]
    write_table(table_of([*rows, frame | {"pts_s": 2.5}], HOLDOUT_BOXES), folder / "holdout.parquet", HOLDOUT_BOXES)
    return folder


def write_video(path, frames=30):
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = INPUT_WH[0] * 2, INPUT_WH[1] * 2, "yuv420p"
        for _ in range(frames):
            image = av.VideoFrame.from_ndarray(smooth_noise(rng, (INPUT_WH[1] * 2, INPUT_WH[0] * 2)), format="rgb24")
            container.mux(stream.encode(image))
        container.mux(stream.encode())


def run_stage_on(line, export, out, params=PARAMS):
    from tasks.evaluate import evaluate

    evaluate(params, raw=line / "raw", holdout=line / "holdout.parquet", export=export, out=out)
    return json.loads((out / "metrics.json").read_text())


def test_the_stage_writes_metrics_predictions_and_plots(line, exports, tmp_path):
    metrics = run_stage_on(line, exports[0], tmp_path / "out")
    assert (metrics["frames"], metrics["empty_frames"], metrics["truth_hands"]) == (11, 1, 10)
    predictions = read_table(tmp_path / "out/predictions.parquet", PREDICTIONS).to_pylist()
    assert sum(row["score"] is not None for row in predictions) == metrics["predicted_hands"] > 0
    assert sum(row["truth_x1"] is not None for row in predictions) == metrics["truth_hands"]
    plots = {path.name for path in (tmp_path / "out/plots").iterdir()}
    views = {
        f"{name}.{kind}"
        for name in ("confusion", "confusion_truth_boxes", "precision_recall")
        for kind in ("csv", "png")
    }
    assert plots == views
    assert not any(name.startswith("champion") or "gain" in name for name in metrics)


def pin(monkeypatch, folder, bundle):
    """Puts a bundle where flows.pin would, and returns the settings that name it."""
    import shutil

    monkeypatch.chdir(folder)
    found = sha256_of_tree(bundle)
    shutil.copytree(bundle, folder / ".lineact/champions" / found)
    return dataclasses.replace(PARAMS, champion=ChampionParams("3", found))


def test_the_champion_itself_gains_nothing(line, exports, tmp_path, monkeypatch):
    params = pin(monkeypatch, tmp_path, exports[0] / "bundle")
    metrics = run_stage_on(line, exports[0], tmp_path / "out", params)
    for name in ("action", "recall"):
        assert [metrics[f"{name}_gain_{end}"] for end in ("low", "mean", "high")] == [0, 0, 0]
    for name, value in metrics.items():
        if name.startswith("champion_"):
            assert metrics[name.removeprefix("champion_")] == value
    models = set(pq.read_table(tmp_path / "out/predictions.parquet")["model"].to_pylist())
    assert models == {"challenger", "champion"}


def test_another_champion_is_scored_as_itself(line, exports, tmp_path, monkeypatch):
    params = pin(monkeypatch, tmp_path, exports[1] / "bundle")
    both = run_stage_on(line, exports[0], tmp_path / "both", params)
    alone = run_stage_on(line, exports[1], tmp_path / "alone")
    assert {name: both[f"champion_{name}"] for name in alone} == alone


def test_a_champion_that_is_not_there_says_how_to_fetch_it(line, exports, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    params = dataclasses.replace(PARAMS, champion=ChampionParams("3", "f" * 64))
    with pytest.raises(InputError, match=r"champion version 3, found nothing; `python -m flows.pin line="):
        run_stage_on(line, exports[0], tmp_path / "out", params)


def test_a_champion_with_other_bytes_is_refused(line, exports, tmp_path, monkeypatch):
    params = pin(monkeypatch, tmp_path, exports[0] / "bundle")
    folder = tmp_path / ".lineact/champions" / params.champion.bundle_sha256
    (folder / "extra.txt").write_text("x")
    with pytest.raises(InputError, match=r"expected a bundle with this hash, found"):
        run_stage_on(line, exports[0], tmp_path / "out", params)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"video_sha256": "b" * 64}, r"expected the recording with SHA-256 bbbbbbbbbbbb"),
        ({"pts_s": 99.0}, r"rec.mp4: expected a frame at 99.000000 s"),
        ({"pts_s": 0.05}, r"rec.mp4: expected a frame at 0.050000 s"),
    ],
)
def test_truth_about_what_is_not_there_is_refused(line, exports, tmp_path, change, says):
    rows = read_table(line / "holdout.parquet", HOLDOUT_BOXES).to_pylist()
    rows[-1] |= change
    write_table(table_of(rows, HOLDOUT_BOXES), tmp_path / "holdout.parquet", HOLDOUT_BOXES)
    (tmp_path / "raw").symlink_to(line / "raw")
    with pytest.raises(InputError, match=says):
        run_stage_on(tmp_path, exports[0], tmp_path / "out")


@pytest.mark.parametrize("change", [{"match_iou": 0.0}, {"min_score": 1.0}, {"level": 1.0}, {"block_s": 0.0}])
def test_settings_out_of_range_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        dataclasses.replace(PARAMS, **change)
