"""Extractors: what they compute, which weights they take, how they read a video, and what they refuse."""

from collections import OrderedDict
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lineact import files
from lineact.errors import ConfigError, InputError
from lineact.files import sha256_of_file, write_json
from lineact.foundation.pickled import convert
from lineact.foundation.tiny import save_tensors
from lineact.process_memory import forget_memory_peak, memory_peak_mb
from lineact.temporal.features import ClipParams
from lineact.temporal.features import extractors as known
from lineact.temporal.features.extraction import NetworkExtractor, Region, extract_once
from lineact.temporal.features.extractors import FlowParams, NoWeightsError, open_embedded, open_extractor, open_network
from lineact.temporal.features.flow import MOST_PX, RAFT_LEAST_PX, as_bytes, dis_flow, raft_flow
from lineact.temporal.features.i3d import I3D
from lineact.temporal.features.imported import ImportedExtractor, read_imported
from lineact.temporal.features.network import ClipNetwork, Pixels
from lineact.temporal.features.video_resnet import KINDS, VideoResNet
from lineact.video import video_facts
from tests.generated_videos import scene, write_video

CLIPS = ClipParams(fps=10.0, stack=16, step=4)


def seen_frames(module=None, side_px=8, stack=None):
    """A network whose row is the mean brightness of a clip's first and last picture, and a list of batch sizes."""

    class Brightness(torch.nn.Module):
        sizes: list[int]

        def __init__(self):
            super().__init__()
            self.sizes = []

        def forward(self, clips):
            self.sizes.append(len(clips))
            means = clips.mean(dim=(1, 3, 4)) * 255
            return torch.stack([means[:, 0], means[:, -1]], dim=1)

    module = module or Brightness()
    return ClipNetwork("brightness", "v1", module, Pixels(side_px, (0.0,) * 3, (1.0,) * 3), stack, "cpu"), module


def grey_video(path, count=40):
    """Picture n is grey 5 n + 20."""
    return write_video(path, [np.full((64, 96, 3), 20 + 5 * n, np.uint8) for n in range(count)])


def test_clips_are_every_step_frames_whatever_the_batch(tmp_path):
    video = grey_video(tmp_path / "v.mp4")
    network, module = seen_frames()
    found = NetworkExtractor(network, None, 3).extract(video, "v", CLIPS)
    assert module.sizes == [3, 3, 1]
    assert np.allclose(found.features.times_s, (np.arange(7) * 4 + 7.5) / 10, atol=1e-3)
    starts = np.arange(7) * 4
    wanted = np.stack([20 + 5 * starts, 20 + 5 * (starts + 15)], axis=1)
    assert np.allclose(found.features.values, wanted, atol=3)
    assert found.features.values.dtype == np.float32
    assert found.features.duration_s == pytest.approx(4.0, abs=0.15)
    assert found.real_time_factor == pytest.approx(found.seconds / found.features.duration_s)
    assert found.peak_memory_mb > 10
    # Clips that are farther apart than they are long.
    apart = NetworkExtractor(network, None, 8).extract(video, "v", ClipParams(10.0, 4, 9)).features
    assert np.allclose(apart.values[:, 0], 20 + 5 * 9 * np.arange(5), atol=3)


def test_the_region_is_what_is_seen(tmp_path):
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[32:, 48:] = 200
    video = write_video(tmp_path / "v.mp4", [picture] * 20)
    network, _ = seen_frames()
    seen = NetworkExtractor(network, Region(0.5, 0.5, 1.0, 1.0), 4).extract(video, "v", CLIPS).features
    assert np.allclose(seen.values, 200, atol=3)
    with pytest.raises(ValueError, match=r"region: expected x1, y1, x2, y2.*found 0\.5, 0, 0\.5, 1"):
        Region(0.5, 0.0, 0.5, 1.0)
    assert Region(0.0, 0.0, 0.001, 0.001).cut(picture).shape == (1, 1, 3)


def test_memory_does_not_grow_with_the_video(tmp_path):
    network, _ = seen_frames(side_px=64)
    forget_memory_peak()
    block = np.ones((50, 10**6))
    high = memory_peak_mb()
    del block
    forget_memory_peak()
    if memory_peak_mb() > high - 200:
        pytest.skip("this system cannot forget a process's peak")
    short, long = (write_video(tmp_path / f"{count}.mp4", [scene()] * count) for count in (300, 1500))
    extractor = NetworkExtractor(network, None, 4)
    # What libraries keep from their first videos on is no part of it.
    peaks = [extractor.extract(video, "v", CLIPS).peak_memory_mb for video in (short, short, long)][1:]
    print(peaks)
    assert peaks[1] < peaks[0] + 60  # 1200 more pictures of 173 kB would be 207 MB


