"""The embedded set, model by model: corpus, training, judging, and the folder with its card.

A convolutional guide is trained first and kept nowhere but in the cache; the ViTs follow it. The BLIP-2 tower starts as
a copy of the teacher and goes on with more contrast, so that both come from one budget. YOLOv5 and Grounding DINO have
runs of their own.
"""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lineact.files import cache_folder
from lineact.foundation import tiny, tiny_clip
from lineact.foundation.corpus import (
    CODE_VERSION,
    NAMED_CODE_VERSION,
    crop_corpus,
    named_scene_corpus,
    scene_corpus,
)
from lineact.foundation.guide import WIDTH as GUIDE_WIDTH
from lineact.foundation.guide import Guide
from lineact.foundation.pretrain import (
    EncoderRun,
    Heads,
    attribute_accuracy,
    start_mimetic,
    to_blip2,
    train_encoder,
)
from lineact.foundation.pretrain_clip import Captions, zero_shot_accuracy
from lineact.foundation.pretrain_grounding_dino import GroundingRun, train_grounding_dino
from lineact.foundation.pretrain_yolov5 import DetectorRun, hand_recall, train_detector
from lineact.foundation.tiny_grounding_dino import (
    grounding_dino_card,
    new_grounding_dino,
    processor,
    save_grounding_dino,
)
from lineact.foundation.weights import Preprocessing

if TYPE_CHECKING:
    from torch import nn

SEED, HELD_OUT_SEED = 1, 9001
SCENE_SEED, HELD_OUT_SCENE_SEED = 2, 9002
NAMED_SCENE_SEED, HELD_OUT_NAMED_SCENE_SEED = 3, 9003
CROPS, SCENES, NAMED_SCENES = 36 * 1024, 8 * 1024, 24 * 1024
HELD_OUT_CROPS, HELD_OUT_SCENES, JUDGED_SCENES = 2048, 1024, 512
GUIDE_RUN = EncoderRun(1521, 300, 64, 2e-3, 0.02, 0.2, 0.1, 0.0, 0)
TEACHER_RUN = EncoderRun(3500, 800, 64, 1.5e-3, 0.05, 0.2, 0.1, 2.0, 0)
BLIP2_RUN = EncoderRun(900, 700, 64, 1e-3, 0.05, 1.0, 0.1, 1.0, 1)
STUDENT_RUN = EncoderRun(3200, 800, 64, 1.5e-3, 0.05, 0.2, 0.1, 2.0, 2)
# As many crops as the teacher sees. Neither follows the guide with less: it is itself a convolutional network.
RESNET_RUN = EncoderRun(3500, 800, 64, 2e-3, 0.02, 0.2, 0.1, 0.0, 3)
CLIP_RUN = EncoderRun(3500, 800, 64, 1.5e-3, 0.05, 0.0, 0.1, 2.0, 4)
YOLOV5_RUN = DetectorRun(2600, 700, 16, 2e-3, 0)
PREPROCESSING = Preprocessing(tiny.SIDE_PX, tiny.MEAN, tiny.STD)
GROUNDING_DINO_RUN = GroundingRun(27500, 4500, 16, 2e-3, 0)
MODELS = ("vit_teacher", "blip2_vision", "vit_student", "yolov5", "grounding_dino")
COMPARED = (*tiny.RESNET_STARTS, "clip")  # starts that no line needs, but the comparison of classifiers
LARGER_YOLOV5 = {f"yolov5{size}": size for size in tiny.YOLOV5_SIZES if size != "n"}  # made where they are asked for
COMMAND = "python -m flows.pretrain_foundation"


@dataclass(frozen=True)
class Encoder:
    """A trained encoder with its scores.

    Attributes:
        module: the network, in evaluation mode.
        scores: name to number.
    """

    module: "nn.Module"
    scores: dict[str, float]


def build_teacher(out: Path, run: EncoderRun = TEACHER_RUN) -> Encoder:
    """Trains the tiny ViT teacher and writes its folder."""
    encoder = _train_vit("vit_teacher", tiny.TEACHER_ARGUMENTS, run)
    card = _card("vit_teacher", "a timm ViT, start of the LoRA teacher", run.steps * run.batch, encoder.scores)
    tiny.save_vit(encoder.module, tiny.TEACHER_ARGUMENTS, out, card)
    return encoder


def build_student(out: Path, run: EncoderRun = STUDENT_RUN) -> Encoder:
    """Trains the start of the distilled student and writes its folder."""
    encoder = _train_vit("vit_student", tiny.STUDENT_ARGUMENTS, run)
    card = _card(
        "vit_student", "a smaller timm ViT, start of the distilled student", run.steps * run.batch, encoder.scores
    )
    tiny.save_vit(encoder.module, tiny.STUDENT_ARGUMENTS, out, card)
    return encoder


