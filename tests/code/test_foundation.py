"""Loading weights: every way a folder or a name can be wrong, and what the loaders promise."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from lineact.errors import InputError
from lineact.foundation import tiny
from lineact.foundation.blip2 import load_blip2_vision
from lineact.foundation.pretrain import keys_of, start_mimetic, supervised_contrast, to_blip2
from lineact.foundation.scenes import (
    ANGLE_BINS,
    COLOUR_DISTANCE,
    HELD,
    random_colour,
    random_skin,
    render_crop,
    render_scene,
)
from lineact.foundation.vit import build_vit, load_vit
from lineact.foundation.weights import Preprocessing, find_file, read_tensors
from lineact.foundation.yolov5 import DETECTOR_YAML, build_yolov5, load_weights, load_yolov5
from lineact.simulation import palette

SMALL = {"img_size": 32, "patch_size": 16, "embed_dim": 16, "depth": 2, "num_heads": 2, "mlp_ratio": 3.0}


@pytest.fixture
def vit_folder(tmp_path) -> Path:
    torch.manual_seed(0)
    folder = tmp_path / "vit"
    tiny.save_vit(build_vit(tiny.vit_config(SMALL), "test"), SMALL, folder, "card")
    return folder


@pytest.fixture
def blip2_folder(tmp_path) -> Path:
    torch.manual_seed(0)
    folder = tmp_path / "blip2"
    tiny.save_blip2_vision(tiny.blip2_vision(), folder, "card")
    return folder


def test_a_vit_comes_back_with_a_new_head(vit_folder):
    model, preprocessing = load_vit(str(vit_folder), class_count=5)
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 5)
    stored = read_tensors(str(vit_folder))
    assert stored["blocks.1.attn.qkv.weight"].dtype == torch.float16
    assert torch.equal(model.state_dict()["blocks.1.attn.qkv.weight"], stored["blocks.1.attn.qkv.weight"].float())
    assert preprocessing.mean == tiny.MEAN


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_depth_keeps_the_stored_blocks_and_adds_new_ones(vit_folder, depth):
    model, _ = load_vit(str(vit_folder), depth=depth)
    stored = read_tensors(str(vit_folder))
    assert len(model.blocks) == depth
    for index in range(min(depth, 2)):
        name = f"blocks.{index}.mlp.fc1.weight"
        assert torch.equal(model.state_dict()[name], stored[name].float())


def test_a_vision_tower_comes_back_frozen(blip2_folder):
    model, preprocessing = load_blip2_vision(str(blip2_folder))
    pooled = model(torch.zeros(2, 3, preprocessing.side_px, preprocessing.side_px)).pooler_output
    assert pooled.shape == (2, tiny.BLIP2_ARGUMENTS["hidden_size"])
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_of_a_whole_blip2_only_the_shards_with_the_vision_tower_are_read(blip2_folder, tmp_path):
    from safetensors.torch import save_file

    whole = tmp_path / "whole"
    whole.mkdir()
    tensors = {f"vision_model.{name}": tensor for name, tensor in read_tensors(str(blip2_folder)).items()}
    save_file(tensors, whole / "model-00001-of-00002.safetensors")
    weight_map = dict.fromkeys(tensors, "model-00001-of-00002.safetensors")
    weight_map["language_model.lm_head.weight"] = "model-00002-of-00002.safetensors"  # not there: never fetched
    (whole / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    vision = json.loads((blip2_folder / "config.json").read_text())
    (whole / "config.json").write_text(json.dumps({"model_type": "blip-2", "vision_config": vision}))
    part, _ = load_blip2_vision(str(blip2_folder))
    model, preprocessing = load_blip2_vision(str(whole))
    pixels = torch.randn(1, 3, 96, 96)
    assert torch.equal(model(pixels).pooler_output, part(pixels).pooler_output)
    assert preprocessing.mean == pytest.approx((0.48145466, 0.4578275, 0.40821073)), (
        "the hub's, where a model names none"
    )


def test_a_yolov5_comes_back_with_its_weights(tmp_path):
    torch.manual_seed(0)
    source = Path("models/foundation/tiny/yolov5")
    model = load_yolov5(source)
    tiny.save_yolov5(model, tmp_path, "card")
    pixels = torch.rand(1, 3, 64, 64)
    again = load_yolov5(tmp_path)
    assert torch.equal(model.eval()(pixels)[0], again.eval()(pixels)[0])


def test_a_name_that_is_not_cached_names_both_ways_out(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(InputError, match="local folder") as caught:
        load_blip2_vision("Salesforce/blip2-opt-2.7b")
    assert "foundation: tiny" in str(caught.value)
    assert "Salesforce/blip2-opt-2.7b" in str(caught.value)


@pytest.mark.parametrize("name", ["/no/such/folder", "./no/such", "a b c"])
def test_what_is_neither_folder_nor_name_is_refused(name):
    with pytest.raises(InputError, match="local folder"):
        find_file(name, "config.json")


def test_a_folder_without_weights_says_which_file_is_missing(vit_folder):
    (vit_folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model\.safetensors"):
        load_vit(str(vit_folder))


def test_a_cut_file_is_named(vit_folder):
    path = vit_folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"model\.safetensors: expected safetensors"):
        load_vit(str(vit_folder))


def test_weights_of_another_architecture_are_refused(vit_folder):
    config = json.loads((vit_folder / "config.json").read_text())
    config["model_args"]["embed_dim"] = 32
    (vit_folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match="do not fit"):
        load_vit(str(vit_folder))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "expected JSON"),
        ("[]", "expected a mapping"),
        ("{}", "timm architecture"),
        ('{"architecture": "resnet18"}', "found"),
    ],
)
def test_a_config_that_is_none_is_refused(vit_folder, content, message):
    (vit_folder / "config.json").write_text(content)
    with pytest.raises(InputError, match=message):
        load_vit(str(vit_folder))


def test_a_detector_without_description_or_weights_is_refused(tmp_path):
    with pytest.raises(InputError, match="found nothing"):
        build_yolov5(tmp_path / DETECTOR_YAML)
    (tmp_path / DETECTOR_YAML).write_text("nc: 1\n")
    with pytest.raises(InputError, match="backbone"):
        build_yolov5(tmp_path / DETECTOR_YAML)
    shutil.copy("models/foundation/tiny/yolov5/detector.yaml", tmp_path / DETECTOR_YAML)
    with pytest.raises(InputError, match="expected safetensors"):
        load_weights(build_yolov5(tmp_path / DETECTOR_YAML), tmp_path / "model.safetensors")


def test_crops_become_normalised_pixels():
    preprocessing = Preprocessing(4, (0.5, 0.5, 0.5), (0.25, 0.5, 1.0))
    pixels = preprocessing.to_tensor(np.full((2, 8, 8, 3), 255, np.uint8))
    assert pixels.shape == (2, 3, 4, 4)
    assert pixels[0, :, 1, 2].tolist() == pytest.approx([2.0, 1.0, 0.5])


def test_a_vision_tower_made_of_a_vit_gives_the_same_features():
    torch.manual_seed(0)
    vit, tower = build_vit(tiny.vit_config(tiny.TEACHER_ARGUMENTS), "test").eval(), tiny.blip2_vision().eval()
    start_mimetic(vit)
    to_blip2(vit, tower)
    pixels = torch.randn(2, 3, 96, 96)
    assert torch.allclose(vit.forward_features(pixels), tower(pixels).last_hidden_state, atol=1e-5)


def test_the_contrastive_loss_is_the_papers_sum():
    torch.manual_seed(0)
    features, keys, temperature = torch.randn(6, 4), torch.tensor([0, 0, 1, 1, 1, 2]), 0.5
    unit = features / features.norm(dim=1, keepdim=True)
    losses = []
    for row in range(6):
        others = [other for other in range(6) if other != row]
        alike = [other for other in others if keys[other] == keys[row]]
        if alike:
            total = sum(torch.exp(unit[row] @ unit[other] / temperature) for other in others)
            terms = [torch.log(torch.exp(unit[row] @ unit[other] / temperature) / total) for other in alike]
            losses.append(-sum(terms) / len(terms))
    assert supervised_contrast(features, keys, temperature) == pytest.approx(float(sum(losses) / len(losses)), rel=1e-5)


def test_crops_are_about_what_is_held_or_else_about_the_pose():
    attributes = torch.tensor([[3, 1, 0, 0, 0, 0], [3, 2, 5, 1, 1, 4], [0, 1, 0, 0, 0, 0], [0, 2, 0, 0, 0, 0]])
    keys = keys_of(attributes).tolist()
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3
    assert keys[2] >= len(HELD)


def test_pretraining_keeps_away_from_the_lines_colours():
    generator = np.random.default_rng(0)
    lines = np.array(palette.ALL)
    for _ in range(300):
        skin = random_skin(generator)
        for colour in (random_colour(generator), skin.forearm):
            assert np.linalg.norm(lines - colour, axis=1).min() > COLOUR_DISTANCE


def test_the_same_generator_gives_the_same_pictures():
    first, second = (render_crop(np.random.default_rng(5), 64) for _ in range(2))
    assert np.array_equal(first.image_rgb, second.image_rgb)
    assert first.image_rgb.shape == (64, 64, 3)


def test_named_boxes_of_scenes_lie_in_the_picture():
    names = set()
    for seed in range(8):
        image, objects = render_scene(np.random.default_rng(seed), (320, 192))
        assert image.shape == (192, 320, 3)
        names |= {thing.name for thing in objects}
        for thing in objects:
            x1, y1, x2, y2 = thing.box_xyxy_px
            assert 0 <= x1 < x2 <= 320
            assert 0 <= y1 < y2 <= 192
    assert {"hand", "glove"} < names
    assert names - {"hand", "glove"} <= set(HELD)


def test_turned_crops_point_up_and_say_so():
    from lineact.foundation.pretrain import _turned

    angles = np.arange(ANGLE_BINS).repeat(8)
    images = np.zeros((len(angles), 33, 33, 3), np.uint8)
    for image, angle in zip(images, angles, strict=True):
        turn = np.deg2rad(angle * 45 + 22.5)
        for reach in range(3, 15):
            image[16 + round(reach * np.sin(turn)), 16 + round(reach * np.cos(turn))] = 255
    attributes = np.zeros((len(angles), 6), np.int64)
    attributes[:, 5] = angles
    turned, answers = _turned(torch.from_numpy(images), torch.from_numpy(attributes), np.random.default_rng(0))
    ys, xs = np.mgrid[-16:17, -16:17]
    for image, answer in zip(turned[..., 0].numpy(), answers[:, 5].numpy(), strict=True):
        seen = np.rad2deg(np.arctan2((image * ys).sum(), (image * xs).sum())) % 360
        assert int(seen // 45) == answer
    assert np.isin(answers[:, 5].numpy(), (5, 6)).mean() > 0.75
