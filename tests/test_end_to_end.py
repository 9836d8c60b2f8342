"""The whole path on a small simulated line, by the commands that a user types: run, no-op, resume, kills, full disk."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time

import psutil
import pytest
import yaml

from flows.dvc_files import drop_broken_rwlock
from tests.small_line import (
    LINE,
    SETTINGS,
    environment,
    kill_when,
    lock_of,
    make_checkout,
    outs_of,
    run,
    stage_in,
    start,
    write_line,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
KILLED_AT_SHARE = 0.25  # of a stage's time: other work may have slowed the run that tells it
DVC_S = 2.1  # of a stage's seconds that are DVC's own, rather too much: a stage must not end before it is killed
LAST_STAGE = f"evaluate@{LINE}"
OPEN_GATES = {
    "min_detection_recall": 0.0,
    "min_detection_accuracy": 0.0,
    "min_action_accuracy": 0.0,
    "max_p95_ms": 1e6,
    "max_call_p99_ms": 1e6,
    "max_event_p95_ms": 1e6,
    "min_event_f1": 0.0,
    "max_false_events_per_h": 1e6,
    "min_gain_low": -1.0,
}


def stages_of_the_line(checkout):
    stages = yaml.safe_load((checkout / "dvc.yaml").read_text())["stages"]
    lists = yaml.safe_load((checkout / "conf/lines.yaml").read_text())
    return [name for name, entry in stages.items() if LINE in lists.get(entry.get("foreach", "")[2:-1], [])]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A checkout in which `retrain` ran once, and what it printed."""
    checkout = make_checkout(tmp_path_factory.mktemp("finished") / "checkout", SETTINGS | {"register": OPEN_GATES})
    done = run(checkout, "flows.retrain", f"line={LINE}")
    assert done.returncode == 0, done.stdout[-5000:]
    return checkout, done.stdout


def mlflow_client(checkout):
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{checkout / 'mlflow.db'}", f"sqlite:///{checkout / 'mlflow.db'}")


def test_the_summary_tells_every_stage_and_what_came_of_it(finished):
    checkout, printed = finished
    table = printed[printed.index("in all") :]
    for stage in stages_of_the_line(checkout):
        assert f"│ {stage} " in table
    for said in ("simulated reviewer", "p50/p95/p99", "items for a person", "version 1 registered and promoted"):
        assert said in " ".join(table.split())
    for command in ("make ui", f"make review LINE={LINE}", "make line NAME="):
        assert command in table


def test_mlflow_holds_one_parent_with_its_stages_and_the_version_with_a_signature(finished):
    from flows.tracking import HEADLINES

    checkout, _ = finished
    client = mlflow_client(checkout)
    experiment = client.get_experiment_by_name(f"lineact-{LINE}").experiment_id
    runs = client.search_runs([experiment])
    (parent,) = [one for one in runs if one.data.tags["lineact.kind"] == "pipeline"]
    assert {"line", "git_commit", "dvc_lock_sha256", "data_hash"} <= set(parent.data.tags)
    children = {one.data.tags["lineact.stage"]: one for one in runs if one.data.tags["lineact.kind"] == "stage"}
    assert set(children) == set(stages_of_the_line(checkout))
    assert {one.data.tags["mlflow.parentRunId"] for one in children.values()} == {parent.info.run_id}
    for stage in HEADLINES.keys() & children.keys():
        names = HEADLINES[stage]
        known = json.loads((artefacts_of(checkout, stage) / "metrics.json").read_text())
        assert set(names) <= set(known)
        assert {name for name in names if known[name] is not None} <= set(parent.data.metrics)
    assert len(client.get_metric_history(children["distil"].info.run_id, "curve.val_loss")) == 3
    version = client.get_model_version_by_alias(f"lineact-{LINE}", "champion")
    assert str(version.version) == "1"
    model = yaml.safe_load((checkout / "mlruns").joinpath(*_artifact_parts(parent), "bundle/MLmodel").read_text())
    assert json.loads(model["signature"]["inputs"])[0]["name"] == "images_rgb"
    (entry,) = (checkout / f"models/{LINE}/promotions.jsonl").read_text().splitlines()
    assert {"at", "who", "why", "from"} <= set(json.loads(entry))


def artefacts_of(checkout, stage):
    (folder,) = [path for path in lock_of(checkout)[stage]["outs"] if path["path"].endswith(f"/{stage}")]
    return checkout / folder["path"]


def seconds_of_stages(checkout):
    """How long each stage took, DVC's own time included."""
    client = mlflow_client(checkout)
    experiment = client.get_experiment_by_name(f"lineact-{LINE}").experiment_id
    ran = client.search_runs([experiment], "tags.`lineact.kind` = 'stage' and tags.`lineact.outcome` = 'ran'")
    return {one.data.tags["lineact.stage"]: one.data.metrics["stage_seconds"] for one in ran}


