"""Who a line's champion is, and where its bundle lies.

MLflow is a projection that may be lost; the ledger is not. A challenger is judged against the champion that the
registry names, else the one that the ledger promoted last, else the one that the line's settings pin. Where the
registry lost it, it is registered again from its bundle.
"""

import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from flows.ledger import Entry, add_entry, ledger_of, read_ledger, way_back
from flows.patience import patient
from flows.pipeline import CONF
from flows.tracking import client, parent_run
from flows.versions import bundle_of, create_version, model_name, version_with, versions_of
from lineact.bundle.provenance import PROVENANCE
from lineact.errors import ConfigError, InputError
from lineact.evaluate import ChampionParams
from lineact.evaluate.champion import CHAMPIONS
from lineact.files import sha256_of_tree, write_whole
from lineact.settings import from_mapping


class Champion(NamedTuple):
    """A promoted release: its version in the registry that promoted it, and its bundle's hash, which stays."""

    version: str
    bundle_sha256: str


@dataclass(frozen=True)
class Standing:
    """Whom a challenger is judged against.

    Attributes:
        champion: registered, its bundle in its place; None where the absolute minimums judge.
        before: what a promotion follows: the champion, or the one that was given up on purpose.
        told: what is not as usual, for the user; empty otherwise.
        waiver: why there is no champion to compare with although there might be one, for the ledger; empty otherwise.
    """

    champion: Champion | None
    before: Champion | None
    told: str = ""
    waiver: str = ""


def line_file(line: str) -> Path:
    """The line's settings, which hold the pin."""
    return CONF / "line" / f"{line}.yaml"


def champion_of(line: str) -> Champion | None:
    """The registry's champion; None where it has none.

    Raises:
        InputError: where the alias stands on a version that `register` did not make.
    """
    # by search: a registry that does not answer raises, and is no missing champion
    models = client().search_registered_models(f"name = '{model_name(line)}'")
    if not models or "champion" not in models[0].aliases:
        return None
    version = client().get_model_version(model_name(line), str(models[0].aliases["champion"]))
    if "bundle_sha256" not in version.tags:
        raise InputError(
            f"{model_name(line)}: expected the alias `champion` on a version with the tag bundle_sha256, found it on "
            f"version {version.version}, which `register` did not make; move the alias back"
        )
    # a number, whatever MLflow's type hint says
    return Champion(str(version.version), version.tags["bundle_sha256"])


def checked_ledger(line: str) -> list[Entry]:
    """The ledger's entries, checked against each other and against the registry.

    Raises:
        InputError: where an entry was changed or removed, the champion has none, or the registry lacks the last one's
            release.
    """
    entries, path = read_ledger(line), ledger_of(line)
    known = {entry.sha256 for entry in entries}
    for version in versions_of(line):
        # of every version, not the champion's alone: the alias may have moved by hand since
        promotion = version.tags.get("promotion")
        if promotion is not None and promotion not in known:
            raise InputError(
                f"{path}: expected an entry with the hash {promotion}, as the tag `promotion` of {model_name(line)} "
                f"version {version.version} has it, found none: an entry was changed or removed; {way_back(line)}"
            )
    champion = champion_of(line)
    if champion and champion.bundle_sha256 not in {entry.content["bundle_sha256"] for entry in entries}:
        raise InputError(
            f"{path}: expected the promotion of the champion, version {champion.version}, found none: entries were "
            f"removed ({way_back(line)}), or the alias was moved by hand (move it back)"
        )
    if champion:
        _refuse_older_registry(line, champion, _promoted_by(entries[-1]))
    return entries


def tag_promotion(line: str, version: str, entry: Entry) -> None:
    """Ends a promotion: the version carries the hash of the ledger's entry."""
    client().set_model_version_tag(model_name(line), version, "promotion", entry.sha256)


