"""Detection: rules, storing of shards, settings, and the Grounding DINO backends on small random weights."""

import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from lineact.detect import DetectParams, count_metrics, detect_boxes
from lineact.detect.backend import Detections, Recording
from lineact.detect.filters import RULES, FilterParams, clipped, drop_by_rules, drop_over_time
from lineact.detect.grounding_dino import GroundingDino, GroundingDinoParams
from lineact.detect.groundingdino_py import GroundingDinoPyParams
from lineact.detect.motion import MotionParams
from lineact.detect.pictures import write_pictures
from lineact.detect.prompt import prompt_text
from lineact.errors import ConfigError, InputError
from lineact.files import sha256_of_file
from lineact.ingest import IngestParams
from lineact.schema import BOXES, FRAMES, table_of
from lineact.settings import from_mapping
from lineact.video import read_frames
from tasks.detect import detect
from tasks.ingest import ingest
from tests.generated_videos import passing_hand, scene, with_arm, write_video
from tests.tiny_grounding_dino import write_hub_model

ROOT = Path(__file__).parents[2]
FILTERS = FilterParams(
    hand_words=(),
    region=(0.0, 0.0, 1.0, 1.0),
    box_threshold=0.2,
    min_area_share=0.01,
    max_area_share=0.5,
    max_aspect=3.0,
    max_inside=0.9,
    nms_iou=0.5,
    max_hands=2,
    rest_s=0.0,
    flicker_s=0.0,
    flicker_reach=1.5,
)
MOTION = MotionParams(
    width_px=320,
    background_s=3.0,
    background_fps=2.0,
    differs_by=14.0,
    shadow_chroma=0.03,
    shadow_depth=0.55,
    rest_colour_ratio=1.0,
    hand_length_share=0.15,
    min_area_share=0.0026,
)
PARAMS = DetectParams(backend="motion", shard_frames=4, filters=FILTERS, contact_sheet_frames=6, motion=MOTION)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def found_boxes(*boxes_and_scores: tuple[tuple[float, float, float, float], float]) -> Detections:
    boxes = np.array([box for box, _ in boxes_and_scores], np.float32).reshape(-1, 4)
    scores = np.array([score for _, score in boxes_and_scores], np.float32)
    return Detections(boxes, scores, ("hand",) * len(boxes))


A, B, C = (10, 10, 30, 30), (60, 10, 80, 30), (10, 60, 30, 80)


@pytest.mark.parametrize(
    ("found", "change", "dropped"),
    [
        pytest.param([(A, 0.9)], {}, [None], id="stays"),
        pytest.param([(A, 0.19), (B, 0.21)], {}, ["box_threshold", None], id="score"),
        pytest.param([((0, 0, 9, 9), 0.9), ((0, 0, 90, 90), 0.9)], {}, ["size", "size"], id="small and large"),
        pytest.param([((10, 10, 10, 30), 0.9)], {"min_area_share": 0.0}, ["size"], id="nothing is left of it"),
        pytest.param([((0, 0, 60, 15), 0.9), ((0, 0, 15, 60), 0.9)], {}, ["aspect", "aspect"], id="long"),
        pytest.param([(A, 0.8), ((11, 11, 31, 31), 0.9)], {}, ["nms", None], id="overlap: the higher score stays"),
        pytest.param(
            [(A, 0.8), ((11, 11, 31, 31), 0.9)], {"nms_iou": 0.9, "max_inside": 1.0}, [None, None], id="allowed"
        ),
        pytest.param([(A, 0.5), (B, 0.9), (C, 0.7)], {}, ["max_hands", None, None], id="too many"),
        pytest.param([(A, 0.9), ((12, 12, 22, 28), 0.8)], {}, [None, "nested"], id="a part of a hand"),
        pytest.param([(A, 0.8), ((12, 12, 22, 28), 0.9)], {}, ["nested", None], id="a hand with much around it"),
        pytest.param([(A, 0.9), ((12, 12, 22, 28), 0.8)], {"max_inside": 1.0}, [None, None], id="nested allowed"),
        pytest.param([(A, 0.9), (B, 0.8), ((8, 8, 82, 40), 0.7)], {}, [None, None, "group"], id="two hands as one"),
        pytest.param(
            [(A, 0.6), (B, 0.5), ((8, 8, 82, 40), 0.7)], {}, ["nested", "nested", None], id="the better group stays"
        ),
        pytest.param([(A, 0.9), (B, 0.9)], {"region": (0.5, 0.0, 1.0, 1.0)}, ["region", None], id="outside"),
        pytest.param(
            [((11, 11, 31, 31), 0.9), (A, 0.8), (B, 0.7)],
            {"region": (0.0, 0.0, 0.205, 1.0)},
            ["region", None, "region"],
            id="a dropped box drops no other",
        ),
        pytest.param([], {}, [], id="none"),
    ],
)
def test_rules(found, change, dropped):
    assert drop_by_rules(found_boxes(*found), (100, 100), replace(FILTERS, **change)) == dropped


