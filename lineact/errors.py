"""What can go wrong for a user, in one line each: the file, what was expected, what was found, the way out."""

from pathlib import Path


class LineactError(Exception):
    """An error a user can mend. Its text is the whole message; no traceback is shown.

    Attributes:
        exit_code: what a stage's process ends with.
    """

    exit_code = 1


class ConfigError(LineactError):
    """A setting is unknown, missing, of the wrong type or out of range."""

    exit_code = 2


class InputError(LineactError):
    """An input file is missing, broken, or not what its name says."""

    exit_code = 3


class AwaitingReview(LineactError):
    """A person's decisions are missing. Not a failure: the same command goes on once they are there."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h: try again later


class FullDiskError(LineactError):
    """The disk has no room for a file."""

    exit_code = 74  # EX_IOERR of sysexits.h

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path}: No space left on device; free some space and run the same command again: finished work is kept"
        )
        self.path = path

    def __reduce__(self) -> tuple[type, tuple[Path]]:
        """Passes from a worker process to its parent as itself."""
        return type(self), (self.path,)