def pin_of(line: str) -> Champion | None:
    """The champion that the line's file pins, read before `configure` composes it."""
    pinned = _evaluate_settings(line).get("champion")
    return None if pinned is None else as_champion(pinned, f"{line_file(line)}: evaluate.champion")


def as_champion(pinned: Any, where: str) -> Champion:
    """A pin of the settings, checked."""
    params = from_mapping(ChampionParams, pinned, where)
    return Champion(params.version, params.bundle_sha256)


def standing_of(line: str, pinned: Champion | None, parent_id: str | None) -> Standing:
    """Finds the champion, and brings it back to its place and into the registry where it is missing there.

    Args:
        line: the line.
        pinned: the champion that the settings name.
        parent_id: the run that a champion is registered again in; None opens one for it.

    Raises:
        InputError: where the ledger was changed, or the champion's bundle is nowhere; with the ways out.
    """
    entries, registered = checked_ledger(line), champion_of(line)
    known = registered or (_promoted_by(entries[-1]) if entries else pinned)
    waived = pinned is None and _is_null_on_purpose(line)
    if known is None:
        waiver = f"{line_file(line)} sets evaluate.champion to null, and neither registry nor ledger names one"
        return Standing(None, None, waiver=waiver if waived else "")
    if find_bundle(line, known.bundle_sha256):
        if registered:
            _finish_promotion(line, registered, entries)
            return Standing(registered, registered)
        return _register_again(line, known, entries, parent_id)
    if not waived:
        raise InputError(_nowhere(line, known))
    # A plant that lost registry and bundle must be able to go on without forging its ledger. But the null counts only
    # where the champion is nowhere: it is no way around a comparison that can be made. Ledger and summary tell it.
    waiver = (
        f"the bundle of champion version {known.version} ({known.bundle_sha256}) is nowhere, and {line_file(line)} "
        "sets evaluate.champion to null: judged by the absolute minimums"
    )
    return Standing(None, known, waiver, waiver)


@patient
def ready_champion(line: str, parent_id: str) -> None:
    """Makes sure before the training that `evaluate` and `register` will not fail for want of the champion.

    Raises:
        InputError: as `standing_of`.
    """
    told = standing_of(line, pin_of(line), parent_id).told
    if told:
        print(f"line {line}: {told}", file=sys.stderr, flush=True)


def find_bundle(line: str, bundle_sha256: str) -> Path | None:
    """Puts a champion's bundle where `evaluate` looks for it: from there, from this run's export or from the registry.

    Returns:
        Its folder, checked by its hash; None where it is nowhere.
    """
    folder = CHAMPIONS / bundle_sha256
    if _holds(folder, bundle_sha256) or _keep_export(line, bundle_sha256):
        return folder
    version = version_with(line, bundle_sha256)
    if version is None:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        bundle = download_bundle(line, version, scratch)
        if bundle is not None:
            (bundle / PROVENANCE).unlink(missing_ok=True)  # written at registering, not exported
        if bundle is None or not _holds(bundle, bundle_sha256):
            return None
        keep_bundle(bundle, bundle_sha256)
    return folder


def keep_bundle(bundle: Path, bundle_sha256: str) -> None:
    """Keeps a champion's bundle outside DVC's outs and MLflow's store: the registry can be rebuilt from it."""
    if not _holds(CHAMPIONS / bundle_sha256, bundle_sha256):
        write_whole(CHAMPIONS / bundle_sha256, lambda temporary: shutil.copytree(bundle, temporary))


def _holds(folder: Path, bundle_sha256: str) -> bool:
    return folder.is_dir() and sha256_of_tree(folder) == bundle_sha256


def _keep_export(line: str, bundle_sha256: str) -> bool:
    try:
        bundle = bundle_of(line)
    except (FileNotFoundError, KeyError, TypeError):  # dvc.lock does not know the export yet
        return False
    if not _holds(bundle, bundle_sha256):
        return False
    keep_bundle(bundle, bundle_sha256)
    return True


