"""One choice trained on one line with one seed, and asked about the line's test crops: once, then it is kept.

A trial's folder is named by all that its weights depend on, so that a killed comparison goes on, a further choice
trains alone, and a teacher that is compared itself is trained once for both.
"""

import dataclasses
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lineact.classifiers.settings import ClassifierParams
from lineact.compare.classifiers.heldout import HeldOutCrops
from lineact.files import cache_folder, write_json, write_whole
from lineact.training.state import EpochRecord

if TYPE_CHECKING:
    import torch

    from lineact.training.classifier import ClassifierSpec

CODE_VERSION = 2  # raise it where a change of the code changes weights: older trials are then left alone
KIND = "compare_classifiers"  # of the cache
BEST, EARLY = "best", "early"
FACTS = "trained.json"


@dataclass(frozen=True)
class Choice:
    """A way to make a classifier.

    Attributes:
        name: of its file in conf/classifier.
        params: its settings.
        start: folder or hub name of the weights it starts from; None for random ones.
        start_key: changes with the start's bytes; None for random weights.
        pretraining_crops: how many pictures the start saw; None where lineact did not train it.
        teach_epochs: the best of its first so many epochs is kept to teach; None where it teaches nobody.
        teacher: the choice that teaches it.
    """

    name: str
    params: ClassifierParams
    start: str | None
    start_key: str | None
    pretraining_crops: int | None
    teach_epochs: int | None = None
    teacher: "Choice | None" = None


@dataclass(frozen=True)
class Line:
    """What a line trains and tests with.

    Attributes:
        name: of the line.
        labels: class names, NG last.
        crops: LABELLED_CROPS table with the splits train and val.
        crops_sha256: of that file.
        split_gap_s: seconds between these.
        held_out: test crops.
    """

    name: str
    labels: tuple[str, ...]
    crops: Path
    crops_sha256: str
    split_gap_s: float
    held_out: HeldOutCrops


@dataclass(frozen=True)
class Facts:
    """What is written down of a training.

    Attributes:
        train_s: seconds of its epochs.
        images_per_s: training crops a second; None where nothing was trained.
        parameters: how many.
        trainable_share: of them, 0 to 1.
        from_scratch: whether it began with random weights.
        best_epoch: whose weights are taken, from 1; 0 where nothing was trained.
        val_macro_f1: of that epoch, on the validation crops; None where nothing was trained.
        train_crops: how many.
        val_crops: how many.
    """

    train_s: float
    images_per_s: float | None
    parameters: int
    trainable_share: float
    from_scratch: bool
    best_epoch: int
    val_macro_f1: float | None
    train_crops: int
    val_crops: int


@dataclass(frozen=True)
class Trial:
    """A trained and tested choice.

    Attributes:
        choice: its name.
        line: the line's name.
        seed: of the training.
        folder: of its weights.
        facts: of the training.
        teacher_s: seconds of its teacher's epochs; 0 without one.
        history: one record per epoch.
        logits: float32, N x K, on the line's test crops.
    """

    choice: str
    line: str
    seed: int
    folder: Path
    facts: Facts
    teacher_s: float
    history: tuple[EpochRecord, ...]
    logits: np.ndarray


def run_trial(choice: Choice, line: Line, seed: int) -> Trial:
    """Trains a choice and asks it about the test crops, each where that was not done before.

    Args:
        choice: with its teacher, which is trained first where it was not before.
        line: the line.
        seed: of the choice and of its teacher.

    Raises:
        ConfigError: where the settings do not fit the network or the labels.
        InputError: on crops or weights that cannot be used.
        TrainingDivergedError: where a loss is no longer finite.
    """
    folder = _trained(choice, line, seed)
    answers = folder / f"logits_{line.held_out.sha256[:32]}.npy"
    if not answers.is_file():
        logits = _ask(folder, line)
        write_whole(answers, lambda temporary: np.save(temporary, logits))
    facts, history = _written(folder)
    teacher_s = 0.0
    if choice.teacher is not None:
        teacher_s = _written(_trained(choice.teacher, line, seed))[0].train_s
    return Trial(choice.name, line.name, seed, folder, facts, teacher_s, history, np.load(answers))