def _artifact_parts(parent):
    return parent.info.artifact_uri.split("mlruns/")[1].split("/")


def test_a_second_run_by_hand_or_by_the_flow_changes_nothing(finished):
    checkout, _ = finished
    before = lock_of(checkout)
    again = run(checkout, "dvc", "repro")
    assert again.returncode == 0, again.stdout
    ran = [line for line in again.stdout.splitlines() if line.startswith("Running stage")]
    assert ran == [f"Running stage 'machine@{LINE}':"]
    assert lock_of(checkout) == before
    flow = run(checkout, "flows.retrain", f"line={LINE}")
    assert flow.returncode == 0, flow.stdout[-3000:]
    table = flow.stdout[flow.stdout.index("in all") :]
    assert table.count("│ ran ") == 1  # machine
    assert "version 1 is the champion already" in " ".join(table.split())
    assert len(mlflow_client(checkout).search_model_versions(f"name = 'lineact-{LINE}'")) == 1


def test_a_comment_in_the_code_costs_no_forward_pass(finished, tmp_path):
    checkout = shutil.copytree(finished[0], tmp_path / "checkout")
    for module in ("lineact/detect/motion.py", "lineact/embed.py", "lineact/training/loop.py"):
        with (checkout / module).open("a") as stream:
            stream.write("# a comment\n")
    before = outs_of(checkout)
    again = run(checkout, "dvc", "repro", LAST_STAGE)
    assert again.returncode == 0, again.stdout
    assert f"Running stage 'detect@{LINE}'" in again.stdout
    counted = [line for line in again.stdout.splitlines() if "frames to go" in line]
    assert len(counted) == SETTINGS["simulate"]["recordings"]
    assert all(": 0 of " in line for line in counted)
    embedded = [line for line in again.stdout.splitlines() if "through the network" in line]
    assert len(embedded) == SETTINGS["simulate"]["recordings"] + 1  # and their sum
    assert all(" crops, 0 through the network" in line for line in embedded)
    assert f"Running stage 'distil@{LINE}'" in again.stdout
    assert "epoch 1 of" not in again.stdout
    assert outs_of(checkout) == before


def test_one_change_is_tried_as_an_experiment_and_reruns_only_what_it_touches(finished, tmp_path):
    checkout = shutil.copytree(finished[0], tmp_path / "checkout")
    subprocess.run(["git", "add", "-A"], cwd=checkout, check=True)
    name = ["-c", "user.name=a", "-c", "user.email=a@b.invalid"]
    subprocess.run(["git", *name, "commit", "-qm", "the small line"], cwd=checkout, check=True)
    change = f"conf/line/{LINE}.yaml:++detect.filters.box_threshold=0.6"
    tried = run(checkout, "dvc", "exp", "run", "-S", change, f"detect@{LINE}")
    assert tried.returncode == 0, tried.stdout
    ran = [line.split("'")[1] for line in tried.stdout.splitlines() if line.startswith("Running stage")]
    assert ran == ["configure", f"detect@{LINE}"]
    assert yaml.safe_load((checkout / "params.yaml").read_text())["lines"][LINE]["detect"]["filters"][
        "box_threshold"
    ] == pytest.approx(0.6)
    diff = run(checkout, "dvc", "params", "diff")
    assert "box_threshold" in diff.stdout


@pytest.mark.timeout(1800)  # every stage twice, and DVC's start for each
def test_kill_9_in_each_stage_and_the_same_command_again(finished, tmp_path):
    """Killed once in every stage, the pipeline ends with the very bytes of the run that nobody killed."""
    reference, _ = finished
    seconds = seconds_of_stages(reference)
    checkout = make_checkout(tmp_path / "checkout", SETTINGS | {"register": OPEN_GATES})
    log = tmp_path / "log"
    killed: list[str] = []

    def in_a_new_stage(family: list[psutil.Process]) -> bool:
        running = stage_in(family)
        if (
            running is None
            or running[0] in killed
            or running[1] < KILLED_AT_SHARE * (seconds.get(running[0], DVC_S) - DVC_S)
        ):
            return False
        killed.append(running[0])
        return True

    stages = stages_of_the_line(checkout)
    while kill_when(start(checkout, log, "dvc", "--wait-for-lock", "repro"), in_a_new_stage):
        assert len(killed) <= len(stages) + 1
        with contextlib.chdir(checkout):
            drop_broken_rwlock()  # as the flows do; by hand, README says how
    assert run(checkout, "dvc", "--wait-for-lock", "repro").returncode == 0, log.read_text()[-5000:]
    long_enough = {stage for stage in stages if seconds[stage] > 2 * DVC_S}  # a shorter one may end before it is seen
    assert len(long_enough) >= 9
    assert set(killed) >= long_enough, log.read_text()[-5000:]
    assert outs_of(checkout) == outs_of(reference)


