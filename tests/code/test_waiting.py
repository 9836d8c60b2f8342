"""Reminders of a review, with a clock of the test's own, and what finishing it does where no server is up."""

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import yaml
from prefect.states import Failed, Running, Scheduled

from flows import waiting
from flows.after_review import start_training
from lineact.deadline import ReviewParams, word_due
from lineact.errors import AwaitingReview, ConfigError, InputError

START = datetime(2026, 3, 1, 8, tzinfo=UTC)
SETTINGS = {"policy": "required", "max_label_error": 0.05, "deadline_h": 72.0, "remind_every_h": 24.0}
PARAMS = ReviewParams(**SETTINGS)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("told_h", "now_h", "word"),
    [
        (0, 1, None),
        (0, 23.9, None),
        (0, 24, "reminder"),
        (0, 71.9, "reminder"),
        (71, 71.9, None),
        (71, 72, "overdue"),  # at once, whenever the last reminder was
        (72, 95.9, None),
        (72, 96, "overdue"),
    ],
)
def test_what_is_due_when(told_h, now_h, word):
    told_at, now = START + timedelta(hours=told_h), START + timedelta(hours=now_h)
    assert word_due(START, told_at, now, PARAMS) == word


@pytest.mark.parametrize("name", ["deadline_h", "remind_every_h"])
def test_hours_must_be_above_0(name):
    with pytest.raises(ValueError, match=f"{name} must be above 0, found 0"):
        ReviewParams(**(SETTINGS | {name: 0.0}))  # type: ignore[arg-type]


class Clock:
    """Stands where it is put, in hours from START."""

    hours = 0.0

    def __call__(self) -> datetime:
        return START + timedelta(hours=self.hours)


@pytest.fixture
def clock(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"lines": {"press_a": {"review": SETTINGS}}}))
    clock = Clock()
    monkeypatch.setattr(waiting, "now_utc", clock)
    return clock


def shut(_line):
    raise AwaitingReview("awaiting review: 3 names of groups")


def test_a_waiting_line_is_told_of_by_its_clock_and_forgotten_when_its_gate_opens(clock, monkeypatch):
    monkeypatch.setattr(waiting, "pass_gate", shut)
    assert waiting.word_on("press_a") is None  # it does not wait
    first = waiting.begin_waiting("press_a", "awaiting review: 3 names of groups")
    assert (first.kind, first.text) == ("awaited", "line press_a: awaiting review: 3 names of groups")

    said = []
    for hour in range(1, 100):
        clock.hours = hour
        if hour % 24 == 18:  # the nightly run finds the line waiting still, and does not start its time anew
            waiting.begin_waiting("press_a", "awaiting review")
        word = waiting.word_on("press_a")
        if word:
            assert waiting.word_on("press_a") == word  # it was not told yet
            waiting.note_told("press_a")
            said.append((hour, word.kind))
    assert said == [(24, "reminder"), (48, "reminder"), (72, "overdue"), (96, "overdue")]

    clock.hours = 120
    word = waiting.word_on("press_a")
    assert word is not None
    assert word.text == (
        "line press_a has waited for 120 hours, 48 of them past its deadline: awaiting review: 3 names of groups"
    )
    monkeypatch.setattr(waiting, "pass_gate", lambda _line: None)
    clock.hours = 144
    word = waiting.word_on("press_a")
    assert word is not None
    assert (word.kind, "flows.retrain line=press_a" in word.text) == ("finished", True)
    waiting.note_told("press_a")
    assert waiting.word_on("press_a") is None


def test_a_line_whose_gate_opened_waits_no_more_and_that_is_said_once(clock):
    waiting.begin_waiting("press_a", "awaiting review")
    clock.hours = 5
    assert waiting.end_waiting("press_a") == waiting.Word("finished", "line press_a: the review is done, after 5 hours")
    assert waiting.end_waiting("press_a") is None
    clock.hours = 1000
    assert waiting.word_on("press_a") is None


