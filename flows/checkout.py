"""Which checkout a folder belongs to: a scheduled run works in a worktree, whose state is the person's checkout's."""

from pathlib import Path

STATE = Path(".lineact")  # in a worktree a link to the checkout's


def checkout_of(folder: Path) -> Path:
    """The checkout that a folder's state lies in: of a worktree the person's, else the folder itself."""
    return (folder / STATE).resolve().parent