def download_bundle(line: str, version: str, scratch: str) -> Path | None:
    """The registry's copy, with its origin; None where its files are gone. A store that does not answer raises."""
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        local = mlflow.artifacts.download_artifacts(f"models:/{model_name(line)}/{version}", dst_path=scratch)
    except (OSError, MlflowException) as error:
        if "No such file or directory" not in str(error):
            raise
        return None
    manifest = next(Path(local).rglob("manifest.json"), None)
    return manifest.parent if manifest else None


def _evaluate_settings(line: str) -> dict[str, Any]:
    path = line_file(line)
    try:
        content = yaml.safe_load(path.read_text()) if path.is_file() else None
        settings = (content or {}).get("evaluate") or {}
    except (yaml.YAMLError, UnicodeDecodeError, AttributeError) as error:
        raise ConfigError(f"{path}: expected a mapping of settings, found something else: {error}") from error
    if not isinstance(settings, dict):
        raise ConfigError(f"{path}: evaluate: expected a mapping of settings, found {settings!r}")
    return settings


def _is_null_on_purpose(line: str) -> bool:
    # the line's own file: conf/config.yaml's null means that nothing was said
    evaluate = _evaluate_settings(line)
    return "champion" in evaluate and evaluate["champion"] is None


def _refuse_older_registry(line: str, champion: Champion, promoted: Champion) -> None:
    """A backup from before the last promotion would have challengers judged against an older champion."""
    if version_with(line, promoted.bundle_sha256) is None:
        raise InputError(
            f"{model_name(line)}: the champion is version {champion.version}, but {ledger_of(line)} promoted version "
            f"{promoted.version} ({promoted.bundle_sha256}) last, which the registry does not have. Bring back a newer "
            "mlflow.db; or delete the alias `champion` in MLflow: the next run registers the ledger's champion again"
        )


def _promoted_by(entry: Entry) -> Champion:
    return Champion(entry.content["version"], entry.content["bundle_sha256"])


def _finish_promotion(line: str, registered: Champion, entries: list[Entry]) -> None:
    """Tags a champion whose promotion was killed after the alias moved: else its entry could be changed unnoticed."""
    if _promoted_by(entries[-1]) == registered:
        tag_promotion(line, registered.version, entries[-1])


def _register_again(line: str, lost: Champion, entries: list[Entry], parent_id: str | None) -> Standing:
    """Registers a champion that the registry lost; where it gets another number there, the ledger says so."""
    origin = entries[-1].content.get("from", {}) if entries else {}
    version = version_with(line, lost.bundle_sha256)
    if version is None:
        with parent_run(line, parent_id) as run_id:
            version = create_version(line, run_id, CHAMPIONS / lost.bundle_sha256, lost.bundle_sha256, origin)
    told = f"the registry had lost its champion, version {lost.version}; registered again as version {version}"
    if entries and version == lost.version:
        entry = entries[-1]
    else:
        decided = {"line": line, "version": version, "previous": lost.version, "bundle_sha256": lost.bundle_sha256}
        entry = add_entry(line, decided, {"registered_again": told}, origin)
    client().set_registered_model_alias(model_name(line), "champion", version)
    tag_promotion(line, version, entry)
    champion = Champion(version, lost.bundle_sha256)
    return Standing(champion, champion, told)


def _nowhere(line: str, champion: Champion) -> str:
    return (
        f"{CHAMPIONS / champion.bundle_sha256}: expected the bundle of {line}'s champion, version {champion.version}, "
        "whose tree has the hash that the folder is named by, found none there, in this checkout's export or in the "
        "registry. Copy the bundle's folder there from another checkout or a station; or bring back mlflow.db and "
        f"mlruns/ from a backup; or, on purpose, set evaluate.champion to null in {line_file(line)}: the next "
        "challenger is then judged by the absolute minimums alone, and the ledger will say so"
    )