def build_resnet(start: str, out: Path, run: EncoderRun = RESNET_RUN) -> Encoder:
    """Trains a reduced-width ResNet and writes its folder.

    Args:
        start: one of `tiny.RESNET_STARTS`.
        out: the folder.
        run: settings.
    """
    from lineact.foundation.resnet import build_resnet as build

    torch.manual_seed(run.seed)
    config = tiny.resnet_config(start)
    resnet = build(config, start)
    crops = crop_corpus(CROPS, SEED, tiny.SIDE_PX, _cores())
    heads = train_encoder(Heads, resnet, resnet.num_features, crops, PREPROCESSING, run, _checkpoint(start, run))
    scores = attribute_accuracy(resnet, heads, _held_out_crops(), PREPROCESSING) | _judge_encoder(resnet)
    about = f"a {start} of timm at a quarter of its width"
    card = _card(start, about, run.steps * run.batch, scores, "a sixteenth")
    tiny.save_resnet(resnet, start, out, card)
    return Encoder(resnet, scores)


def build_clip(out: Path, run: EncoderRun = CLIP_RUN) -> Encoder:
    """Trains the tiny CLIP on crops and generated captions and writes its folder."""
    torch.manual_seed(run.seed)
    clip = tiny_clip.clip_pair()
    crops = crop_corpus(CROPS, SEED, tiny.SIDE_PX, _cores())
    vision, width = clip.vision_model, int(tiny_clip.VISION_ARGUMENTS["hidden_size"])
    captions = train_encoder(
        lambda _: Captions(clip), vision, width, crops, PREPROCESSING, run, _checkpoint("clip", run), _guide()
    )
    scores = zero_shot_accuracy(vision, captions, _held_out_crops(), PREPROCESSING) | _judge_encoder(vision)
    card = _card("clip", "a CLIP (`CLIPModel`), two small towers", run.steps * run.batch, scores)
    tiny_clip.save_clip(clip, out, card)
    return Encoder(clip, scores)


def build_start(start: str, out: Path) -> None:
    """Makes a start of the comparison: 20 to 31 minutes of one core, and the corpus before the first.

    Args:
        start: one of `COMPARED`.
        out: its folder.
    """
    if start == "clip":
        build_clip(out)
    else:
        build_resnet(start, out)


def build_blip2(teacher: "nn.Module", teacher_crops: int, out: Path, run: EncoderRun = BLIP2_RUN) -> Encoder:
    """Goes on from the teacher's weights as a BLIP-2 vision tower and writes its folder.

    Args:
        teacher: the trained ViT.
        teacher_crops: how many crops it has seen, for the card.
        out: the folder.
        run: settings of what comes on top.
    """
    tower = tiny.blip2_vision()
    to_blip2(teacher, tower)
    crops = crop_corpus(CROPS, SEED, tiny.SIDE_PX, _cores())
    width = tiny.BLIP2_ARGUMENTS["hidden_size"]
    heads = train_encoder(
        Heads, tower, int(width), crops, PREPROCESSING, run, _checkpoint("blip2_vision", run), _guide()
    )
    scores = attribute_accuracy(tower, heads, _held_out_crops(), PREPROCESSING) | _judge_encoder(tower)
    seen = teacher_crops + run.steps * run.batch
    tiny.save_blip2_vision(
        tower, out, _card("blip2_vision", "a BLIP-2 vision tower (`Blip2VisionModel`)", seen, scores)
    )
    return Encoder(tower, scores)


def build_yolov5(out: Path, run: DetectorRun = YOLOV5_RUN, size: str = "n") -> Encoder:
    """Trains a reduced-width YOLOv5 for the class hand and writes its folder.

    Args:
        out: the folder.
        run: settings, the same for every size.
        size: one of `tiny.YOLOV5_SIZES`.
    """
    import yaml

    from lineact.foundation.judge import line_frames, line_recall
    from lineact.foundation.yolov5 import build_yolov5 as build

    torch.manual_seed(run.seed)
    with tempfile.TemporaryDirectory() as folder:
        description = Path(folder) / "detector.yaml"
        description.write_text(yaml.safe_dump(tiny.yolov5_description(size), sort_keys=False))
        model = build(description)
    scenes = scene_corpus(SCENES, SCENE_SEED, _cores())
    name = "yolov5" if size == "n" else f"yolov5{size}"
    average = train_detector(model, scenes, run, _checkpoint(name, run))
    held_out = hand_recall(average, scene_corpus(HELD_OUT_SCENES, HELD_OUT_SCENE_SEED, _cores()), 400)
    on_line = line_recall(average, line_frames("demo", 40.0, 5))
    scores = {f"scenes_{name}": value for name, value in held_out.items()}
    scores |= {f"demo_{name}": value for name, value in on_line.items()}
    about = f"a YOLOv5 (ultralytics, anchor-free head) of width {tiny.YOLOV5_SIZES[size][1]} for hands"
    share = "a hundredth" if size == "n" else "a quarter"
    tiny.save_yolov5(average, out, _card(name, about, run.steps * run.batch, scores, share), size)
    return Encoder(average, scores)


