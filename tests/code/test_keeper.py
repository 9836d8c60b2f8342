"""What the keeper makes of runs whose times a jumping clock told; the server's part is in tests/test_scheduled.py."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid4

from flows import keeper

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LINE = UUID(int=1)


class Server:
    """Notes what runs are set to."""

    def __init__(self) -> None:
        self.states: dict[UUID, str] = {}

    def set_flow_run_state(self, run_id, state, force):  # noqa: ARG002 - Prefect's own names
        self.states[run_id] = state.name


def due(hours: float):
    return SimpleNamespace(
        id=uuid4(),
        auto_scheduled=True,
        run_count=0,
        deployment_id=LINE,
        expected_start_time=NOW + timedelta(hours=hours),
        start_time=None,
    )


def begun(hours: float):
    return SimpleNamespace(start_time=NOW + timedelta(hours=hours))


def skipped(monkeypatch, waiting, started):
    monkeypatch.setattr(keeper, "_now", lambda: NOW)
    monkeypatch.setattr(keeper, "_runs", lambda _, __, types, ___=None: waiting if "SCHEDULED" in types else started)
    server: Any = Server()
    keeper.skip_missed(server, [LINE])
    return set(server.states)


def test_a_run_that_began_since_stands_for_a_missed_one(monkeypatch):
    missed = due(-3)
    assert skipped(monkeypatch, [missed], [begun(-1)]) == {missed.id}
    assert skipped(monkeypatch, [missed], [begun(-5)]) == set()


def test_a_run_that_a_clock_ahead_of_time_began_stands_for_none(monkeypatch):
    assert skipped(monkeypatch, [due(-3)], [begun(30 * 24)]) == set()


def test_of_many_missed_times_the_last_one_runs(monkeypatch):
    runs = [due(-50), due(-26), due(-2)]
    assert skipped(monkeypatch, runs, []) == {run.id for run in runs[:2]}


def test_a_state_from_a_time_to_come_is_old_enough_to_be_looked_at(monkeypatch):
    monkeypatch.setattr(keeper, "_now", lambda: NOW)
    run: Any = SimpleNamespace(state=SimpleNamespace(timestamp=NOW + timedelta(days=30)))
    assert keeper._age_s(run) > keeper.GRACE_S
