"""What stations were unsure of becomes the next review: `python -m flows.harvest line=press_a from=events/feedback`.

`make harvest` then labels the line anew, so that `make review` asks for the crops; decided ones train the next release.
"""

import subprocess
import sys
from pathlib import Path

from flows import command_line
from flows.live import EVENTS
from flows.one_run import only_run_of
from flows.pipeline import refuse_without_recordings
from lineact.errors import ConfigError, InputError
from lineact.harvest import Harvested, choose, write_harvest
from tasks.configure import lists_of_lines
from tasks.stage import section_of

MOST = 200  # crops of a harvest: an hour of a person's time at most


def harvest(line: str, folders: list[Path], most: int) -> Harvested:
    """Adds a recording of the kept crops to the line's raw folder, under DVC.

    Args:
        line: an active line with recordings of its own.
        folders: what stations kept, see `lineact.runtime.outputs.feedback`.
        most: so many crops are taken, the least sure ones.

    Raises:
        ConfigError: where the line is simulated or has no recordings, or its crops look back in time.
        InputError: where a folder is missing, nothing in them can be used, or DVC cannot add the recording.
    """
    refuse_without_recordings(line)
    if line in lists_of_lines(Path("conf"))["simulated_lines"]:
        raise ConfigError(
            f"line {line}: expected a line of real recordings, found a simulated one: its reviewer answers from what "
            "the simulator knows, and of kept crops it knows nothing"
        )
    embed = section_of(line, "embed")
    if section_of(line, "dataset")["short_context"]["context_s"]:
        raise ConfigError(
            f"line {line}: expected crops that stand alone, found dataset.short_context: a kept crop has no past"
        )
    for folder in folders:
        if not folder.is_dir():
            raise InputError(f"{folder}: expected a folder of kept crops, found nothing; name it with FROM=")
    raw = Path("data") / line / "raw"
    found = choose(folders, raw, line, embed["context"], embed["crop_px"], most)
    if found.problems and not (found.taken or found.known):
        raise InputError(f"{len(found.problems)} files and none can be used, the first: {found.problems[0]}")
    if found.taken:
        path = write_harvest(found.taken, raw)
        added = subprocess.run([sys.executable, "-m", "dvc", "add", "-q", str(raw)], capture_output=True, text=True)
        if added.returncode:
            path.unlink()
            raise InputError(f"{raw}: `dvc add` failed: {added.stderr.strip()}")
    return found


def words_of(line: str, found: Harvested) -> str:
    """What came of it."""
    words = [f"{len(found.taken)} crops harvested for line {line}"]
    if found.known:
        words.append(f"{found.known} were there before")
    if found.too_many:
        words.append(f"{found.too_many} are left for the next harvest")
    if found.problems:
        words.append(f"{len(found.problems)} files left out, the first: {found.problems[0]}")
    return "; ".join(words)


def main() -> None:
    """`line=press_a [from=DIR,DIR] [most=200]`."""
    values = command_line.parse(sys.argv[1:], ("line",), ("from", "most"))
    line = values["line"]
    given = values.get("from") or str(EVENTS / line / "feedback")
    most = values.get("most") or str(MOST)
    if not most.isdecimal() or not int(most):
        raise ConfigError(f"most={most}: expected how many crops are taken, e.g. {MOST}")
    with only_run_of(line):
        found = harvest(line, [Path(folder).expanduser() for folder in given.split(",")], int(most))
    print(words_of(line, found))


if __name__ == "__main__":
    command_line.run(main)
