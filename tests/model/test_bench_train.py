"""What the bench of the training measures: the same crops both ways, each row a real training."""

from functools import partial
from pathlib import Path

import pytest

import flows.bench_train as bench
from flows.classifier_choices import classifier_of
from lineact.bench_train import (
    LABELS,
    STORED_PX,
    VALIDATION,
    Job,
    as_a_plain_loop,
    as_the_product,
    write_generated_crops,
)
from lineact.errors import ConfigError
from lineact.schema import LABELLED_CROPS, read_table
from lineact.training.crops import load_splits

ROOT = Path(__file__).parents[2]


@pytest.fixture
def job(tmp_path, monkeypatch) -> Job:
    monkeypatch.chdir(tmp_path)
    write_generated_crops(Path("crops.parquet"), 600)
    params = classifier_of(ROOT / "conf", "vit_s", overrides=["classifier.fit.batch_size=16"])
    return Job(Path("crops.parquet"), "vit_s", params, None, 50)  # one in 12: labels in turns would leave one class


def test_generated_crops_are_a_line_s_crops(job):
    table = read_table(job.path, LABELLED_CROPS)
    assert table["split"].to_pylist() == ["train"] * 600 + ["val"] * VALIDATION
    train, val = load_splits(job.path, LABELS, STORED_PX, 0.5)
    assert train.images_rgb.shape == (600, STORED_PX, STORED_PX, 3)
    assert len({image.tobytes() for image in train.images_rgb[:512]}) == 512
    assert len(val) == VALIDATION


@pytest.mark.slow
@pytest.mark.parametrize("way", [as_the_product, as_a_plain_loop])
def test_each_way_trains_and_is_measured(way, job, monkeypatch):
    run = way(job)
    assert min(run.ready_s, run.images_per_s, run.own_mb, run.peak_mb) > 0
    monkeypatch.setattr(bench, "measured", lambda how, _: how)
    monkeypatch.setattr(bench, "as_the_product", run)
    monkeypatch.setattr(bench, "as_a_plain_loop", run)
    rows = bench._rows(600, job)
    assert [row[:3] for row in rows] == [["600", "vit_s", "plain loop"], ["600", "vit_s", "lineact"]]
    assert rows[1][6] == "1.00"


def test_choices_that_need_more_than_labels_are_refused(monkeypatch):
    monkeypatch.setattr(bench, "CONF", ROOT / "conf")
    monkeypatch.setattr(bench, "TINY", ROOT / "nothing here")
    assert isinstance(bench._job("vit_s", 10), partial)
    for name in ("vit_s_distilled", "clip_zero_shot", "clip_finetuned"):
        with pytest.raises(ConfigError, match=f"found '{name}'"):
            bench._job(name, 10)
    assert not {"vit_s_distilled", "clip_zero_shot", "clip_finetuned"} & set(bench._trained_by_labels())
