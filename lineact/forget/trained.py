"""What was made of a recording in a data set, and which of its pictures a bundle stores."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from lineact.bundle.manifest import manifest_in
from lineact.bundle.processing import fit_into, read_png
from lineact.forget import Recording
from lineact.schema import HOLDOUT_BOXES, LABELLED_CROPS, read_table

Files = Mapping[str, Path]  # path below a data set's folder to where its content lies


class Use(NamedTuple):
    """How many crops and frames of a recording a data set has.

    Attributes:
        train_crops: that taught the classifiers.
        val_crops: that chose among their epochs.
        train_frames: that taught the detector.
        val_frames: that chose among its epochs.
        held_out_frames: on which the release was measured.
    """

    train_crops: int
    val_crops: int
    train_frames: int
    val_frames: int
    held_out_frames: int

    def words(self) -> str:
        """In a sentence's part."""
        counts = zip(self, (name.replace("_", " ") for name in self._fields), strict=True)
        return ", ".join(f"{count} {name}" for count, name in counts if count) or "nothing of it"


def use_of(data_set: Files, recording: Recording) -> Use:
    """Counts what a data set has of the recording.

    Raises:
        InputError: where a table cannot be read.
    """
    crops = Counter(split for split, _ in _crops_of(data_set, recording))
    pictures = [PurePosixPath(name) for name in data_set if PurePosixPath(name).name.startswith(recording.key)]
    frames = Counter(path.parent.name for path in pictures if path.parent.parent.name == "images")
    held_out: set[float] = set()
    if "holdout.parquet" in data_set:
        table = read_table(data_set["holdout.parquet"], HOLDOUT_BOXES, ("video_sha256", "pts_s"))
        rows = zip(table["video_sha256"].to_pylist(), table["pts_s"].to_pylist(), strict=True)
        held_out = {pts_s for sha256, pts_s in rows if sha256 == recording.sha256}
    return Use(crops["train"], crops["val"], frames["train"], frames["val"], len(held_out))


def stored_pictures(bundle: Path, data_set: Files, recording: Recording) -> list[str]:
    """Crops and frames of the recording that a bundle stores, to check itself on them at each station.

    Args:
        bundle: its folder.
        data_set: that it was made from.
        recording: which.

    Returns:
        The files' names.

    Raises:
        InputError: where the bundle's manifest or the data set cannot be read.
    """
    manifest = manifest_in(bundle / "manifest.json")
    crops = {png for _, png in _crops_of(data_set, recording)}
    found = [sample.file for sample in manifest.crops if (bundle / sample.file).read_bytes() in crops]
    own = [data_set[name] for name in data_set if "/images/" in name and PurePosixPath(name).name[:12] == recording.key]
    frames = [fit_into(read_png(path), manifest.detector.input_wh)[0] for path in own]
    for sample in manifest.frames:
        stored = read_png(bundle / sample.file)
        if any(np.array_equal(stored, frame) for frame in frames):
            found.append(sample.file)
    return found


def _crops_of(data_set: Files, recording: Recording) -> list[tuple[str, bytes]]:
    if "crops.parquet" not in data_set:
        return []
    table = read_table(data_set["crops.parquet"], LABELLED_CROPS, ("video_sha256", "split", "crop_png"))
    rows = zip(*(table[name].to_pylist() for name in table.column_names), strict=True)
    return [(split, png) for sha256, split, png in rows if sha256 == recording.sha256]
