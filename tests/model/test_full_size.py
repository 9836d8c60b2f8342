"""The full-size architectures with random weights, in the hub's layout: they load from a folder and answer.

`pytest -m weights -s` prints memory and seconds. Each network has a process of its own, so that its peak is its own.
"""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny_grounding_dino import write_bert_tokenizer

pytestmark = [pytest.mark.weights, pytest.mark.slow, pytest.mark.timeout(1800)]
ROOT = Path(__file__).parents[2]
SWIN = {
    "swin_t": {},
    "swin_b": {"embed_dim": 128, "depths": [2, 2, 18, 2], "num_heads": [4, 8, 16, 32], "window_size": 12},
}
DETECT = """
import resource, sys, time
import numpy as np
from lineact.detect.grounding_dino import GroundingDino, GroundingDinoParams
params = GroundingDinoParams(
    prompt=("hand", "glove"), text_threshold=0.25, score_floor=0.0, batch_size=1, weights=sys.argv[1], revision="main",
    precision=sys.argv[2], engine=sys.argv[3],
)
backend = GroundingDino(params)
backend.load()
frame_rgb = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), np.uint8)
started_s = time.perf_counter()
found = backend.detect_images([frame_rgb])[0]
first_s = time.perf_counter() - started_s
started_s = time.perf_counter()
again = backend.detect_images([frame_rgb])[0]
seconds = time.perf_counter() - started_s
assert len(found.scores) == 900 and (found.boxes_xyxy_px == again.boxes_xyxy_px).all()
print(first_s, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""
EMBED = """
import resource, sys, time
import numpy as np
from pathlib import Path
from lineact.embed import EmbedParams, open_encoder
params = EmbedParams(
    foundation="hub", hub_model=sys.argv[1], hub_revision=None, context=1.5, crop_px=112, batch_size=4, shard_batches=1
)
encoder = open_encoder(params, Path("unused"))
crops_rgb = np.random.default_rng(0).integers(0, 255, (4, 112, 112, 3), np.uint8)
vectors = encoder.forward(crops_rgb)
started_s = time.perf_counter()
again = encoder.forward(crops_rgb)
seconds = (time.perf_counter() - started_s) / 4
assert vectors.shape == (4, 1408) and np.isfinite(vectors).all() and (vectors == again).all()
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


def run_alone(code: str, folder: Path, *arguments: str) -> list[float]:
    """The figures that the code prints last. It runs in a folder, and finds the model in weights/ there."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", code, "weights", *arguments]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return [float(figure) for figure in done.stdout.splitlines()[-1].split()]


@pytest.mark.parametrize("backbone", SWIN)
def test_grounding_dino(backbone, tmp_path):
    import torch
    from transformers import (
        AutoTokenizer,
        GroundingDinoConfig,
        GroundingDinoForObjectDetection,
        GroundingDinoImageProcessor,
        GroundingDinoProcessor,
        SwinConfig,
    )

    torch.manual_seed(0)
    weights = tmp_path / "weights"
    write_bert_tokenizer(weights)
    swin = SwinConfig(out_indices=[2, 3, 4], **SWIN[backbone])  # type: ignore[call-arg, arg-type]
    model = GroundingDinoForObjectDetection(GroundingDinoConfig(backbone_config=swin))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    model.save_pretrained(weights)
    del model
    processor = GroundingDinoProcessor(GroundingDinoImageProcessor(), AutoTokenizer.from_pretrained(weights))
    processor.save_pretrained(weights)
    for engine, precision in itertools.product(("auto", "torch"), ("auto", "float32")):
        first_s, seconds, gib = run_alone(DETECT, tmp_path, precision, engine)
        print(
            f"\nGrounding DINO {backbone}, engine {engine}, precision {precision}: {parameters / 1e6:.0f} M parameters,"
            f" first frame {first_s:.1f} s, then {seconds:.1f} s a frame, {gib:.1f} GiB",
            flush=True,
        )


def test_blip2_vision_tower(tmp_path):
    import torch
    from transformers import Blip2VisionConfig, Blip2VisionModel

    torch.manual_seed(0)
    with torch.device("cpu"):
        model = Blip2VisionModel(Blip2VisionConfig()).half()
    parameters = sum(parameter.numel() for parameter in model.parameters())
    model.save_pretrained(tmp_path / "weights", max_shard_size="1GB")
    del model
    seconds, gib = run_alone(EMBED, tmp_path)
    print(f"\nBLIP-2 ViT-g: {parameters / 1e6:.0f} M parameters, {seconds:.2f} s a crop, {gib:.1f} GiB")
