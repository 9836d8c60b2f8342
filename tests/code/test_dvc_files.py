"""What a killed DVC leaves half-written does not stop the next run."""

import pytest

from flows import dvc_files
from flows.dvc_files import LOCK, RWLOCK, drop_broken_rwlock, kept_lock

WHOLE = "schema: '2.0'\nstages:\n  simulate@demo:\n    cmd: python -m tasks.simulate\n"


@pytest.fixture(autouse=True)
def _checkout(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(dvc_files, "PATIENCE_S", 0.02)
    RWLOCK.parent.mkdir(parents=True)


@pytest.mark.parametrize("part", ["", '{"read": {', '{"read": {}, "write": {}}{}'])
def test_a_part_of_the_table_of_readers_is_removed(part):
    RWLOCK.write_text(part)
    drop_broken_rwlock()
    assert not RWLOCK.exists()


@pytest.mark.parametrize("whole", ["{}", '{"read": {"params.yaml": [{"pid": 1, "cmd": "dvc"}]}, "write": {}}', None])
def test_a_whole_table_of_readers_stays(whole):
    if whole is not None:
        RWLOCK.write_text(whole)
    drop_broken_rwlock()
    assert (RWLOCK.read_text() if RWLOCK.exists() else None) == whole


@pytest.mark.parametrize("part", ["", "schema: '2.0'\n", "schema: '2.0'\nstages:\n  simulate@demo:\n    cmd: [", None])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_part_of_the_lock_is_put_back(part, error):
    def end_while_writing():
        with kept_lock():
            LOCK.write_text(part) if part is not None else LOCK.unlink()
            raise error

    LOCK.write_text(WHOLE)
    with pytest.raises(error):
        end_while_writing()
    assert LOCK.read_text() == WHOLE


def test_what_a_failed_stage_leaves_whole_stays():
    def fail():
        with kept_lock():
            LOCK.write_text(WHOLE + "  ingest@demo:\n    cmd: python -m tasks.ingest\n")
            raise ZeroDivisionError

    LOCK.write_text(WHOLE)
    with pytest.raises(ZeroDivisionError):
        fail()
    assert "ingest@demo" in LOCK.read_text()


def test_without_a_lock_nothing_comes_back():
    def fail():
        with kept_lock():
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not LOCK.exists()
