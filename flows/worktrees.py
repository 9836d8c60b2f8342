"""A scheduled run's own git worktree, `.lineact/worktrees/<line>`: it leaves the checkout of a person alone.

It is on the commit that the checkout is on, without what is edited and not committed there. With the checkout it shares
DVC's cache, `.lineact` (caches, locks, champions), MLflow's store and the line's ledger; what people said of the line
comes along as it lies in the checkout, committed or not.
"""

import contextlib
import dataclasses
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from flows.checkout import NOTE, STATE
from flows.ledger import ledger_of
from flows.one_run import only_run_of
from flows.pipeline import CONF, stages_of
from lineact.errors import ConfigError, InputError
from lineact.files import write_json
from lineact.schedule import ScheduleParams
from lineact.settings import from_mapping
from tasks.configure import compose_line, lists_of_lines

WORKTREES = Path(".lineact/worktrees")
LINK_TYPES = "reflink,symlink"  # recordings may be large: a night's worktree holds no copies of them


@dataclass(frozen=True)
class ScheduledRun:
    """What a worktree is for.

    Attributes:
        line: that is retrained.
        flow_run: Prefect's id of the run; the same one goes on after a kill.
        commit: that it began on.
        begun_at: when it began, UTC, as the result's branch tells it.
        schedule: the line's settings; None of a line without recordings, which has none.
    """

    line: str
    flow_run: str
    commit: str
    begun_at: str
    schedule: ScheduleParams | None

    @property
    def branch(self) -> str:
        """The branch that gets the result."""
        return f"retrain/{self.line}/{self.begun_at}"


def scheduled_run() -> ScheduledRun | None:
    """The scheduled run whose worktree this process works in; None in a person's checkout."""
    try:
        noted = json.loads(NOTE.read_text())
    except FileNotFoundError:
        return None
    schedule = noted["schedule"]
    return ScheduledRun(**noted | {"schedule": schedule and from_mapping(ScheduleParams, schedule, str(NOTE))})


def enter_worktree(line: str, flow_run: str) -> Path:
    """Makes a run's worktree, or takes up the one that a kill left; call in the checkout.

    Args:
        line: an active line of the checkout's commit.
        flow_run: Prefect's id of the run.

    Returns:
        The worktree's folder.

    Raises:
        ConfigError: where the commit does not have the line.
        InputError: where another run of the line is going on, or git or DVC refuse.
    """
    checkout, folder = Path.cwd(), Path.cwd() / WORKTREES / line
    with only_run_of(line):  # a killed worker may have left the run's process alive
        if noted_run(folder) != flow_run:
            commit = git("rev-parse", "--verify", "HEAD")
            _move_to(folder, commit)
            (folder / NOTE).unlink(missing_ok=True)
            _share_cache(checkout, folder)
            _share_state(checkout, folder, line)
            begun_at = datetime.now(UTC).strftime("%Y-%m-%dT%H%M%S")
            try:
                schedule = _schedule_of(line, folder)
            except ConfigError:
                leave_worktree(line)
                raise
            note = ScheduledRun(line, flow_run, commit, begun_at, schedule)
            write_json(folder / NOTE, dataclasses.asdict(note))
        _drop_index_lock(folder)
        _bring_words(checkout, folder, line)
    return folder


def leave_worktree(line: str) -> None:
    """Removes the line's worktree; what it made is in DVC's cache and on the run's branch. Call in the checkout."""
    folder = WORKTREES / line
    if folder.is_dir():
        subprocess.run(["git", "worktree", "remove", "--force", "--force", str(folder)], capture_output=True)
    shutil.rmtree(folder, ignore_errors=True)  # what git no longer knows as a worktree
    subprocess.run(["git", "worktree", "prune"], capture_output=True)


def noted_run(folder: Path) -> str | None:
    """Prefect's id of the run that a worktree is for; None where it is for none."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        return json.loads((folder / NOTE).read_text())["flow_run"]
    return None


def _move_to(folder: Path, commit: str) -> None:
    """Brings a worktree to a commit; what earlier runs made there stays and need not be made again."""
    git("worktree", "prune")
    if f"worktree {folder}" in git("worktree", "list", "--porcelain").splitlines():
        _drop_index_lock(folder)
        git("-C", str(folder), "checkout", "--quiet", "--force", "--detach", commit)
        return
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    git("worktree", "add", "--quiet", "--force", "--detach", str(folder), commit)


def _drop_index_lock(folder: Path) -> None:
    """Removes what a git that was killed here left; the line's lock keeps living ones away."""
    Path(git("-C", str(folder), "rev-parse", "--path-format=absolute", "--git-path", "index.lock")).unlink(
        missing_ok=True
    )


def _share_cache(checkout: Path, folder: Path) -> None:
    """Gives the worktree's DVC the checkout's cache and remotes: relative paths would mean another place there."""
    from dvc.config import Config

    known = Config(str(checkout / ".dvc"))
    local = Config(str(checkout / ".dvc")).read("local")  # credentials lie there
    remotes = {name: {**settings, "url": str(settings["url"])} for name, settings in known["remote"].items()}
    cache = {**known["cache"], "dir": str(known["cache"].get("dir") or checkout / ".dvc/cache"), "type": LINK_TYPES}
    own = folder / ".dvc/config.local"
    own.touch(mode=0o600)  # it gets the checkout's credentials
    own.chmod(0o600)
    with Config(str(folder / ".dvc")).edit("local") as settings:
        settings.update(local)
        settings["remote"] = remotes
        settings["cache"] = cache


def _share_state(checkout: Path, folder: Path, line: str) -> None:
    for path in (STATE, ledger_of(line)):
        link = folder / path
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.is_symlink() or link.is_file():
            link.unlink()
        link.symlink_to(checkout / path)


def _schedule_of(line: str, folder: Path) -> ScheduleParams | None:
    """The line's settings as they are committed.

    Raises:
        ConfigError: where the commit does not have the line, or it does not compose.
    """
    with contextlib.chdir(folder):
        try:
            stages_of(line)
        except ConfigError as error:
            raise ConfigError(
                f"{error}. A scheduled run takes what is committed: in the checkout, `git add conf data; git commit`"
            ) from error
        section = compose_line(CONF, line).get("schedule")
        return section and from_mapping(ScheduleParams, section, f"{CONF}/line/{line}.yaml: schedule")


def _bring_words(checkout: Path, folder: Path, line: str) -> None:
    """Copies what people said of a line, and which recordings it has, as they lie in the checkout."""
    if line in lists_of_lines(folder / CONF)["simulated_lines"]:
        return  # its reviewer and its recordings are stages
    data = Path("data") / line
    for path in (data / "review/decisions.csv", data / "review/segments.json", data / "raw.dvc"):
        if (checkout / path).is_file():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(checkout / path, folder / path)
    if (folder / data / "raw.dvc").is_file():
        command = [sys.executable, "-m", "dvc", "checkout", "--force", "--quiet", str(data / "raw.dvc")]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise InputError(
                f"{data}/raw.dvc: DVC's cache does not have these recordings: {done.stderr.strip()}; in the checkout, "
                f"`dvc pull {data}/raw.dvc` fetches them, or `dvc add {data}/raw` takes them in"
            )


def git(*arguments: str) -> str:
    """What a git command prints.

    Raises:
        InputError: where it fails.
    """
    done = subprocess.run(["git", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"`git {' '.join(arguments[:3])}` failed in {Path.cwd()}: {done.stderr.strip()}")
    return done.stdout.strip()