def test_overlapping_boxes_of_different_phrases_are_one_hand():
    found = replace(found_boxes((A, 0.8), ((11, 11, 31, 31), 0.9), (B, 0.7)), phrases=("hand", "glove", "glove"))
    assert drop_by_rules(found, (100, 100), FILTERS) == ["nms", None, None]


def test_boxes_end_at_the_border():
    boxes = clipped(found_boxes(((-5, -5, 20, 20), 0.5), ((90, 90, 130, 120), 0.5)), (100, 110)).boxes_xyxy_px
    assert boxes.tolist() == [[0, 0, 20, 20], [90, 90, 100, 110]]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("region", (0.5, 0.0, 0.5, 1.0)),
        ("box_threshold", 1.1),
        ("max_area_share", 0.005),
        ("max_aspect", 0.5),
        ("nms_iou", -0.1),
        ("max_inside", 1.5),
        ("max_hands", 0),
        ("flicker_s", -1.0),
        ("rest_s", -1.0),
        ("flicker_reach", 0.0),
        ("hand_words", (" ",)),
    ],
)
def test_rules_out_of_range(name, value):
    with pytest.raises(ValueError, match=name):
        replace(FILTERS, **{name: value})


def test_exactly_the_chosen_backends_section_is_there():
    with pytest.raises(ValueError, match="expected exactly the section 'motion'"):
        replace(PARAMS, motion=None)
    with pytest.raises(ValueError, match=r"\['motion', 'grounding_dino'\]"):
        replace(PARAMS, grounding_dino=DINO)


DINO = GroundingDinoParams(
    weights="somebody/unknown",
    revision="main",
    precision="float32",
    engine="torch",
    prompt=("Hand",),
    text_threshold=0.2,
    score_floor=0.0,
    batch_size=2,
)


def test_a_threshold_under_the_floor_is_refused():
    params = replace(PARAMS, backend="grounding_dino", motion=None, grounding_dino=DINO)
    with pytest.raises(ValueError, match="under score_floor"):
        replace(params, grounding_dino=replace(DINO, score_floor=0.3))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt", []),
        ("prompt", [" "]),
        ("prompt", ["hand.glove"]),
        ("prompt", ["hand", "a b c " * 100]),
        ("text_threshold", 1.5),
        ("score_floor", -0.1),
        ("batch_size", 0),
    ],
)
@pytest.mark.parametrize(
    ("settings_class", "own"),
    [
        (GroundingDinoParams, {"weights": "x", "revision": "main", "precision": "float32", "engine": "torch"}),
        (GroundingDinoPyParams, {"config": "x.py", "checkpoint": "x.pth", "text_encoder": "x"}),
    ],
)
def test_settings_of_a_prompt_out_of_range(settings_class, own, name, value):
    good = own | {"prompt": ["hand"], "text_threshold": 0.2, "score_floor": 0.1, "batch_size": 1}
    assert from_mapping(settings_class, good, "here").answer_settings["prompt"] == ("hand",)
    with pytest.raises(ConfigError, match=name):
        from_mapping(settings_class, good | {name: value}, "here")


