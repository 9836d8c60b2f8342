"""Registers the released pair, moves the alias `champion` where the gates hold, and writes it into the ledger."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from flows.champion import (
    Champion,
    Standing,
    as_champion,
    champion_of,
    keep_bundle,
    line_file,
    standing_of,
    tag_promotion,
)
from flows.ledger import Entry, add_entry, read_ledger
from flows.lines import edit_yaml
from flows.patience import patient
from flows.pipeline import artefact_folder, metrics_of, stages_of
from flows.tracking import client, provenance
from flows.versions import bundle_of, create_version, model_name, version_with
from lineact.errors import InputError
from lineact.files import sha256_of_tree
from lineact.register import Gate, RegisterParams, judge
from lineact.settings import from_mapping
from tasks.stage import section_of


@dataclass(frozen=True)
class Registration:
    """What became of a challenger.

    Attributes:
        version: its version in the registry.
        promoted: whether it is the champion now.
        words: one line for the summary.
        gates: the gates, judged.
    """

    version: str
    promoted: bool
    words: str
    gates: list[Gate]


@patient
def register(line: str, parent_id: str) -> Registration:
    """Registers this run's bundle and promotes it where every gate holds.

    A bundle that is registered already keeps its version; the champion itself is left in place.

    Args:
        line: the line.
        parent_id: the parent run that the version belongs to.

    Raises:
        InputError: where the champion is not the one that `evaluate` compared with or is nowhere, or the ledger was
            tampered with.
    """
    pinned = _compared_with(line)
    standing = standing_of(line, pinned, parent_id)
    told = f"; {standing.told}" if standing.told else ""
    bundle_sha256 = sha256_of_tree(bundle_of(line))
    champion = standing.champion
    if champion and champion.bundle_sha256 == bundle_sha256:
        words = f"version {champion.version} is the champion already, same bytes{told}"
        return Registration(champion.version, True, words, [])
    if champion:
        _refuse_another_champion(line, champion, pinned)
    params = from_mapping(RegisterParams, section_of(line, "register"), f"params.yaml: lines.{line}.register")
    machine = json.loads((artefact_folder("machine", line) / "machine.json").read_text())
    evaluated = metrics_of("evaluate", line)
    events = metrics_of("evaluate_events", line) if "evaluate_events" in stages_of(line) else None
    gates = judge(params, evaluated, metrics_of("benchmark", line), events, machine["host"], champion is not None)
    version = version_with(line, bundle_sha256) or create_version(
        line, parent_id, bundle_of(line), bundle_sha256, provenance(line)
    )
    client().set_model_version_tag(model_name(line), version, "gates", json.dumps([asdict(gate) for gate in gates]))
    failed = [f"{gate.name} ({gate.reason})" for gate in gates if not gate.passed]
    if failed:
        words = f"version {version} registered, not promoted: {'; '.join(failed)}{told}"
        return Registration(version, False, words, gates)
    _promote(line, Champion(version, bundle_sha256), standing, gates)
    return Registration(version, True, f"version {version} registered and promoted to champion{told}", gates)


def _compared_with(line: str) -> Champion | None:
    pinned = section_of(line, "evaluate")["champion"]
    return None if pinned is None else as_champion(pinned, f"params.yaml: lines.{line}.evaluate.champion")


def _refuse_another_champion(line: str, champion: Champion, pinned: Champion | None) -> None:
    if pinned is None or pinned.bundle_sha256 != champion.bundle_sha256:
        compared = f"version {pinned.version}" if pinned else "none"
        raise InputError(
            f"{model_name(line)}: the champion is version {champion.version}, but `evaluate` compared with {compared}; "
            f"the alias moved meanwhile: run `python -m flows.retrain line={line}` again"
        )


def _promote(line: str, promoted: Champion, standing: Standing, gates: list[Gate]) -> None:
    """Writes the promotion into the ledger, then moves the aliases.

    The version's tag `promotion` comes last. Without it, an entry that decides the same is that of a promotion that was
    killed half-way: it is finished and gets no second entry.
    """
    decided = {
        "line": line,
        "version": promoted.version,
        "previous": standing.before.version if standing.before else None,
        "bundle_sha256": promoted.bundle_sha256,
    }
    # before the ledger names it: what the ledger names can be registered again
    keep_bundle(bundle_of(line), promoted.bundle_sha256)
    entry = _unfinished_entry(line, decided)
    if entry is None:
        why = {gate.name: gate.reason for gate in gates}
        if standing.waiver:
            why["no_champion"] = standing.waiver
        entry = add_entry(line, decided, why, provenance(line))
    registered = champion_of(line)
    if registered:
        client().set_registered_model_alias(model_name(line), "previous", registered.version)
    client().set_registered_model_alias(model_name(line), "champion", promoted.version)
    tag_promotion(line, promoted.version, entry)
    if standing.waiver:
        _spend_waiver(line)


def _unfinished_entry(line: str, decided: dict[str, str | None]) -> Entry | None:
    """The ledger's last entry where it decides the same and its promotion was killed before its end."""
    last = next(reversed(read_ledger(line)), None)
    if last is None or not decided.items() <= last.content.items():
        return None
    version = client().get_model_version(model_name(line), str(decided["version"]))
    return last if version.tags.get("promotion") != last.sha256 else None


def _spend_waiver(line: str) -> None:
    """Takes the null out of the line's file: it was meant for the champion that was lost, not for the next one."""

    def spend(config: Any) -> None:
        del config["evaluate"]["champion"]
        if not config["evaluate"]:
            del config["evaluate"]

    edit_yaml(line_file(line), spend)
