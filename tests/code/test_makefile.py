"""What a user sets on make's command line arrives as it is."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flows.lines import actions_of
from lineact.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
TOLD = f"#!{sys.executable}\nimport json, sys\nprint(json.dumps(sys.argv[1:]))\n"


@pytest.fixture
def make(tmp_path):
    """Runs a target whose Python tells its arguments alone."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    python = tmp_path / "python"
    python.write_text(TOLD)
    python.chmod(0o755)
    (tmp_path / "installed").touch()

    def run(*arguments: str) -> list[str]:
        command = ["make", "-s", "-C", str(ROOT), f"BIN={tmp_path}", f"INSTALLED={tmp_path / 'installed'}", *arguments]
        environment = {"PATH": os.environ["PATH"]}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.mark.parametrize("videos", ["/recordings/press a", "it's", 'a "b"', "a; exit 3", "*", "a&b", "a`exit 3`"])
def test_videos_and_actions_may_hold_blanks_and_quotes(videos, make):
    told = make("line", "NAME=press_a", f"VIDEOS={videos}", "ACTIONS=pick, place")
    expected = ["name=press_a", f"videos={videos}", "detector=", "foundation=", "actions=pick, place"]
    others = ["crops=", "yolo=", "data_yaml=", "names=", "blur_regions=", "blur_faces="]
    assert told == ["-m", "flows.lines", *expected, *others]
    told = make("line", "NAME=signs", f"CROPS={videos}", f"YOLO={videos}", f"DATA_YAML={videos}", "NAMES=a b,c")
    assert told[-6:-2] == [f"crops={videos}", f"yolo={videos}", f"data_yaml={videos}", "names=a b,c"]


def test_the_other_targets_pass_on_what_is_set(make):
    assert make("review", "LINE=demo", "REVIEWER=Ada L.")[1:] == [
        "flows.review",
        "line=demo",
        "reviewer=Ada L.",
        "port=",
        "host=",
        "token_file=",
    ]
    assert make("publish", "LINE=demo", "TO=/srv/a b")[1:] == ["flows.publish", "line=demo", "to=/srv/a b"]
    watched = make("monitor", "LINE=press_a", "FROM=a b", "EVERY_H=8")[1:]
    asked = ["reference=", "every_h=8", "per_year=", "on_alarm="]
    assert watched == ["flows.monitor", "line=press_a", "from=a b", *asked]
    assert make("report", "TO=a b")[1:] == ["flows.report", "line=", "to=a b", "mlflow=", "prefect="]
    assert make("forget", "VIDEO=a b.mp4")[1:] == ["flows.forget", "video=a b.mp4", "rings="]
    assert make("backup", "TO=/srv/a b")[1:] == ["flows.backup", "to=/srv/a b"]
    restored = make("restore", "FROM=a b.tar.gz", "EXISTING=keep")[1:]
    assert restored == ["flows.restore", "from=a b.tar.gz", "existing=keep", "check="]
    benched = make("bench-live", "LINE=demo", "CLIP=/clips/a b.mp4", "HOURS=1")[1:]
    assert benched == ["flows.bench_live", "line=demo", "clip=/clips/a b.mp4", "hours=1"]
    benched = make("bench-scale", "LINE=demo", "WORKERS=1,2")[1:]
    assert benched == ["flows.bench_scale", "line=demo", "workers=1,2", "detector="]


def test_dask_listens_on_this_machine_alone_unless_told(make):
    scheduler = make("scheduler")
    assert scheduler[1:7] == ["dask", "scheduler", "--host", "127.0.0.1", "--port", "8786"]
    worker = make("worker", "SCHEDULER=tcp://cell:8786", "RESOURCE=GPU")
    assert worker[1:6] == ["dask", "worker", "tcp://cell:8786", "--host", "127.0.0.1"]
    assert worker[-2:] == ["--resources", "GPU=1"]
    for arguments in (scheduler, worker):  # its page of figures, which --no-dashboard alone leaves open
        assert arguments[arguments.index("--dashboard-address") + 1] == "127.0.0.1:0"
    assert "10.0.0.6" in make("worker", "HOST=10.0.0.6")
    exported = make("review-export", "LINE=press a", "ALL=yes")[1:]
    assert exported == ["flows.review_export", "line=press a", "all=yes"]
    shared = make("review", "LINE=demo", "HOST=0.0.0.0", "TOKEN_FILE=/keys/a b")[1:]
    assert shared[-2:] == ["host=0.0.0.0", "token_file=/keys/a b"]
    assert make("serve", "PORT=4201")[1:] == ["flows.serve", "port=4201"]
    assert make("serve")[1:] == ["flows.serve", "port="]
    assert make("activate", "LINE=gi_d")[1:] == ["flows.lines", "activate=gi_d"]
    exported = make("export-labels", "LINE=demo", "FORMAT=coco", "TO=a b", "WHAT=frames")[1:]
    assert exported == ["flows.export_labels", "line=demo", "format=coco", "to=a b", "what=frames"]
    imported = make("import-labels", "LINE=demo", "FORMAT=cvat", "FROM=it's.xml")[1:]
    assert imported == [
        "flows.import_labels",
        "line=demo",
        "format=cvat",
        "from=it's.xml",
        "reviewer=",
        "numbered_from=",
    ]
    watched = make("live", "LINE=demo", "SOURCE=rtsp://ann:a b@cell7/1")[1:]
    assert watched == ["flows.live", "line=demo", "source=rtsp://ann:a b@cell7/1", "port="]
    compared = make("compare-detectors", "LINE=demo", "WEIGHTS=/weights/a b")[1:]
    assert compared == ["flows.compare_detectors", "line=demo", "weights=/weights/a b", "general="]


@pytest.mark.parametrize("text", ["pick,place", "pick, place", " pick ,place,", "pick,\tplace"])
def test_actions_are_parted_by_commas(text):
    assert actions_of(text) == ["pick", "place"]
    assert actions_of("") == []


@pytest.mark.parametrize("text", ["pick part, place", "pick part"])
def test_a_blank_within_an_action_is_refused(text):
    with pytest.raises(ConfigError, match=r"found 'pick part'; write pick_part or pick,part"):
        actions_of(text)


@pytest.mark.parametrize("text", ["on,off", "pick,no", "1,2", "null", "[a", "a: b"])
def test_an_action_that_yaml_reads_as_something_else_is_refused(text):
    with pytest.raises(ConfigError, match=r"ACTIONS=.*found"):
        actions_of(text)
