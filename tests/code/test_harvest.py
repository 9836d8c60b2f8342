"""A harvest: what a station kept is asked in the next queue, and what a person decides of it trains."""

import contextlib
import weakref
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import yaml

from flows import harvest as flow
from lineact import harvest
from lineact.dataset.labels import label_crops, resolve
from lineact.dataset.parts import frames_for_detector
from lineact.decisions import Decision, standing
from lineact.detect import detect_boxes
from lineact.embed import embed_boxes
from lineact.errors import ConfigError, InputError
from lineact.feedback import SUFFIX, Kept, KeptCrop, content_of, crop_of
from lineact.harvest import choose, write_harvest
from lineact.ingest import IngestParams, ingest_videos
from lineact.match import match_crops
from lineact.queue import HARVESTED, Labelled, build_queue
from lineact.schema import HARVEST_FOLDER, is_harvested
from lineact.splits import Holdout, harvests_of, of_harvests
from lineact.video import read_frames
from tests.labelled_line import (
    COLOURS,
    HELD_OUT,
    Line,
    colour_encoder,
    dataset_params,
    embed_params,
    match_params,
    queue_params,
    section_of,
)

CONTEXT, CROP_PX = 1.5, 32
SIEVE = IngestParams(
    label_fps=5.0,
    changed_by=12.0,
    min_motion=0.002,
    still_after_s=0.5,
    still_every_s=3.0,
    min_sharpness_share=0.25,
    duplicate_share=0.001,
    duplicate_memory=8,
    max_bad_share=0.2,
)
START_S = 1_750_000_000.0


def kept_crop(number, action="screw", confidence=0.4, side_px=CROP_PX, **changes):
    """A hand of its action's colour on a bench, as the generated line's; a little different for each number."""
    rng = np.random.default_rng(number)
    crop = rng.integers(100, 140, (side_px, side_px, 3)).astype(np.uint8)
    margin = round(side_px * (1 - 1 / CONTEXT) / 2)
    crop[margin:-margin, margin:-margin] = COLOURS[action]
    kept = Kept("press_a", "top", START_S + 7.25 * number, action, confidence, "0123456789ab", CONTEXT)
    return KeptCrop(replace(kept, **changes), crop)


def keep(folder: Path, *crops: KeptCrop) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, crop in enumerate(crops):
        (folder / f"{number:03d}{SUFFIX}").write_bytes(content_of(crop))
    return folder


def chosen(folder, raw, most=10):
    return choose([folder], raw, "press_a", CONTEXT, CROP_PX, most)


def test_a_harvest_is_video_without_loss_at_the_times_of_its_crops(tmp_path):
    crops = [kept_crop(0), kept_crop(3), kept_crop(4, utc_s=START_S + 7.25 * 3), kept_crop(500)]
    path = write_harvest(crops, tmp_path)
    frames = list(read_frames(path))
    assert [round(frame.pts_s, 3) for frame in frames] == [0.0, 21.75, 21.751, 3625.0]
    for frame, crop in zip(frames, crops, strict=True):
        np.testing.assert_array_equal(frame.image_rgb, crop.crop_rgb)
    assert write_harvest(crops, tmp_path / "again").read_bytes() == path.read_bytes()


def test_the_least_sure_come_first_and_none_comes_twice(tmp_path):
    crops = [kept_crop(number, confidence=0.5 - number / 100) for number in range(6)]
    folder, raw = keep(tmp_path / "feedback", *crops, crops[2]), tmp_path / "raw"
    found = chosen(folder, raw, most=4)
    assert [crop.kept.confidence for crop in found.taken] == [0.48, 0.47, 0.46, 0.45]
    assert (found.known, found.too_many, found.problems) == (1, 2, [])
    write_harvest(found.taken, raw)
    rest = chosen(folder, raw)
    assert [crop.kept.confidence for crop in rest.taken] == [0.5, 0.49]
    write_harvest(rest.taken, raw)
    assert chosen(folder, raw).taken == []


def test_no_more_crops_are_held_than_are_taken(tmp_path, monkeypatch):
    crops = [kept_crop(number, confidence=(0.5, 0.3, 0.4)[number % 3]) for number in range(60)]
    folder = keep(tmp_path / "feedback", *crops)
    pictures: list[weakref.ref] = []
    held: list[int] = []

    def counted(content: bytes, where: str) -> KeptCrop:
        held.append(sum(picture() is not None for picture in pictures))
        crop = crop_of(content, where)
        pictures.append(weakref.ref(crop.crop_rgb))
        return crop

    monkeypatch.setattr(harvest, "crop_of", counted)
    found = chosen(folder, tmp_path / "raw", most=7)
    assert [crop.kept for crop in found.taken] == [crop.kept for crop in crops[1:20:3]]
    assert (len(held), found.too_many) == (60, 53)
    assert max(held) <= 7 + 1  # and the one that is looked at


