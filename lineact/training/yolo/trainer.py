"""ultralytics' trainer with state that survives a kill exactly."""

import json
import logging
import math
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from ultralytics.data.dataset import YOLODataset
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.tasks import DetectionModel
from ultralytics.utils import LOGGER

from lineact.errors import InputError
from lineact.files import write_whole
from lineact.foundation.yolov5 import STAGE_ENDS, load_yolov5, size_of
from lineact.training.loop import PROGRESS_EVERY_S, TrainingDivergedError

if TYPE_CHECKING:
    from lineact.train_detector import TrainDetectorParams

STATE_FILE = "state.safetensors"
BEST_FILE = "best.safetensors"
COLUMNS = {  # ultralytics' name -> the column of curves.csv
    "train/box_loss": "train_box_loss",
    "train/cls_loss": "train_class_loss",
    "train/dfl_loss": "train_dfl_loss",
    "val/box_loss": "val_box_loss",
    "val/cls_loss": "val_class_loss",
    "val/dfl_loss": "val_dfl_loss",
    "metrics/precision(B)": "val_precision",
    "metrics/recall(B)": "val_recall",
    "metrics/mAP50(B)": "val_map50",
    "metrics/mAP50-95(B)": "val_map50_95",
    "judged": "val_judged",
}
AVERAGE_DECAY, AVERAGE_RAMP_STEPS = 0.98, 50  # ultralytics' ramp takes 2,000 steps: a line's training has a few hundred


def load_start(start: str, size: str) -> DetectionModel:
    """The detector that training starts from, with one class.

    Args:
        start: a folder with detector.yaml and model.safetensors.
        size: which size it must be: n, s or m.

    Returns:
        The module, float32; of another number of classes the class outputs start at random.

    Raises:
        InputError: where there are no such weights, or they are of another size.
    """
    model = load_yolov5(start)
    found = size_of(model)
    if found != size:
        raise InputError(
            f"weights {start!r}: expected a YOLOv5 of size {size} (train_detector.size), found one of size {found}; "
            f"ways out: the weights' own size (n, s or m), or weights of size {size} (`hub_model: yolov5{size}u.pt`)"
        )
    return model


# A model, which it leaves alone, to what it is worth, more is better, and the standard error of that.
Judge = Callable[[DetectionModel], tuple[float, float]]


class HandTrainer(DetectionTrainer):
    """Differs from ultralytics' trainer in its state, and in what the best epoch is.

    ultralytics keeps half-precision averages and no random state, so a resumed run is another run; and it writes its
    file in place, so a kill can leave half of one. Here every tensor is kept as it is, in one file that is renamed into
    place, and the epoch's number alone decides what is random in it. An epoch is judged as the release is, not by
    mAP50-95, nine tenths of ultralytics' fitness: that asks for tight boxes, which labels by motion are not. The latest
    epoch within one standard error of the best is kept (Breiman's rule): on a few dozen validation images the best is
    chance, and later weights know more of the line.
    """

    # ultralytics sets these to None before it knows them.
    model: Any
    ema: Any
    optimizer: Any
    loss: Any
    fitness: Any
    best_fitness: Any

    def __init__(self, overrides: dict[str, Any], start: DetectionModel, judge: Judge, folder: Path) -> None:
        super().__init__(overrides=overrides)
        self.start = start
        self.judge = judge
        self.folder = folder
        self.epoch_rows: list[dict[str, float]] = []
        self.best_epoch = 0
        self.is_kept = False
        self.epoch_started_s = self.told_s = time.monotonic()

    def setup_model(self) -> None:
        """Takes the start as it is, on all cores: ultralytics leaves one of two idle."""
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        self.model = self.start

    def build_dataset(self, img_path: str, mode: str = "train", batch: int | None = None) -> YOLODataset:
        """Rectangular images without padding beyond the grid: what the runtime will see."""
        return YOLODataset(
            img_path=img_path,
            imgsz=self.args.imgsz,
            batch_size=batch,
            augment=mode == "train",
            hyp=self.args,
            rect=True,
            stride=32,
            pad=0.0,
            task="detect",
            data=self.data,
        )

    def resume_training(self, ckpt: None) -> None:  # noqa: ARG002  ultralytics' own checkpoint
        """Goes on from the state file where there is one."""
        self.ema.decay = lambda steps: AVERAGE_DECAY * (1 - math.exp(-steps / AVERAGE_RAMP_STEPS))
        path = self.folder / STATE_FILE
        if not path.exists():
            return
        state, tensors = read_state(path), load_file(path)
        self.model.load_state_dict(_under(tensors, "model."))
        self.ema.ema.load_state_dict(_under(tensors, "average."))
        self.ema.updates = state["updates"]
        slots: dict[int, dict[str, torch.Tensor]] = {}
        for name, value in _under(tensors, "optimiser.").items():
            index, slot = name.split(".", 1)
            slots.setdefault(int(index), {})[slot] = value
        self.optimizer.load_state_dict({"state": slots, "param_groups": self.optimizer.state_dict()["param_groups"]})
        self.best_fitness, self.best_epoch = state["best_fitness"], state["best_epoch"]
        self.stopper.best_fitness, self.stopper.best_epoch = state["stopper"]
        self.epoch_rows = state["rows"]
        self.start_epoch = len(self.epoch_rows)
        print(f"goes on after epoch {self.start_epoch}", flush=True)

    def validate(self) -> tuple[dict[str, float], float]:
        """Figures for the curves, and what the averaged weights are worth."""
        metrics = self.validator(self)  # type: ignore[misc]  # None before the training is set up
        del metrics["fitness"]
        worth, error = self.judge(self.ema.ema)
        metrics["judged"] = worth
        self.best_fitness = max(self.best_fitness or 0.0, worth)
        self.is_kept = worth >= self.best_fitness - error
        return metrics, worth

    def save_model(self) -> bool:
        """Writes the averages worth keeping, then the whole state."""
        average = {name: value.cpu().contiguous() for name, value in self.ema.ema.state_dict().items()}
        if self.is_kept:
            self.best_epoch = self.epoch + 1
            write_whole(self.folder / BEST_FILE, lambda temporary: save_file(average, temporary))
        tensors = {f"model.{name}": value.cpu().contiguous() for name, value in self.model.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in average.items()}
        for index, slots in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{slot}": value.cpu() for slot, value in slots.items()}
        state = {
            "updates": self.ema.updates,
            "best_epoch": self.best_epoch,
            "best_fitness": float(self.best_fitness),
            "stopper": [float(self.stopper.best_fitness), self.stopper.best_epoch],
            "rows": self.epoch_rows,
            "stopped": bool(self.stop),
        }
        metadata = {"state": json.dumps(state)}
        write_whole(self.folder / STATE_FILE, lambda temporary: save_file(tensors, temporary, metadata))
        return True

    def save_metrics(self, metrics: dict[str, float]) -> None:
        """Keeps an epoch's figures and prints its line."""
        row = {column: float(metrics[name]) for name, column in COLUMNS.items()}
        self.epoch_rows.append({"epoch": self.epoch + 1, **row})
        print(
            f"epoch {self.epoch + 1} of at most {self.epochs}: box loss {row['train_box_loss']:.3f}, "
            f"val box loss {row['val_box_loss']:.3f}, precision {row['val_precision']:.3f}, "
            f"recall {row['val_recall']:.3f}, mAP50 {row['val_map50']:.3f}, judged {row['val_judged']:.3f}, "
            f"{time.monotonic() - self.epoch_started_s:.1f} s",
            flush=True,
        )

    def _model_train(self) -> None:
        """Begins an epoch: everything random in it depends on (seed, epoch) alone."""
        super()._model_train()
        self.epoch_started_s = time.monotonic()
        seed = self.args.seed * 100_003 + self.epoch
        random.seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002  ultralytics draws from the global generator
        torch.manual_seed(seed)
        self.train_loader.generator.manual_seed(seed)
        self.train_loader.reset()  # the iterator reads ahead in its order of images

    def _handle_nan_recovery(self, epoch: int) -> bool:
        """Stops instead of trying again: with the same seed the same would happen."""
        if not math.isfinite(float(self.loss.detach())) or not math.isfinite(float(self.fitness)):
            raise TrainingDivergedError(
                f"epoch {epoch + 1}: expected a finite loss, found {float(self.loss.detach())}; set a lower lr (now "
                f"{self.args.lr0}); the state of the last whole epoch is kept"
            )
        return False

    def run_callbacks(self, event: str) -> None:
        """Calls none of ultralytics' integrations; tells where it is within a long epoch."""
        if event == "on_train_batch_end" and time.monotonic() - self.told_s > PROGRESS_EVERY_S:
            self.told_s = time.monotonic()
            print(f"epoch {self.epoch + 1}: loss {float(self.loss.detach()):.3f}", flush=True)

    def final_eval(self) -> None:
        """Left to `write_detector`, which needs no trainer."""


