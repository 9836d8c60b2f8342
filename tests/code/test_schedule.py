"""A schedule that prefect would refuse at night is refused when it is written; and who is looked at by itself."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from prefect.client.schemas.schedules import CronSchedule

from flows.deployments import schedules
from lineact.errors import ConfigError
from lineact.schedule import ScheduleParams
from tasks.configure import UNIONS
from tests.small_line import lists_of

REST: dict[str, Any] = {
    "work_pool": "lineact",
    "retries": 2,
    "retry_delay_s": 60.0,
    "mlflow_wait_s": 7200.0,
    "remote": None,
}


@pytest.mark.parametrize(
    "cron", ["0 2 * * *", "*/15 6-22 * * mon-fri", "0,30 0-23/2 1 jan,jul 0", "5 4 * * 7", "0 22 31 DEC *"]
)
def test_what_crontab_allows_is_taken(cron):
    assert ScheduleParams(cron, "Europe/Berlin", **REST).cron == cron
    assert CronSchedule(cron=cron, timezone="Europe/Berlin")


@pytest.mark.parametrize(
    ("cron", "named"),
    [
        ("every day", "five fields"),
        ("", "five fields"),
        ("0 2 * *", "five fields"),
        ("0 0 2 * * *", "five fields"),
        ("60 2 * * *", "minute, found '60'"),
        ("0 24 * * *", "hour, found '24'"),
        ("0 2 0 * *", "day of the month, found '0'"),
        ("0 2 * 13 *", "month, found '13'"),
        ("0 2 * * 8", "day of the week, found '8'"),
        ("0 2 * * someday", "day of the week, found 'someday'"),
        ("0 5-2 * * *", "hour, found '5-2'"),
        ("*/0 2 * * *", "minute"),
        ("*/00 2 * * *", "minute"),
        ("0 2,, * * *", "hour"),
        ("-1 2 * * *", "minute"),
        ("H 2 * * *", "minute"),
    ],
)
def test_a_wrong_expression_is_named_with_its_field(cron, named):
    with pytest.raises(ValueError, match=f"cron: expected .*{named}"):
        ScheduleParams(cron, "UTC", **REST)


@pytest.mark.parametrize("timezone", ["Mars/X", "", "../etc/passwd", "/etc/localtime", "Europe", "utc+1"])
def test_a_wrong_timezone_is_named(timezone):
    with pytest.raises(ValueError, match="timezone: expected a name such as UTC"):
        ScheduleParams("0 2 * * *", timezone, **REST)


PARTS = st.from_regex(r"\A(\*|[0-9]{1,2}(-[0-9]{1,2})?|mon|jan-mar)(/[0-9]{1,2})?\Z")


@given(st.lists(st.lists(PARTS, min_size=1, max_size=2).map(",".join), min_size=5, max_size=5).map(" ".join))
def test_prefect_takes_whatever_is_taken_here(cron):
    try:
        ScheduleParams(cron, "UTC", **REST)
    except ValueError:
        return
    assert CronSchedule(cron=cron, timezone="UTC")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"work_pool": "my pool"}, "work_pool: expected letters"),
        ({"work_pool": ""}, "work_pool: expected letters"),
        ({"work_pool": "Prefect-x"}, "work_pool: .*not beginning with prefect"),  # Prefect keeps these for itself
        ({"retries": -1}, "retries: expected a number from 0 on, found -1"),
        ({"retry_delay_s": -0.5}, "retry_delay_s"),
        ({"mlflow_wait_s": float("inf")}, "mlflow_wait_s"),
        ({"mlflow_wait_s": float("nan")}, "mlflow_wait_s"),
        ({"remote": ""}, "remote: expected the name"),
    ],
)
def test_a_wrong_setting_of_a_run_is_named(changed, named):
    with pytest.raises(ValueError, match=named):
        ScheduleParams("0 2 * * *", "UTC", **(REST | changed))


def test_lines_with_recordings_are_looked_at_by_themselves_where_their_videos_are_named(tmp_path, monkeypatch):
    shutil.copytree(Path(__file__).resolve().parents[2] / "conf", tmp_path / "conf")
    monkeypatch.chdir(tmp_path)
    lists = lists_of("video_lines", "press_a", "press_b")
    for name in ("crop_lines", *(union for union, kinds in UNIONS.items() if "crop_lines" in kinds)):
        lists[name] = [*lists[name], "crops"]
    Path("conf/lines.yaml").write_text(yaml.safe_dump(lists))
    own = {"description": "a press", "actions": ["screw"], "holdout": {"last_share": 0.2}}
    watched = own | {"drift": {"videos": "/srv/video", "every_h": 8}, "schedule": {"work_pool": "hall_2"}}
    for line, settings in (("press_a", own), ("press_b", watched), ("crops", own | {"drift": watched["drift"]})):
        source = "defaults:\n  - override /source: crops\n" if line == "crops" else ""
        Path(f"conf/line/{line}.yaml").write_text("# @package _global_\n" + source + yaml.safe_dump(settings))
    found = schedules()
    assert {line: section.pool for line, section in found.items()} == {
        "press_a": "lineact",
        "press_b": "hall_2",
        "crops": "lineact",
    }
    looks = {line: section.drift["every_h"] for line, section in found.items() if section.drift}
    assert looks == {"press_b": 8}
    Path("conf/line/press_a.yaml").write_text("# @package _global_\n" + yaml.safe_dump(own | {"drift": {"videos": 3}}))
    with pytest.raises(ConfigError, match=r"drift\.videos: expected str, found 3"):
        schedules()
