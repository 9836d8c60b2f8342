"""Small starts of the extractors: their clips, and that each family learns from them and opens as it was saved."""

import numpy as np
import pytest
import torch
from torch import nn

from lineact import files
from lineact.errors import ConfigError
from lineact.temporal.features.extractors import EMBEDDED, I3D_FLOW, open_embedded
from lineact.temporal.starts import build
from lineact.temporal.starts.clips import ATTRIBUTES, FRAMES, MOTIONS, SIDE_PX, clip_corpus, render_clip
from lineact.temporal.starts.training import Taught, _flow_of, places_of_points
from tests.training_sets import fit_params

SMALL = fit_params(epochs=2, patience=2, stop_on="epochs", batch_size=16, lr=2e-3, warmup_epochs=0.2)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def cached(cache, monkeypatch):
    """Clips are drawn once for all tests of this module."""
    monkeypatch.setattr(files, "CACHE", cache)


def test_clips_show_what_their_attributes_say():
    generator = np.random.default_rng(0)
    moved: dict[str, list[float]] = {}
    for _ in range(40):
        pictures, attributes = render_clip(generator)
        assert pictures.shape == (FRAMES, SIDE_PX, SIDE_PX, 3)
        assert all(0 <= value < count for value, count in zip(attributes, ATTRIBUTES.values(), strict=True))
        change = np.abs(pictures[1:].astype(int) - pictures[:-1]).mean(axis=(0, 3))
        moved.setdefault(MOTIONS[attributes[0]], []).append(np.quantile(change, 0.99) - np.median(change))
    means = {motion: np.mean(each) for motion, each in moved.items()}
    print(means)
    assert means["none"] < min(means[motion] for motion in ("circle", "slide", "come") if motion in means)


def test_clips_come_from_the_cache_as_they_were_drawn():
    first = clip_corpus(64, 5, 2)
    again = clip_corpus(64, 5, 2)
    assert len(first) == 64
    assert np.array_equal(first.pictures(np.array([3, 50])), again.pictures(np.array([3, 50])))
    assert np.array_equal(first.attributes, again.attributes)
    assert not np.array_equal(first.attributes, clip_corpus(64, 6, 2).attributes)


@pytest.mark.parametrize("name", EMBEDDED)
def test_a_family_s_start_learns_and_opens_as_it_was_saved(name, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(build, "CHANNELS", (4, 4, 8, 8))
    monkeypatch.setattr(build, "I3D_SHRINK", 16)
    monkeypatch.setattr(build, "VIDEOMAE", build.VIDEOMAE | {"patch_size": 16, "num_hidden_layers": 1})
    build.build_start(name, tmp_path / name, SMALL, clips=64, held_out=64)
    losses = [
        float(line.split("train loss ")[1].split(",")[0])
        for line in capsys.readouterr().out.splitlines()
        if "train loss" in line
    ]
    assert losses[-1] < losses[0]
    network = open_embedded(name, tmp_path / name)
    clips = clip_corpus(64, 5, 2).pictures(np.arange(2))
    rows = network(_flow_of(clips) if name == I3D_FLOW else clips)
    assert rows.dtype == np.float32
    assert np.isfinite(rows).all()
    assert not np.array_equal(rows[0], rows[1])
    card = (tmp_path / name / "README.md").read_text()
    assert "| place | 0." in card
    assert "| motion | 0." in card
    assert "128 clips in training" in card


@pytest.mark.parametrize(("height", "width"), [(3, 4), (4, 4), (8, 8), (7, 13)])
def test_every_point_of_a_map_lies_in_one_place_and_each_place_has_points(height, width):
    held = places_of_points(height, width)
    assert (held.sum(dim=0) == 1).all()
    assert (held.sum(dim=1) > 0).all()
    corners = held.nonzero()[:, 0].reshape(-1)  # places in their order
    assert corners.min() == 0
    assert held[0, 0]
    assert held[-1, -1]


def test_where_the_hand_is_can_be_learnt_of_its_place_alone():
    """A network whose map shows the hand as it is: what is told of the right place comes of that place."""

    class Shows(nn.Module):
        def maps(self, clips: torch.Tensor) -> torch.Tensor:
            return clips

    torch.manual_seed(0)
    taught = Taught(Shows(), 2)
    with torch.no_grad():
        taught.place.weight.copy_(torch.tensor([[8.0, -8.0]]))
        taught.nowhere.fill_(-8.0)
    clips = torch.zeros(2, 2, 1, 3, 4)
    clips[:, 1] = 1.0  # nothing there
    clips[0, :, 0, 1, 2] = torch.tensor([1.0, 0.0])
    clips[1, :, 0, 2, 0] = torch.tensor([1.0, 0.0])
    told = taught(clips)
    assert told.places.argmax(dim=1).tolist() == [1 * 4 + 2, 2 * 4]
    asked = taught(clips, torch.tensor([6, 8]))
    for free, given in zip(told.kinds, asked.kinds, strict=True):
        torch.testing.assert_close(free, given, atol=1e-4, rtol=1e-4)
    elsewhere = taught(clips, torch.tensor([0, 0]))
    assert not torch.allclose(elsewhere.kinds[0], asked.kinds[0], atol=1e-2)


def test_other_names_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"only=videomae_base: expected one of r2plus1d_18"):
        build.build_start("videomae_base", tmp_path)
