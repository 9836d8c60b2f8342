"""`make forget VIDEO=data/press_a/raw/rec_1.mp4`: a recording and all that was cut from it goes.

Models that were trained on it stay; which they are is told, and written to models/<line>/forgotten.jsonl. What is to be
done is written down before anything is removed, so that the same command goes on where it was killed.
"""

import contextlib
import datetime
import getpass
import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from flows import command_line
from flows.forgotten_objects import Objects, md5_of
from flows.forgotten_runs import Release, forget_artefacts, releases_of
from flows.forgotten_sides import left_sides
from flows.live import EVENTS
from flows.one_run import only_run_of
from flows.pipeline import CONF
from flows.worktrees import leave_worktree
from lineact.errors import ConfigError, InputError
from lineact.files import sha256_of_file, write_bytes, write_json
from lineact.forget import Recording
from lineact.forget.caches import forget_caches, known_recordings, names_of
from lineact.forget.review import forget_answers, forget_decisions, forget_segments
from lineact.review.export import journal_path
from lineact.runtime.locks import folder_lock
from lineact.runtime.station import FEEDBACK, VIDEO
from lineact.scale.store import Store, forget_recording
from lineact.video import VIDEO_SUFFIXES
from tasks.compute import stores_of
from tasks.configure import compose_line

BEGUN = Path(".lineact/forget")
MEASURED = ("evaluate", "evaluate_events", "evaluate_localizer")  # of models/<line>: what was seen on single frames
STAYING = ("raw", "review", "raw.dvc", ".gitignore")  # of data/<line>; the recording and the words on it go one by one
RINGS = (FEEDBACK, VIDEO)  # of a station's folder: what it keeps of pictures
DATA = Path("data")


@dataclass(frozen=True)
class Forgetting:
    """What is to be forgotten, as it is written down before anything is removed.

    Attributes:
        sha256: of the recording's file.
        md5: DVC's hash of it.
        files: line to the recording's paths below its raw folder.
        releases: line to what was released of it.
    """

    sha256: str
    md5: str
    files: dict[str, list[str]]
    releases: dict[str, list[Release]] = field(default_factory=dict)

    @property
    def recording(self) -> Recording:
        """As the library knows it."""
        names = (names_of(name) for found in self.files.values() for name in found)
        return Recording(self.sha256, frozenset().union(*names))


@dataclass
class Removed:
    """What went, in numbers, for the report and the record."""

    counts: dict[str, int] = field(default_factory=dict)
    not_reached: dict[str, str] = field(default_factory=dict)

    def add(self, what: str, count: int) -> None:
        """Counts; nothing that was not there is told."""
        if count:
            self.counts[what] = self.counts.get(what, 0) + count


def forget(video: Path, rings: list[Path]) -> tuple[Forgetting, Removed]:
    """Removes a recording from every line that has it, and all that was cut from it.

    Args:
        video: its file in a line's raw folder, or a copy of it.
        rings: folders of stations (`--out`) on this machine whose kept crops and video are to go, too.

    Raises:
        InputError: where no line has it, or somebody works on a line that has.
        ConfigError: where a line that has it is simulated.
    """
    begun = _begun(video)
    asked = begun or _found(video)
    with contextlib.ExitStack() as held:
        for line in asked.files:
            held.enter_context(only_run_of(line))
        for folder in (*(EVENTS / line for line in asked.files), *rings):
            if folder.is_dir():
                held.enter_context(folder_lock(folder))
        objects = Objects()
        away = {f"DVC's remote {name}": f"did not answer: {words}" for name, words in objects.unreachable.items()}
        removed = Removed(not_reached=away | left_sides())
        if begun is None:
            asked.releases.update({line: releases_of(line, asked.recording, objects) for line in asked.files})
            write_json(_note_of(asked.sha256), asdict(asked))
        _remove(asked, objects, removed, rings)
        if not removed.not_reached:
            for line in asked.files:
                _record(line, asked, removed)
            _note_of(asked.sha256).unlink()
    return asked, removed


