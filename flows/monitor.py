"""`make monitor LINE=press_a FROM=events/video`: does a station see what it saw when its release began?

The first look (REFERENCE=yes) is kept in models/<line>/drift; every later one is held against it, logged in MLflow, and
on an alarm opens a review of the crops that the release is least sure of, and by word a training.
"""

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flows import command_line
from flows.champion import champion_of, find_bundle
from flows.checkout import checkout_of
from flows.harvest import MOST, harvest
from flows.one_run import only_run_of
from flows.pipeline import refuse_without_recordings
from flows.report_facts import DRIFT
from flows.tracking import CHECKOUT_TAG, client, experiment_id
from lineact.drift.blocks import Blocks, Sampled, SampleParams, Unsure, read_blocks, sample_videos, write_blocks
from lineact.drift.judge import Finding, alarms, judge
from lineact.drift.policy import DriftParams, Rate
from lineact.errors import ConfigError, InputError
from lineact.feedback import SUFFIX, Kept, KeptCrop, content_of
from lineact.files import write_bytes
from lineact.settings import from_mapping
from lineact.video import find_videos
from tasks.configure import lists_of_lines
from tasks.stage import section_of

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


def open_review(line: str, pair_context: float, bundle: str, unsure: Sequence[Unsure]) -> int:
    """Makes the least sure hands the line's next review, as `make harvest` does.

    Args:
        line: whose recordings are real.
        pair_context: how much wider the crops are than the hands' boxes.
        bundle: hash of the release.
        unsure: hands.

    Returns:
        How many are asked.

    Raises:
        LineactError: as `harvest`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        for number, one in enumerate(unsure):
            # a recording's own time in place of the day's, which a file does not tell
            at_s = one.path.stat().st_mtime + one.pts_s
            kept = Kept(line, one.path.stem, at_s, one.action, round(one.confidence, 4), bundle[:12], pair_context)
            write_bytes(Path(scratch) / f"{number:04d}{SUFFIX}", content_of(KeptCrop(kept, one.crop_rgb)))
        with only_run_of(line):
            return len(harvest(line, [Path(scratch)], MOST).taken)


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


def _act(line: str, found: Look, on_alarm: str) -> None:
    if on_alarm == "tell":
        return
    if line in lists_of_lines(Path("conf"))["simulated_lines"]:
        print("a simulated line has nobody to review it: nothing is asked")
        return
    pair, sha256 = released(line)
    taken = open_review(line, pair.manifest.classifier.crop_context, sha256, found.unsure)
    print(f"{taken} crops that the release was least sure of are asked next")
    from flows.server import use_server

    use_server()
    if on_alarm == "retrain":
        from flows.retrain import retrain

        command_line.end_with(retrain(line, return_state=True))
    from flows.label_line import label_line

    command_line.end_with(label_line(line, return_state=True))


def policy_of(line: str, values: Mapping[str, str]) -> DriftParams:
    """What the line's settings say (section `drift`), and before them what the command does.

    Args:
        line: its name.
        values: the command's arguments; empty ones say nothing.

    Raises:
        ConfigError: where either makes no sense.
    """
    settings = dict(section_of(line, "drift"))
    try:
        told = {name: float(values[name]) for name in ("per_year", "every_h") if values.get(name)}
    except ValueError as error:
        raise ConfigError(f"PER_YEAR, EVERY_H: expected numbers, found {error}") from error
    action = {"on_alarm": values["on_alarm"]} if values.get("on_alarm") else {}
    return from_mapping(DriftParams, settings | told | action, f"drift of line {line}")


def main() -> None:
    """`line=press_a from=DIR [reference=yes] [every_h=24] [per_year=1] [on_alarm=tell|review|retrain]`.

    What is not given is as the line's settings say. Of the reference also `[block_s=20] [fps=2]`; later looks take them
    from there.
    """
    optional = ("reference", "every_h", "per_year", "on_alarm", "block_s", "fps")
    values = command_line.parse(sys.argv[1:], ("line", "from"), optional)
    line = values["line"]
    refuse_without_recordings(line)
    policy = policy_of(line, values)
    if (values.get("reference") or "no") not in ("yes", "no"):
        raise ConfigError("expected REFERENCE=yes or nothing")
    try:
        params = SampleParams(float(values.get("fps") or 2.0), float(values.get("block_s") or 20.0))
    except ValueError as error:
        raise ConfigError(f"FPS, BLOCK_S: {error}") from error
    videos = find_videos(Path(values["from"]).expanduser())
    if values.get("reference") == "yes":
        path, sampled = take_reference(line, videos, params)
        print(f"{path}: {len(sampled.blocks)} blocks of {params.block_s:g} s; it belongs into git")
        return
    found = look(line, videos, policy.rate)
    print("\n".join(words_of(line, found, policy.rate)), flush=True)
    if found.alarms:
        _act(line, found, policy.on_alarm)


if __name__ == "__main__":
    command_line.run(main)