@pytest.mark.parametrize("name", ["precision", "engine"])
def test_settings_of_grounding_dino_that_do_not_exist(name):
    settings = {
        "prompt": ["hand"], "text_threshold": 0.2, "score_floor": 0.1, "batch_size": 1,
        "weights": "x", "revision": "main", "precision": "auto", "engine": "auto",
    }  # fmt: skip
    assert from_mapping(GroundingDinoParams, settings, "here").engine == "auto"
    with pytest.raises(ConfigError, match=name):
        from_mapping(GroundingDinoParams, settings | {name: "onnx"}, "here")


def test_the_embedded_weights_are_told_where_they_lie():
    asked = replace(PARAMS, backend="grounding_dino", motion=None, grounding_dino=replace(DINO, weights="embedded"))
    located = asked.with_embedded(Path("models/x")).grounding_dino
    assert located == replace(DINO, weights="models/x")
    other = replace(asked, grounding_dino=DINO)
    assert other.with_embedded(Path("models/x")) == other
    assert PARAMS.with_embedded(Path("models/x")) == PARAMS


def test_the_text_of_a_prompt():
    assert prompt_text(("Hand ", "blue glove")) == "hand. blue glove."


class CountingBackend:
    """Finds one box per frame, whose x is the frame's number; may be killed after some frames."""

    key: dict[str, object] = {"backend": "counting"}  # noqa: RUF012

    def __init__(self, *, killed_after: int | None = None) -> None:
        self.asked: list[float] = []
        self.killed_after = killed_after

    def detect(self, recording: Recording, pts_s: Sequence[float]) -> Iterator[Detections]:
        del recording
        for time_s in pts_s:
            if len(self.asked) == self.killed_after:
                raise KeyboardInterrupt
            self.asked.append(time_s)
            x = round(time_s * 10)
            yield found_boxes(((x, 0, x + 60, 60), 0.3 + 0.01 * x))


@pytest.fixture
def line(tmp_path):
    """Raw folder of one recording of 20 frames, and its frame table, of which every second frame is kept."""
    path = write_video(tmp_path / "raw" / "a.mp4", [with_arm(scene(), (40 + 6 * index, 90)) for index in range(20)])
    sha256 = sha256_of_file(path)
    rows = [
        {
            "video_sha256": sha256,
            "pts_s": frame.pts_s,
            "index": frame.index,
            "width_px": 320,
            "height_px": 180,
            "sharpness": 1.0,
            "motion": 0.1,
            "kept": frame.index % 2 == 0,
            "reason": "kept" if frame.index % 2 == 0 else "sampled_out",
        }
        for frame in read_frames(path)
    ]
    return tmp_path / "raw", table_of(rows, FRAMES)


def test_one_row_per_box_with_the_rule_that_dropped_it(line):
    raw, frames = line
    boxes = detect_boxes(raw, frames, replace(PARAMS, filters=replace(FILTERS, box_threshold=0.4)), CountingBackend())
    assert boxes.schema.equals(BOXES)
    assert boxes["x1"].to_pylist() == list(range(0, 20, 2))
    assert boxes["dropped_by"].to_pylist() == ["box_threshold"] * 5 + [None] * 5
    assert len(set(boxes["box_id"].to_pylist())) == 10
    metrics = count_metrics(frames, boxes)
    assert (metrics["frames"], metrics["frames_empty"], metrics["boxes_kept"]) == (10, 5, 5)
    assert metrics["boxes_dropped_box_threshold"] == 5
    assert sum(metrics[f"boxes_dropped_{rule}"] or 0 for rule in RULES) == 5


