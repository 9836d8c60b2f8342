import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lineact.errors import InputError
from lineact.schema import LABELLED_CROPS, read_table, write_table
from lineact.training.crops import class_weights, epoch_order, load_splits
from lineact.training.loop import Task, TrainingDivergedError, Validation, best_epoch, fit, has_stopped, learning_rate
from lineact.training.state import EpochRecord, load_weights
from tests.training_sets import LABELS, SIDE_PX, fit_params, write_crops


def regression(nan_from_epoch=None, killed_in_epoch=None, scores=None):
    """A model with dropout (random within a step) and a task of 5 batches an epoch."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.Dropout(0.3), torch.nn.BatchNorm1d(8))
    model.append(torch.nn.Linear(8, 1))
    now = {"epoch": 0}

    def batches(epoch):
        now["epoch"] = epoch
        generator = torch.Generator().manual_seed(epoch)
        for index in range(5):
            if epoch == killed_in_epoch and index == 3:
                raise KeyboardInterrupt
            yield [torch.randn(6, 3, generator=generator)]

    def batch_loss(batch):
        loss = (model(batch) - batch.sum(dim=1, keepdim=True)).square().mean()
        return loss * float("nan") if now["epoch"] == nan_from_epoch else loss

    def validate():
        value = (scores or [0.5] * 99)[now["epoch"]]
        return Validation(loss=1 - value, accuracy=value, macro_f1=value)

    return model, Task(batch_loss, batches, 5, validate)


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def assert_same(a, b):
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("killed_in_epoch", [0, 1, 3])
def test_interrupted_and_resumed_gives_the_same_weights(tmp_path, killed_in_epoch):
    params = fit_params(epochs=5, patience=9, weight_decay=0.1)
    whole, task = regression()
    history = fit(whole, task, params, seed=7, folder=tmp_path / "whole", keep={"best": 5})

    model, task = regression(killed_in_epoch=killed_in_epoch)
    with pytest.raises(KeyboardInterrupt):
        fit(model, task, params, seed=7, folder=tmp_path / "killed", keep={"best": 5})
    model, task = regression()  # a new process knows nothing
    resumed = fit(model, task, params, seed=7, folder=tmp_path / "killed", keep={"best": 5})

    assert_same(weights(whole), weights(model))
    assert [record.train_loss for record in history] == [record.train_loss for record in resumed]
    assert (tmp_path / "whole/best.safetensors").read_bytes() == (tmp_path / "killed/best.safetensors").read_bytes()


def test_the_weights_depend_on_the_seed(tmp_path):
    results = []
    for seed in (1, 2):
        model, task = regression()
        fit(model, task, fit_params(epochs=2), seed=seed, folder=tmp_path / str(seed), keep={})
        results.append(weights(model))
    assert not torch.equal(results[0]["0.weight"], results[1]["0.weight"])


def test_a_finished_training_is_not_run_again(tmp_path):
    model, task = regression()
    fit(model, task, fit_params(epochs=2), seed=0, folder=tmp_path, keep={})
    again, broken = regression(killed_in_epoch=2)
    assert len(fit(again, broken, fit_params(epochs=2), seed=0, folder=tmp_path, keep={})) == 2
    assert_same(weights(model), weights(again))


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_epoch(tmp_path):
    model, task = regression(nan_from_epoch=2)
    with pytest.raises(TrainingDivergedError, match=r"epoch 3, batch 1.*nan.*lower fit.lr \(now 0.005\)"):
        fit(model, task, fit_params(), seed=0, folder=tmp_path, keep={"best": 6})
    kept, task = regression()
    load_weights(tmp_path / "best.safetensors", kept)
    assert all(torch.isfinite(value).all() for value in weights(kept).values())
    history = fit(kept, task, fit_params(epochs=2), seed=0, folder=tmp_path, keep={})
    assert len(history) == 2


def test_patience_and_the_best_of_the_first_epochs(tmp_path):
    scores = [0.2, 0.6, 0.3, 0.8, 0.7, 0.7, 0.7, 0.9]
    model, task = regression(scores=scores)
    params = fit_params(epochs=8, patience=3)
    history = fit(model, task, params, seed=0, folder=tmp_path, keep={"best": 8, "early": 3})
    assert len(history) == 7  # three epochs without a better one than the fourth: 0.9 is never seen
    assert best_epoch(history, params) == 4
    assert best_epoch(history[:3], params) == 2
    assert (tmp_path / "best.safetensors").read_bytes() != (tmp_path / "early.safetensors").read_bytes()
    assert has_stopped(history, params)
    assert not has_stopped(history[:6], params)


def test_all_epochs_are_run_and_the_last_is_taken_where_nothing_stops():
    history = [
        EpochRecord(number, 1.0, loss, 0.5, f1) for number, loss, f1 in ((1, 0.1, 0.9), (2, 0.5, 0.2), (3, 0.6, 0.1))
    ]
    params = fit_params(epochs=4, patience=1, stop_on="epochs")
    assert not has_stopped(history, params)
    assert best_epoch(history, params) == 3
    assert best_epoch(history[:2], params) == 2
    assert has_stopped([*history, EpochRecord(4, 1.0, 0.7, 0.5, 0.0)], params)


def test_equal_scores_are_told_apart_by_loss():
    records = [EpochRecord(n, 1.0, loss, 0.5, 0.5) for n, loss in ((1, 0.9), (2, 0.7), (3, 0.8))]
    assert best_epoch(records, fit_params()) == 2
    # Falling loss alone does not renew patience where the score is what counts.
    assert has_stopped(records, fit_params(patience=2))
    assert not has_stopped(records, fit_params(patience=2, stop_on="val_loss"))


@given(st.integers(1, 50), st.integers(0, 20))
def test_the_learning_rate_climbs_then_falls(steps, warmup_steps):
    params = fit_params(lr=1.0, final_lr_share=0.1)
    rates = [learning_rate(step, warmup_steps + steps, warmup_steps, params) for step in range(warmup_steps + steps)]
    assert max(rates) == pytest.approx(1.0)
    assert all(a <= b for a, b in itertools.pairwise(rates[:warmup_steps]))
    assert all(a >= b for a, b in itertools.pairwise(rates[warmup_steps:]))
    assert min(rates[warmup_steps:]) >= 0.1


@given(st.integers(1, 100), st.integers(1, 40), st.integers(0, 5))
def test_an_epoch_shows_every_crop_once(count, batch_size, epoch):
    rows = np.concatenate(list(epoch_order(count, batch_size, 0, epoch)))
    assert sorted(rows) == list(range(count))
    assert (rows == np.concatenate(list(epoch_order(count, batch_size, 0, epoch)))).all()


def test_epochs_differ():
    orders = {tuple(next(epoch_order(50, 50, 0, epoch))) for epoch in range(4)}
    assert len(orders) == 4


@given(st.lists(st.integers(0, 3), min_size=1, max_size=50))
def test_class_weights(classes):
    array = np.array(classes)
    counts = np.bincount(array, minlength=4)
    whole = class_weights(array, 4, 1.0)
    totals = (whole * counts)[counts > 0]
    assert totals == pytest.approx(totals[0])  # every class weighs the same
    assert (whole[counts == 0] == 0).all()
    assert class_weights(array, 4, 0.0)[counts > 0] == pytest.approx(1.0)
    assert whole[array].mean() == pytest.approx(1.0)


def test_crops_are_read_as_they_were_drawn(tmp_path):
    train, val = load_splits(write_crops(tmp_path / "crops.parquet"), LABELS, SIDE_PX, 0.5)
    assert (len(train), len(val)) == (72, 18)
    upright = train.images_rgb[train.classes == 0].astype(int)
    # An upright bar reaches from top to bottom in the middle columns.
    assert (upright[:, 5, 9:16].max(axis=(1, 2)) > 120).all()


def changed(path, name, values):
    table = read_table(path, LABELLED_CROPS)
    index = table.schema.get_field_index(name)
    write_table(table.set_column(index, table.schema.field(name), [values]), path, LABELLED_CROPS)


def test_a_leaking_split_is_refused(tmp_path):
    path = write_crops(tmp_path / "crops.parquet")
    changed(path, "video_sha256", ["one"] * 90)
    with pytest.raises(InputError, match=r"training and validation leak: box-\d+ .* 0\.4 s apart"):
        load_splits(path, LABELS, SIDE_PX, 0.5)
    load_splits(path, LABELS, SIDE_PX, 0.4 - 1e-6)
    changed(path, "pts_s", [3.0] * 90)
    with pytest.raises(InputError, match="leak"):
        load_splits(path, LABELS, SIDE_PX, 0.0)  # the very same frame leaks, whatever the gap


def test_bad_crops_are_named(tmp_path):
    path = write_crops(tmp_path / "crops.parquet")
    pngs = read_table(path, LABELLED_CROPS)["crop_png"].to_pylist()
    changed(path, "crop_png", [*pngs[:40], b"no image", *pngs[41:]])
    with pytest.raises(InputError, match="box box-40"):
        load_splits(path, LABELS, SIDE_PX, 0.5)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("action", "polish", "expected the actions screw, wipe, NG, found polish"),
        ("action", "wipe", "at least two classes"),
        ("split", "train", "expected validation crops, found none"),
        ("split", "val", "expected training crops, found none"),
    ],
)
def test_unusable_crops_are_refused(tmp_path, column, value, message):
    path = write_crops(tmp_path / "crops.parquet")
    changed(path, column, [value] * 90)
    with pytest.raises(InputError, match=message):
        load_splits(path, LABELS, SIDE_PX, 0.5)
