"""Rows of numbers in time for every recording of a line: what its localiser sees of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from lineact.temporal.features import ClipParams, write_features
from lineact.temporal.features.extraction import extract_once
from lineact.temporal.features.opening import ExtractorParams, extractor_of
from lineact.temporal.parts import features_path


@dataclass(frozen=True)
class FeaturesParams:
    """Settings of the stage `features`.

    Attributes:
        extractor: what makes the rows.
        clips: how recordings are cut into clips, each of which becomes a row.
    """

    extractor: ExtractorParams
    clips: ClipParams


class Extracted(NamedTuple):
    """What a recording's rows are and cost, without the rows.

    Attributes:
        video: its name.
        rows: T.
        width: D, numbers of a row.
        video_s: its length.
        seconds: that the extraction took when it was made, decoding included.
        peak_memory_mb: of the process meanwhile, 10^6 bytes.
    """

    video: str
    rows: int
    width: int
    video_s: float
    seconds: float
    peak_memory_mb: float


def extract_line(params: FeaturesParams, bundle: Path, videos: pa.Table, raw: Path, out: Path) -> Iterator[Extracted]:
    """Extracts one recording after the other; finished ones are kept over a kill.

    Args:
        params: settings.
        bundle: the line's own released pair.
        videos: schema VIDEOS.
        raw: folder of the recordings.
        out: gets an .npz for each, see `lineact.temporal.features.write_features`.

    Raises:
        InputError: where a recording is shorter than one clip, or a network has no weights.
    """
    extractor = extractor_of(params.extractor, bundle)
    for name in sorted(videos["name"].to_pylist()):
        extraction = extract_once(extractor, raw / name, name, params.clips)
        features = extraction.features
        write_features(features_path(out, name), features)
        count, width = features.values.shape
        yield Extracted(name, count, width, features.duration_s, extraction.seconds, extraction.peak_memory_mb)


def extraction_metrics(extracted: Sequence[Extracted]) -> dict[str, float | int | None]:
    """Flat numbers for `metrics.json`."""
    video_s = sum(one.video_s for one in extracted)
    return {
        "recordings": len(extracted),
        "rows": sum(one.rows for one in extracted),
        "row_numbers": extracted[0].width if extracted else None,
        "video_s": video_s,
        "real_time_factor": sum(one.seconds for one in extracted) / video_s if extracted else None,
        "memory_peak_mb": max((one.peak_memory_mb for one in extracted), default=None),
    }