def test_changing_a_rule_runs_no_model(line):
    raw, frames = line
    first, second = CountingBackend(), CountingBackend()
    ids = detect_boxes(raw, frames, PARAMS, first)["box_id"]
    again = detect_boxes(raw, frames, replace(PARAMS, filters=replace(FILTERS, max_hands=1, nms_iou=0.1)), second)
    assert len(first.asked) == 10
    assert second.asked == []
    assert again["box_id"].equals(ids)


def test_a_killed_run_loses_only_the_shard_in_flight(line):
    raw, frames = line
    with pytest.raises(KeyboardInterrupt):
        detect_boxes(raw, frames, PARAMS, CountingBackend(killed_after=7))
    rest = CountingBackend()
    boxes = detect_boxes(raw, frames, PARAMS, rest)
    assert [round(time_s * 10) for time_s in rest.asked] == [8, 10, 12, 14, 16, 18]
    assert boxes["x1"].to_pylist() == list(range(0, 20, 2))


KILLED = """
import os, pickle, signal, sys
from pathlib import Path
import numpy as np
from lineact.detect import detect_boxes
from lineact.detect.backend import Detections

class Killed:
    key = {"backend": "counting"}
    def detect(self, recording, pts_s):
        for time_s in pts_s:
            if round(time_s * 10) == 14:
                os.kill(os.getpid(), signal.SIGKILL)
            x = round(time_s * 10)
            yield Detections(np.array([(x, 0, x + 60, 60)], np.float32), np.array([0.3], np.float32), ("hand",))

frames, params = pickle.loads(Path(sys.argv[2]).read_bytes())
detect_boxes(Path(sys.argv[1]), frames, params, Killed())
"""


