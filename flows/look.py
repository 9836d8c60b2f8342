"""A look at a station's videos: held against what it saw when its release began, and logged in MLflow."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows.champion import champion_of, find_bundle
from flows.checkout import checkout_of
from flows.harvest import MOST
from flows.report_facts import DRIFT
from flows.tracking import CHECKOUT_TAG, client, experiment_id
from lineact.drift.blocks import Blocks, Sampled, SampleParams, Unsure, read_blocks, sample_videos, write_blocks
from lineact.drift.judge import Finding, alarms, judge
from lineact.drift.policy import Rate
from lineact.errors import ConfigError, InputError

if TYPE_CHECKING:
    from lineact.bundle.pair import Bundle

WORD_TAG, WORDS_TAG = "lineact.drift", "lineact.drift_words"
ALARM, AS_BEFORE = "alarm", "as before"


@dataclass(frozen=True)
class Look:
    """What a look found.

    Attributes:
        findings: by group.
        blocks: that were looked at, and of the reference.
        unsure: hands that the release was least sure of.
        problems: videos that broke off.
        run_id: MLflow's.
    """

    findings: list[Finding]
    blocks: tuple[int, int]
    unsure: list[Unsure]
    problems: list[str]
    run_id: str

    @property
    def alarms(self) -> list[Finding]:
        """Groups that changed."""
        return alarms(self.findings)


def reference_of(line: str, bundle_sha256: str) -> Path:
    """Where what the station saw at first lies, beside the line's models; it belongs into git."""
    return Path("models") / line / "drift" / f"{bundle_sha256[:12]}.npz"


def released(line: str) -> "tuple[Bundle, str]":
    """The champion's pair and its bundle's hash.

    Raises:
        InputError: where the line has no champion, or its bundle is nowhere.
    """
    from lineact.bundle import load_bundle

    champion = champion_of(line)
    folder = find_bundle(line, champion.bundle_sha256) if champion else None
    if champion is None or folder is None:
        raise InputError(f"line {line}: expected a champion, found none; run `python -m flows.retrain line={line}`")
    pair = load_bundle(folder)
    if len(pair.lags_s) > 1:
        raise ConfigError(f"line {line}: expected a classifier of single crops, found dataset.short_context")
    return pair, champion.bundle_sha256


def take_reference(line: str, videos: Sequence[Path], params: SampleParams) -> tuple[Path, Sampled]:
    """Keeps what the station sees as it should be.

    Args:
        line: an active line with recordings.
        videos: as later ones will be: the same camera, place and size.
        params: see `SampleParams`.

    Raises:
        InputError: where there is no champion, or no whole block.
    """
    pair, sha256 = released(line)
    sampled = sample_videos(videos, pair, params, 0)
    path = reference_of(line, sha256)
    write_blocks(path, sampled.blocks, params, sha256)
    return path, sampled


def look(line: str, videos: Sequence[Path], rate: Rate) -> Look:
    """Holds videos against the reference, and logs what was found.

    Args:
        line: an active line with recordings.
        videos: what the station saw since.
        rate: of false alarms.

    Raises:
        InputError: where there is no champion or no reference of it, or too little was seen.
    """
    pair, sha256 = released(line)
    reference, params = read_blocks(reference_of(line, sha256), sha256)
    sampled = sample_videos(videos, pair, params, MOST)
    findings = judge(reference, sampled.blocks, rate)
    run_id = _log(line, findings, reference, sampled.blocks, rate, sha256)
    return Look(findings, (len(sampled.blocks), len(reference)), sampled.unsure, sampled.problems, run_id)


def _log(
    line: str, findings: Sequence[Finding], reference: Blocks, current: Blocks, rate: Rate, bundle_sha256: str
) -> str:
    from mlflow.entities import Metric

    told = "; ".join(finding.words() for finding in alarms(findings))
    tags = {
        "lineact.kind": DRIFT,
        "line": line,
        CHECKOUT_TAG: str(checkout_of(Path.cwd())),
        "bundle_sha256": bundle_sha256,
        WORD_TAG: ALARM if told else AS_BEFORE,
        WORDS_TAG: told,
    }
    figures = {"blocks": len(current), "reference_blocks": len(reference), "level": rate.level}
    for finding in findings:
        figures[f"{finding.group}.distance"] = finding.distance
        if finding.p_value is not None:
            figures[f"{finding.group}.p_value"] = finding.p_value
    store = client()
    # no `comparison_run`: that closes the line's open runs, and a training may be going on meanwhile
    run_id = store.create_run(experiment_id(line), tags=tags, run_name=f"drift {line}").info.run_id
    store.log_batch(run_id, metrics=[Metric(name, float(value), 0, 0) for name, value in figures.items()])
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "drift.png"
        _draw(path, reference, current, findings)
        store.log_artifact(run_id, str(path), "plots")
    store.set_terminated(run_id, "FINISHED")
    return run_id


def _draw(path: Path, reference: Blocks, current: Blocks, findings: Sequence[Finding]) -> None:
    """Each group's most moved number, block by block: the reference first, then what was seen now."""
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 2 * len(findings)), layout="constrained")
    for number, finding in enumerate(findings, 1):
        axes = figure.add_subplot(len(findings), 1, number)
        names = reference.names[finding.group]
        column = names.index(finding.moved[0][0]) if finding.moved else 0
        before, now = (blocks.groups[finding.group][:, column] for blocks in (reference, current))
        axes.plot(np.arange(len(before)), before, ".", color="tab:blue")
        axes.plot(np.arange(len(before), len(before) + len(now)), now, ".", color="tab:orange")
        axes.set_title(f"{finding.words()}", fontsize=8)
        axes.set_ylabel(names[column], fontsize=8)
    figure.savefig(path, dpi=90)


def words_of(line: str, found: Look, rate: Rate) -> list[str]:
    """What was found, and at which rate of false alarms."""
    told = [f"line {line}: {found.blocks[0]} blocks held against {found.blocks[1]} of the reference"]
    told += [f"  {finding.words()}" for finding in found.findings]
    told += [f"  left out from here on: {problem}" for problem in found.problems]
    verdict = f"alarm: {', '.join(one.group for one in found.alarms)} changed" if found.alarms else "no alarm"
    told.append(
        f"{verdict}; where nothing changes, a look alarms with a chance of at most {rate.level:.2g}: "
        f"{rate.alarms_per_year:g} a year, looking every {rate.every_h:g} h (MLflow run {found.run_id})"
    )
    return told