def test_a_video_is_extracted_once(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "CACHE", tmp_path / "cache")
    video = grey_video(tmp_path / "v.mp4")
    network, module = seen_frames()
    extractor = NetworkExtractor(network, None, 8)
    first = extract_once(extractor, video, "v", CLIPS)
    calls = len(module.sizes)
    again = extract_once(extractor, video, "renamed", CLIPS)
    assert len(module.sizes) == calls
    assert np.array_equal(again.features.values, first.features.values)
    assert (again.features.video, again.seconds, again.peak_memory_mb) == (
        "renamed",
        first.seconds,
        first.peak_memory_mb,
    )
    for changed in (
        replace(extractor, network=replace(network, identity="v2")),
        replace(extractor, region=Region(0.0, 0.0, 1.0, 0.5)),
    ):
        extract_once(changed, video, "v", CLIPS)
    extract_once(extractor, video, "v", ClipParams(10.0, 16, 8))
    assert len(module.sizes) == 4 * calls
    for cost in (tmp_path / "cache").rglob("cost.json"):
        cost.unlink()  # killed before it was done
    extract_once(extractor, video, "v", CLIPS)
    assert len(module.sizes) == 5 * calls


def test_a_length_that_is_not_declared_counts_the_last_frame_too(tmp_path, monkeypatch):
    video = grey_video(tmp_path / "rec_00.mp4")
    declared = video_facts(video)
    for module in ("extraction", "imported"):
        facts = replace(declared, duration_s=None)
        monkeypatch.setattr(f"lineact.temporal.features.{module}.video_facts", lambda _, facts=facts: facts)
    network, _ = seen_frames()
    found = NetworkExtractor(network, None, 8).extract(video, "v", CLIPS).features
    assert found.duration_s == pytest.approx(4.0, abs=0.01)  # 40 frames, ten a second
    np.save(tmp_path / "rec_00.npy", np.zeros((len(found.values), 2)))
    imported = ImportedExtractor(tmp_path).extract(video, "rec_00.mp4", CLIPS).features
    assert imported.duration_s == found.duration_s


def test_videos_shorter_than_a_clip_and_clips_of_another_length_are_refused(tmp_path):
    network, _ = seen_frames()
    video = grey_video(tmp_path / "v.mp4", 10)
    with pytest.raises(InputError, match=r"v\.mp4: expected a video of at least one clip, 16 frames.*found 10 frames"):
        NetworkExtractor(network, None, 8).extract(video, "v", CLIPS)
    with pytest.raises(ConfigError, match=r"features\.stack: brightness takes clips of 16 frames, found 8"):
        NetworkExtractor(replace(network, stack=16), None, 8).extract(video, "v", ClipParams(10.0, 8, 4))


@pytest.mark.parametrize("kind", KINDS)
def test_a_video_resnet_is_torchvision_s(kind, tmp_path):
    from torchvision.models import get_model

    torch.manual_seed(0)
    theirs = get_model(kind, weights=None).eval()
    save_file(theirs.state_dict(), tmp_path / "weights.safetensors")
    ours = open_network(kind, str(tmp_path / "weights.safetensors"))
    clips = np.random.default_rng(0).integers(0, 256, (1, 8, 112, 112, 3), np.uint8)
    theirs.fc = torch.nn.Identity()
    with torch.inference_mode():
        wanted = theirs(ours.pixels.to_tensor(clips, "cpu")).numpy()
    assert ours(clips).shape == (1, 512)
    assert np.allclose(ours(clips), wanted, atol=1e-4)