def test_kill_9_loses_only_the_shard_in_flight(line, tmp_path):
    raw, frames = line
    (tmp_path / "asked").write_bytes(pickle.dumps((frames, PARAMS)))
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    killed = subprocess.run([sys.executable, "-c", KILLED, raw, tmp_path / "asked"], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    rest = CountingBackend()
    boxes = detect_boxes(raw, frames, PARAMS, rest)
    assert [round(time_s * 10) for time_s in rest.asked] == [8, 10, 12, 14, 16, 18]
    assert boxes["x1"].to_pylist() == list(range(0, 20, 2))


def test_a_missing_recording_is_an_error(line, tmp_path):
    _, frames = line
    write_video(tmp_path / "other" / "b.mp4", [scene(1)] * 3)
    with pytest.raises(InputError, match="dvc repro ingest"):
        detect_boxes(tmp_path / "other", frames, PARAMS, CountingBackend())


def test_the_contact_sheet_shows_boxes(line, tmp_path):
    import cv2

    raw, frames = line
    boxes = detect_boxes(raw, frames, replace(PARAMS, filters=replace(FILTERS, box_threshold=0.4)), CountingBackend())
    write_pictures(tmp_path, raw, frames, boxes, 6)
    sheet = np.asarray(cv2.imread(str(tmp_path / "contact_sheet.png")))[..., ::-1].astype(int)
    assert sheet.shape == (360, 1280, 3)
    assert (np.abs(sheet - (40, 220, 60)).sum(-1) < 30).sum() > 100  # kept, green
    assert (np.abs(sheet - (230, 60, 50)).sum(-1) < 30).sum() > 50  # dropped, red


@pytest.mark.parametrize(("box_threshold", "rows", "crops"), [(0.4, 1, 5), (0.2, 1, 0)])
def test_each_rule_shows_what_it_dropped(line, tmp_path, box_threshold, rows, crops):
    import cv2

    raw, frames = line
    params = replace(PARAMS, filters=replace(FILTERS, box_threshold=box_threshold))
    write_pictures(tmp_path, raw, frames, detect_boxes(raw, frames, params, CountingBackend()), 6)
    picture = np.asarray(cv2.imread(str(tmp_path / "dropped.png")))
    assert picture.shape == (rows * 112, 160 + 8 * 112, 3)
    tiles = picture[:, 160:].reshape(112, 8, 112, 3)
    assert [bool(tiles[:, index].any()) for index in range(8)] == [True] * crops + [False] * (8 - crops)


def test_rules_have_a_row_of_examples_each(line, tmp_path):
    import cv2

    raw, frames = line
    filters = replace(FILTERS, box_threshold=0.34, region=(0.0, 0.0, 0.125, 1.0))
    boxes = detect_boxes(raw, frames, replace(PARAMS, filters=filters), CountingBackend())
    assert set(boxes["dropped_by"].to_pylist()) - {None} == {"box_threshold", "region"}
    write_pictures(tmp_path, raw, frames, boxes, 6)
    picture = np.asarray(cv2.imread(str(tmp_path / "dropped.png")))
    assert picture.shape == (2 * 112, 160 + 8 * 112, 3)
    counts = count_metrics(frames, boxes)
    for row, rule in enumerate(rule for rule in RULES if counts[f"boxes_dropped_{rule}"]):
        assert picture[row * 112 : (row + 1) * 112, :160].any(), f"the name of {rule}"
        tiles = picture[row * 112 : (row + 1) * 112, 160:].reshape(112, 8, 112, 3)
        assert sum(bool(tiles[:, index].any()) for index in range(8)) == counts[f"boxes_dropped_{rule}"]


@pytest.mark.parametrize(
    ("phrases", "hand_words", "dropped"),
    [
        pytest.param(("hand", "blue glove", "screwdriver"), ("hand", "glove"), [None, None, "phrase"], id="synonyms"),
        pytest.param(("hand", "blue glove", "screwdriver"), (), [None, None, None], id="whatever was asked for"),
        pytest.param(("handle", "Hand", "a gloved hand"), ("hand",), ["phrase", None, None], id="whole words"),
        pytest.param(("hand.", "glove . hand .", "."), ("hand",), [None, None, "phrase"], id="full stops"),
    ],
)
def test_phrases_that_mean_a_hand(phrases, hand_words, dropped):
    found = found_boxes((A, 0.9), (B, 0.8), (C, 0.7))
    params = replace(FILTERS, hand_words=hand_words, max_hands=3)
    assert drop_by_rules(replace(found, phrases=phrases), (100, 100), params) == dropped


def rested(*frames, rest_s=1.0):
    """Verdicts over frames of (time, boxes), all of them kept by the other rules."""
    boxes = [np.array(of_frame, np.float32).reshape(-1, 4) for _, of_frame in frames]
    params = replace(FILTERS, rest_s=rest_s)
    return drop_over_time([time_s for time_s, _ in frames], boxes, [[None] * len(one) for one in boxes], params)


NEXT_TO_A = tuple(value + 2.0 for value in A)


@pytest.mark.parametrize(
    ("frames", "dropped"),
    [
        pytest.param([(0.0, [A]), (0.5, [A]), (1.0, [NEXT_TO_A])], [["resting"]] * 3, id="in its place"),
        pytest.param([(0.0, [A]), (0.5, [A]), (0.9, [A])], [[None]] * 3, id="too short"),
        pytest.param([(0.0, [A]), (0.5, [B]), (1.0, [A, B])], [["resting"], [None], ["resting", None]], id="hidden"),
        pytest.param(
            [(0.0, [A]), (0.4, []), (0.5, [B]), (0.6, []), (1.0, [A])],
            [[None], [], [None], [], [None]],
            id="gone for too many frames",
        ),
        pytest.param([(0.0, [A])], [[None]], id="a single frame"),
        pytest.param([], [], id="none"),
    ],
)
def test_what_stays_in_its_place_rests(frames, dropped):
    assert rested(*frames) == dropped
    assert rested(*frames, rest_s=0.0) == [[None] * len(boxes) for _, boxes in frames]


def test_a_dropped_box_does_not_rest():
    boxes = [np.array([A], np.float32)] * 3
    verdicts = drop_over_time([0.0, 0.5, 1.0], boxes, [["size"], [None], [None]], replace(FILTERS, rest_s=1.0))
    assert verdicts == [["size"], [None], [None]]


def flickered(*frames, flicker_s=0.4):
    """Verdicts over frames of (time, boxes with scores), all of them kept by the other rules."""
    boxes = [found_boxes(*((box, 0.9) for box in of_frame)).boxes_xyxy_px for _, of_frame in frames]
    params = replace(FILTERS, flicker_s=flicker_s, flicker_reach=1.0)
    return drop_over_time([time_s for time_s, _ in frames], boxes, [[None] * len(one) for one in boxes], params)


@pytest.mark.parametrize(
    ("frames", "dropped"),
    [
        pytest.param([(0.0, [A]), (0.3, [A]), (0.6, [])], [[None], [None], []], id="confirmed by one side"),
        pytest.param([(0.0, []), (0.3, [A]), (0.6, [])], [[], ["flicker"], []], id="alone"),
        pytest.param([(0.0, [A]), (0.3, [B]), (0.6, [A])], [["flicker"], ["flicker"], ["flicker"]], id="too far"),
        pytest.param([(0.0, []), (0.5, [A]), (1.0, [])], [[], [None], []], id="no frame near enough to tell"),
        pytest.param([(0.0, [A])], [[None]], id="a single frame"),
        pytest.param([], [], id="none"),
    ],
)
def test_what_no_neighbouring_frame_confirms_flickers(frames, dropped):
    assert flickered(*frames) == dropped
    assert flickered(*frames, flicker_s=0.0) == [[None] * len(boxes) for _, boxes in frames]


def test_a_resting_box_confirms_nothing():
    boxes = [np.array(of_frame, np.float32) for of_frame in ([A], [A, NEXT_TO_A], [A])]
    params = replace(FILTERS, rest_s=1.0, flicker_s=0.5)
    verdicts = drop_over_time([0.0, 0.5, 1.0], boxes, [[None], ["size", None], [None]], params)
    assert verdicts == [["resting"], ["size", "resting"], ["resting"]]
    moving = tuple(value + 6.0 for value in A)  # near, but not in the same place
    boxes[1] = np.array([A, moving], np.float32)
    verdicts = drop_over_time([0.0, 0.5, 1.0], boxes, [[None], [None, None], [None]], params)
    assert verdicts == [["resting"], ["resting", "flicker"], ["resting"]]


def test_a_dropped_box_confirms_nothing():
    boxes = [found_boxes((A, 0.9)).boxes_xyxy_px] * 2
    params = replace(FILTERS, flicker_s=1.0)
    assert drop_over_time([0.0, 0.3], boxes, [["size"], [None]], params) == [["size"], ["flicker"]]


@pytest.fixture(scope="module")
def hub_model(tmp_path_factory) -> Path:
    return write_hub_model(tmp_path_factory.mktemp("grounding_dino"))


def images(count: int, size_hw: tuple[int, int] = (48, 64)) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (*size_hw, 3), dtype=np.uint8) for _ in range(count)]


