"""`make monitor LINE=press_a FROM=events/video`: does a station see what it saw when its release began?

The first look (REFERENCE=yes) is kept in models/<line>/drift; every later one is held against it, logged in MLflow, and
on an alarm opens a review of the crops that the release is least sure of, and by word a training. Without FROM= it is
of the line's setting `drift.videos`, and of what came there since the last such look, as `make serve` looks by itself.
"""

import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from flows import command_line
from flows.champion import champion_of
from flows.harvest import MOST, harvest
from flows.look import ALARM, AS_BEFORE, Look, look, reference_of, released, take_reference, words_of
from flows.one_run import look_lock, only_run_of
from flows.pipeline import CONF, refuse_without_recordings
from flows.report_facts import DRIFT
from flows.tracking import client, experiment_id
from lineact.drift.arrived import Arrived, arrived_since
from lineact.drift.blocks import SampleParams, TooLittleVideoError, Unsure
from lineact.drift.policy import DriftParams
from lineact.errors import AwaitingReview, ConfigError, InputError
from lineact.feedback import SUFFIX, Kept, KeptCrop, content_of
from lineact.files import write_bytes
from lineact.settings import from_mapping
from lineact.video import find_videos
from tasks.configure import compose_line, lists_of_lines

UNTIL_TAG = "lineact.drift_until"  # of a look at `drift.videos`: time of the newest video, UTC
NOT_LOOKED = "not looked"


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
            kept = Kept(line, one.path.stem, one.at_s, one.action, round(one.confidence, 4), bundle[:12], pair_context)
            write_bytes(Path(scratch) / f"{number:04d}{SUFFIX}", content_of(KeptCrop(kept, one.crop_rgb)))
        with only_run_of(line):
            return len(harvest(line, [Path(scratch)], MOST).taken)


def look_at_new(line: str, policy: DriftParams) -> tuple[Look, datetime] | str:
    """Looks at the videos that came since the last look of this kind, or since the reference was taken.

    Args:
        line: an active line with recordings.
        policy: whose `videos` are looked at.

    Returns:
        What was found, and the time of the newest video, UTC; or in words why nothing could be held against a
        reference: none is there, no video came, or too few did, which the next look then takes with its own.

    Raises:
        InputError: where there is no such folder, the release's bundle is nowhere, or all videos are broken.
    """
    if not policy.videos:
        return f"line {line}: drift.videos is empty, nobody looks by itself; `make serve` anew ends these runs"
    champion = champion_of(line)
    if champion is None:
        return f"line {line}: nothing is released yet, so that nothing was seen with it"
    reference = reference_of(line, champion.bundle_sha256)
    if not reference.is_file():
        return (
            f"line {line}: {reference} is not there: that a station sees what it should is a person's word; "
            f"`make monitor LINE={line} REFERENCE=yes` takes the videos of {policy.videos} for it"
        )
    since = datetime.fromtimestamp(reference.stat().st_mtime, UTC)
    last = _last_until(line, champion.bundle_sha256)
    since = max(since, last) if last else since
    videos = new_videos(policy, since)
    if not videos:
        return f"line {line}: no video came to {policy.videos} since {since:%Y-%m-%d %H:%M:%S} UTC"
    try:
        found = look(line, [video.path for video in videos], policy.rate)
    except TooLittleVideoError as error:
        return f"line {line}: {len(videos)} videos are too few, the next look takes them, too: {error}"
    return found, videos[-1].at


def new_videos(policy: DriftParams, since: datetime | None) -> list[Arrived]:
    """What came to the folder of the settings, the oldest first; see `arrived_since`."""
    return arrived_since(Path(policy.videos).expanduser(), since, datetime.now(UTC))


def _last_until(line: str, bundle_sha256: str) -> datetime | None:
    asked = f"tags.`lineact.kind` = '{DRIFT}' and tags.bundle_sha256 = '{bundle_sha256}'"
    looks = client().search_runs(
        [experiment_id(line)],
        f"{asked} and tags.`{UNTIL_TAG}` LIKE '%'",
        order_by=["attributes.start_time DESC"],
        max_results=1,
    )
    return datetime.fromisoformat(looks[0].data.tags[UNTIL_TAG]) if looks else None