def test_i3d_takes_the_public_checkpoint_s_names(tmp_path):
    torch.manual_seed(0)
    module = I3D()
    assert sum(parameter.numel() for parameter in module.parameters()) == 12_697_264
    tensors = module.state_dict()
    assert tensors["Conv3d_1a_7x7.conv3d.weight"].shape == (64, 3, 7, 7, 7)
    assert tensors["Mixed_3b.b1b.conv3d.weight"].shape == (128, 96, 3, 3, 3)
    assert tensors["Mixed_5c.b3b.bn.running_var"].shape == (128,)
    assert tensors["logits.conv3d.weight"].shape == (400, 1024, 1, 1, 1)
    # As old as the public file: another container, and no counters of batches.
    old = OrderedDict((name, tensor) for name, tensor in tensors.items() if not name.endswith("num_batches_tracked"))
    torch.save(old, tmp_path / "rgb.pt", _use_new_zipfile_serialization=False)
    made = convert(tmp_path / "rgb.pt", tmp_path / "rgb.safetensors", sha256_of_file(tmp_path / "rgb.pt"))
    network = open_network("i3d", str(made))
    clips = np.random.default_rng(0).integers(0, 256, (1, 16, 224, 224, 3), np.uint8)
    features = network(clips)
    assert features.shape == (1, 1024)
    assert isinstance(network.module, I3D)
    assert network.module.classify(torch.from_numpy(features)).shape == (1, 400)
    pixels = network.pixels.to_tensor(clips, "cpu")
    assert (float(pixels.min()), float(pixels.max())) == (-1.0, 1.0)