def test_grounding_dino_encodes_its_prompt_once(hub_model):
    backend = GroundingDino(replace(DINO, weights=str(hub_model)))
    batch = backend.detect_images(images(3))
    alone = [backend.detect_images([image])[0] for image in images(3)]
    _, model = backend._loaded
    assert model.model.text_backbone.forward_count == 1
    for together, single in zip(batch, alone, strict=True):
        assert len(together.boxes_xyxy_px) == 10
        np.testing.assert_allclose(together.boxes_xyxy_px, single.boxes_xyxy_px, atol=1e-2)
        np.testing.assert_allclose(together.scores, single.scores, atol=1e-4)


def test_grounding_dino_answers_as_the_plain_model_does(hub_model):
    import torch
    from transformers import AutoProcessor, GroundingDinoForObjectDetection

    image = images(1)[0]
    found = GroundingDino(replace(DINO, weights=str(hub_model))).detect_images([image])[0]
    processor = AutoProcessor.from_pretrained(hub_model)
    model = GroundingDinoForObjectDetection.from_pretrained(hub_model).eval()
    inputs = processor(images=image, text="hand.", return_tensors="pt")
    with torch.no_grad():
        output = model(**inputs)
    expected = processor.post_process_grounded_object_detection(
        output, inputs["input_ids"], threshold=0.0, text_threshold=0.2, target_sizes=[(48, 64)]
    )[0]
    np.testing.assert_allclose(found.boxes_xyxy_px, expected["boxes"].numpy(), atol=1e-3)
    np.testing.assert_allclose(found.scores, expected["scores"].numpy(), atol=1e-5)
    assert list(found.phrases) == expected["text_labels"]


