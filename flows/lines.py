"""Adds a line on the user's own videos or labelled pictures, or activates one that has a file in conf/line/ already."""

import contextlib
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from flows import command_line
from flows.blurred import blur_of, blur_videos
from flows.pipeline import CONF, LINES_FILE
from lineact.decisions import write_decisions
from lineact.errors import ConfigError, InputError
from lineact.files import sha256_of_file, write_bytes, write_text, write_whole
from lineact.privacy import Blur
from lineact.video import find_videos, video_facts
from tasks.configure import KINDS, LACKING, LOCALIZED, UNIONS, compose_line, lists_of_lines

FETCHED_FROM_NOWHERE = ("motion", "grounding_dino_tiny")
UNNAMED_ACTIONS = ("action_1", "action_2")  # a line must compose at once; the user renames them before the review
RESULTS_FILE = Path(__file__).with_name("line_results.yaml")
# an option without a value counts as not there: make passes all of them
OPTIONS = ("blur_regions", "blur_faces", "detector", "foundation", "actions", "crops", "yolo", "data_yaml", "names")
RESERVED = frozenset({"foundation"})  # models/foundation/ holds weights
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_LOCALIZE = re.compile(r"^localize:\s*true\b", re.MULTILINE)
_SOURCE = re.compile(r"^\s*-\s*override /source:\s*(?P<source>\w+)", re.MULTILINE)
Content = Path | bytes


def add_line(
    name: str, videos: Path, detector: str, foundation: str, actions: list[str], blur: Blur | None = None
) -> None:
    """Imports the videos under DVC, writes conf/line/<name>.yaml and adds the line to conf/lines.yaml.

    All of it or nothing: where a step fails, what this call made is taken back, and nothing else is touched.

    Args:
        name: of the line.
        videos: a folder with videos at any depth, or one video.
        detector: a file of conf/detector/.
        foundation: a file of conf/foundation/.
        actions: their names; none for two to be renamed.
        blur: what is blurred in the copies, as which the videos are then encoded anew; None for plain copies.

    Raises:
        ConfigError: on a name that is taken or malformed, an unknown detector or foundation, or actions that do not
            compose.
        InputError: where `videos` holds no video, other data lie in the line's place, or DVC cannot import them.
    """
    refuse_name(name)
    refuse_choice("DETECTOR", detector)
    refuse_choice("FOUNDATION", foundation)
    found = find_videos(videos)
    _refuse_no_videos(found)
    line_file = _line_file(detector, foundation, actions or list(UNNAMED_ACTIONS))
    with tempfile.TemporaryDirectory() as scratch:
        if blur:
            base = videos if videos.is_dir() else videos.parent
            found, videos = blur_videos(found, base, Path(scratch), blur), Path(scratch)
        import_line(name, _copies_of(found, videos), line_file, "videos", reviewed=True)
    weights = {"hub": "full-size, fetched at first use", "tiny": "embedded; FOUNDATION=hub takes full-size ones"}
    print(f"detector: {detector}; foundation: {foundation} ({weights[foundation]})")
    if not actions:
        print(f"next: rename {' and '.join(UNNAMED_ACTIONS)} in {line_file_of(name)} to what the worker does")
    print(f"next: python -m flows.retrain line={name}")


def refuse_name(name: str) -> None:
    """Lets the name of a new line through.

    Raises:
        ConfigError: where it is malformed or taken.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"NAME={name}: expected small letters, digits and _, starting with a letter, e.g. press_a")
    if name in RESERVED or not is_plain_word(name):
        raise ConfigError(f"NAME={name}: expected a name that means nothing else in YAML or here, e.g. line_{name}")
    if line_file_of(name).exists():
        raise ConfigError(
            f"NAME={name}: {line_file_of(name)} exists already; `make activate LINE={name}` takes it as it is"
        )


def refuse_choice(option: str, value: str) -> None:
    """Lets a file of a group of conf/ through.

    Raises:
        ConfigError: where the group has no such file.
    """
    known = sorted(path.stem for path in (CONF / option.lower()).glob("*.yaml"))
    if value not in known:
        raise ConfigError(f"{option}={value}: expected one of {', '.join(known)}")


def line_file_of(name: str) -> Path:
    """The line's settings."""
    return CONF / "line" / f"{name}.yaml"


