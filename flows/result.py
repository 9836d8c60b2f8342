"""What a scheduled run leaves: a branch `retrain/<line>/<time>` with dvc.lock and params.yaml, and files in a remote.

The checkout's own branch, files and index stay as they are; `way_to_take` says how a person takes a result.
"""

import errno
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from flows.champion import line_file
from flows.dvc_stage import StageError
from flows.patience import is_store_away
from flows.pipeline import outs_of, stages_of
from flows.worktrees import ScheduledRun, git
from lineact.errors import ConfigError, FullDiskError, InputError
from lineact.files import write_text

WRITTEN = ("dvc.lock", "params.yaml")
NO_NAME = ("-c", "user.name=lineact", "-c", "user.email=lineact@localhost")
_TRANSIENT = (
    errno.EIO,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.ESTALE,
    errno.EPIPE,
    errno.ETIMEDOUT,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.ECONNABORTED,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.ENETDOWN,
)
_WORDS = re.compile("|".join(re.escape(os.strerror(number)) for number in _TRANSIENT) + "|timed out", re.IGNORECASE)
_CONFIGURE = re.compile(r"^  configure:\n(?: {4}.*\n)+", re.MULTILINE)


class PushError(InputError):
    """DVC's remote took not everything; all of it is still in DVC's cache here."""


def is_io_failure(error: BaseException | None) -> bool:
    """Whether a run failed for want of disk, network or a server, and may succeed when it is tried again."""
    if isinstance(error, FullDiskError) or (
        isinstance(error, StageError) and error.exit_code == FullDiskError.exit_code
    ):
        return True
    if error is not None and is_store_away(error):  # before OSError: botocore's timeouts are some, without a number
        return True
    if isinstance(error, OSError):
        return error.errno in _TRANSIENT or isinstance(error, ConnectionError | TimeoutError)
    return isinstance(error, StageError | PushError) and _WORDS.search(str(error)) is not None


def commit_result(run: ScheduledRun) -> str | None:
    """Commits what the run wrote, in its worktree, and names a branch after it.

    Args:
        run: that works here.

    Returns:
        The branch; None where the commit that it began on says the same already.

    Raises:
        InputError: where git refuses.
    """
    ignored = [f"{folder}/{run.line}/.gitignore" for folder in ("data", "models", "reports")]
    ignored.append(f"data/{run.line}/review/.gitignore")
    written = [path for path in (*WRITTEN, str(line_file(run.line)), *ignored) if Path(path).is_file()]
    _keep_configure(run)
    git("add", "--force", "--", *written)
    if git("diff", "--cached", "--name-only"):
        named = () if git("config", "--default", "", "user.email") else NO_NAME
        # no hooks: those of a person's checkout are for the person
        words = f"Retrain {run.line}\n\nPrefect flow run {run.flow_run}"
        git(*named, "commit", "--quiet", "--no-verify", "-m", words)
    if git("rev-parse", "HEAD") == run.commit:
        return None
    git("branch", "--force", run.branch, "HEAD")
    return run.branch


def _keep_configure(run: ScheduledRun) -> None:
    """Leaves the entry of `configure`, which is of all lines, as it was: else two lines' branches could not be merged.

    It is out of date then, and the next `dvc repro` composes the settings again, in seconds.
    """
    before = _CONFIGURE.search(git("show", f"{run.commit}:dvc.lock") + "\n")
    now = Path("dvc.lock").read_text()
    if before and _CONFIGURE.search(now):
        write_text(Path("dvc.lock"), _CONFIGURE.sub(lambda _: before[0], now))


def way_to_take(branch: str) -> str:
    """The commands by which a person takes a result into the checkout."""
    return f"git merge {branch} && dvc checkout --allow-missing"


def push_result(run: ScheduledRun, log: Callable[[str], None]) -> str | None:
    """Pushes the line's artefacts to its DVC remote.

    Args:
        run: that works here.
        log: receives DVC's last words.

    Returns:
        The remote's name; None where the line has none.

    Raises:
        ConfigError: where the settings name a remote that DVC does not know.
        PushError: where the remote is full, read-only or away.
    """
    from dvc.config import Config

    config = Config(".dvc")
    remote = (run.schedule and run.schedule.remote) or config["core"].get("remote")
    if remote is None:
        return None
    if remote not in config["remote"]:
        known = ", ".join(sorted(config["remote"])) or "none"
        raise ConfigError(
            f"{line_file(run.line)}: schedule.remote: expected one of DVC's remotes ({known}), found {remote!r}; "
            f"`dvc remote add {remote} ADDRESS` adds it"
        )
    targets = [str(out) for stage in stages_of(run.line) for out in outs_of(stage, run.line)]
    targets += [str(pointer) for pointer in [Path("data") / run.line / "raw.dvc"] if pointer.is_file()]
    command = [sys.executable, "-m", "dvc", "--wait-for-lock", "push", "--remote", remote, *targets]
    done = subprocess.run(command, capture_output=True, text=True)
    told = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    if done.returncode:
        url = re.sub(r"//[^/@]*@", "//", str(config["remote"][remote]["url"]))
        words = "\n".join(told[-4:])
        raise PushError(
            f"DVC's remote {remote} ({url}): expected it to take the results of {run.line}, found:\n{words}\n"
            f"Nothing is lost: they are in DVC's cache here and on branch {run.branch}. When that is mended, the next "
            f"run pushes them, or at once, on that branch: `dvc push --remote {remote}`"
        )
    log(f"pushed to {remote}: {told[-1] if told else 'nothing was missing there'}")
    return remote
