"""Rows of numbers in time for every recording of a line: what its localiser sees of it."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pyarrow as pa

from lineact.bundle import load_bundle
from lineact.files import cache_folder, sha256_of_tree, write_json
from lineact.process_memory import memory_peak_mb
from lineact.temporal.features import ClipParams, read_features, write_features
from lineact.temporal.features.student import extract
from lineact.temporal.parts import features_path

CODE_VERSION = 1  # raise where the rows change


@dataclass(frozen=True)
class FeaturesParams:
    """Settings of the stage `features`.

    Attributes:
        clips: how recordings are cut into clips, each of which becomes a row.
    """

    clips: ClipParams


@dataclass(frozen=True)
class Extracted:
    """A recording's rows on disk.

    Attributes:
        video: its name.
        rows: T.
        width: D, numbers of a row.
        video_s: its length.
        seconds: that the extraction took, decoding included, when it was made.
    """

    video: str
    rows: int
    width: int
    video_s: float
    seconds: float


def extract_line(
    params: FeaturesParams, bundle_folder: Path, videos: pa.Table, raw: Path, out: Path
) -> Iterator[Extracted]:
    """Extracts one recording after the other; finished ones are kept over a kill.

    Args:
        params: settings.
        bundle_folder: the line's own released pair.
        videos: schema VIDEOS.
        raw: folder of the recordings.
        out: gets an .npz for each, see `lineact.temporal.features.write_features`.

    Raises:
        InputError: where a recording is shorter than one clip.
    """
    bundle, digest = load_bundle(bundle_folder), sha256_of_tree(bundle_folder)
    for video in videos.sort_by("name").to_pylist():
        name = video["name"]
        key = {"code": CODE_VERSION, "bundle": digest, "video": video["video_sha256"], **asdict(params.clips)}
        kept = cache_folder("features", key)
        if not (kept / "cost.json").is_file():
            extraction = extract(bundle, raw / name, name, params.clips)
            write_features(kept / "rows.npz", extraction.features)
            write_json(kept / "cost.json", {"seconds": extraction.seconds})
        rows = replace(read_features(kept / "rows.npz"), video=name)
        write_features(features_path(out, name), rows)
        seconds = json.loads((kept / "cost.json").read_text())["seconds"]
        count, width = rows.values.shape
        yield Extracted(name, count, width, rows.duration_s, seconds)


def extraction_metrics(extracted: Iterable[Extracted]) -> dict[str, float | int]:
    """Flat numbers for `metrics.json`."""
    all_of_them = list(extracted)
    video_s = sum(one.video_s for one in all_of_them)
    return {
        "recordings": len(all_of_them),
        "rows": sum(one.rows for one in all_of_them),
        "row_numbers": all_of_them[0].width if all_of_them else 0,
        "video_s": video_s,
        "real_time_factor": sum(one.seconds for one in all_of_them) / video_s if video_s else 0.0,
        "memory_peak_mb": memory_peak_mb(),
    }
