"""Files that hold a secret: their owner alone may read them."""

import stat
from pathlib import Path

from lineact.errors import InputError


def refuse_readable(path: Path) -> None:
    """Lets a file through that its owner alone can read.

    Raises:
        InputError: where others can read or change it.
    """
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise InputError(f"{path}: expected a file that its owner alone can read; run `chmod 600 {path}`")


def read_secret(path: Path, what: str) -> str:
    """The secret in a file, without blanks around it.

    Args:
        path: of the file.
        what: is in it, in a word or two, for messages.

    Raises:
        InputError: where there is no file, it cannot be read, or others can read it.
    """
    if not path.is_file():
        raise InputError(f"{path}: expected a file with the {what}, found none")
    refuse_readable(path)
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected a file with the {what}, found one that cannot be read ({error})") from error
