"""Stages on a real Dask cluster: a scheduler and workers in processes of their own, one of them killed."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import yaml

from flows.local_cluster import LocalCluster
from lineact.errors import ConfigError, InputError
from lineact.files import sha256_of_file
from lineact.scale import DaskParams, ResourceParams
from lineact.scale.store import Store, forget_recording
from lineact.scale.workers import Shard, workers_for
from tasks.configure import compose_line
from tests import shard_work
from tests.generated_videos import passing_hand, write_video

ROOT = Path(__file__).resolve().parents[1]
LINE = "small"
SETTINGS = ["detector=motion", "ingest.max_bad_share=0.5", "ingest.label_fps=10"]
STAGES = ("ingest", "detect", "embed")
RECORDINGS = 4
pytestmark = pytest.mark.services


def params_of(cluster: LocalCluster, store: Path | str, wait_s: float = 60.0, **resources: str) -> DaskParams:
    """Where a test's cluster is."""
    named = {"ingest": "CPU", "detect": "CPU", "embed": "CPU"} | resources
    return DaskParams(cluster.address, str(store), ResourceParams(**named), wait_s)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A raw folder with recordings of a passing hand, one that breaks off, and a file that is no video."""
    raw = tmp_path_factory.mktemp("recordings") / "raw"
    for number in range(RECORDINGS):
        write_video(raw / f"rec_{number}.mp4", passing_hand(seconds=14.0, offset=6 * number)[0])
    rng = np.random.default_rng(0)
    noisy = [rng.integers(0, 255, (180, 320, 3), dtype=np.uint8) for _ in range(30)]
    whole = write_video(raw / "cut.avi", noisy, codec="mpeg4")
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (raw / "broken.mp4").write_bytes(b"no video at all")
    return raw


class Station:
    """A folder in which the stages run as DVC runs them."""

    def __init__(self, folder: Path, raw: Path, compute: dict) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "data").symlink_to(raw.parent)
        (folder / "models").symlink_to(ROOT / "models")
        sections = compose_line(ROOT / "conf", "demo", SETTINGS)
        (folder / "params.yaml").write_text(yaml.safe_dump({"lines": {LINE: sections | {"compute": compute}}}))

    def start(self, stage: str) -> subprocess.Popen:
        command = [sys.executable, "-m", f"tasks.{stage}", "--line", LINE, "--raw", "data/raw", "--out", stage]
        command += {
            "ingest": [],
            "detect": ["--ingest", "ingest", "--tiny", "models/foundation/tiny/grounding_dino"],
            "embed": ["--detect", "detect", "--tiny", "models/foundation/tiny/blip2_vision"],
        }[stage]
        environment = {name: value for name, value in os.environ.items() if name != "LINEACT_COMPUTE"}
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, stage: str) -> str:
        process = self.start(stage)
        printed, _ = process.communicate()
        assert process.returncode == 0, printed
        return printed

    def written(self, stage: str) -> dict[str, bytes]:
        folder = self.folder / stage
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def settings_of(params: DaskParams) -> dict:
    """A section `compute` of params.yaml."""
    resources = {stage: getattr(params.resources, stage) for stage in STAGES}
    dask = {"scheduler": params.scheduler, "store": params.store, "resources": resources, "wait_s": params.wait_s}
    return {"engine": "dask", "dask": dask}


@pytest.fixture(scope="module")
def local(recordings, tmp_path_factory):
    """What the stages write without a cluster."""
    station = Station(tmp_path_factory.mktemp("local") / "station", recordings, {"engine": "local"})
    for stage in STAGES:
        station.run(stage)
    return station


def told(cluster: LocalCluster, names: list[str], word: str) -> Counter:
    """How often workers said of which stage and recording that it was begun or stored."""
    found = (re.findall(rf"^(\w+): (\S+): {word}$", cluster.log(name).read_text(), re.MULTILINE) for name in names)
    return Counter(pair for pairs in found for pair in pairs)


def test_a_killed_worker_costs_its_shard_and_the_outputs_are_the_same_bytes(recordings, local, tmp_path):
    names = ["cpu_0", "cpu_1", "gpu_0"]
    with LocalCluster(tmp_path / "cluster") as cluster:
        (tmp_path / "cluster/models").symlink_to(ROOT / "models")
        workers = {name: cluster.start_worker(name, resource=name[:3].upper()) for name in names}
        params = params_of(cluster, tmp_path / "store", embed="GPU")
        station = Station(tmp_path / "station", recordings, settings_of(params))
        station.run("ingest")
        assert station.written("ingest") == local.written("ingest")
        assert b"broken.mp4,unreadable" in station.written("ingest")["problems.csv"]

        running = station.start("detect")
        while not [pair for pair in told(cluster, ["cpu_0"], "begun") if pair[0] == "detect"]:
            assert running.poll() is None
            time.sleep(0.01)
        workers["cpu_0"].send_signal(signal.SIGKILL)
        printed, _ = running.communicate()
        assert running.returncode == 0, printed
        assert station.written("detect") == local.written("detect")

        station.run("embed")
        assert station.written("embed") == local.written("embed")
        begun, stored = told(cluster, names, "begun"), told(cluster, names, "stored")
        per_stage = {stage: sorted(begun[pair] for pair in begun if pair[0] == stage) for stage in STAGES}
        with_frames = RECORDINGS + 1
        assert per_stage == {
            "ingest": [1] * (with_frames + 1),
            "detect": [1] * (with_frames - 1) + [2],  # the killed worker's recording, and no other, was begun again
            "embed": [1] * len(per_stage["embed"]),
        }
        assert set(stored.values()) == {1}
        assert {stage for stage, _ in told(cluster, ["gpu_0"], "begun")} == {"embed"}
        assert {stage for stage, _ in told(cluster, ["cpu_1"], "begun")} == {"ingest", "detect"}

        # what is stored is computed on no worker again, whatever became of the checkout
        shutil.rmtree(station.folder / ".lineact")
        for stage in STAGES:
            assert "0 of " in station.run(stage)
            assert station.written(stage) == local.written(stage)
        assert told(cluster, names, "begun") == begun


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two workers with CPU; a scheduler that gives up a shard whose worker dies."""
    folder = tmp_path_factory.mktemp("cluster")
    with LocalCluster(folder, DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0") as started:
        failed = str(folder / "failed")
        started.start_worker("one", TESTED_FAILED=failed)
        started.start_worker("two", TESTED_FAILED=failed, TESTED_FAILS="yes")
        wait_for_workers(started, "CPU", 2)
        yield started


@pytest.fixture
def shards(tmp_path):
    """Three small recordings; `work` of `tests.shard_work` makes something of them."""
    paths = [tmp_path / f"rec_{number}.mp4" for number in range(3)]
    for path in paths:
        path.write_text(f"recording {path.stem} of {tmp_path}")

    def given(work) -> list[Shard]:
        return [Shard(path.name, path, sha256_of_file(path), {"work": work.__name__}, work) for path in paths]

    return given


def results(params: DaskParams, shards: list[Shard], key_of=shard_work.key_of) -> dict[str, str]:
    with workers_for(params, "ingest", key_of) as workers:
        return {shard.name: (made / "made").read_text() for shard, made in workers.results(shards)}


def test_a_shard_that_fails_on_one_worker_is_done_by_another(cluster, shards, tmp_path, capfd):
    given = shards(shard_work.copy_where_it_may)
    found = results(params_of(cluster, tmp_path / "store"), given)
    assert found == {shard.name: shard.path.read_text() for shard in given}
    assert "failed on" in capfd.readouterr().out
    assert "no memory left on this device" in cluster.log("two").read_text()


def test_a_shard_that_fails_everywhere_is_named_with_what_each_worker_said(cluster, shards, tmp_path):
    with pytest.raises(InputError, match=r"recording rec_\d\.mp4: failed on every worker of CPU") as caught:
        results(params_of(cluster, tmp_path / "store"), shards(shard_work.fail))
    assert str(caught.value).count("RuntimeError: cannot do rec_") == 2
    assert "run the same command again" in str(caught.value)


def test_a_worker_of_other_code_or_libraries_is_refused(cluster, shards, tmp_path, capfd):
    code = tmp_path / "code"
    shutil.copytree(ROOT / "lineact", code / "lineact", ignore=shutil.ignore_patterns("__pycache__"))
    with (code / "lineact/errors.py").open("a") as stream:
        stream.write("# another version\n")
    (code / "tests").symlink_to(ROOT / "tests")
    older = tmp_path / "older" / "numpy-1.0.dist-info"
    older.mkdir(parents=True)
    (older / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 1.0\n")
    params = params_of(cluster, tmp_path / "store", ingest="OTHER")
    others = [
        cluster.start_worker("other_code", "OTHER", PYTHONPATH=str(code)),
        cluster.start_worker("other_numpy", "OTHER", PYTHONPATH=f"{older.parent}{os.pathsep}{ROOT}"),
        cluster.start_worker("no_lineact", "OTHER", PYTHONPATH=""),
    ]
    wait_for_workers(cluster, "OTHER", 3)
    with pytest.raises(ConfigError, match="found only others; bring them to the same commit") as caught:
        results(params, shards(shard_work.copy))
    assert "lineact's code" in str(caught.value)
    assert f"numpy 1.0 in place of {np.__version__}" in str(caught.value)
    assert "No module named" in str(caught.value)

    cluster.start_worker("same", "OTHER")
    wait_for_workers(cluster, "OTHER", 4)
    assert len(results(params, shards(shard_work.copy))) == 3
    assert capfd.readouterr().out.count("is refused") == 6
    for process in others:
        process.terminate()


def test_workers_that_would_answer_differently_are_no_one_resource(cluster, shards, tmp_path):
    cluster.start_worker("kind_one", "MIXED")
    cluster.start_worker("kind_two", "MIXED", TESTED_KIND="two")
    wait_for_workers(cluster, "MIXED", 2)
    with pytest.raises(ConfigError, match=r"would answer differently: .* has kind '\w+' in place of '\w+'"):
        results(params_of(cluster, tmp_path / "store", ingest="MIXED"), shards(shard_work.copy))


def test_a_resource_that_nobody_has_is_waited_for_with_a_limit(cluster, shards, tmp_path):
    with pytest.raises(InputError, match=r"expected a worker of GPU .* found none for 2 s; start one"):
        results(params_of(cluster, tmp_path / "store", wait_s=2.0, ingest="GPU"), shards(shard_work.copy))


def test_a_worker_that_comes_late_is_waited_for(cluster, shards, tmp_path):
    cluster.start_worker("late", "LATE")
    assert len(results(params_of(cluster, tmp_path / "store", ingest="LATE"), shards(shard_work.copy))) == 3


def test_a_worker_of_another_kind_that_comes_late_is_refused_and_the_first_does_its_shard(
    cluster, shards, tmp_path, capfd
):
    cluster.start_worker("first_kind", "KINDS")
    params = params_of(cluster, tmp_path / "store", ingest="KINDS")
    with workers_for(params, "ingest", shard_work.key_of) as workers:
        cluster.start_worker("second_kind", "KINDS", TESTED_KIND="two")
        wait_for_workers(cluster, "KINDS", 2)
        assert len(list(workers.results(shards(shard_work.copy_slowly)))) == 3
    assert "is refused: kind 'two' in place of 'one'" in capfd.readouterr().out
    assert "begun" not in cluster.log("second_kind").read_text()


def test_a_recording_that_kills_its_workers_is_named(cluster, shards, tmp_path):
    cluster.start_worker("dying", "DYING")
    wait_for_workers(cluster, "DYING", 1)
    params = params_of(cluster, tmp_path / "store", ingest="DYING", wait_s=30.0)
    with pytest.raises(InputError, match=r"recording rec_0\.mp4: every worker that had it was killed"):
        results(params, shards(shard_work.kill_worker)[:1])


def test_where_the_last_worker_went_the_stage_waits_with_a_limit(cluster, shards, tmp_path):
    last = cluster.start_worker("last", "LAST")
    wait_for_workers(cluster, "LAST", 1)
    params = params_of(cluster, tmp_path / "store", ingest="LAST", wait_s=2.0)
    with workers_for(params, "ingest", shard_work.key_of) as workers:
        last.terminate()
        last.wait()
        with pytest.raises(InputError, match="expected a worker of LAST"):
            list(workers.results(shards(shard_work.copy)))


def test_a_changed_video_in_the_store_is_noticed(cluster, shards, tmp_path):
    given = shards(shard_work.copy)[:1]
    (tmp_path / "store/videos").mkdir(parents=True)
    (tmp_path / f"store/videos/{given[0].sha256}.mp4").write_text("something else")
    with pytest.raises(InputError, match="expected the recording with SHA-256"):
        results(params_of(cluster, tmp_path / "store"), given)


def test_a_result_that_is_broken_in_the_store_is_noticed(cluster, shards, tmp_path):
    given, params = shards(shard_work.copy), params_of(cluster, tmp_path / "store")
    results(params, given)
    stored = Store.at(params.store)
    (tmp_path / "store" / stored.names("ingest")[0]).write_bytes(b"half")
    with pytest.raises(InputError, match="remove that file, and run the same command again"):
        results(params, given)


def test_a_scheduler_that_is_not_there_is_told_with_the_way_out(shards, tmp_path):
    params = DaskParams("tcp://127.0.0.1:9", str(tmp_path), ResourceParams("CPU", "CPU", "CPU"), 2.0)
    with pytest.raises(InputError, match=r"expected a Dask scheduler at tcp://127\.0\.0\.1:9, found none within 2 s"):
        results(params, shards(shard_work.copy))


def test_a_scheduler_that_goes_ends_the_stage_and_what_was_stored_is_kept(shards, tmp_path):
    with LocalCluster(tmp_path / "cluster") as own:
        own.start_worker("one")
        wait_for_workers(own, "CPU", 1)
        params = params_of(own, tmp_path / "store", wait_s=5.0)
        with workers_for(params, "ingest", shard_work.key_of) as workers:
            found = workers.results(shards(shard_work.copy_slowly))
            next(found)
            own.processes["scheduler"].send_signal(signal.SIGKILL)
            with pytest.raises(InputError, match=r"the Dask scheduler at .* went away; start it again; what is stored"):
                list(found)
        assert len(Store.at(params.store).names("ingest")) >= 1


def test_what_a_killed_worker_had_open_goes_when_the_next_one_starts(shards, tmp_path):
    with LocalCluster(tmp_path / "cluster") as own:
        own.start_worker("one")
        given, scratch = shards(shard_work.copy_slowly)[:1], tmp_path / "cluster/scratch"
        with workers_for(params_of(own, tmp_path / "store"), "ingest", shard_work.key_of) as workers:
            waiting = Thread(target=list, args=(workers.results(given),))
            waiting.start()
            while not list(scratch.rglob(given[0].name)):
                time.sleep(0.05)
            own.processes["one"].send_signal(signal.SIGKILL)
            own.processes["one"].wait()
            assert list(scratch.rglob(given[0].name))
            own.start_worker("two")
            waiting.join()
        assert not list(scratch.rglob(given[0].name))


def wait_for_workers(cluster: LocalCluster, resource: str, count: int) -> None:
    """Until so many have come; the test's own limit ends it otherwise."""
    from distributed import Client

    with Client(cluster.address, set_as_default=False) as client:
        while True:
            workers = client.scheduler_info(n_workers=-1)["workers"].values()
            if sum(worker["resources"].get(resource, 0) >= 1 for worker in workers) >= count:
                return
            time.sleep(0.1)


@pytest.fixture
def bucket(monkeypatch):
    """An S3 endpoint on loopback, with an empty bucket."""
    import boto3
    from moto.server import ThreadedMotoServer
    from s3fs import S3FileSystem

    for name, value in {
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    boto3.client("s3").create_bucket(Bucket="plant")
    S3FileSystem.clear_instance_cache()  # another test's store may have had another address
    yield "s3://plant/lineact"
    S3FileSystem.clear_instance_cache()
    server.stop()


def test_recordings_and_results_pass_through_s3(bucket, recordings, local, tmp_path):
    with LocalCluster(tmp_path / "cluster") as own:
        (tmp_path / "cluster/models").symlink_to(ROOT / "models")
        own.start_worker("one")
        params = params_of(own, bucket)
        station = Station(tmp_path / "station", recordings, settings_of(params))
        for stage in STAGES:
            station.run(stage)
            assert station.written(stage) == local.written(stage)
    store = Store.at(bucket)
    assert len(store.names("videos")) == RECORDINGS + 2
    assert len(store.names("ingest")) == RECORDINGS + 2
    forgotten = sha256_of_file(recordings / "rec_0.mp4")
    assert forget_recording(store, forgotten) >= 4
    assert not [name for name in store.names("") if forgotten in name]


def test_a_bucket_that_is_not_there_is_told(bucket, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match=r"check compute\.dask\.store and the credentials"):
        Store.at(bucket.replace("plant", "nowhere")).put(tmp_path / "file", "ingest/a/x")