def load_trial(folder: Path, name: str = BEST) -> tuple["torch.nn.Module", "ClassifierSpec"]:
    """A trial's network in evaluation mode, on the CPU, and what it is."""
    from lineact.training.classifier import load_classifier

    return load_classifier(folder, name)


def trial_key(choice: Choice, line: Line, seed: int) -> dict[str, object]:
    """All that a trial's weights depend on."""
    return {
        "code": CODE_VERSION,
        "params": asdict(choice.params),
        "start": choice.start_key,
        "teach_epochs": choice.teach_epochs,
        "teacher": None if choice.teacher is None else trial_key(choice.teacher, line, seed),
        "labels": line.labels,
        "crops": line.crops_sha256,
        "split_gap_s": line.split_gap_s,
        "seed": seed,
    }


def _trained(choice: Choice, line: Line, seed: int) -> Path:
    """The folder of a choice's weights, filled where it was not."""
    from lineact.classifiers.train import train_classifier
    from lineact.training.classifier import save_classifier
    from lineact.training.crops import load_splits

    folder = cache_folder(KIND, trial_key(choice, line, seed))
    if (folder / FACTS).is_file():
        return folder
    teacher = None
    if choice.teacher is not None:
        teacher = _teacher(_trained(choice.teacher, line, seed))
    print(f"{choice.name} on {line.name}, seed {seed}: training", flush=True)
    train, val = load_splits(line.crops, line.labels, _stored_px(line.crops), line.split_gap_s)
    trained = train_classifier(
        choice.params,
        line.labels,
        seed,
        train,
        val,
        choice.start,
        teacher,
        folder / "training",
        teach_epochs=choice.teach_epochs,
    )
    save_classifier(folder, BEST, trained.model, trained.spec)
    if trained.early is not None:
        save_classifier(folder, EARLY, trained.early, trained.spec)
    best = trained.history[trained.best_epoch - 1] if trained.history else None
    facts = Facts(
        train_s=trained.train_s,
        images_per_s=trained.images_per_s,
        parameters=trained.parameters,
        trainable_share=trained.trainable_share,
        from_scratch=trained.from_scratch,
        best_epoch=trained.best_epoch,
        val_macro_f1=None if best is None else best.val_macro_f1,
        train_crops=len(train),
        val_crops=len(val),
    )
    history = [dataclasses.asdict(record) for record in trained.history]
    write_json(folder / FACTS, {"facts": asdict(facts), "history": history})  # last: it says that all is there
    shutil.rmtree(folder / "training", ignore_errors=True)  # optimiser and checkpoints: as large as the weights again
    return folder


def _written(folder: Path) -> tuple[Facts, tuple[EpochRecord, ...]]:
    written = json.loads((folder / FACTS).read_text())
    return Facts(**written["facts"]), tuple(EpochRecord(**record) for record in written["history"])


def _teacher(folder: Path) -> Any:
    from lineact.classifiers.distillation import Teacher

    return Teacher(*load_trial(folder, EARLY if (folder / f"{EARLY}.json").is_file() else BEST))


def _ask(folder: Path, line: Line) -> np.ndarray:
    from lineact.training.classifier import predict_logits, training_device

    model, spec = load_trial(folder)
    images_rgb = line.held_out.images_rgb(spec.preprocessing.side_px)
    return predict_logits(model.to(training_device()), images_rgb, spec.preprocessing).numpy()


def _stored_px(crops: Path) -> int:
    """Side of the stored crops: networks scale from these."""
    import pyarrow.parquet as pq

    from lineact.png import decode_png

    with pq.ParquetFile(crops) as table:
        batch = next(table.iter_batches(1, columns=["crop_png"]))
    return decode_png(batch["crop_png"][0].as_py()).shape[1]
