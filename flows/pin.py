"""Pins the registry's champion in conf/line/<line>.yaml, so that `evaluate` scores it beside the challenger.

A release enters a run only as a version and a hash named in the configuration, never as the run's own output.
"""

import sys
from typing import Any

from flows import command_line
from flows.lines import edit_yaml
from flows.pipeline import CONF
from flows.register import bundle_of, champion_of, fetch_bundle
from lineact.errors import InputError
from lineact.files import sha256_of_tree


def pin_champion(line: str) -> str | None:
    """Pins the champion and fetches its bundle.

    Returns:
        The pinned version; None where there is no champion.
    """
    champion = champion_of(line)
    if champion is None:
        return None
    version, bundle_sha256 = champion
    fetch_bundle(line, version, bundle_sha256)

    def pin(config: Any) -> None:
        config.setdefault("evaluate", {})["champion"] = {"version": version, "bundle_sha256": bundle_sha256}

    edit_yaml(CONF / "line" / f"{line}.yaml", pin)
    return version


def is_champion(line: str) -> bool:
    """Whether this run's bundle is the champion's, byte for byte: then there is nothing to compare."""
    champion = champion_of(line)
    return champion is not None and champion[1] == sha256_of_tree(bundle_of(line))


def main() -> None:
    """`line=demo`."""
    line = command_line.parse(sys.argv[1:], ("line",))["line"]
    version = pin_champion(line)
    if version is None:
        raise InputError(f"line {line}: the registry has no champion; `python -m flows.retrain line={line}` makes one")
    print(f"pinned version {version} in {CONF}/line/{line}.yaml")


if __name__ == "__main__":
    command_line.run(main)