def build_grounding_dino(out: Path, run: GroundingRun = GROUNDING_DINO_RUN) -> dict[str, float]:
    """Trains the tiny Grounding DINO and writes its folder.

    Returns:
        Its scores; the threshold is chosen on held-out scenes, not on the lines.
    """
    from lineact.foundation.judge_grounding_dino import judge

    torch.manual_seed(run.seed)
    start = new_grounding_dino()
    scenes = named_scene_corpus(NAMED_SCENES, NAMED_SCENE_SEED, _cores())
    checkpoint = _checkpoint("grounding_dino", run)
    model = train_grounding_dino(start, processor().tokenizer, scenes, run, checkpoint)
    held_out = named_scene_corpus(2 * JUDGED_SCENES, HELD_OUT_NAMED_SCENE_SEED, _cores())
    with tempfile.TemporaryDirectory() as folder:  # judged as it is committed: in float16
        save_grounding_dino(model, Path(folder) / "model", "")
        scores = judge(Path(folder) / "model", held_out, JUDGED_SCENES)
    seen = f"{run.steps} steps of {run.batch} pictures out of {len(scenes)}"
    save_grounding_dino(model, out, grounding_dino_card(seen, scores, COMMAND))
    return scores


def _train_vit(name: str, arguments: Mapping[str, Any], run: EncoderRun) -> Encoder:
    from lineact.foundation.vit import build_vit

    torch.manual_seed(run.seed)
    vit = build_vit(tiny.vit_config(arguments), name)
    start_mimetic(vit)
    crops = crop_corpus(CROPS, SEED, tiny.SIDE_PX, _cores())
    width = int(arguments["embed_dim"])
    heads = train_encoder(Heads, vit, width, crops, PREPROCESSING, run, _checkpoint(name, run), _guide())
    scores = attribute_accuracy(vit, heads, _held_out_crops(), PREPROCESSING) | _judge_encoder(vit)
    return Encoder(vit, scores)


def _guide() -> Guide:
    torch.manual_seed(GUIDE_RUN.seed)
    guide = Guide()
    crops = crop_corpus(CROPS, SEED, tiny.SIDE_PX, _cores())
    train_encoder(Heads, guide, GUIDE_WIDTH, crops, PREPROCESSING, GUIDE_RUN, _checkpoint("guide", GUIDE_RUN))
    return guide.requires_grad_(False)


def _judge_encoder(encoder: "nn.Module") -> dict[str, float]:
    from lineact.foundation.judge import LINES, embed, group_purity, line_crops, line_frames, probe_accuracy

    scores = {}
    for line in LINES:
        crops, actions, recordings = line_crops(line_frames(line, 40.0, 5), tiny.SIDE_PX)
        features = embed(encoder, PREPROCESSING, crops)
        scores[f"{line}_group_purity"] = group_purity(features, actions)
        scores[f"{line}_probe_accuracy"] = probe_accuracy(features, actions, recordings == recordings.max())
        scores[f"{line}_majority"] = float(max((actions == action).mean() for action in set(actions)))
    return scores


def _held_out_crops() -> Any:
    return crop_corpus(HELD_OUT_CROPS, HELD_OUT_SEED, tiny.SIDE_PX, _cores())


def _checkpoint(name: str, run: EncoderRun | DetectorRun | GroundingRun) -> Path:
    # Not the length: a longer run goes on from where a shorter one began its decay.
    settings = replace(run, steps=0, decay_steps=0)
    corpus = NAMED_CODE_VERSION if isinstance(run, GroundingRun) else CODE_VERSION
    return cache_folder("foundation", {"corpus": corpus, "name": name, "run": vars(settings)}) / f"{name}.pt"


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _card(name: str, about: str, seen: int, scores: Mapping[str, float], share: str = "a hundredth") -> str:
    rows = "".join(f"| {score} | {value:.3f} |\n" for score, value in scores.items())
    return f"""# {name}

{about[0].upper()}{about[1:]}, about {share} of the full size, so that a fresh clone runs with no download and no
GPU. It is there to try the product, to test it and to start small lines; it is no foundation model and knows only hands
and things as lineact's own generator draws them. On real video use `foundation: hub` or a local folder.

- Data: procedural pictures of `lineact/foundation/scenes.py` (random colours that keep away from those of every
  simulated line, random surfaces, lights, hands and things; no line's product, bench or camera). No photograph, no
  person.
- Seen: {seen} pictures in training.
- Weights: float16 safetensors.
- Made by `{COMMAND} only={name}` (seeded; goes on after a kill).

Scores on held-out procedural pictures, and on the simulated lines, which it has never seen (group purity: 24 k-means
groups of crops around true boxes; probe: a linear classifier tested on the held-out recording; majority: always the
commonest action; recall and accuracy of hands at IoU 0.4):

| score | value |
|---|---|
{rows}"""
