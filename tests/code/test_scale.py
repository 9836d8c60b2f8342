"""Scale-out without a cluster: its settings, its store, what a worker writes, and who counts as the same."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from lineact.detect.backend import Recording
from lineact.errors import ConfigError, InputError
from lineact.files import sha256_of_file
from lineact.ingest import IngestParams, ingest_videos, ingested_folder
from lineact.scale import ComputeParams
from lineact.scale.detect import AskedElsewhere
from lineact.scale.ingest import UNUSABLE, read_on_worker
from lineact.scale.job import Identity, difference, own_identity
from lineact.scale.store import Store, forget_recording, shards_folder, video_name
from lineact.settings import from_mapping
from tasks.compute import cluster_of, stores_of
from tasks.configure import compose_line
from tests.generated_videos import scene, with_arm, write_video

ROOT = Path(__file__).resolve().parents[2]
DASK = yaml.safe_load((ROOT / "conf/compute/dask.yaml").read_text())["compute"]
INGEST = from_mapping(IngestParams, yaml.safe_load((ROOT / "conf/config.yaml").read_text())["ingest"], "conf")


def test_the_shipped_settings_are_valid_and_a_line_computes_here_unless_it_says_otherwise():
    assert from_mapping(ComputeParams, DASK, "conf").engine == "dask"
    assert compose_line(ROOT / "conf", "demo")["compute"] == {"engine": "local"}
    composed = compose_line(ROOT / "conf", "demo", ["compute=dask", "compute.dask.resources.detect=GPU"])
    assert composed["compute"]["dask"]["resources"] == {"ingest": "CPU", "detect": "GPU", "embed": "CPU"}
    local = compose_line(ROOT / "conf", "demo")
    assert composed | {"compute": None} == local | {"compute": None}  # no stage's settings know of it


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"scheduler": "somewhere"}, "scheduler: expected an address"),
        ({"store": " "}, "store: expected a folder"),
        ({"wait_s": 0}, "wait_s must be above 0"),
        ({"resources": {"ingest": "CPU", "detect": "", "embed": "CPU"}}, "detect must name a resource"),
        ({"workers": 3}, "unknown key 'workers'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change, named):
    with pytest.raises(ConfigError, match=named):
        from_mapping(ComputeParams, {"engine": "dask", "dask": DASK["dask"] | change}, "here")


def test_an_engine_without_its_section_is_refused():
    with pytest.raises(ConfigError, match="expected a section dask"):
        from_mapping(ComputeParams, {"engine": "dask"}, "here")


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder with params.yaml and conf/compute, as stages find them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LINEACT_COMPUTE", raising=False)
    (tmp_path / "conf/compute").mkdir(parents=True)
    for name in ("local", "dask"):
        (tmp_path / f"conf/compute/{name}.yaml").write_text((ROOT / f"conf/compute/{name}.yaml").read_text())
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"lines": {"demo": {"compute": {"engine": "local"}}}}))
    return tmp_path


def test_the_environment_goes_before_the_lines_settings(checkout, monkeypatch):
    assert cluster_of("demo") is None
    monkeypatch.setenv("LINEACT_COMPUTE", "dask")
    cluster = cluster_of("demo")
    assert cluster is not None
    assert cluster.scheduler == DASK["dask"]["scheduler"]
    (checkout / "params.yaml").write_text(yaml.safe_dump({"lines": {"demo": {"compute": DASK}}}))
    monkeypatch.setenv("LINEACT_COMPUTE", "local")
    assert cluster_of("demo") is None
    monkeypatch.delenv("LINEACT_COMPUTE")
    assert cluster_of("demo") == cluster


def test_all_stores_are_known_that_a_line_may_have_used(checkout):
    assert stores_of(["demo"]) == [DASK["dask"]["store"]]
    own = DASK | {"dask": DASK["dask"] | {"store": "s3://plant/demo"}}
    (checkout / "params.yaml").write_text(yaml.safe_dump({"lines": {"demo": {"compute": own}}}))
    assert stores_of(["demo"]) == [DASK["dask"]["store"], "s3://plant/demo"]


def test_a_compute_that_is_none_is_refused_with_those_that_are(checkout, monkeypatch):
    monkeypatch.setenv("LINEACT_COMPUTE", "../line/demo")
    with pytest.raises(ConfigError, match=r"LINEACT_COMPUTE=\.\./line/demo: expected one of dask, local"):
        cluster_of("demo")
    monkeypatch.setenv("LINEACT_COMPUTE", "dask")
    (checkout / "conf/compute/dask.yaml").write_text("compute: [")
    with pytest.raises(ConfigError, match=r"dask\.yaml: expected YAML with a section compute"):
        cluster_of("demo")


def test_a_local_run_imports_no_dask():
    code = (
        "import sys, lineact.scale.ingest, lineact.scale.detect, lineact.scale.embed, tasks.compute;"
        "print(sorted({'dask', 'distributed', 'fsspec', 's3fs', 'torch', 'cv2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_store_takes_a_file_once(tmp_path):
    store = Store.at(str(tmp_path / "store"))
    for content in ("first", "second"):
        (tmp_path / "file").write_text(content)
        store.put(tmp_path / "file", "ingest/a/x.zip")
    assert "ingest/a/x.zip" in store
    assert "ingest/a" not in store
    store.fetch("ingest/a/x.zip", tmp_path / "linked")
    store.copy("ingest/a/x.zip", tmp_path / "copied")
    assert (tmp_path / "linked").read_text() == (tmp_path / "copied").read_text() == "first"
    assert not (tmp_path / "copied").is_symlink()
    assert store.names("ingest") == ["ingest/a/x.zip"]
    assert store.names("embed") == []


def test_what_a_killed_writer_left_is_no_file_of_the_store(tmp_path):
    store = Store.at(str(tmp_path))
    (tmp_path / "ingest" / "a").mkdir(parents=True)
    (tmp_path / "ingest" / "a" / ".tmp-1-2.x.zip").write_text("half")
    assert store.names("ingest") == []
    assert "ingest/a/x.zip" not in store


def test_a_file_that_is_not_there_asks_for_the_same_store(tmp_path):
    with pytest.raises(InputError, match="does this machine see the same store"):
        Store.at(str(tmp_path)).fetch("videos/a.mp4", tmp_path / "a.mp4")


def test_a_relative_store_is_the_same_place_for_all(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Store.at("shared") == Store(str(tmp_path / "shared"))
    assert Store.at("s3://bucket/lineact/") == Store("s3://bucket/lineact")


def test_a_recording_is_forgotten_by_the_store_and_the_others_stay(tmp_path):
    store = Store.at(str(tmp_path / "store"))
    (tmp_path / "file").write_text("x")
    gone, stays = "a" * 64, "b" * 64
    for sha256 in (gone, stays):
        for name in (
            video_name(sha256, ".MP4"),
            *(f"{shards_folder(kind, sha256)}/1" for kind in ("ingest", "vectors")),
        ):
            store.put(tmp_path / "file", name)
    assert forget_recording(store, gone) == 3
    assert forget_recording(store, gone) == 0
    assert store.names("") == [f"ingest/{stays}/1", f"vectors/{stays}/1", f"videos/{stays}.mp4"]
    assert not [path for path in (tmp_path / "store").rglob("*") if gone in path.name]


def test_a_worker_of_another_version_is_told_in_which_way():
    own = own_identity()
    assert own.unlike(own) == ""
    other = Identity("0123", {**own.versions, "numpy": "1.0"})
    assert own.unlike(other) == (
        f"lineact's code 0123 in place of {own.code}, numpy 1.0 in place of {own.versions['numpy']}"
    )
    assert difference({"a": 1, "b": 2}, {"a": 1, "c": 3}) == "b None in place of 2, c 3 in place of None"
    assert difference({"a": 1}, {"a": 1}) == ""


def test_a_worker_writes_what_the_stage_would_have_cached(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    video = write_video(tmp_path / "raw" / "a.mp4", [with_arm(scene(), (40 + 6 * step, 90)) for step in range(20)])
    ingest_videos(tmp_path / "raw", INGEST)
    sha256 = next(iter((tmp_path / ".lineact/cache/ingest").iterdir())).name
    (tmp_path / "made").mkdir()
    content = sha256_of_file(video)
    read_on_worker(video, tmp_path / "made", name="a.mp4", told_as="raw/a.mp4", sha256=content, params=INGEST)
    cached = ingested_folder("a.mp4", content, INGEST)
    assert cached.name == sha256
    names = sorted(path.name for path in cached.iterdir())
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == names
    assert all((cached / name).read_bytes() == (tmp_path / "made" / name).read_bytes() for name in names)


def test_a_worker_tells_of_a_video_under_the_name_that_people_know(tmp_path):
    rng = np.random.default_rng(0)
    noisy = [rng.integers(0, 255, (180, 320, 3), dtype=np.uint8) for _ in range(40)]
    whole = write_video(tmp_path / "whole.avi", noisy, codec="mpeg4")
    cut, none = tmp_path / "cut.avi", tmp_path / "none.avi"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    none.write_bytes(b"no video")
    for path in (cut, none):
        (tmp_path / path.stem).mkdir()
        told_as = f"data/press_a/raw/{path.name}"
        read_on_worker(path, tmp_path / path.stem, name=path.name, told_as=told_as, sha256="0", params=INGEST)
    problems = json.loads((tmp_path / "cut" / "problems.json").read_text())
    assert "broken_off" in {kind for kind, _ in problems}
    assert str(tmp_path) not in (tmp_path / "cut" / "problems.json").read_text()
    assert [path.name for path in (tmp_path / "none").iterdir()] == [UNUSABLE]


def test_boxes_that_left_the_cache_are_not_detected_by_another_kind_of_machine(tmp_path):
    with pytest.raises(InputError, match="2 frames are not there; run the same command again"):
        AskedElsewhere({}).detect(Recording(tmp_path / "a.mp4", "0", np.zeros(2)), [0.0, 0.1])
