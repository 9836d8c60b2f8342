"""A recording is forgotten in a checkout with real DVC, git and MLflow: nothing that shows it is left anywhere."""

import contextlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from lineact.decisions import Decision, read_decisions, write_decisions
from lineact.embed import Encoder, embed_boxes
from lineact.files import sha256_of_file
from lineact.review.export import journal_path
from lineact.review.journal import Journal
from lineact.schema import BOXES, EMBEDDED, LABELLED_CROPS, read_table, table_of, write_table
from tests.labelled_line import ACTIONS, Line, colour_encoder, embed_params
from tests.small_line import clone_checkout, environment, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
LINE = "press_a"
GONE, OTHER = "rec_1.mp4", "rec_0.mp4"

REGISTER = """
from pathlib import Path
from flows.tracking import parent_run, log_stage, provenance
from flows.dvc_stage import StageResult
from flows.versions import create_version, bundle_of
with parent_run("press_a") as run_id:
    for stage in ("detect", "train_teacher"):
        log_stage(run_id, "press_a", StageResult(stage, "ran", 1.0))
    create_version("press_a", run_id, bundle_of("press_a"), "f00d", provenance("press_a"))
"""


def git(checkout, *command):
    name = ["-c", "user.name=a", "-c", "user.email=a@b.invalid"]
    subprocess.run(["git", *name, *command], cwd=checkout, check=True)


def dvc(checkout, *command):
    done = run(checkout, "dvc", *command)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.fixture(scope="module")
def worked(tmp_path_factory):
    """A line that was labelled, reviewed, trained (as far as the files go) and released, and pushed to a remote."""
    folder = tmp_path_factory.mktemp("worked")
    checkout = clone_checkout(folder / "checkout")
    recordings = Line(folder / "recorded", cycles=1)
    asked = [f"name={LINE}", f"videos={recordings.raw}", "detector=motion", f"actions={','.join(ACTIONS)}"]
    added = run(checkout, "flows.lines", *asked)
    assert added.returncode == 0, added.stdout
    with (checkout / ".dvc/config").open("a") as stream:
        stream.write(f"    remote = store\n['remote \"store\"']\n    url = {folder / 'store'}\n")
    dvc(checkout, "repro", f"detect@{LINE}")
    made = embed(checkout) + made_by_hand(checkout)
    write_words(checkout)
    commit_outs(checkout, made)
    git(checkout, "add", "-A")
    git(checkout, "commit", "-qm", "the line")
    dvc(checkout, "push", "-q")
    registered = subprocess.run(
        [sys.executable, "-c", REGISTER], cwd=checkout, env=environment(), capture_output=True, text=True, check=False
    )
    assert registered.returncode == 0, registered.stderr[-3000:]
    return checkout


def embed(checkout):
    """What the stage makes, without a network, which takes minutes to load beside other work."""
    folder = checkout / f"data/{LINE}"
    with contextlib.chdir(checkout):
        boxes = read_table(folder / "detect/boxes.parquet", BOXES)
        found = embed_boxes(folder / "raw", boxes, embed_params(), Encoder(colour_encoder().forward, {"weights": "0"}))
    write_table(found.crops, folder / "embed/crops.parquet", EMBEDDED)
    return [folder / "embed"]


def write_words(checkout):
    """Every crop is decided by a person, half in the file and half in the journal."""
    crops = read_table(checkout / f"data/{LINE}/embed/crops.parquet", EMBEDDED, ("box_id",))["box_id"].to_pylist()
    rows = [Decision(crop, "crop", "", ACTIONS[0], "ann", "2026-03-01T10:00:00+00:00", 2.0, "f00d") for crop in crops]
    rows.append(replace(rows[0], item_id="group:1", task="group", basis=f"f00d/{' '.join(crops)}"))
    path = checkout / f"data/{LINE}/review/decisions.csv"
    write_decisions(path, rows[::2])
    journal = Journal(journal_path(path))
    journal.add(lambda: rows[1::2])
    journal.close()


