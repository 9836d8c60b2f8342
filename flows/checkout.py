"""Which checkout a folder belongs to: a scheduled run works in a worktree, whose state is the person's checkout's."""

from pathlib import Path

STATE = Path(".lineact")  # in a worktree a link to the checkout's
NOTE = Path("scheduled_run.json")  # in a worktree's own folder; git does not know it


def checkout_of(folder: Path) -> Path:
    """The checkout whose state a folder uses: of a scheduled run's worktree the person's, else the folder itself.

    A checkout's own `.lineact` may be a link, too, e.g. to a larger disk.
    """
    link = folder / STATE
    return link.readlink().parent if (folder / NOTE).is_file() and link.is_symlink() else folder
