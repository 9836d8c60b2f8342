"""What workers of a real cluster are given to do in tests; they import it, as they do lineact."""

import os
import signal
import time
from pathlib import Path


def key_of() -> dict[str, object]:
    """Tells the kind that the worker's environment names."""
    return {"kind": os.environ.get("TESTED_KIND", "one")}


def copy(video: Path, folder: Path) -> None:
    """The shard's own bytes."""
    (folder / "made").write_bytes(video.read_bytes())


def copy_slowly(video: Path, folder: Path) -> None:
    """Long enough to be killed in the middle."""
    time.sleep(3)
    copy(video, folder)


def copy_where_it_may(video: Path, folder: Path) -> None:
    """Fails on workers whose environment says so; the others wait until one has."""
    failed = Path(os.environ["TESTED_FAILED"])
    if os.environ.get("TESTED_FAILS"):
        failed.touch()
        raise RuntimeError("no memory left on this device")
    while not failed.exists():
        time.sleep(0.05)
    copy(video, folder)


def fail(video: Path, folder: Path) -> None:
    """Fails on every worker."""
    del folder
    raise RuntimeError(f"cannot do {video.name}")


def kill_worker(video: Path, folder: Path) -> None:
    """Takes its worker with it, as the kernel does where memory runs out."""
    del video, folder
    os.kill(os.getpid(), signal.SIGKILL)
