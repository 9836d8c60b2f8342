"""The promotion ledger of a line: JSON Lines, each entry carries the hash of the one before.

It is versioned with the line and outlives the registry, which is a projection. The last entry has no successor to carry
its hash: the promoted version's tag `promotion` does (see `flows.champion`).
"""

import datetime
import getpass
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lineact.errors import InputError
from lineact.files import write_bytes

NEEDED = ("line", "version", "previous", "bundle_sha256", "hash_of_entry_before")


@dataclass(frozen=True)
class Entry:
    """One promotion.

    Attributes:
        raw: its line in the file, without the line's end.
        content: the same, read.
    """

    raw: bytes
    content: Mapping[str, Any]

    @property
    def sha256(self) -> str:
        """What the next entry and the version's tag `promotion` carry."""
        return hashlib.sha256(self.raw).hexdigest()


def ledger_of(line: str) -> Path:
    """The line's promotion ledger."""
    return Path("models") / line / "promotions.jsonl"


def way_back(line: str) -> str:
    """What to do about a changed ledger, in words."""
    return f"bring the file back with `git checkout {ledger_of(line)}` or from a backup"


def read_ledger(line: str) -> list[Entry]:
    """The entries, each checked against the hash that the next one carries.

    Raises:
        InputError: where a line is no entry of this line, or does not follow the one before it.
    """
    path = ledger_of(line)
    entries: list[Entry] = []
    for number, raw in enumerate(path.read_bytes().splitlines() if path.is_file() else [], 1):
        entry = _entry_from(raw, line, f"{path}, line {number}")
        expected = entries[-1].sha256 if entries else None
        if entry.content["hash_of_entry_before"] != expected:
            raise InputError(
                f"{path}, line {number}: expected the hash of the entry before, {expected}, found another: an entry "
                f"was changed or removed; {way_back(line)}"
            )
        entries.append(entry)
    return entries


def add_entry(line: str, decided: Mapping[str, Any], why: Mapping[str, str], origin: Mapping[str, str]) -> Entry:
    """Adds an entry, durably: it must be on the disk before the alias moves.

    Args:
        line: the line.
        decided: `line`, `version`, `previous` and `bundle_sha256`.
        why: reasons by gate, or by what else decided.
        origin: what the bundle was made from.
    """
    entries = read_ledger(line)
    written = {
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "who": getpass.getuser(),
        "why": why,
        "from": origin,
        "hash_of_entry_before": entries[-1].sha256 if entries else None,
    }
    content = {**decided, **written}
    entry = Entry(json.dumps(content, sort_keys=True).encode(), content)
    # a scheduled run's worktree has a link to the checkout's ledger: there is one per line, whatever the branch
    path = ledger_of(line).resolve()
    write_bytes(path, b"".join(one.raw + b"\n" for one in [*entries, entry]), durable=True)
    return entry


def _entry_from(raw: bytes, line: str, where: str) -> Entry:
    try:
        content = json.loads(raw)
    except ValueError:  # no JSON, or no text
        content = None
    found = f"{raw[:60]!r}" if raw else "an empty line"
    if not isinstance(content, dict) or not set(NEEDED) <= set(content) or not _names_a_release(content):
        needed = ", ".join(NEEDED)
        raise InputError(f"{where}: expected a promotion with {needed}, found {found}; {way_back(line)}")
    if content["line"] != line:
        raise InputError(f"{where}: expected a promotion of {line}, found one of {content['line']}; {way_back(line)}")
    return Entry(raw, content)


def _names_a_release(content: Mapping[str, Any]) -> bool:
    return isinstance(content["version"], str) and isinstance(content["bundle_sha256"], str)
