"""An archive is whole or refused, whatever became of it."""

import gzip
import io
import sqlite3
import subprocess
import sys
import tarfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lineact.archive import MANIFEST, has_open, read_archive, snapshot, write_archive
from lineact.errors import InputError

ABOUT = {"root": "/plant"}
CONTENTS = {"conf/line/a.yaml": b"actions: [a]\n", "empty": b"", "mlruns/1/x/weights.bin": bytes(range(256)) * 30}


def write(folder: Path, contents=CONTENTS) -> Path:
    files = {}
    for number, (name, content) in enumerate(contents.items()):
        files[name] = folder / f"source_{number}"
        files[name].write_bytes(content)
    archive = folder / "a.tar.gz"
    write_archive(archive, files, ABOUT, "2026-03-01T10:00:00+00:00")
    return archive


def unpacked(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    return write(tmp_path_factory.mktemp("packed")).read_bytes()


def test_what_is_written_is_read(tmp_path):
    manifest = read_archive(write(tmp_path), tmp_path / "into")
    assert unpacked(tmp_path / "into") == CONTENTS
    assert manifest.about == ABOUT
    assert set(manifest.files) == set(CONTENTS)


def read_or_refused(folder: Path, content: bytes) -> None:
    """An archive gives all that was put into it, or is refused by its name."""
    path = folder / "a.tar.gz"
    path.write_bytes(content)
    try:
        read_archive(path, folder / "into")
    except InputError as error:
        said = str(error)
    else:
        said = ""
    assert said.startswith(str(path)) if said else unpacked(folder / "into") == CONTENTS


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_changed_bit_is_noticed_or_changes_nothing(packed, tmp_path_factory, place, bit):
    altered = bytearray(packed)
    altered[place % len(packed)] ^= 1 << bit
    read_or_refused(tmp_path_factory.mktemp("changed"), bytes(altered))


@given(share=st.floats(0, 1, exclude_max=True))
def test_an_archive_that_was_cut_off_lacks_nothing_or_is_refused(packed, tmp_path_factory, share):
    read_or_refused(tmp_path_factory.mktemp("cut"), packed[: int(share * len(packed))])


def test_half_an_archive_is_refused(packed, tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InputError, match=r"a.tar.gz: expected a whole backup"):
        read_archive(tmp_path / "a.tar.gz", tmp_path / "into")
    with pytest.raises(InputError, match=r"none.tar.gz: expected a backup, found no file"):
        read_archive(tmp_path / "none.tar.gz", tmp_path / "into")


def forged(folder: Path, *members: tarfile.TarInfo) -> Path:
    with gzip.open(folder / "a.tar.gz", "wb") as stream, tarfile.open(fileobj=stream, mode="w|") as archive:
        for member in members:
            archive.addfile(member, io.BytesIO(b"x" * member.size))
    return folder / "a.tar.gz"


def member(name: str, kind: bytes = tarfile.REGTYPE) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, "/etc/passwd"
    found.size = 1 if kind == tarfile.REGTYPE else 0
    return found


@pytest.mark.parametrize("name", ["../out", "/out", "a/../../out"])
def test_no_file_leaves_the_folder(tmp_path, name):
    with pytest.raises(InputError, match="expected places inside the project"):
        read_archive(forged(tmp_path, member(name)), tmp_path / "deep" / "into")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "deep" / "out").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_links_and_other_things_are_refused(tmp_path, kind):
    with pytest.raises(InputError, match="expected files alone, found 'a'"):
        read_archive(forged(tmp_path, member("a", kind)), tmp_path / "into")


def test_files_that_nobody_vouches_for_are_refused(tmp_path):
    with pytest.raises(InputError, match=f"expected {MANIFEST} as the last file, found none"):
        read_archive(forged(tmp_path, member("a")), tmp_path / "into")


def test_a_file_that_vanished_is_left_out(tmp_path):
    (tmp_path / "here").write_bytes(b"1")
    files = {"here": tmp_path / "here", "gone": tmp_path / "gone"}
    manifest = write_archive(tmp_path / "a.tar.gz", files, ABOUT, "2026")
    assert set(manifest.files) == {"here"}
    assert read_archive(tmp_path / "a.tar.gz", tmp_path / "into").files == manifest.files


def test_a_database_is_copied_with_what_waits_in_its_log(tmp_path):
    with closing(sqlite3.connect(tmp_path / "a.sqlite", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (x)")
        connection.execute("INSERT INTO t VALUES (1)")
        connection.execute("BEGIN")
        connection.execute("INSERT INTO t VALUES (2)")  # not committed: not there yet
        snapshot(tmp_path / "a.sqlite", tmp_path / "copies" / "a.sqlite")
        connection.execute("ROLLBACK")
    assert [path.name for path in (tmp_path / "copies").iterdir()] == ["a.sqlite"]
    with closing(sqlite3.connect(tmp_path / "copies" / "a.sqlite")) as copy:
        assert copy.execute("SELECT x FROM t").fetchall() == [(1,)]
    (tmp_path / "none.sqlite").write_bytes(b"x" * 5000)
    with pytest.raises(InputError, match=r"none.sqlite: expected a database of SQLite"):
        snapshot(tmp_path / "none.sqlite", tmp_path / "copies" / "none.sqlite")


def test_it_is_seen_who_has_a_file_open(tmp_path):
    path = tmp_path / "mlflow.db"
    path.touch()
    held = "import sys; stream = open(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", held, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert has_open([path, tmp_path / "other"]) == {path: [process.pid]}
        process.communicate()
    assert has_open([path]) == {}
