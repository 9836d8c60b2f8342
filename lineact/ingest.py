"""Reads recordings into a frame table and sifts which frames are worth labelling."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from lineact.errors import InputError
from lineact.files import cache_folder, sha256_of_file, write_json
from lineact.progress import EVERY_S
from lineact.schema import FRAMES, VIDEOS, is_harvested, read_table, table_of, write_table
from lineact.sift import score_frames, sift
from lineact.video import Frame, VideoFacts, find_videos, other_files, read_frames, video_facts

CODE_VERSION = 3  # raise it where the same video and settings give another table
SHORT_SHARE = 0.95  # a recording that ends before this share of its declared duration was broken off
ROWS_PER_BATCH = 4096
WRITTEN_LAST = "problems.json"  # of a recording's files


@dataclass(frozen=True)
class IngestParams:
    """What makes a frame worth labelling.

    Attributes:
        label_fps: at most so many frames per second are kept.
        changed_by: a pixel has changed where its grey value moved by more than this, after the picture's common shift
            of brightness is taken off; grey levels, 0 to 255.
        min_motion: a frame moves where at least this share of pixels changed since the frame before, 0 to 1.
        still_after_s: a frame is still where no frame this many seconds before or after it moves.
        still_every_s: of still frames one per so many seconds is kept, so that pictures without hands are labelled too.
        min_sharpness_share: a frame is blurred where its sharpness is under this share of the recent median, 0 to 1.
        duplicate_share: a frame repeats an earlier kept one where at most this share of pixels differs, 0 to 1.
        duplicate_memory: how many kept frames a frame is compared with.
        max_bad_share: the stage fails where more than this share of the files cannot be used, 0 to 1.
    """

    label_fps: float
    changed_by: float
    min_motion: float
    still_after_s: float
    still_every_s: float
    min_sharpness_share: float
    duplicate_share: float
    duplicate_memory: int
    max_bad_share: float

    def __post_init__(self) -> None:
        for name in ("label_fps", "still_every_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, found {getattr(self, name)}")
        for name in ("min_motion", "min_sharpness_share", "duplicate_share", "max_bad_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, found {getattr(self, name)}")
        if not 0 <= self.changed_by < 255:
            raise ValueError(f"changed_by must be from 0 to 255, found {self.changed_by}")
        if self.still_after_s < 0:
            raise ValueError(f"still_after_s must not be negative, found {self.still_after_s}")
        if self.duplicate_memory < 0:
            raise ValueError(f"duplicate_memory must not be negative, found {self.duplicate_memory}")


@dataclass(frozen=True)
class Problem:
    """A file that could not be used as it is.

    Attributes:
        name: path below the raw folder.
        kind: "unreadable" (counts as bad), "broken_off" (frames before the break are used), "broken_frames"
            (left out, those around them are used), "copy" (same bytes as another file, left out), "repeated_time"
            (frames without a time of their own are left out), or "other_suffix" (not taken for a video).
        found: what was found, in words.
    """

    name: str
    kind: str
    found: str


@dataclass(frozen=True)
class Ingested:
    """Result of `ingest_videos`: tables of schema VIDEOS and FRAMES, and every problem."""

    videos: pa.Table
    frames: pa.Table
    problems: list[Problem]
    file_count: int


def ingest_videos(raw: Path, params: IngestParams) -> Ingested:
    """Reads every recording of a folder. Finished recordings are kept in the cache, so a killed run goes on.

    Args:
        raw: a folder with videos at any depth, or one video.
        params: the settings.

    Raises:
        InputError: where there is no video, more than `max_bad_share` of them cannot be used, or no frame is left.
    """
    root = raw if raw.is_dir() else raw.parent
    problems = [Problem(_name(path, root), "other_suffix", "not a video's suffix") for path in other_files(raw)]
    paths = find_videos(raw)
    name_of: dict[str, str] = {}
    tables: list[tuple[pa.Table, pa.Table]] = []
    for path in paths:
        name = _name(path, root)
        sha256 = sha256_of_file(path)
        if sha256 in name_of:
            problems.append(Problem(name, "copy", f"the same bytes as {name_of[sha256]}"))
            continue
        name_of[sha256] = name
        try:
            video, frames, found = _ingest_once(path, name, sha256, params)
        except InputError as error:
            problems.append(Problem(name, "unreadable", str(error)))
            continue
        problems.extend(found)
        tables.append((video, frames))
    _refuse_too_many_bad(problems, len(paths), params.max_bad_share, raw)
    videos = pa.concat_tables([video for video, _ in tables])
    return Ingested(videos, pa.concat_tables([frames for _, frames in tables]), problems, len(paths))


def count_metrics(ingested: Ingested) -> dict[str, float | int]:
    """Flat numbers for `metrics.json`: videos, frames by reason, problems by kind."""
    reasons = Counter(ingested.frames["reason"].to_pylist())
    kinds = Counter(problem.kind for problem in ingested.problems)
    metrics: dict[str, float | int] = {
        "files": ingested.file_count,
        "videos": ingested.videos.num_rows,
        "duration_s": float(sum(ingested.videos["duration_s"].to_pylist())),
        "frames": ingested.frames.num_rows,
    }
    metrics |= {f"frames_{reason}": reasons[reason] for reason in REASONS}
    metrics |= {f"files_{kind}": kinds[kind] for kind in FILE_KINDS}
    return metrics


FILE_KINDS = ("unreadable", "broken_off", "broken_frames", "copy", "other_suffix")
REASONS = ("kept", "still", "sampled_out", "blurred", "duplicate")


def ingest_key(name: str, params: IngestParams) -> dict[str, object]:
    """What a recording's tables depend on beside its content.

    Args:
        name: its path below the raw folder.
        params: the settings.
    """
    settings = {key: value for key, value in asdict(params).items() if key != "max_bad_share"}
    kind = {"harvested": True} if is_harvested(name) else {}
    return {"settings": settings, "code": CODE_VERSION, **kind}


def ingested_folder(name: str, sha256: str, params: IngestParams) -> Path:
    """Where the cache keeps a recording's tables.

    Args:
        name: its path below the raw folder.
        sha256: of its content.
        params: the settings.
    """
    return cache_folder("ingest", {"video": sha256, **ingest_key(name, params)})


def is_ingested(folder: Path) -> bool:
    """Whether a recording's tables are there, whole."""
    return (folder / WRITTEN_LAST).is_file()