def _remove(asked: Forgetting, objects: Objects, removed: Removed, rings: list[Path]) -> None:
    recording, lines = asked.recording, list(asked.files)
    for line in lines:  # first: it is refused while a review page is open
        review = DATA / line / "review"
        removed.add("answers", forget_answers(journal_path(review / "decisions.csv"), recording))
        actions = compose_line(CONF, line)["dataset"]["actions"]
        removed.add("decisions", forget_decisions(review / "decisions.csv", actions, recording))
        removed.add("segments", forget_segments(review / "segments.json", recording))
        leave_worktree(line)  # a scheduled run that failed leaves one, with the line's recordings
    known = known_recordings(DATA)  # tells what in the cache is of others: before the tables go
    for kind, count in forget_caches(recording, known).items():
        removed.add(f"folders of .lineact/cache/{kind}", count)
    for line in lines:
        removed.add("artefacts in MLflow", forget_artefacts(line))
    for folder in (*(EVENTS / line for line in lines), *rings):
        removed.add("kept crops and clips of stations", _empty_rings(folder))
    _remove_objects(asked, objects, removed)
    for url in stores_of(lines):
        try:
            removed.add("files in the workers' store", forget_recording(Store.at(url), asked.sha256))
        except InputError as error:
            removed.not_reached["the workers' store"] = f"did not answer: {error}"
    for line in lines:
        for path in _made_of(line):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        raw = DATA / line / "raw"
        for name in asked.files[line]:
            (raw / name).unlink(missing_ok=True)
        _add_to_dvc(raw)


def _made_of(line: str) -> list[Path]:
    """What was made of the line's recordings, in the checkout."""
    made = [path for path in (DATA / line).iterdir() if path.name not in STAYING]
    return made + [path for path in (Path("models") / line / stage for stage in MEASURED) if path.exists()]


def _remove_objects(asked: Forgetting, objects: Objects, removed: Removed) -> None:
    """All versions of what was made of the lines' recordings goes, but what something else is made of, too."""
    doomed_outs = {out for out in objects.outs if _is_made_of(out.path, asked.files)}
    raws = {out for out in objects.outs if out.path in {f"data/{line}/raw" for line in asked.files}}
    with_it = {out for out in raws if asked.md5 in objects.listing(out.md5).values()}
    kept = objects.reached_by(objects.outs - doomed_outs - with_it)
    others = objects.reached_by(with_it) - {out.md5 for out in with_it}
    doomed = (objects.reached_by(doomed_outs) - kept - others) | {asked.md5} | {out.md5 for out in with_it}
    for place, count in objects.remove(doomed).items():
        removed.add("objects in DVC's cache" if place == "cache" else f"objects in DVC's remote {place}", count)
    removed.add("entries of DVC's run cache", objects.forget_runs({out.path for out in doomed_outs}))


def _is_made_of(path: str, lines: dict[str, list[str]]) -> bool:
    parts = Path(path).parts
    if len(parts) < 3 or parts[1] not in lines:
        return False
    return (parts[0] == "data" and parts[2] not in STAYING) or (parts[0] == "models" and parts[2] in MEASURED)


def _empty_rings(folder: Path) -> int:
    paths = [path for ring in RINGS if (folder / ring).is_dir() for path in (folder / ring).rglob("*")]
    files = [path for path in paths if path.is_file()]
    for path in files:
        path.unlink()
    return len(files)


def _add_to_dvc(raw: Path) -> None:
    added = subprocess.run([sys.executable, "-m", "dvc", "add", "-q", str(raw)], capture_output=True, text=True)
    if added.returncode:
        raise InputError(f"{raw}: `dvc add` failed: {added.stderr.strip()}; run the same command again")


def _begun(video: Path) -> Forgetting | None:
    """What an earlier, killed command wrote down of this recording."""
    for path in sorted(BEGUN.glob("[!.]*.json")):
        content = json.loads(path.read_text())
        releases = {line: [Release(**one) for one in found] for line, found in content.pop("releases").items()}
        begun = Forgetting(**content, releases=releases)
        named = {(DATA / line / "raw" / name).resolve() for line, names in begun.files.items() for name in names}
        if video.resolve() in named:
            return begun
    return None