def made_by_hand(checkout):
    """Results of later stages, which take minutes to make, as DVC keeps them."""
    crops = pq.read_table(checkout / f"data/{LINE}/embed/crops.parquet").to_pylist()
    box = {"x1": 0.0, "y1": 0.0, "x2": 1.0, "y2": 1.0, "action": ACTIONS[0], "split": "train", "decided_by": "person"}
    rows = [{name: row[name] for name in ("video_sha256", "pts_s", "box_id", "crop_png")} | box for row in crops]
    dataset, teacher = checkout / f"data/{LINE}/dataset", checkout / f"models/{LINE}/train_teacher"
    write_table(table_of(rows, LABELLED_CROPS), dataset / "crops.parquet", LABELLED_CROPS)
    pictures = dataset / "detection/images/train"
    pictures.mkdir(parents=True)
    for sha256 in {row["video_sha256"] for row in rows}:
        cv2.imwrite(str(pictures / f"{sha256[:12]}_000000100.png"), np.full((40, 60, 3), 99, np.uint8))
    (teacher / "plots").mkdir(parents=True)
    (teacher / "plots/curves.csv").write_text("epoch,loss\n1,0.5\n")
    (teacher / "teacher.safetensors").write_bytes(b"weights")
    bundle = checkout / f"models/{LINE}/export/bundle"
    bundle.mkdir(parents=True)
    (bundle / "manifest.json").write_text("{}")
    return [dataset, teacher, bundle.parent]


def commit_outs(checkout, outs):
    """Puts folders into DVC's cache and dvc.lock, as `dvc repro` would; `dvc add` takes no stage's outputs."""
    made = checkout / "made"
    for out in outs:
        shutil.copytree(out, made / out.name)
    dvc(checkout, "add", "-q", *(f"made/{out.name}" for out in outs))
    lock = yaml.safe_load((checkout / "dvc.lock").read_text())
    for out in outs:
        (entry,) = yaml.safe_load((made / f"{out.name}.dvc").read_text())["outs"]
        told = {"path": out.relative_to(checkout).as_posix(), "hash": "md5", "md5": entry["md5"]}
        lock["stages"][f"{out.name}@{LINE}"] = {"cmd": "made by hand", "outs": [told]}
    (checkout / "dvc.lock").write_text(yaml.safe_dump(lock))
    shutil.rmtree(made)


def shows(path: Path, sha256: str) -> bool:
    """Whether a file is the recording, or tells of its frames; tables are read, not searched."""
    content = path.read_bytes()
    if content[:4] == b"PAR1":
        table = pq.read_table(path)
        return "video_sha256" in table.column_names and sha256 in table["video_sha256"].to_pylist()
    return sha256[:12].encode() in content or sha256 == sha256_of_file(path)


def holding(folder: Path, sha256: str) -> list[str]:
    """Files that show the recording, or are called by it."""
    paths = [path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts]
    return [path.relative_to(folder).as_posix() for path in paths if sha256[:12] in path.name or shows(path, sha256)]


