"""What can go wrong for a user, in one line each: the file, what was expected, what was found, the way out."""


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