@pytest.mark.parametrize(
    ("crop", "words"),
    [
        (kept_crop(1, line="press_b"), "expected a crop of line press_a, found one of press_b"),
        (kept_crop(1, crop_context=2.0), r"expected a crop with context 1.5 \(embed.context\), found 2"),
    ],
)
def test_crops_of_another_line_or_cut_are_left_out_and_named(tmp_path, crop, words):
    folder = keep(tmp_path / "feedback", kept_crop(0), crop)
    (folder / f"torn{SUFFIX}").write_bytes(b"torn")
    found = chosen(folder, tmp_path / "raw")
    assert len(found.taken) == 1
    assert len(found.problems) == 2
    with pytest.raises(InputError, match=words):
        raise InputError(found.problems[0])


def test_crops_of_another_size_are_scaled(tmp_path):
    found = chosen(keep(tmp_path / "feedback", kept_crop(0, side_px=48)), tmp_path / "raw")
    assert found.taken[0].crop_rgb.shape == (CROP_PX, CROP_PX, 3)


class NoDetector:
    """A backend that must not be asked."""

    key: dict[str, object] = {"name": "none"}  # noqa: RUF012 - as the protocol has it

    def detect(self, recording: Any, pts_s: Any) -> Any:
        raise AssertionError(f"asked for {recording.path} at {pts_s}")


@pytest.fixture
def labelled(tmp_path, monkeypatch):
    """A line with a harvest of four crops, from raw to queue: by the stages' own functions."""
    monkeypatch.chdir(tmp_path)
    line = Line(tmp_path / "line")
    crops = [kept_crop(number, action) for number, action in enumerate(("screw", "wipe", "screw", "NG"))]
    write_harvest(crops, line.raw)
    ingested = ingest_videos(line.raw, SIEVE)
    harvests = harvests_of(ingested.videos)
    assert len(harvests) == 1
    of_them = pa.compute.is_in(ingested.frames["video_sha256"], pa.array(sorted(harvests)))
    frames = ingested.frames.filter(of_them)
    assert frames["kept"].to_pylist() == [True] * 4
    no_settings: Any = None  # no rule is asked
    boxes = detect_boxes(line.raw, frames, no_settings, NoDetector())
    of_videos = pa.compute.is_in(ingested.videos["video_sha256"], pa.array(sorted(harvests)))
    line.videos = pa.concat_tables([line.videos, ingested.videos.filter(of_videos)])
    line.frames = pa.concat_tables([line.frames, frames])
    line.boxes = pa.concat_tables([line.boxes, boxes])
    line.holdout = Holdout(HELD_OUT, line.videos)
    embedded = embed_boxes(line.raw, line.boxes, embed_params(), colour_encoder())
    trains = line.holdout.mask(embedded.crops, "train") & ~of_harvests(line.videos, embedded.crops)
    matched = match_crops(embedded.crops["box_id"].to_pylist(), embedded.embeddings, trains, match_params())
    tables = (line.frames, line.boxes, embedded.crops, matched.crops, matched.templates)
    queue = build_queue(Labelled(*tables, harvests), line.holdout, queue_params())
    return SimpleNamespace(line=line, embedded=embedded, matched=matched, queue=queue, crops=crops, harvests=harvests)


def asked_of(labelled):
    return [row for row in labelled.queue.to_pylist() if row["reason"] == HARVESTED]


def test_every_harvested_crop_is_asked_as_it_was_kept(labelled):
    from lineact.png import decode_png

    asked = asked_of(labelled)
    assert [row["task"] for row in asked] == ["crop"] * 4
    shown = {row["box_id"]: decode_png(row["crop_png"]) for row in labelled.embedded.crops.to_pylist()}
    for row, crop in zip(sorted(asked, key=lambda row: row["pts_s"]), labelled.crops, strict=True):
        np.testing.assert_array_equal(shown[row["item_id"]], crop.crop_rgb)
    others = [row for row in labelled.queue.to_pylist() if row["reason"] != HARVESTED]
    assert not [row for row in others if row["video_sha256"] in labelled.harvests]
    templates = set(labelled.matched.templates["box_id"].to_pylist())
    assert not templates & {row["item_id"] for row in asked}