def test_a_reminder_that_could_not_be_given_is_given_next_time(clock, monkeypatch):
    waiting.begin_waiting("press_a", "awaiting review")
    clock.hours = 24
    monkeypatch.setattr(waiting, "pass_gate", MagicMock(side_effect=InputError("decisions.csv: expected CSV")))
    with pytest.raises(InputError):
        waiting.word_on("press_a")
    monkeypatch.setattr(waiting, "pass_gate", shut)
    clock.hours = 25
    word = waiting.word_on("press_a")
    assert word is not None
    assert word.kind == "reminder"


@pytest.mark.parametrize("waited", [True, False])
def test_labelling_that_passes_the_gate_says_that_the_review_is_finished(clock, monkeypatch, waited):  # noqa: ARG001
    import flows.label_line as module

    if waited:
        waiting.begin_waiting("press_a", "awaiting review")
    for name in ("check_decisions", "look_for_weights", "pass_gate"):
        monkeypatch.setattr(module, name, lambda *_: None)
    monkeypatch.setattr(module, "run_stages", lambda *_: [])
    monkeypatch.setattr(module, "labelling_and_training", lambda _: (["queue"], ["dataset"]))
    monkeypatch.setattr(module, "has_recordings", lambda _: True)
    monkeypatch.setattr(module.tracking, "parent_run", lambda *_: nullcontext("parent"))
    monkeypatch.setattr(module, "get_run_logger", MagicMock())
    told = []
    monkeypatch.setattr(module, "tell", lambda line, word: told.append((line, word.kind)))
    assert module.label_line.fn("press_a") == []
    assert told == ([("press_a", "finished")] if waited else [])


@pytest.mark.usefixtures("clock")
def test_a_waiting_line_that_is_not_in_the_settings_any_more_is_an_error():
    waiting.begin_waiting("gone", "awaiting review")
    with pytest.raises(ConfigError, match="unknown line 'gone'"):
        waiting.word_on("gone")


@pytest.mark.parametrize("api_url", [None, "http://127.0.0.1:9/api"])
def test_without_a_server_finishing_tells_the_command(tmp_path, monkeypatch, api_url):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    if api_url:
        monkeypatch.setenv("PREFECT_API_URL", api_url)
    said = start_training("press_a")
    assert said.startswith("no Prefect server is up")
    assert "`python -m flows.retrain line=press_a`" in said


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (Scheduled(), "training of press_a is started: flow run 'one'"),
        (Running(), "training of press_a is started: flow run 'one'"),
        (Failed(), "training of press_a has run with these decisions and settings and ended Failed: flow run 'one'"),
    ],
)
def test_a_run_that_the_same_decisions_started_and_that_is_over_is_not_told_as_started(
    tmp_path, monkeypatch, state, said
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    client = MagicMock()
    client.__enter__.return_value.create_flow_run_from_deployment.return_value = SimpleNamespace(
        name="one", id=1, state=state
    )
    monkeypatch.setattr("flows.after_review.answers", lambda _: True)
    monkeypatch.setattr("prefect.client.orchestration.get_client", lambda **_: client)
    told = start_training("press_a")
    assert told.startswith(said)
    assert ("go on with `python -m flows.retrain line=press_a`" in told) == state.is_final()


@pytest.mark.parametrize("changed", ["data/press_a/review/decisions.csv", "conf/line/press_a.yaml"])
def test_changed_decisions_or_settings_start_a_run_of_their_own(tmp_path, monkeypatch, changed):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    client = MagicMock()
    create = client.__enter__.return_value.create_flow_run_from_deployment
    create.return_value = SimpleNamespace(name="one", id=1, state=Running())
    monkeypatch.setattr("flows.after_review.answers", lambda _: True)
    monkeypatch.setattr("prefect.client.orchestration.get_client", lambda **_: client)
    for text in ("one", "one", "other"):
        Path(changed).parent.mkdir(parents=True, exist_ok=True)
        Path(changed).write_text(text)
        start_training("press_a")
    Path("params.yaml").write_text("composed by the run that was started")
    start_training("press_a")
    first, again, other, last = (call.kwargs["idempotency_key"] for call in create.call_args_list)
    assert first == again != other == last