def import_line(name: str, copies: Mapping[Path, Content], line_file: str, what: str, *, reviewed: bool) -> None:
    """Copies files under DVC, writes conf/line/<name>.yaml and adds the line to conf/lines.yaml; all of it or nothing.

    Args:
        name: of the line.
        copies: path below data/<name>/raw to the file, or the bytes, that it gets.
        line_file: content of conf/line/<name>.yaml.
        what: is imported, in a word.
        reviewed: whether the line has a decisions file.

    Raises:
        ConfigError: where the line's file does not compose.
        InputError: where other data lie in the line's place, or DVC cannot import the files.
    """
    config_file, folder = line_file_of(name), Path("data") / name
    raw, pointer, decisions = folder / "raw", folder / "raw.dvc", folder / "review" / "decisions.csv"
    # the same files are there where an earlier call was killed, or where a person put them there
    if raw.exists() and not _holds_exactly(raw, copies):
        raise InputError(f"{raw}: exists already, with other files; move it away or choose another NAME")
    if pointer.exists() and not raw.exists():
        raise InputError(
            f"{pointer}: exists already; `dvc checkout {pointer}` brings its {what} back, or choose another NAME"
        )
    with _all_or_nothing([raw, pointer, folder / ".gitignore", decisions, config_file, LINES_FILE, results_of(name)]):
        if not raw.exists():
            print(f"importing {len(copies)} {what} into {raw}", flush=True)
            write_whole(raw, lambda temporary: _copy_files(copies, temporary))
        added = subprocess.run([sys.executable, "-m", "dvc", "add", "-q", str(raw)], capture_output=True, text=True)
        if added.returncode:
            raise InputError(f"{raw}: `dvc add` failed: {added.stderr.strip()}")
        if reviewed and not decisions.exists():
            write_decisions(decisions, [])
        write_text(config_file, line_file)
        compose_line(CONF, name)
        activate(name)
    print(f"wrote {config_file}; added {name} to {LINES_FILE}; {raw} is under DVC ({raw}.dvc belongs into git)")


def activate(name: str) -> None:
    """Adds a line with a file in conf/line/ to the lists of conf/lines.yaml, and names its results for DVC.

    A no-op where it is there.

    Raises:
        ConfigError: where it has no file, or conf/lines.yaml cannot be read.
    """
    lists_of_lines(CONF)
    config_file = line_file_of(name)
    if not config_file.is_file():
        known = ", ".join(sorted(path.stem for path in (CONF / "line").glob("*.yaml")))
        raise ConfigError(f"unknown line {name!r}: expected one of {known} (conf/line/*.yaml)")
    text = config_file.read_text()
    localized, chosen = bool(_LOCALIZE.search(text)), _SOURCE.search(text)
    source = chosen["source"] if chosen and chosen["source"] in KINDS else "videos"
    kind = KINDS[source]

    def add(lists: Any) -> None:
        for key in (kind, *(union for union, kinds in UNIONS.items() if kind in kinds)):
            if name not in lists[key]:
                lists[key].append(name)
        if localized and name not in lists[LOCALIZED]:
            lists[LOCALIZED].append(name)

    write_text(results_of(name), _results_text(source, localized=localized))
    edit_yaml(LINES_FILE, add)


_LOCALIZER_PLOT = """  - train_localizer/plots/curves.csv:
      x: epoch
      y: [train_loss, val_loss]
      title: localiser, loss
"""


def results_of(line: str) -> Path:
    """The line's own dvc.yaml, which names its metrics and plots: paths in it are relative to its folder."""
    return Path("models") / line / "dvc.yaml"


def _results_text(source: str, *, localized: bool) -> str:
    """RESULTS_FILE; of a line without recordings the stages that it has, of a localised one the localiser's, too."""
    text = RESULTS_FILE.read_text()
    if localized:
        more = "".join(f"  - {stage}/metrics.json\n" for stage in ("train_localizer", "evaluate_localizer"))
        text = text.replace("plots:\n", f"{more}plots:\n", 1) + _LOCALIZER_PLOT
    if source != "simulation":  # nobody knows the true events
        text = text.replace("  - evaluate_events/metrics.json\n", "")
    lacking = LACKING.get(source)
    if lacking is None:
        return text
    if source == "yolo":  # its pair is measured on pictures
        text = text.replace("- evaluate/", "- evaluate_pictures/")
    results = yaml.safe_load(text)
    metrics = [path for path in results["metrics"] if path.split("/")[0] not in lacking]
    plots = [plot for plot in results["plots"] if next(iter(plot)).split("/")[0] not in lacking]
    confusion = {"x": "predicted", "y": "actual", "template": "confusion", "title": "student, held-out crops"}
    metrics.append("evaluate_crops/metrics.json")
    plots.append({"evaluate_crops/plots/confusion.csv": confusion})
    return yaml.safe_dump({"metrics": metrics, "plots": plots}, sort_keys=False)


def is_plain_word(text: str) -> bool:
    """Whether YAML reads a word as itself: `on`, `no` and `null` it reads as something else."""
    try:
        return yaml.safe_load(text) == text
    except yaml.YAMLError:
        return False


def edit_yaml(path: Path, edit: Callable[[Any], None]) -> None:
    """Changes a YAML file in place, with its comments kept."""
    import io

    from ruamel.yaml import YAML

    with_comments = YAML()
    with_comments.indent(mapping=2, sequence=4, offset=2)
    with_comments.width = 120
    content = with_comments.load(path.read_text())
    edit(content)
    text = io.StringIO()
    with_comments.dump(content, text)
    write_text(path, text.getvalue())


