"""A clock that cannot be right is told."""

import json
import os
import shutil
from datetime import datetime

import pytest

from lineact.bundle.manifest import MANIFEST
from lineact.bundle.provenance import PROVENANCE, read_provenance, write_provenance
from lineact.files import write_json
from lineact.runtime.clock_check import clock_problems
from lineact.runtime.outputs.json_lines import CURRENT

MADE_S = 1_700_000_000.0


@pytest.fixture
def bundle(released, tmp_path):
    """Registered one day after its files were made."""
    folder = shutil.copytree(released / "export/bundle", tmp_path / "bundle")
    os.utime(folder / MANIFEST, (MADE_S, MADE_S))
    write_provenance(folder, "press_a", {}, "run7")
    values = json.loads((folder / PROVENANCE).read_text())
    write_json(folder / PROVENANCE, values | {"registered_at": "2023-11-15T22:13:20+00:00"})
    return folder


@pytest.mark.parametrize(
    ("now_s", "words"),
    [
        (MADE_S + 2 * 86400, []),
        (MADE_S + 86400 - 60, []),  # clocks differ a little
        (MADE_S + 3600, ["the bundle was registered at 2023-11-15T22:13:20+00:00"]),
        (0.0, ["the bundle's files are from", "the bundle was registered at"]),
    ],
)
def test_a_bundle_is_older_than_now(bundle, tmp_path, now_s, words):
    problems = clock_problems(now_s, bundle, tmp_path)
    assert len(problems) == len(words)
    for problem, expected in zip(problems, words, strict=True):
        assert expected in problem
        assert "set the clock" in problem


def test_so_is_the_last_event_of_a_camera(bundle, tmp_path):
    event = {"event_id": "1", "end_utc": "2024-01-01T00:00:00.000Z"}
    (tmp_path / CURRENT).write_text(json.dumps(event) + "\n")
    at_s = datetime.fromisoformat("2023-12-31T12:00:00+00:00").timestamp()
    assert "but the last event ended at 2024-01-01T00:00:00+00:00" in clock_problems(at_s, bundle, tmp_path)[0]
    assert clock_problems(at_s, bundle, None) == []  # a recording's events have the recording's time


def test_when_it_was_registered_is_known_of_new_bundles_alone(bundle):
    write_provenance(bundle, "press_a", {}, "run7")
    origin = read_provenance(bundle)
    assert origin is not None
    assert datetime.fromisoformat(origin.registered_at).tzinfo is not None
    values = json.loads((bundle / PROVENANCE).read_text())
    del values["registered_at"]
    write_json(bundle / PROVENANCE, values)
    os.utime(bundle / MANIFEST, (MADE_S, MADE_S))
    assert clock_problems(MADE_S, bundle, None) == []
