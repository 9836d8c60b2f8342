"""Files are written whole or not at all; hashes depend on names and contents alone."""

import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lineact.decisions import write_decisions
from lineact.errors import FullDiskError
from lineact.files import cache_folder, sha256_of_tree, write_json, write_metrics, write_text, write_whole

ROOT = Path(__file__).resolve().parents[2]
WRITES_FOR_EVER = """
import sys, time
from pathlib import Path
from lineact.files import write_whole
def write(temporary):
    temporary.mkdir() if sys.argv[2] == "folder" else None
    (temporary / "half" if sys.argv[2] == "folder" else temporary).write_text("half")
    time.sleep(60)
write_whole(Path(sys.argv[1]), write)
"""


def test_write_whole_leaves_nothing_behind_when_the_writer_fails(tmp_path):
    target = tmp_path / "table.txt"
    write_text(target, "before")

    def write_half(temporary):
        temporary.write_text("half")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        write_whole(target, write_half)
    assert target.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["table.txt"]


def test_write_whole_replaces_a_folder(tmp_path):
    target = tmp_path / "folder"
    target.mkdir()
    (target / "old").write_text("old")
    write_whole(target, lambda temporary: write_text(temporary / "new", "new"))
    assert [path.name for path in target.iterdir()] == ["new"]


def test_write_json_is_sorted_and_ends_with_a_newline(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": "é"})
    assert (tmp_path / "a.json").read_text() == '{\n  "a": "é",\n  "b": 1\n}\n'


def test_metrics_are_flat_numbers_or_null(tmp_path):
    write_metrics(tmp_path, {"recall": 0.5, "undefined": None})
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"recall": 0.5, "undefined": None}
    with pytest.raises(TypeError, match="metric 'name': expected a number or None, found 'x'"):
        write_metrics(tmp_path, {"name": "x"})  # type: ignore[dict-item]


def test_tree_hash_sees_names_and_contents(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_text(tmp_path / name / "sub" / "file", "same")
    assert sha256_of_tree(tmp_path / "a") == sha256_of_tree(tmp_path / "b")
    write_text(tmp_path / "b" / "sub" / "file", "other")
    assert sha256_of_tree(tmp_path / "a") != sha256_of_tree(tmp_path / "b")
    write_text(tmp_path / "b" / "sub" / "file", "same")
    (tmp_path / "b" / "sub" / "file").rename(tmp_path / "b" / "sub" / "renamed")
    assert sha256_of_tree(tmp_path / "a") != sha256_of_tree(tmp_path / "b")


def test_cache_folder_depends_on_every_part_of_the_key():
    key = {"video": "ab", "revision": 1}
    assert cache_folder("detect", key) == cache_folder("detect", dict(reversed(key.items())))
    assert cache_folder("detect", key) != cache_folder("detect", key | {"revision": 2})
    assert cache_folder("detect", key) != cache_folder("embed", key)


def begin_writing(target, kind):
    """Another process that has half of the target in its temporary."""
    known = set(target.parent.iterdir())
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", WRITES_FOR_EVER, target, kind], env=environment)
    while not (new := set(target.parent.iterdir()) - known):
        assert process.poll() is None
        time.sleep(0.02)
    return process, new.pop()


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_a_killed_writer_left_is_removed_and_a_running_one_keeps_its_own(kind, tmp_path):
    killed, abandoned = begin_writing(tmp_path / "table", kind)
    running, in_use = begin_writing(tmp_path / "table", kind)
    try:
        killed.kill()
        killed.wait()
        assert abandoned.exists()
        own = tmp_path / ".tmp-notes.txt"  # a person's
        own.write_text("mine")
        write_text(tmp_path / "table", "new")
        assert set(tmp_path.iterdir()) == {tmp_path / "table", in_use, own}
    finally:
        running.kill()
        running.wait()


def test_git_does_not_see_what_a_killed_writer_left(tmp_path):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / ".gitignore").write_text((ROOT / ".gitignore").read_text())
    for folder in ("data/press_a", "models/press_a", "conf/line"):
        (tmp_path / folder).mkdir(parents=True)
        killed, _ = begin_writing(tmp_path / folder / "made", "file")
        killed.kill()
        killed.wait()
    asked = ["git", "status", "--porcelain", "-uall"]
    seen = subprocess.run(asked, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert seen == "?? .gitignore\n"


def test_a_durable_file_is_on_the_disk_before_it_has_its_name_and_its_name_before_the_end(tmp_path, monkeypatch):
    synced = []

    def fsync(descriptor):
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append((path.name, path.is_dir(), (tmp_path / "decisions.csv").exists()))

    monkeypatch.setattr("os.fsync", fsync)
    write_text(tmp_path / "notes.txt", "x")
    assert synced == []
    write_decisions(tmp_path / "decisions.csv", [])
    assert [row[1:] for row in synced] == [(False, False), (True, True)]
    assert synced[0][0].endswith(".decisions.csv")
    assert synced[1][0] == tmp_path.name


def test_a_full_disk_is_told_by_a_worker_process_as_by_its_parent():
    error = pickle.loads(pickle.dumps(FullDiskError(Path("data/a"))))  # noqa: S301
    assert str(error) == str(FullDiskError(Path("data/a")))
