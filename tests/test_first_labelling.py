"""The first labelling of a new line, by the commands that a user types: what is wrong is told before it is decoded."""

import pytest

from lineact.decisions import Decision, write_decisions
from lineact.errors import InputError
from tests.labelled_line import ACTIONS, Line
from tests.small_line import clone_checkout, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
LINE = "press_a"


def test_without_weights_or_with_unknown_templates_nothing_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    checkout = clone_checkout(tmp_path / "checkout")
    recordings = Line(tmp_path / "recorded", cycles=1)
    added = run(checkout, "flows.lines", f"name={LINE}", f"videos={recordings.raw}", f"actions={','.join(ACTIONS)}")
    assert added.returncode == 0, added.stdout
    asked = run(checkout, "flows.label_line", f"line={LINE}")
    assert asked.returncode == InputError.exit_code
    told = "expected a local folder in the hub's layout, or a hub name that is cached or can be fetched, found neither"
    said = " ".join(asked.stdout.split())
    assert told in said
    assert "choose `detector: motion`" in said
    assert "Traceback" not in said

    path = checkout / f"data/{LINE}/review/decisions.csv"
    write_decisions(path, [Decision("group:0", "group", "", "weld", "ann", "2026-03-01T10:00:00+00:00", 2.0, "f00d")])
    asked = run(checkout, "flows.label_line", f"line={LINE}")
    assert asked.returncode == InputError.exit_code
    assert "row 2, group:0: unknown label 'weld'" in " ".join(asked.stdout.split())
    assert not (checkout / f"data/{LINE}/ingest").exists()