def watch(line: str, policy: DriftParams, train: Callable[[str, Look], None]) -> tuple[str, str]:
    """Looks at what came, tells it and acts on an alarm; what a kill or an error cut short is looked at again.

    Args:
        line: an active line with recordings.
        policy: whose `videos` are looked at.
        train: what an alarm starts where the policy says so.

    Returns:
        ALARM, AS_BEFORE or NOT_LOOKED, and that in words.

    Raises:
        AwaitingReview: where an alarm made a review.
        LineactError: as `look_at_new` and `act`, or where another look at the line is going on.
    """
    with only_run_of(look_lock(line)):
        seen = look_at_new(line, policy)
        if isinstance(seen, str):
            print(seen, flush=True)
            return NOT_LOOKED, seen
        found, until = seen
        words = words_of(line, found, policy.rate)
        print("\n".join(words), flush=True)
        try:
            if found.alarms:
                act(line, found, policy.on_alarm, train)
        except AwaitingReview:
            _note_until(found, until)
            raise
        _note_until(found, until)
        return ALARM if found.alarms else AS_BEFORE, words[-1]


def _note_until(found: Look, until: datetime) -> None:
    client().set_tag(found.run_id, UNTIL_TAG, until.isoformat())


def act(line: str, found: Look, on_alarm: str, train: Callable[[str, Look], None]) -> None:
    """Does what the line does on an alarm.

    Args:
        line: an active line with recordings.
        found: with an alarm.
        on_alarm: see `DriftParams`.
        train: trains the line.

    Raises:
        AwaitingReview: where a review waits now.
        LineactError: as `open_review`, or what labelling failed with.
    """
    if on_alarm == "tell":
        return
    if line in lists_of_lines(Path("conf"))["simulated_lines"]:
        print("a simulated line has nobody to review it: nothing is asked")
        return
    pair, sha256 = released(line)
    taken = open_review(line, pair.manifest.classifier.crop_context, sha256, found.unsure)
    print(f"{taken} crops that the release was least sure of are asked next", flush=True)
    if on_alarm == "retrain":
        train(line, found)
        return
    from flows.server import use_server

    use_server()
    from flows.label_line import label_line

    command_line.end_with(label_line(line, return_state=True))


def _train_here(line: str, _: Look) -> None:
    from flows.server import use_server

    use_server()
    from flows.retrain import retrain

    command_line.end_with(retrain(line, return_state=True))


def policy_of(line: str, values: Mapping[str, str]) -> DriftParams:
    """What the line's settings say (section `drift`), and before them what the command does.

    Args:
        line: its name.
        values: the command's arguments; empty ones say nothing.

    Raises:
        ConfigError: where either makes no sense.
    """
    settings = compose_line(CONF, line)["drift"]  # what `make serve` made its deployment from
    try:
        told = {name: float(values[name]) for name in ("per_year", "every_h") if values.get(name)}
    except ValueError as error:
        raise ConfigError(f"PER_YEAR, EVERY_H: expected numbers, found {error}") from error
    action = {"on_alarm": values["on_alarm"]} if values.get("on_alarm") else {}
    return from_mapping(DriftParams, settings | told | action, f"drift of line {line}")


def main() -> None:
    """`line=press_a [from=DIR] [reference=yes] [every_h=24] [per_year=1] [on_alarm=tell|review|retrain]`.

    What is not given is as the line's settings say, the videos, too: of these, what came since the last look. Of the
    reference also `[block_s=20] [fps=2]`; later looks take them from there.
    """
    optional = ("from", "reference", "every_h", "per_year", "on_alarm", "block_s", "fps")
    values = command_line.parse(sys.argv[1:], ("line",), optional)
    line = values["line"]
    refuse_without_recordings(line)
    policy = policy_of(line, values)
    if (values.get("reference") or "no") not in ("yes", "no"):
        raise ConfigError("expected REFERENCE=yes or nothing")
    try:
        params = SampleParams(float(values.get("fps") or 2.0), float(values.get("block_s") or 20.0))
    except ValueError as error:
        raise ConfigError(f"FPS, BLOCK_S: {error}") from error
    if not (values.get("from") or policy.videos):
        raise ConfigError(f"line {line}: expected a folder of videos, FROM=DIR or drift.videos in its file, found none")
    is_reference = values.get("reference") == "yes"
    if not (values.get("from") or is_reference):
        watch(line, policy, _train_here)
        return
    if values.get("from"):
        videos = find_videos(Path(values["from"]).expanduser())
    else:
        videos = [video.path for video in new_videos(policy, None)]
        if not videos:
            raise InputError(f"{policy.videos}: expected videos of the station, found none that is finished")
    if is_reference:
        path, sampled = take_reference(line, videos, params)
        print(f"{path}: {len(sampled.blocks)} blocks of {params.block_s:g} s; it belongs into git")
        return
    found = look(line, videos, policy.rate)
    print("\n".join(words_of(line, found, policy.rate)), flush=True)
    if found.alarms:
        act(line, found, policy.on_alarm, _train_here)


if __name__ == "__main__":
    command_line.run(main)