def _refuse_no_videos(found: Sequence[Path]) -> None:
    """Broken files among good ones are counted and reported by `ingest`; here none of them would be usable.

    Raises:
        InputError: where not one of the files is a video.
    """
    problems = []
    for path in found:
        try:
            video_facts(path)
        except InputError as error:
            problems.append(str(error))
        else:
            return
    raise InputError("\n  ".join(["expected at least one video, found none:", *problems]))


def _copies_of(found: Sequence[Path], videos: Path) -> dict[Path, Content]:
    """Where each video goes, relative to the line's raw folder."""
    base = videos if videos.is_dir() else videos.parent
    return {path.relative_to(base): path for path in found}


def _copy_files(copies: Mapping[Path, Content], target: Path) -> None:
    for relative, content in copies.items():
        copy = target / relative
        copy.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            copy.write_bytes(content)
        else:
            shutil.copyfile(content, copy)


def _holds_exactly(raw: Path, copies: Mapping[Path, Content]) -> bool:
    """Whether the folder holds these files, byte for byte, and nothing else."""
    there = {path.relative_to(raw) for path in raw.rglob("*") if path.is_file()}
    return there == set(copies) and all(
        sha256_of_file(raw / relative) == _sha256_of(content) for relative, content in copies.items()
    )


def _sha256_of(content: Content) -> str:
    return hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else sha256_of_file(content)


@contextlib.contextmanager
def _all_or_nothing(paths: Sequence[Path]) -> Iterator[None]:
    """Where the block fails: removes what is new of these files and folders, and gives changed files their old content.

    Folders that were there before stay as they are.
    """
    there = {path for path in paths if path.exists()}
    contents = {path: path.read_bytes() for path in there if path.is_file()}
    new_parents = {parent for path in paths for parent in path.parents if not parent.exists()}
    try:
        yield
    except BaseException:  # Ctrl+C, too
        for path in set(paths) - there:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        for path, content in contents.items():
            if not path.is_file() or path.read_bytes() != content:
                write_bytes(path, content)
        for parent in sorted(new_parents, reverse=True):  # inner ones first
            with contextlib.suppress(OSError):  # somebody put a file of their own there
                parent.rmdir()
        raise


def _line_file(detector: str, foundation: str, actions: list[str]) -> str:
    return f"""# @package _global_
# Only what differs from conf/config.yaml.
defaults:
  - override /source: videos
  - override /detector: {detector}
  - override /foundation: {foundation}

description: real recordings of one station
actions: [{", ".join(actions)}]   # names of the line's actions; NG (irrelevant) is added as the last class
holdout:
  last_share: 0.333   # the last part of each recording measures the line and never trains it
"""


def main() -> None:
    """`name=press_a videos=DIR [detector=motion] [foundation=tiny] [actions=remove,place]`, or `activate=gi_d`.

    Of labelled pictures: `name=signs crops=DIR` or `name=fingers yolo=DIR`, see `flows.labelled_lines`.
    """
    given = {argument.partition("=")[0] for argument in sys.argv[1:] if argument.partition("=")[2]}
    if "activate" in given:
        activate(command_line.parse(sys.argv[1:], ("activate",))["activate"])
        return
    if given & {"crops", "yolo"}:
        from flows.labelled_lines import add_labelled

        add_labelled(sys.argv[1:])
        return
    values = command_line.parse(sys.argv[1:], ("name", "videos"), OPTIONS)
    detector = values.get("detector") or "grounding_dino"
    # whoever chooses a detector that is fetched from nowhere has no network, or wants none
    foundation = values.get("foundation") or ("tiny" if detector in FETCHED_FROM_NOWHERE else "hub")
    actions = actions_of(values.get("actions", ""))
    blur = blur_of(values.get("blur_regions", ""), values.get("blur_faces", ""))
    add_line(values["name"], Path(values["videos"]), detector, foundation, actions, blur)


def actions_of(text: str) -> list[str]:
    """Names with commas between them, blanks beside the commas or not.

    Raises:
        ConfigError: where a blank is within a name: is it one action, or are they two?
    """
    actions = [action.strip() for action in text.split(",") if action.strip()]
    for action in actions:
        if not is_plain_word(action):
            raise ConfigError(f"ACTIONS={text}: expected names that mean nothing else in YAML, found {action!r}")
        if action != "".join(action.split()):
            together = "_".join(action.split())
            apart = ",".join(action.split())
            raise ConfigError(
                f"ACTIONS={text}: expected names without blanks, found {action!r}; write {together} or {apart}"
            )
    return actions


if __name__ == "__main__":
    command_line.run(main)