def test_a_decided_crop_trains_and_its_frame_is_no_picture_for_the_detector(labelled):
    asked = sorted(asked_of(labelled), key=lambda row: row["pts_s"])
    decisions = [
        Decision(row["item_id"], "crop", "", label, "ann", "2026-01-01T00:00:00Z", 2.0, row["basis"])
        for row, label in zip(asked[:3], ("screw", "wipe", "NG"), strict=True)
    ]
    line = labelled.line
    found = line.found(labelled.embedded, labelled.matched, labelled.queue)
    params = dataset_params()
    resolved = resolve(found, standing(decisions), line.holdout, params)
    assert not resolved.problems
    labels = {crop.box_id: (crop.action, crop.decided_by) for crop in label_crops(found, resolved, line.holdout, {})}
    assert labels == {row["item_id"]: (one.decided, "person") for row, one in zip(asked, decisions, strict=False)}
    frames = frames_for_detector(found, resolved, line.holdout, found.boxes["box_id"].to_pylist(), 1000)
    assert frames
    assert not [one for one in frames if one.frame[0] in labelled.harvests]


def test_a_harvest_measures_nothing_and_does_not_count_as_a_recording():
    videos = pa.table(
        {
            "video_sha256": ["a", "b"],
            "name": ["rec.mp4", f"{HARVEST_FOLDER}/harvest-1.mkv"],
            "start_s": [0.0, 0.0],
            "duration_s": [9.0, 9.0],
        }
    )
    last = Holdout(replace(HELD_OUT, recordings=(), last_share=0.5), videos)
    assert last.part_of("a", 8.0) == "holdout"
    assert last.part_of("b", 8.0) == "train"
    with pytest.raises(ConfigError, match="holds out every recording"):
        Holdout(replace(HELD_OUT, recordings=("rec",)), videos)
    assert not is_harvested("harvest.mp4")
    assert not is_harvested("cell/harvest/rec.mp4")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A line's folder as the flow finds it; `dvc add` writes its pointer and nothing else."""
    monkeypatch.chdir(tmp_path)
    sections = {"embed": section_of(embed_params()), "dataset": section_of(dataset_params())}
    Path("params.yaml").write_text(yaml.safe_dump({"lines": {"press_a": sections}}))
    (tmp_path / "data/press_a/raw").mkdir(parents=True)

    def dvc_add(command, **_):
        Path(f"{command[-1]}.dvc").write_text("outs: []\n")
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr(flow, "subprocess", SimpleNamespace(run=dvc_add))
    monkeypatch.setattr(flow, "refuse_without_recordings", lambda _: None)
    monkeypatch.setattr(flow, "only_run_of", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(flow, "lists_of_lines", lambda _: {"simulated_lines": ["demo"]})
    return tmp_path


def test_the_command_adds_a_recording_under_dvc_and_says_what_it_took(project, monkeypatch, capsys):
    keep(project / ".lineact/live/press_a/feedback", kept_crop(0), kept_crop(1), kept_crop(2, line="press_b"))
    for words in ("2 crops harvested for line press_a; 1 files left out", "0 crops harvested for line press_a; 2 were"):
        monkeypatch.setattr("sys.argv", ["harvest", "line=press_a", "from="])
        flow.main()
        assert capsys.readouterr().out.startswith(words)
    assert len(list((project / "data/press_a/raw/harvest").iterdir())) == 1
    assert (project / "data/press_a/raw.dvc").is_file()


def test_what_cannot_be_harvested_is_said(project, monkeypatch):
    folder = project / "feedback"
    with pytest.raises(InputError, match="feedback: expected a folder of kept crops, found nothing; name it"):
        flow.harvest("press_a", [folder], 9)
    keep(folder, kept_crop(0, line="press_b"))
    with pytest.raises(InputError, match=r"1 files and none can be used, the first: .* found one of press_b"):
        flow.harvest("press_a", [folder], 9)
    with pytest.raises(ConfigError, match="line demo: expected a line of real recordings, found a simulated one"):
        flow.harvest("demo", [folder], 9)
    monkeypatch.setattr("sys.argv", ["harvest", "line=press_a", "most=none"])
    with pytest.raises(ConfigError, match="most=none: expected how many crops are taken"):
        flow.main()
    keep(folder, kept_crop(0))
    failed = SimpleNamespace(returncode=1, stderr="no space")
    monkeypatch.setattr(flow, "subprocess", SimpleNamespace(run=lambda *_, **__: failed))
    with pytest.raises(InputError, match="`dvc add` failed: no space"):
        flow.harvest("press_a", [folder], 9)
    assert not list((project / "data/press_a/raw/harvest").iterdir())


def test_crops_of_a_station_that_runs_may_go_or_be_half_there(tmp_path, monkeypatch):
    folder = keep(tmp_path / "kept", kept_crop(0), kept_crop(1))
    (folder / f".tmp-host-1-0.002{SUFFIX}").write_bytes(b"half")
    read_bytes = Path.read_bytes

    def gone(path: Path) -> bytes:
        if path.name.startswith("000"):
            path.unlink()
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", gone)
    found = chosen(folder, tmp_path / "raw")
    assert [crop.kept for crop in found.taken] == [kept_crop(1).kept]
    assert found.problems == []
