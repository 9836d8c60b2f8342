"""`.lineact/cache`: a folder's name is a hash, so what is in it must tell whose it is.

What cannot be shown to be of another recording goes: it can be made again, and nobody could find it later.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lineact.errors import InputError
from lineact.files import CACHE
from lineact.forget import Recording
from lineact.schema import BOXES, EMBEDDED, VIDEOS, read_table
from lineact.temporal.features import read_features

# Weights and their training's state, and what was rendered: no recording of a line is in it.
STAYS = frozenset(
    {"bench_live", "compare_classifiers", "distil", "foundation", "foundation_crops", "foundation_named_scenes"}
    | {"foundation_scenes", "foundation_starts", "openvino", "simulate", "temporal_clips", "temporal_starts"}
    | {"train_detector", "train_localizer", "train_teacher"}
)
# Crops and frames of many recordings together, or answers on them; made again where they are asked for.
GOES = frozenset({"compare", "decoded_crops", "folds", "holdout_crops"})
_BOX = ("x1", "y1", "x2", "y2", "score")


class Known(NamedTuple):
    """What the lines' tables tell of their recordings.

    Attributes:
        boxes: rows of `_BOX` as bytes, by recording.
        crops: hashes of crops, by recording; plain ones may be of several.
        names: of recordings, with and without suffix, by recording.
    """

    boxes: Mapping[str, np.ndarray]
    crops: Mapping[str, set[str]]
    names: Mapping[str, frozenset[str]]


def known_recordings(data: Path) -> Known:
    """Reads what the stages `ingest`, `detect` and `embed` of all lines wrote; what is missing there is not known.

    Args:
        data: the folder with a folder for each line.
    """
    boxes: dict[str, np.ndarray] = {}
    crops: dict[str, set[str]] = {}
    names: dict[str, frozenset[str]] = {}
    for table in _tables(data, "detect/boxes.parquet", BOXES, ("video_sha256", *_BOX)):
        of_row, rows = np.array(table["video_sha256"].to_pylist()), _rows_of(table)
        boxes |= {sha256: rows[of_row == sha256] for sha256 in np.unique(of_row)}
    for table in _tables(data, "embed/crops.parquet", EMBEDDED, ("video_sha256", "crop_sha256")):
        for sha256, crop in zip(table["video_sha256"].to_pylist(), table["crop_sha256"].to_pylist(), strict=True):
            crops.setdefault(sha256, set()).add(crop)
    for table in _tables(data, "ingest/videos.parquet", VIDEOS, ("video_sha256", "name")):
        for sha256, name in zip(table["video_sha256"].to_pylist(), table["name"].to_pylist(), strict=True):
            names[sha256] = names.get(sha256, frozenset()) | names_of(name)
    return Known(boxes, crops, names)


def _tables(data: Path, name: str, schema: pa.Schema, columns: tuple[str, ...]) -> Iterator[pa.Table]:
    """That of each line; one of another version, or half there, tells nothing."""
    for path in sorted(data.glob(f"*/{name}")):
        with suppress(InputError):
            yield read_table(path, schema, columns)


def names_of(name: str) -> frozenset[str]:
    """What a recording is called: its path below the raw folder, with and without suffix."""
    return frozenset({name, str(Path(name).with_suffix(""))})


def forget_caches(recording: Recording, known: Known) -> dict[str, int]:
    """Removes what is, or may be, of the recording.

    Args:
        recording: which.
        known: see `known_recordings`; read before the lines' tables are removed.

    Returns:
        How many folders went, by kind.
    """
    removed: dict[str, int] = {}
    for kind in sorted(path for path in CACHE.glob("*") if path.is_dir() and path.name not in STAYS):
        is_of_another = _TESTS.get(kind.name)
        for folder in sorted(kind.iterdir()):
            if is_of_another is None or not _holds(is_of_another, folder, recording, known):
                shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
                removed[kind.name] = removed.get(kind.name, 0) + 1
    return removed


Test = Callable[[Path, Recording, Known], bool]


def _holds(test: Test, folder: Path, recording: Recording, known: Known) -> bool:
    try:
        return test(folder, recording, known)
    except (OSError, ValueError, KeyError, InputError):  # half written, or of another version
        return False


def _is_another_ingest(folder: Path, recording: Recording, _: Known) -> bool:
    told = set(read_table(folder / "video.parquet", VIDEOS, ("video_sha256",))["video_sha256"].to_pylist())
    return bool(told) and recording.sha256 not in told


def _is_another_detect(folder: Path, recording: Recording, known: Known) -> bool:
    rows = _rows_of(pq.read_table(folder / "boxes.parquet"))
    if not len(rows):  # frames on which nothing was found: nothing of them is here
        return True
    of = {sha256 for sha256, boxes in known.boxes.items() if np.isin(rows, boxes).all()}
    return bool(of) and recording.sha256 not in of


def _is_another_embed(folder: Path, recording: Recording, known: Known) -> bool:
    hashes: set[str] = set()
    for path in folder.glob("*.npz"):
        with np.load(path) as shard:
            hashes |= set(shard["hashes"].tolist())
    shared = {sha256: len(hashes & crops) for sha256, crops in known.crops.items()}
    own = shared.pop(recording.sha256, 0)
    # of other settings there may be crops, too, that no table has any more
    return max(shared.values(), default=0) > max(own, len(hashes) / 2)


def _is_another_features(folder: Path, recording: Recording, known: Known) -> bool:
    name = read_features(folder / "features.npz").video
    others = (names for sha256, names in known.names.items() if sha256 != recording.sha256)
    return name not in recording.names and any(name in names for names in others)


def _rows_of(table: pa.Table) -> np.ndarray:
    """One value for each row's box and score, to be compared with others as a whole."""
    columns = [table[name].to_numpy().astype(np.float32) for name in _BOX]
    rows = np.ascontiguousarray(np.stack(columns, axis=1))
    return rows.view(f"V{rows.itemsize * len(_BOX)}").ravel()


_TESTS: dict[str, Test] = {
    "detect": _is_another_detect,
    "embed": _is_another_embed,
    "features": _is_another_features,
    "ingest": _is_another_ingest,
}
TOLD_APART = frozenset(_TESTS)