def _found(video: Path) -> Forgetting:
    """The recording, and where it is; of files of its size alone the content is read."""
    if not video.is_file():
        raise InputError(f"{video}: expected a recording, found no file; name it as it lies in data/<line>/raw")
    if video.suffix.lower() not in VIDEO_SUFFIXES:
        raise ConfigError(f"{video}: expected a video; of lines of labelled pictures remove the line's data by hand")
    sha256, size = sha256_of_file(video), video.stat().st_size
    files: dict[str, list[str]] = {}
    for path in sorted(DATA.glob("*/raw/**/*")):
        if path.is_file() and path.stat().st_size == size and sha256_of_file(path) == sha256:
            line = path.relative_to(DATA).parts[0]
            files.setdefault(line, []).append(path.relative_to(DATA / line / "raw").as_posix())
    if not files:
        raise InputError(
            f"{video}: expected a recording of a line, found its content (SHA-256 {sha256[:12]}) in no "
            "data/<line>/raw; a video that was blurred as it was imported is another file: name that copy"
        )
    for line in files:
        if "simulate" in compose_line(CONF, line):
            raise ConfigError(
                f"line {line}: expected a line of real recordings, found a simulated one: it shows nobody, and the "
                "next run renders the same again"
            )
    return Forgetting(sha256, md5_of(video), files)


def _note_of(sha256: str) -> Path:
    return BEGUN / f"{sha256[:12]}.json"


def _record(line: str, asked: Forgetting, removed: Removed) -> None:
    """Adds a line to models/<line>/forgotten.jsonl, which belongs into git."""
    path = Path("models") / line / "forgotten.jsonl"
    entry = {
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "who": getpass.getuser(),
        "sha256": asked.sha256,
        "files": asked.files[line],
        "releases": [asdict(release) for release in asked.releases[line]],
        "removed": removed.counts,
    }
    before = path.read_bytes() if path.is_file() else b""
    write_bytes(path, before + json.dumps(entry, sort_keys=True).encode() + b"\n", durable=True)


def words_of(asked: Forgetting, removed: Removed) -> list[str]:
    """What was done, what was trained on it, and what this command does not reach."""
    names = [f"data/{line}/raw/{name}" for line, found in asked.files.items() for name in found]
    told = [f"forgotten: {', '.join(names)} (SHA-256 {asked.sha256[:12]})"]
    told += [f"  removed: {count} {what}" for what, count in sorted(removed.counts.items())]
    for line, releases in asked.releases.items():
        told += [f"  {release.words()}" for release in releases]
        if not releases:
            told.append(f"  no release of {line} was registered")
        told += _told_of_line(line, asked)
    told.append(
        "  not reached: the file that it was imported from; backups, publications and stations; exports for other "
        "tools; shift reports and annotated videos; git's history, which has decisions in words, but no picture"
    )
    told += [f"  not reached: {name} {words}" for name, words in removed.not_reached.items()]
    return told


def _told_of_line(line: str, asked: Forgetting) -> list[str]:
    told = []
    line_file = CONF / "line" / f"{line}.yaml"
    text = line_file.read_text()
    named = [
        name for name in sorted(asked.recording.names) if re.search(rf"(?<![\w/]){re.escape(name)}(?![\w.])", text)
    ]
    told += [f"  {line_file} still names {name}; take it out" for name in named]
    harvests = sorted((DATA / line / "raw" / "harvest").glob("*"))
    told += [f"  {path}: crops that stations kept; forget it, too, where they saw the same" for path in harvests]
    return [*told, f"  next: commit {DATA / line} and models/{line}; python -m flows.retrain line={line}"]


def main() -> None:
    """`video=data/press_a/raw/rec_1.mp4 [rings=DIR,DIR]`."""
    values = command_line.parse(sys.argv[1:], ("video",), ("rings",))
    rings = [Path(name).expanduser() for name in command_line.names_of(values.get("rings", ""))]
    for folder in rings:
        if not folder.is_dir():
            raise InputError(f"{folder}: expected a station's folder of events, found nothing; name its --out")
    asked, removed = forget(Path(values["video"]).expanduser(), rings)
    print("\n".join(words_of(asked, removed)))
    if removed.not_reached:
        names = ", ".join(removed.not_reached)
        raise InputError(f"{names}: not reached; run the same command again when that is mended")


if __name__ == "__main__":
    command_line.run(main)
