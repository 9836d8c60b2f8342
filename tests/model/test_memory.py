"""Labelling a long recording takes no more memory than labelling a short one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.generated_videos import scene, with_arm, write_video
from tests.tiny_grounding_dino import write_hub_model

ROOT = Path(__file__).parents[2]
SHORT_S, LONG_S = 30, 240
FRAME_MIB = 960 * 540 * 3 / 2**20
LABEL = """
import resource, sys
from dataclasses import replace
from pathlib import Path
import yaml
from lineact.bench_label import labelled
from lineact.detect import DetectParams
from lineact.ingest import IngestParams
from lineact.settings import from_mapping
settings = yaml.safe_load(Path(sys.argv[3]).read_text())
dino = dict(prompt=["hand"], text_threshold=0.2, score_floor=0.2, batch_size=4, weights=sys.argv[2], revision="main")
dino |= {"precision": "float32", "engine": sys.argv[4]}
detect = settings["detect"] | {"backend": "grounding_dino", "grounding_dino": dino}
run = labelled(
    Path(sys.argv[1]),
    1.0,
    from_mapping(IngestParams, settings["ingest"] | {"label_fps": 2.0, "duplicate_memory": 0}, "config"),
    from_mapping(DetectParams, detect, "config"),
    sifted=True,
)
print(run.images, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)
"""


def _label(path: Path, weights: Path, engine: str) -> tuple[int, float]:
    """Frames that the network saw, and the process' greatest memory in MiB."""
    command = [sys.executable, "-c", LABEL, str(path), str(weights), str(ROOT / "conf" / "config.yaml"), engine]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    images, mib = done.stdout.split()[-2:]
    return int(images), float(mib)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["torch", "auto"])
def test_eight_times_the_video_takes_as_much_memory(tmp_path, engine):
    big = np.kron(scene(), np.ones((3, 3, 1), np.uint8))
    pictures = [with_arm(big, (100 + 40 * step, 200 + 15 * step), 120) for step in range(20)]
    weights = write_hub_model(tmp_path / "weights")
    peaks = {}
    for seconds in (SHORT_S, LONG_S):
        path = write_video(tmp_path / f"{seconds}.mp4", [pictures[index % 20] for index in range(seconds * 10)])
        images, peaks[seconds] = _label(path, weights, engine)
        assert images >= 1.5 * seconds
    told = ", ".join(f"{seconds} s of video {mib:.0f} MiB" for seconds, mib in peaks.items())
    print(f"\npeak memory, engine {engine}: {told}")
    assert peaks[LONG_S] - peaks[SHORT_S] < 40 * FRAME_MIB  # of some 420 labelled frames more