@pytest.mark.parametrize(("frames", "side_px"), [(16, 64), (7, 33), (1, 32)])
def test_i3d_pads_as_tensorflow_does(frames, side_px):
    from lineact.temporal.features.i3d import _padded

    rows = torch.ones(1, 1, frames, side_px, side_px)
    padded = _padded(rows, (7, 7, 7), (2, 2, 2))
    out = torch.nn.functional.conv3d(padded, torch.ones(1, 1, 7, 7, 7), stride=2)
    assert out.shape[2:] == (-(-frames // 2), -(-side_px // 2), -(-side_px // 2))
    before = int(padded[0, 0, :, side_px // 2 + 2, side_px // 2 + 2].argmax())
    behind = padded.shape[2] - frames - before
    assert behind - before in (0, 1)


def videomae_folder(folder, *, old_names, prefix):
    """A small encoder in the hub's layout."""
    from transformers import VideoMAEConfig, VideoMAEModel

    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
    }
    shapes: dict[str, Any] = {"image_size": 32, "patch_size": 16, "num_frames": 8, "tubelet_size": 2}
    encoder = VideoMAEModel(VideoMAEConfig(**sizes, **shapes))
    tensors = {f"{prefix}{name}": tensor.contiguous() for name, tensor in encoder.state_dict().items()}
    if old_names:
        for new, old in (("query.bias", "q_bias"), ("value.bias", "v_bias")):
            tensors = {name.replace(f"attention.{new}", f"attention.{old}"): each for name, each in tensors.items()}
        tensors["classifier.weight"] = torch.zeros(3, 24)
    folder.mkdir()
    from safetensors.torch import save_file

    save_file(tensors, folder / "model.safetensors")
    write_json(folder / "config.json", {"model_type": "videomae", **sizes, **shapes})
    write_json(folder / "preprocessor_config.json", {"image_mean": [0.5] * 3, "image_std": [0.5] * 3})
    return encoder.eval()


@pytest.mark.parametrize(("old_names", "prefix"), [(False, ""), (True, "videomae.")])
def test_videomae_of_a_folder(old_names, prefix, tmp_path):
    encoder = videomae_folder(tmp_path / "model", old_names=old_names, prefix=prefix)
    network = open_network("videomae_small", str(tmp_path / "model"))
    assert (network.stack, network.side_px) == (8, 32)
    clips = np.random.default_rng(0).integers(0, 256, (2, 8, 32, 32, 3), np.uint8)
    pixels = torch.from_numpy(clips).permute(0, 1, 4, 2, 3).float() / 127.5 - 1
    with torch.inference_mode():
        wanted = encoder(pixel_values=pixels).last_hidden_state.mean(1).numpy()
    assert np.allclose(network(clips), wanted, atol=1e-5)
    write_json(tmp_path / "model/config.json", {"model_type": "vit"})
    with pytest.raises(InputError, match="expected a VideoMAE, found model_type 'vit'"):
        open_network("videomae_small", str(tmp_path / "model"))


@pytest.mark.parametrize("name", known.NAMES)
def test_without_weights_there_is_no_extractor(name, tmp_path):
    for weights in (None, str(tmp_path / "none.pt")):
        with pytest.raises(NoWeightsError, match=f"{name}: no weights"):
            open_extractor(name, weights)


def test_torchvision_s_weights_are_taken_where_they_are_asked_for(monkeypatch):
    from urllib.error import URLError

    asked = []

    def unreachable(url, *_, **__):
        asked.append(url)
        raise URLError("no network")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", unreachable)
    with pytest.raises(NoWeightsError, match=r"r3d_18: no weights: torchvision's are not cached and cannot be fetched"):
        open_extractor("r3d_18", "torchvision")
    assert len(asked) == 1
    with pytest.raises(ConfigError, match="torchvision has no weights of i3d"):
        open_extractor("i3d", "torchvision")
    with pytest.raises(ConfigError, match=r"expected one of r2plus1d_18.*found 'vgg'"):
        open_extractor("vgg", None)


def test_weights_of_something_else_are_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(I3D(shrink=8).state_dict(), path)
    with pytest.raises(InputError, match="do not fit the architecture"):
        open_network("i3d", str(path))
    with pytest.raises(InputError, match="do not fit the architecture"):
        open_network("r3d_18", str(path))
    save_file(VideoResNet("r3d_18", (4, 4, 4, 4)).state_dict(), path)
    with pytest.raises(InputError, match=r"expected an I3D as pytorch-i3d saves it, found no Conv3d_1a"):
        open_network("i3d", str(path))
    path.write_bytes(b"torn")
    with pytest.raises(InputError, match="expected safetensors, found something else"):
        open_network("i3d", str(path))


def small_folder(folder, name, config, side_px=32):
    config = config | {"architecture": name, "side_px": side_px}
    channels = config.get("inputs", 3)
    config |= {"mean": [0.5] * channels, "std": [0.25] * channels}
    torch.manual_seed(0)
    module = known.build_small(name, config)
    write_json(folder / "config.json", config)
    save_tensors(module, folder / "model.safetensors")
    return module


def test_a_small_variant_of_a_folder(tmp_path):
    small_folder(tmp_path / "r3d_18", "r3d_18", {"channels": [4, 8, 8, 16]})
    network = open_embedded("r3d_18", tmp_path / "r3d_18")
    clips = np.random.default_rng(0).integers(0, 256, (2, 16, 32, 32, 3), np.uint8)
    assert network(clips).shape == (2, 16)
    assert np.allclose(network(clips)[1:], network(clips[1:]), atol=1e-6)


def test_flow_is_a_second_stream(tmp_path):
    rgb_folder, flow_folder = str(tmp_path / "i3d"), str(tmp_path / "i3d_flow")
    small_folder(tmp_path / "i3d", "i3d", {"inputs": 3, "shrink": 16})
    small_folder(tmp_path / "i3d_flow", "i3d_flow", {"inputs": 2, "shrink": 16})
    extractor = open_extractor("i3d", rgb_folder, flow=FlowParams("dis", None, flow_folder))
    alone = open_extractor("i3d", rgb_folder)
    video = write_video(tmp_path / "v.mp4", [np.roll(scene(), 3 * n, axis=1) for n in range(20)])
    both, rgb = (each.extract(video, "v", CLIPS).features.values for each in (extractor, alone))
    assert both.shape == (2, 128)
    assert np.allclose(both[:, :64], rgb, atol=1e-5)
    assert extractor.key != alone.key
    with pytest.raises(NoWeightsError, match="raft_small: no weights: found no file None"):
        open_extractor("i3d", rgb_folder, flow=FlowParams("raft_small", None, flow_folder))
    small_folder(tmp_path / "i3d_flow", "i3d_flow", {"inputs": 2, "shrink": 16}, side_px=48)
    with pytest.raises(ConfigError, match="expected an I3D of 2 channels and 32 px as i3d sees, found 2 channels"):
        open_extractor("i3d", rgb_folder, flow=FlowParams("dis", None, flow_folder))


def test_flow_tells_what_moved_and_is_stored_in_bytes():
    picture = scene()
    moved = dis_flow()(picture, np.roll(picture, 4, axis=1))
    assert np.median(moved[..., 0]) == pytest.approx(4, abs=0.5)
    assert np.median(moved[..., 1]) == pytest.approx(0, abs=0.5)
    values = np.array([-99.0, -MOST_PX, 0.0, MOST_PX / 2, 99.0])
    stored = as_bytes(values).astype(float)
    assert np.allclose(stored, [0, 0, 127.5, 191.25, 255], atol=0.6)


def test_raft_is_asked_at_a_size_that_it_can_and_told_in_pixels_of_the_picture():
    from torchvision.models.optical_flow import raft_small

    class Scripted(torch.nn.Module):
        def forward(self, before, after):
            assert before.shape == after.shape == (1, 3, RAFT_LEAST_PX, RAFT_LEAST_PX)
            return [torch.zeros(1), torch.ones(1, 2, RAFT_LEAST_PX, RAFT_LEAST_PX)]

    pictures = np.zeros((64, 32, 3), np.uint8), np.zeros((64, 32, 3), np.uint8)
    moved = raft_flow(Scripted(), "cpu")(*pictures)
    assert moved.shape == (64, 32, 2)
    assert np.allclose(moved, (32 / RAFT_LEAST_PX, 64 / RAFT_LEAST_PX))
    torch.manual_seed(0)
    assert raft_flow(raft_small(weights=None).eval(), "cpu")(*pictures).shape == (64, 32, 2)


def test_rows_made_elsewhere(tmp_path):
    values = np.random.default_rng(0).normal(size=(22, 5))
    np.save(tmp_path / "v.npy", values)
    features = read_imported(tmp_path / "v.npy", "v", 10.0, CLIPS)
    assert np.allclose(features.times_s[:2], [0.75, 1.15])
    assert features.values.dtype == np.float32
    # 25 rows: the extractor filled up the last clips.
    np.save(tmp_path / "v.npy", np.zeros((25, 5)))
    features = read_imported(tmp_path / "v.npy", "v", 10.0, CLIPS)
    assert (len(features.times_s), features.times_s[-1]) == (24, pytest.approx(9.95))
    times_s = np.sort(np.random.default_rng(0).uniform(0, 10, 22))
    np.savez(tmp_path / "v.npz", values=values, times_s=times_s)
    assert np.array_equal(read_imported(tmp_path / "v.npz", "v", 10.0, CLIPS).times_s, times_s)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (np.zeros((60, 5)), r"v\.npy: expected 22 rows \(give or take 4\) for a video of 10 s.*found 60"),
        (np.zeros((10, 5)), "expected 22 rows"),
        (np.zeros(22), r"expected a time for each row, found times_s \(22,\) and values \(22,\)"),
        (np.full((22, 5), np.nan), "expected finite numbers"),
        (np.array(["a", "b"]), "expected an array of numbers"),
        (np.array([{}], dtype=object), "found something else"),
    ],
)
def test_rows_that_do_not_fit_their_video_are_refused(values, told, tmp_path):
    np.save(tmp_path / "v.npy", values)
    with pytest.raises(InputError, match=told):
        read_imported(tmp_path / "v.npy", "v", 10.0, CLIPS)


def test_times_that_do_not_fit_their_video_are_refused(tmp_path):
    path = tmp_path / "v.npz"
    for times_s, told in (
        (np.arange(22.0), "expected rows within the video's 10 s"),
        (np.arange(3.0), "expected a time for each row"),
        (np.zeros(22), "expected times that rise"),
    ):
        np.savez(path, values=np.zeros((22, 5)), times_s=times_s)
        with pytest.raises(InputError, match=told):
            read_imported(path, "v", 10.0, CLIPS)
    np.savez(path, values=np.zeros((0, 5)), times_s=np.zeros(0))
    with pytest.raises(InputError, match="expected at least one row"):
        read_imported(path, "v", 10.0, CLIPS)
    np.savez(path, other=np.zeros((22, 5)))
    with pytest.raises(InputError, match="found something else"):
        read_imported(path, "v", 10.0, CLIPS)


def test_a_folder_of_rows_made_elsewhere(tmp_path):
    video = grey_video(tmp_path / "rec_00.mp4")
    extractor = ImportedExtractor(tmp_path / "rows")
    (tmp_path / "rows").mkdir()
    with pytest.raises(InputError, match=r"rec_00\.mp4: expected its features as .*rec_00\.npy or .*rec_00\.npz"):
        extractor.extract(video, "rec_00.mp4", CLIPS)
    np.save(tmp_path / "rows/rec_00.npy", np.arange(14.0).reshape(7, 2))
    found = extractor.extract(video, "rec_00.mp4", CLIPS)
    assert found.features.values.shape == (7, 2)
    (tmp_path / "rows/late").mkdir()
    with pytest.raises(InputError, match=r"expected its features as .*late/rec_00\.npy"):
        extractor.extract(video, "late/rec_00.mp4", CLIPS)  # not those of another recording of this name
    np.save(tmp_path / "rows/late/rec_00.npy", np.ones((7, 2)))
    assert (extractor.extract(video, "late/rec_00.mp4", CLIPS).features.values == 1).all()
    before = extractor.key
    np.save(tmp_path / "rows/rec_00.npy", np.zeros((7, 2)))
    assert extractor.key != before