def ingest_recording(path: Path, name: str, sha256: str, params: IngestParams, folder: Path) -> None:
    """Reads one recording and writes its tables and problems.

    Args:
        path: the file.
        name: its path below the raw folder.
        sha256: of its content.
        params: the settings.
        folder: gets the files; see `ingested_folder`.

    Raises:
        InputError: where the file is no video, or no frame of it decodes.
    """
    facts = video_facts(path)
    frames, found = _read_frame_table(path, name, sha256, facts, params)
    write_table(frames, folder / "frames.parquet", FRAMES)
    write_table(table_of([_video_row(frames, name, sha256, facts)], VIDEOS), folder / "video.parquet", VIDEOS)
    write_json(folder / WRITTEN_LAST, [[problem.kind, problem.found] for problem in found])


def _ingest_once(path: Path, name: str, sha256: str, params: IngestParams) -> tuple[pa.Table, pa.Table, list[Problem]]:
    """One recording's tables, from the cache where it was read before with the same settings."""
    folder = ingested_folder(name, sha256, params)
    if not is_ingested(folder):
        ingest_recording(path, name, sha256, params, folder)
    return _from_cache(folder, name)


def _from_cache(folder: Path, name: str) -> tuple[pa.Table, pa.Table, list[Problem]]:
    import json

    video = read_table(folder / "video.parquet", VIDEOS)
    # The bytes are the same, the file may have been renamed since.
    video = video.set_column(VIDEOS.get_field_index("name"), VIDEOS.field("name"), pa.array([name]))
    found = [Problem(name, kind, text) for kind, text in json.loads((folder / WRITTEN_LAST).read_text())]
    return video, read_table(folder / "frames.parquet", FRAMES), found