def test_bfloat16_is_near_and_has_shards_of_its_own(hub_model, monkeypatch):
    plain = GroundingDino(replace(DINO, weights=str(hub_model)))
    monkeypatch.setattr("lineact.detect.grounding_dino._computes_in_bfloat16", lambda: True)
    lower = GroundingDino(replace(DINO, weights=str(hub_model), precision="auto"))
    assert lower.key == plain.key | {"precision": "bfloat16"}
    assert GroundingDino(replace(DINO, weights=str(hub_model))).key == plain.key
    exact, near = (backend.queries(images(1))[0].token_probabilities for backend in (plain, lower))
    assert near.dtype == exact.dtype == np.float32
    assert 0 < np.abs(exact - near).max() < 0.05
    monkeypatch.setattr("lineact.detect.grounding_dino._computes_in_bfloat16", lambda: False)
    assert GroundingDino(replace(DINO, weights=str(hub_model), precision="auto")).key == plain.key


def test_grounding_dino_stores_nothing_under_its_floor(hub_model):
    everything = GroundingDino(replace(DINO, weights=str(hub_model))).detect_images(images(1))[0]
    floor = float(np.median(everything.scores))
    some = GroundingDino(replace(DINO, weights=str(hub_model), score_floor=floor)).detect_images(images(1))[0]
    assert len(some.scores) == (everything.scores > floor).sum() > 0


def test_an_image_without_any_box_has_no_phrase_either(hub_model):
    (nothing,) = GroundingDino(replace(DINO, weights=str(hub_model), score_floor=1.0)).detect_images(images(1))
    assert nothing.boxes_xyxy_px.shape == (0, 4)
    assert len(nothing.scores) == len(nothing.phrases) == 0


def test_grounding_dino_labels_a_recording(hub_model, line):
    raw, frames = line
    dino = replace(DINO, weights=str(hub_model))
    params = replace(PARAMS, backend="grounding_dino", motion=None, grounding_dino=dino)
    params = replace(params, filters=replace(FILTERS, box_threshold=0.0, min_area_share=0.0, max_area_share=1.0))
    boxes = detect_boxes(raw, frames, params, GroundingDino(dino))
    assert boxes.num_rows == 100
    assert set(boxes["source"].to_pylist()) == {"grounding_dino"}
    assert max(boxes["x2"].to_pylist()) <= 320
    # Stored: neither another batch size nor another rule asks the model again, another prompt does.
    assert GroundingDino(replace(dino, batch_size=1)).key == GroundingDino(dino).key
    assert GroundingDino(replace(dino, prompt=("glove",))).key != GroundingDino(dino).key


def test_a_prompt_that_is_too_long_is_an_error(hub_model):
    with pytest.raises(InputError, match="at most 16 tokens"):
        GroundingDino(replace(DINO, weights=str(hub_model), prompt=("hand",) * 20)).detect_images(images(1))