def test_a_killed_flow_goes_on_with_the_same_command(finished, tmp_path):
    checkout = shutil.copytree(finished[0], tmp_path / "checkout")
    other = SETTINGS | {"register": OPEN_GATES, "train_teacher": {"fit": {"epochs": 2, "lr": 0.004}}}
    write_line(checkout, other)
    before = statuses_of(checkout, "pipeline")
    log = tmp_path / "log"
    process = start(checkout, log, "flows.retrain", f"line={LINE}")
    family = psutil.Process(process.pid)
    while not is_teaching(family.children(recursive=True)):
        assert process.poll() is None, log.read_text()[-5000:]
        time.sleep(0.05)
    (server,) = filter(is_server, family.children(recursive=True))
    process.kill()
    process.wait()
    assert not psutil.wait_procs([server], timeout=180)[1]
    assert statuses_of(checkout, "pipeline") == [*before, "RUNNING"]
    again = run(checkout, "flows.retrain", f"line={LINE}")
    assert again.returncode == 0, again.stdout[-5000:]
    table = again.stdout[again.stdout.index("in all") :]
    assert table.count("│ unchanged ") >= 9  # simulate to train_detector
    assert "version 2 registered" in " ".join(table.split())
    assert statuses_of(checkout, "pipeline") == [*before, "FINISHED", "KILLED"]
    assert set(statuses_of(checkout, "stage")) == {"FINISHED"}


def is_teaching(family: list[psutil.Process]) -> bool:
    running = stage_in(family)
    return running is not None and running[0] == "train_teacher" and running[1] > 3


@pytest.mark.parametrize(
    ("full", "stage"),
    [(f"data/{LINE}", "simulate"), (".lineact", "simulate"), (f"models/{LINE}", "train_detector")],
)
def test_a_full_disk_is_one_clear_error_and_nothing_is_lost(finished, tmp_path, full, stage):
    checkout = shutil.copytree(finished[0], tmp_path / "checkout")
    before = outs_of(checkout)
    shutil.rmtree(checkout / ".dvc/cache")  # nothing can be restored: the stage must run
    shutil.rmtree(checkout / full)
    (checkout / full).mkdir()
    mounted = f"mount -t tmpfs -o size=300k none {full} && exec python -m dvc repro {stage}@{LINE}"
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", mounted]
    filled = subprocess.run(command, cwd=checkout, env=environment(), capture_output=True, text=True)
    said = filled.stdout + filled.stderr
    if "Operation not permitted" in said:
        pytest.skip("this system gives an ordinary user no mount of its own")
    assert filled.returncode != 0
    assert f"{stage}@{LINE}:" in said, said
    assert "No space left on device; free some space and run the same command again" in said
    assert "Traceback" not in said
    again = run(checkout, "dvc", "repro", f"{stage}@{LINE}")
    assert again.returncode == 0, again.stdout[-3000:]
    assert outs_of(checkout) == before


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_ends_the_flow_and_all_it_started(kind, tmp_path):
    """Ctrl+C in a terminal, `timeout` and systemd do not ask which process is which."""
    checkout = make_checkout(tmp_path / "checkout")
    log = tmp_path / "log"
    process = start(checkout, log, "flows.label_line", f"line={LINE}")
    root = psutil.Process(process.pid)
    while stage_in(root.children(recursive=True)) is None:
        assert process.poll() is None, log.read_text()[-3000:]
        time.sleep(0.05)
    family = root.children(recursive=True)
    assert any(is_server(one) for one in family)
    os.killpg(process.pid, kind)
    assert process.wait(timeout=400) in (-kind, 128 + kind)
    _, alive = psutil.wait_procs(family, timeout=180)
    said = log.read_text()
    assert not alive, said[-5000:]
    assert "Traceback" not in said
    assert said.splitlines()[-1] == "interrupted: the same command goes on; finished stages are kept"
    assert statuses_of(checkout, "pipeline") == ["KILLED"]
    again = run(checkout, "flows.label_line", f"line={LINE}")
    assert again.returncode == 0, again.stdout[-5000:]


def is_server(process: psutil.Process) -> bool:
    return "flows.temporary_server" in process.cmdline()


def statuses_of(checkout, kind):
    """MLflow's states of the line's runs of a kind, sorted."""
    client = mlflow_client(checkout)
    experiment = client.get_experiment_by_name(f"lineact-{LINE}").experiment_id
    return sorted(run.info.status for run in client.search_runs([experiment], f"tags.`lineact.kind` = '{kind}'"))