def test_nothing_that_shows_the_recording_is_left_and_the_others_are_whole(worked):
    raw = worked / f"data/{LINE}/raw"
    gone, other = sha256_of_file(raw / GONE), sha256_of_file(raw / OTHER)
    everything = worked.parent  # with the remote
    ring = worked / f".lineact/live/{LINE}/feedback"
    ring.mkdir(parents=True)
    (ring / "kept.crop").write_bytes(b"a crop")
    shutil.copytree(raw, worked / f".lineact/worktrees/{LINE}/raw")  # of a scheduled run that failed
    workers_store = worked / ".lineact/store"  # of conf/compute/dask.yaml
    (workers_store / "videos").mkdir(parents=True)
    for sha256 in (gone, other):
        (workers_store / f"videos/{sha256}.mp4").write_bytes(b"a copy")
        (workers_store / f"detect/{sha256}").mkdir(parents=True)
        (workers_store / f"detect/{sha256}/{sha256[:12]}.zip").write_bytes(b"boxes")
    shutil.rmtree(everything / "recorded")  # the user's own originals
    before = holding(everything, gone)
    for place in (
        "checkout/.dvc/cache",
        "checkout/.lineact/cache",
        "checkout/.lineact/worktrees",
        "checkout/data",
        "store",
    ):
        assert any(path.startswith(place) for path in before), place
    assert list((worked / "mlruns").rglob("contact_sheet.png"))
    kept = (f"/data/{LINE}/raw/", "/cache/ingest/")  # a scheduled run's copy goes, whatever it holds
    others = {path for path in holding(everything, other) if any(place in path for place in kept)}
    assert len(others) >= 2

    done = run(worked, "flows.forget", f"video=data/{LINE}/raw/{GONE}")
    assert done.returncode == 0, done.stdout[-3000:]
    record = worked / f"models/{LINE}/forgotten.jsonl"
    assert holding(everything, gone) == [record.relative_to(everything).as_posix()]
    assert not list(ring.iterdir())
    assert not list((worked / "mlruns").rglob("contact_sheet.png"))
    assert list((worked / "mlruns").rglob("curves.csv"))  # of train_teacher
    assert len(holding(workers_store, other)) == 2
    assert others <= set(holding(everything, other))
    words = read_decisions(worked / f"data/{LINE}/review/decisions.csv", ACTIONS)
    assert any(other[:12] in row.item_id for row in words.rows)
    (entry,) = map(json.loads, record.read_text().splitlines())
    assert (entry["sha256"], entry["files"]) == (gone, [GONE])
    (release,) = entry["releases"]
    assert release["version"] == "1"
    assert f"lineact-{LINE} version 1: its data set or files are gone" in done.stdout
    assert entry["removed"]["objects in DVC's remote store"] >= 10


def test_the_line_goes_on_without_it(worked):
    assert not (worked / f"data/{LINE}/raw" / GONE).exists()
    dvc(worked, "repro", f"detect@{LINE}")
    counted = run(worked, "dvc", "repro", "-f", f"detect@{LINE}").stdout
    assert GONE not in counted
    assert counted.count(": 0 of ") == 3  # the others' boxes are in the cache
    again = run(worked, "flows.forget", f"video=data/{LINE}/raw/{GONE}")
    assert again.returncode == 3
    assert "expected a recording, found no file" in again.stdout


def test_a_simulated_line_and_a_video_of_nobody_are_refused(worked, tmp_path):
    raw = worked / "data/demo/raw"
    raw.mkdir(parents=True)
    (raw / "rec_00.mp4").write_bytes(b"rendered")
    refused = run(worked, "flows.forget", "video=data/demo/raw/rec_00.mp4")
    assert refused.returncode == 2
    assert "found a simulated one" in refused.stdout
    (tmp_path / "other.mp4").write_bytes(b"another")
    unknown = run(worked, "flows.forget", f"video={tmp_path / 'other.mp4'}")
    assert unknown.returncode == 3
    assert "in no data/<line>/raw" in unknown.stdout


def test_plots_on_a_side_that_was_left_keep_the_recording_from_being_forgotten(worked):
    """Until a person removes them: they may be all that is left of a plant's history."""
    third, record = "rec_2.mp4", worked / f"models/{LINE}/forgotten.jsonl"
    entries = len(record.read_text().splitlines()) if record.is_file() else 0
    left = worked / ".lineact/moved/20260101T000000.0Z"
    (left / "mlruns/1/run/artifacts/plots").mkdir(parents=True)
    (left / "mlruns/1/run/artifacts/plots/contact_sheet.png").write_bytes(b"a picture")
    told = run(worked, "flows.forget", f"video=data/{LINE}/raw/{third}")
    assert told.returncode == 3, told.stdout[-3000:]
    assert f"not reached: {left.relative_to(worked)} has plots of runs; remove it: rm -r" in told.stdout
    assert (len(record.read_text().splitlines()) if record.is_file() else 0) == entries
    shutil.rmtree(left)
    done = run(worked, "flows.forget", f"video=data/{LINE}/raw/{third}")
    assert done.returncode == 0, done.stdout[-3000:]
    assert len(record.read_text().splitlines()) == entries + 1