@pytest.mark.parametrize("size_wh", [(2, 1), (15, 180), (320, 15)])
def test_an_image_smaller_than_a_patch_is_refused_before_the_model_is_loaded(hub_model, size_wh, monkeypatch):
    monkeypatch.setattr(GroundingDino, "_loaded", None)
    small = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    found = rf"images of at least 16 x 16 pixels, found {size_wh[0]} x {size_wh[1]}; leave it out, or"
    with pytest.raises(InputError, match=found):
        GroundingDino(replace(DINO, weights=str(hub_model))).detect_images([*images(1), small])


@pytest.mark.parametrize("size_wh", [(24, 16), (16, 320)])
def test_an_image_of_one_patch_is_answered(hub_model, size_wh):
    image = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    found = GroundingDino(replace(DINO, weights=str(hub_model))).detect_images([image])[0]
    assert len(found.scores) == 10
    assert np.isfinite(found.boxes_xyxy_px).all()


def test_missing_weights_without_network_name_both_ways_out(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"somebody/unknown(.|\n)*local folder(.|\n)*detector: motion"):
        GroundingDino(DINO)


def test_a_folder_without_weights_is_an_error(hub_model, tmp_path):
    import shutil

    folder = tmp_path / "half"
    shutil.copytree(hub_model, folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match="detector: motion"):
        GroundingDino(replace(DINO, weights=str(folder))).detect_images(images(1))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        pytest.param({"model_type": "detr"}, "weights of a grounding-dino, found 'detr'", id="architecture"),
        pytest.param({"model_type": None}, "weights of a grounding-dino, found None", id="none named"),
        pytest.param({"d_model": 64}, "expected the weights that its config.json describes", id="size"),
        pytest.param({"decoder_layers": 3}, "are missing, the first is .*decoder", id="depth"),
    ],
)
def test_weights_of_another_architecture_are_refused(hub_model, tmp_path, change, found):
    import shutil

    folder = tmp_path / "other"
    shutil.copytree(hub_model, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(InputError, match=found):
        GroundingDino(replace(DINO, weights=str(folder))).detect_images(images(1))


def test_the_stage_writes_all_its_files_and_the_same_again(tmp_path):
    pictures, _ = passing_hand(seconds=8.0)
    write_video(tmp_path / "raw" / "a.mp4", pictures)
    settings = yaml.safe_load((ROOT / "conf" / "config.yaml").read_text())
    ingest(from_mapping(IngestParams, settings["ingest"], "config.yaml"), raw=tmp_path / "raw", out=tmp_path / "ingest")
    for out in ("first", "second"):
        detect(PARAMS, raw=tmp_path / "raw", ingest=tmp_path / "ingest", tiny=tmp_path, out=tmp_path / out)
    names = sorted(path.relative_to(tmp_path / "first").as_posix() for path in (tmp_path / "first").rglob("*.*"))
    assert names == ["boxes.parquet", "metrics.json", "plots/contact_sheet.png", "plots/dropped.png"]
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
    metrics = json.loads((tmp_path / "first" / "metrics.json").read_text())
    assert metrics["frames_with_boxes"] > 0
    assert metrics["frames_empty"] > 0


@pytest.mark.parametrize("detector", sorted(path.stem for path in (ROOT / "conf" / "detector").glob("*.yaml")))
def test_the_shipped_settings_are_valid(detector):
    settings = yaml.safe_load((ROOT / "conf" / "config.yaml").read_text())["detect"]
    chosen = yaml.safe_load((ROOT / "conf" / "detector" / f"{detector}.yaml").read_text())
    settings |= chosen | {"filters": settings["filters"] | chosen.get("filters", {})}
    assert from_mapping(DetectParams, settings, "conf").backend == detector.removesuffix("_tiny")


def test_settings_import_nothing_heavy():
    heavy = "{'torch', 'transformers', 'cv2', 'av', 'scipy', 'groundingdino'}"
    code = f"import sys, lineact.detect, lineact.ingest; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
