"""Rows of numbers in time for every recording of a line: what its localiser sees of it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from lineact.temporal.features import ClipParams, write_features
from lineact.temporal.features.extraction import Extraction, extract_once
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


def extract_line(params: FeaturesParams, bundle: Path, videos: pa.Table, raw: Path, out: Path) -> Iterator[Extraction]:
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
        write_features(features_path(out, name), extraction.features)
        yield extraction


def extraction_metrics(extractions: Iterable[Extraction]) -> dict[str, float | int | None]:
    """Flat numbers for `metrics.json`."""
    done = list(extractions)
    video_s = sum(one.features.duration_s for one in done)
    return {
        "recordings": len(done),
        "rows": sum(len(one.features.times_s) for one in done),
        "row_numbers": done[0].features.values.shape[1] if done else None,
        "video_s": video_s,
        "real_time_factor": sum(one.seconds for one in done) / video_s if done else None,
        "memory_peak_mb": max((one.peak_memory_mb for one in done), default=None),
    }