def _read_frame_table(
    path: Path, name: str, sha256: str, facts: VideoFacts, params: IngestParams
) -> tuple[pa.Table, list[Problem]]:
    source = _Source(path, name)
    batches, rows = [], []
    sifted = sift(score_frames(source.frames(), params.changed_by), params)
    for row in map(_keep, sifted) if is_harvested(name) else sifted:
        rows.append({"video_sha256": sha256, **row})
        if len(rows) == ROWS_PER_BATCH:  # as columns a row takes 60 bytes: an hour of video 7 MB
            batches.append(table_of(rows, FRAMES))
            rows = []
    batches.append(table_of(rows, FRAMES))
    table = pa.concat_tables(batches)
    if not table.num_rows:
        raise InputError(f"{path}: expected frames, found none that decode ({source.broke_off or 'it is empty'})")
    problems = []
    if source.repeated_times:
        problems.append(Problem(name, "repeated_time", f"{source.repeated_times} frames have no time of their own"))
    if source.broken_s:
        found = f"{len(source.broken_s)} frames do not decode, the first near {source.broken_s[0]:.1f} s"
        problems.append(Problem(name, "broken_frames", found))
    end_s = table["pts_s"][-1].as_py()
    short = facts.duration_s is not None and end_s - facts.start_s < SHORT_SHARE * facts.duration_s - 1.0 / facts.fps
    if source.broke_off or short:
        declared = "unknown" if facts.duration_s is None else f"{facts.duration_s:.2f} s"
        problems.append(
            Problem(name, "broken_off", f"ends at {end_s:.2f} s, declared {declared}. {source.broke_off}".strip())
        )
    return table, problems


def _keep(row: dict) -> dict:
    """Frames that are crops are all kept: each is there because a station was unsure of it."""
    return row | {"kept": True, "reason": "kept", "duplicate_of": None}


class _Source:
    """A recording's frames up to where it breaks off, with a note of what was wrong."""

    def __init__(self, path: Path, name: str) -> None:
        self.path, self.name = path, name
        self.broke_off = ""
        self.repeated_times = 0
        self.broken_s: list[float] = []

    def frames(self) -> Iterator[Frame]:
        told_at, last_s = time.monotonic(), -np.inf
        try:
            for frame in read_frames(self.path, broken_pts_s=self.broken_s):
                if frame.pts_s <= last_s:  # a frame is addressed by its time
                    self.repeated_times += 1
                    continue
                last_s = frame.pts_s
                yield frame
                if time.monotonic() - told_at > EVERY_S:
                    told_at = time.monotonic()
                    print(f"ingest: {self.name}: {frame.index + 1} frames, {frame.pts_s:.0f} s read", flush=True)
        except InputError as error:
            self.broke_off = str(error)


def _video_row(frames: pa.Table, name: str, sha256: str, facts: VideoFacts) -> dict:
    pts_s = frames["pts_s"].to_numpy()
    # The last frame is shown for a frame's usual time.
    usual_s = float(np.median(np.diff(pts_s))) if len(pts_s) > 1 else 1.0 / facts.fps
    duration_s = float(pts_s[-1] - pts_s[0] + usual_s)
    return {
        "video_sha256": sha256,
        "name": name,
        "start_s": float(pts_s[0]),
        "duration_s": duration_s,
        "fps": len(pts_s) / duration_s,
        "frame_count": len(pts_s),
        "width_px": frames["width_px"][0].as_py(),
        "height_px": frames["height_px"][0].as_py(),
        "codec": facts.codec,
    }


def _refuse_too_many_bad(problems: list[Problem], file_count: int, max_bad_share: float, raw: Path) -> None:
    bad = [problem for problem in problems if problem.kind == "unreadable"]
    if len(bad) == file_count or len(bad) > max_bad_share * file_count:
        listed = "\n  ".join(problem.found for problem in bad)
        raise InputError(
            f"{raw}: expected at most {max_bad_share:.0%} unusable files (ingest.max_bad_share), found {len(bad)} of "
            f"{file_count}; replace or remove them, or raise the share:\n  {listed}"
        )


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()