def fit_detector(
    params: "TrainDetectorParams", start: DetectionModel, judge: Judge, data_yaml: Path, folder: Path
) -> None:
    """Trains until epochs or patience run out; goes on where an earlier call was killed.

    Args:
        params: the stage's settings.
        start: changed in place.
        judge: which epoch is the best, and whether it gets better.
        data_yaml: of `copy_data`.
        folder: for the state; afterwards holds BEST_FILE, the averaged weights of the best epoch.
    """
    path = folder / STATE_FILE
    if path.exists() and read_state(path)["stopped"]:
        return
    LOGGER.setLevel(logging.WARNING)
    overrides = {
        "model": "yolov5n.yaml",  # a name it accepts; the start replaces it
        "data": str(data_yaml),
        "save_dir": str(folder / "run"),
        "imgsz": params.long_side_px,
        "epochs": params.epochs,
        "patience": params.patience,
        "batch": params.batch_size,
        "nbs": params.batch_size,  # a step per batch: no gradients carried over an epoch's end
        "optimizer": "AdamW",
        "lr0": params.lr,
        "lrf": params.final_lr_share,
        "cos_lr": True,
        "momentum": 0.9,
        "warmup_epochs": params.warmup_epochs,
        "warmup_bias_lr": 0.0,
        "freeze": STAGE_ENDS[params.frozen_stages],
        "rect": True,
        # Nothing of these is what a fixed camera ever sees.
        **dict.fromkeys(("mosaic", "mixup", "cutmix", "copy_paste"), 0.0),  # pictures pasted together
        **dict.fromkeys(("degrees", "shear", "perspective", "flipud", "bgr", "multi_scale"), 0.0),
        "close_mosaic": 0,
        "translate": params.shift,
        "scale": params.scale,
        "hsv_h": params.hue,
        "hsv_s": params.saturation,
        "hsv_v": params.brightness,
        "fliplr": params.flip,
        "amp": False,
        "seed": params.seed,
        "deterministic": True,
        "plots": False,
        "exist_ok": True,
        "device": "0" if torch.cuda.is_available() else "cpu",
    }
    HandTrainer(overrides, start, judge, folder).train()


def read_state(path: Path) -> dict[str, Any]:
    """What a training's state file says beside its tensors: rows of epochs, the best one, whether it stopped."""
    with safe_open(path, "pt") as stream:
        return json.loads(stream.metadata()["state"])


def _under(tensors: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
