"""Labelling and the plain loop find the same with the same weights; only the frames that are looked at differ."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from flows.bench_label import HEADINGS, ways_to_detect
from lineact.bench_label import labelled, plain_loop, recall_on, table_of_runs
from lineact.detect import DetectParams
from lineact.detect.filters import FilterParams
from lineact.detect.grounding_dino import GroundingDinoParams
from lineact.ingest import IngestParams
from lineact.settings import from_mapping
from tests.generated_videos import passing_hand, write_video
from tests.tiny_grounding_dino import write_hub_model

CONFIG = Path(__file__).parents[2] / "conf" / "config.yaml"


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def params(tmp_path_factory):
    """Settings of the stage `detect`, by torch."""
    filters = from_mapping(FilterParams, yaml.safe_load(CONFIG.read_text())["detect"]["filters"], str(CONFIG))
    dino = GroundingDinoParams(
        prompt=("hand",),
        text_threshold=0.0,
        score_floor=0.0,
        batch_size=4,
        weights=str(write_hub_model(tmp_path_factory.mktemp("bench") / "weights")),
        revision="main",
        precision="float32",
        engine="torch",
    )
    return DetectParams(
        backend="grounding_dino",
        shard_frames=8,
        filters=replace(filters, box_threshold=0.0, min_area_share=0.0, max_area_share=1.0, max_inside=1.0),
        contact_sheet_frames=4,
        grounding_dino=dino,
    )


@pytest.fixture(scope="module")
def runs(params, tmp_path_factory):
    pictures, _ = passing_hand(seconds=4.0)
    path = write_video(tmp_path_factory.mktemp("bench") / "a.mp4", pictures)
    ingest = from_mapping(IngestParams, yaml.safe_load(CONFIG.read_text())["ingest"], str(CONFIG))
    by_openvino = replace(params, grounding_dino=replace(params.grounding_dino, engine="auto"))
    return {
        "plain": plain_loop(path, 4.0, params),
        "every": labelled(path, 4.0, ingest, params, sifted=False),
        "sifted": labelled(path, 4.0, ingest, params, sifted=True),
        "openvino": labelled(path, 4.0, ingest, by_openvino, sifted=True),
    }


def test_all_ways_find_the_same_boxes(runs):
    assert runs["plain"].boxes_xyxy_px.keys() == runs["every"].boxes_xyxy_px.keys()
    assert runs["sifted"].boxes_xyxy_px.keys() < runs["every"].boxes_xyxy_px.keys()
    assert runs["openvino"].boxes_xyxy_px.keys() == runs["sifted"].boxes_xyxy_px.keys()
    for way in ("every", "sifted", "openvino"):
        for time_s, boxes in runs[way].boxes_xyxy_px.items():
            np.testing.assert_allclose(boxes, runs["plain"].boxes_xyxy_px[time_s], atol=0.05)


def test_openvino_is_measured_beside_torch_where_it_runs(params, monkeypatch):
    engines = {}
    for has_gpu in (False, True):
        monkeypatch.setattr("lineact.detect.grounding_dino._has_gpu", lambda has_gpu=has_gpu: has_gpu)
        ways = ways_to_detect(replace(params, grounding_dino=replace(params.grounding_dino, engine="auto")))
        engines[has_gpu] = [way.grounding_dino.engine for way in ways if way.grounding_dino is not None]
    assert engines == {False: ["torch", "auto"], True: ["torch"]}
    assert len(ways_to_detect(params)) == 1


def test_fewer_images_and_calls(runs):
    assert runs["plain"].calls == runs["plain"].images == 40
    assert (runs["every"].images, runs["every"].calls) == (40, 10)
    assert runs["sifted"].images < 20


@pytest.mark.skipif(torch.cuda.is_available(), reason="engine: auto takes the GPU")
def test_openvino_takes_picture_by_picture_and_says_so(runs):
    assert runs["openvino"].calls == runs["openvino"].images == runs["sifted"].images
    assert [runs[way].name for way in ("every", "sifted", "openvino")] == [
        "lineact, every frame", "lineact", "lineact, OpenVINO",
    ]  # fmt: skip


def test_recall_counts_hands_on_the_asked_frames(runs):
    run = replace(runs["plain"], boxes_xyxy_px={0.0: np.array([[0, 0, 10, 10.0]]), 0.1: np.zeros((0, 4))})
    truth = {0.0: np.array([[0, 0, 10, 11.0], [50, 50, 60, 60]]), 0.1: np.array([[0, 0, 10, 10.0]])}
    assert recall_on(run, truth, 0.4) == (1, 3)
    row = table_of_runs([run], [(1, 3)])[0]
    assert len(row) == len(HEADINGS)
    assert row[-1] == "0.333"
    assert table_of_runs([run], [(0, 0)])[0][-1] == "no hands"
    assert table_of_runs([run, replace(run, seconds=run.seconds / 5)], [(1, 3)] * 2)[1][4] == "5.0"
