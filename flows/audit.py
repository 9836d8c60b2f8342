"""`make audit`: asks the advisory service of the package index about every version of requirements.lock (pip-audit).

Ends with 0 where every package was asked about and none has a known weakness, 1 where one has, and 69 where the
service cannot be reached or does not know some of them: what was not asked about has not passed.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

LOCK = Path("requirements.lock")
ASKED = ("--require-hashes", "--disable-pip", "--progress-spinner", "off", "--format", "json")
WEAK, UNAVAILABLE = 1, 69  # EX_UNAVAILABLE of sysexits.h
LIMIT_S = 900.0
SHOWN = 8


class Audit(NamedTuple):
    """What an audit found.

    Attributes:
        asked: how many packages the service knows.
        weak: one line for each known weakness.
        unknown: packages that the service was not reached for, or does not know.
    """

    asked: int
    weak: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def exit_code(self) -> int:
        """What the command ends with."""
        return WEAK if self.weak else UNAVAILABLE if self.unknown or not self.asked else 0


def audit(lock: Path, *options: str) -> Audit:
    """Asks about every package of a lock file.

    Args:
        lock: pinned, with hashes.
        options: more for pip-audit, such as another service.
    """
    command = [sys.executable, "-m", "pip_audit", "-r", str(lock), *ASKED, *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S)
        return read_audit(json.loads(done.stdout))
    except subprocess.TimeoutExpired:
        return Audit(0, (), (f"no answer within {LIMIT_S:.0f} s",))
    except ValueError:  # it tells nothing but its error
        told = done.stderr.strip().splitlines() or ["no answer"]
        return Audit(0, (), (told[-1],))


def read_audit(content: dict[str, Any]) -> Audit:
    """Reads pip-audit's JSON."""
    packages = content["dependencies"]
    known = [package for package in packages if "skip_reason" not in package]
    weak = [
        f"{package['name']} {package['version']}: {one['id']}, mended in {', '.join(one['fix_versions']) or 'none yet'}"
        for package in known
        for one in package["vulns"]
    ]
    unknown = [package["name"] for package in packages if "skip_reason" in package]
    return Audit(len(known), tuple(weak), tuple(unknown))


def words_of(found: Audit) -> str:
    """What an audit found, for a person."""
    lines = [f"known weakness: {one}" for one in found.weak]
    if found.unknown:
        more = f" and {len(found.unknown) - SHOWN} more" if len(found.unknown) > SHOWN else ""
        lines.append(f"not audited, so not passed: {', '.join(found.unknown[:SHOWN])}{more}")
        lines.append("the advisory service cannot be reached from here, or does not know them")
    lines.append(
        f"{found.asked} packages audited, {len(found.weak)} known weaknesses, {len(found.unknown)} not audited"
    )
    return "\n".join(lines)


def main() -> None:
    """Takes no argument but pip-audit's own options."""
    found = audit(LOCK, *sys.argv[1:])
    print(words_of(found))
    sys.exit(found.exit_code)


if __name__ == "__main__":
    main()
