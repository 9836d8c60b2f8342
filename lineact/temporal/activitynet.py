"""ActivityNet's JSON files: ground truth ("database") and predictions ("results")."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lineact.errors import InputError
from lineact.files import write_json
from lineact.temporal.segments import Row, Segments, faults_of, segments_of

GREATEST = 1e15  # a number beyond is neither seconds nor a score
SHOWN = 10  # faults that an error names
_TRUTH_FORM = '{"database": {VIDEO: {"duration": S, "annotations": [{"segment": [START_S, END_S], "label": ACTION}]}}}'
_RESULTS_FORM = '{"results": {VIDEO: [{"segment": [START_S, END_S], "label": ACTION, "score": SCORE}]}}'


@dataclass(frozen=True)
class GroundTruth:
    """What persons, or the simulator, say.

    Attributes:
        segments: of all videos, scores 1.
        videos: names of all videos, those without an action too.
        duration_s: length of those whose file tells it.
    """

    segments: Segments
    videos: tuple[str, ...]
    duration_s: Mapping[str, float]


def read_ground_truth(path: Path, subset: str | None = None) -> GroundTruth:
    """Reads ground truth.

    Args:
        path: of the file.
        subset: e.g. "validation": others are left out; None takes all.

    Raises:
        InputError: naming the places that are not as expected.
    """
    database = _mapping(_json(path, _TRUTH_FORM).get("database"), f"{path}: database", _TRUTH_FORM)
    rows: list[Row] = []
    duration_s: dict[str, float] = {}
    videos = []
    for video, entry in database.items():
        entry = _mapping(entry, f"{path}: {video}", _TRUTH_FORM)
        if subset is not None and entry.get("subset") != subset:
            continue
        videos.append(video)
        if "duration" in entry:
            duration_s[video] = _number(entry["duration"], f"{path}: {video}: duration")
        rows += _rows(video, entry.get("annotations"), f"{path}: {video}", _TRUTH_FORM, scored=False)
    if not videos:
        found = sorted({str(entry.get("subset")) for entry in database.values() if isinstance(entry, dict)})
        raise InputError(f"{path}: expected videos of the subset {subset}, found {', '.join(found) or 'no video'}")
    segments = segments_of(rows)
    _refuse(path, faults_of(segments, duration_s))
    return GroundTruth(segments, tuple(videos), duration_s)


def read_predictions(path: Path, duration_s: Mapping[str, float] | None = None) -> Segments:
    """Reads predictions.

    Args:
        path: of the file.
        duration_s: length of videos; a segment beyond is refused.

    Raises:
        InputError: naming the places that are not as expected.
    """
    results = _mapping(_json(path, _RESULTS_FORM).get("results"), f"{path}: results", _RESULTS_FORM)
    rows: list[Row] = []
    for video, found in results.items():
        rows += _rows(video, found, f"{path}: {video}", _RESULTS_FORM, scored=True)
    segments = segments_of(rows)
    _refuse(path, faults_of(segments, duration_s or {}))
    return segments


def write_ground_truth(path: Path, truth: GroundTruth, subset: str) -> None:
    """Writes what `read_ground_truth` reads."""
    database: dict[str, dict[str, Any]] = {video: {"subset": subset, "annotations": []} for video in truth.videos}
    for video, length_s in truth.duration_s.items():
        database[video]["duration"] = length_s
    for video, start_s, end_s, label, _ in rows_of(truth.segments):
        database[video]["annotations"].append({"segment": [start_s, end_s], "label": label})
    write_json(path, {"version": "1.3", "database": database})


def write_predictions(path: Path, predictions: Segments) -> None:
    """Writes what `read_predictions` reads."""
    results: dict[str, list[dict[str, Any]]] = {}
    for video, start_s, end_s, label, score in rows_of(predictions):
        results.setdefault(video, []).append({"segment": [start_s, end_s], "label": label, "score": score})
    write_json(path, {"version": "1.3", "results": results, "external_data": {}})


def rows_of(segments: Segments) -> Iterator[Row]:
    """Rows of columns, as Python's own types."""
    columns = (segments.videos, segments.start_s, segments.end_s, segments.labels, segments.scores)
    yield from zip(*(column.tolist() for column in columns), strict=True)


def _rows(video: str, entries: Any, where: str, form: str, *, scored: bool) -> list[Row]:
    if not isinstance(entries, list):
        raise InputError(f"{where}: expected a list as in {form}, found {_shown(entries)}")
    rows = []
    for number, entry in enumerate(entries, 1):
        place = f"{where}: entry {number}"
        entry = _mapping(entry, place, form)
        segment, label = entry.get("segment"), entry.get("label")
        if not isinstance(segment, list) or len(segment) != 2:
            raise InputError(f"{place}: expected segment: [start, end] in seconds, found {_shown(segment)}")
        if not isinstance(label, str) or not label:
            raise InputError(f"{place}: expected the action's name as label, found {_shown(label)}")
        start_s, end_s = (_number(value, f"{place}: segment") for value in segment)
        score = _number(entry.get("score"), f"{place}: score") if scored else 1.0
        rows.append((video, start_s, end_s, label, score))
    return rows


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= GREATEST:
        raise InputError(f"{where}: expected a number, found {_shown(value)}")
    return float(value)


def _mapping(value: Any, where: str, form: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected {form}, found {_shown(value)}")
    return value


def _json(path: Path, form: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path}: expected a JSON file, {form}; found no file") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected JSON, {form}; found something else ({error})") from error
    return _mapping(content, str(path), form)


def _shown(value: Any) -> str:
    text = "nothing" if value is None else json.dumps(value, default=str)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _refuse(path: Path, faults: list[str]) -> None:
    if faults:
        more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise InputError(f"{path}: {'; '.join(faults[:SHOWN])}{more}. Mend or remove these segments")
