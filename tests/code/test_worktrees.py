"""A scheduled run's worktree and what it leaves: real git, real DVC, and a checkout in which a person is at work."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import yaml

from flows import result, worktrees
from flows.champion import ledger_of
from flows.checkout import checkout_of
from flows.dvc_stage import StageError
from flows.ledger import add_entry, read_ledger
from flows.lines import add_line, edit_yaml
from flows.one_run import only_run_of
from flows.retrain import crashing_without_server
from flows.stage import retried
from flows.worktrees import enter_worktree, git, leave_worktree, scheduled_run
from lineact.decisions import write_decisions
from lineact.errors import ConfigError, FullDiskError, InputError
from lineact.files import write_text
from tests.generated_videos import scene, write_video
from tests.small_line import lists_of

ROOT = Path(__file__).resolve().parents[2]
LINE = "press_a"


def run(*command: str, cwd: Path | str = ".") -> str:
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


def commit(words: str) -> None:
    run("git", "add", "-A")
    run("git", "-c", "user.name=ann", "-c", "user.email=ann@plant.invalid", "commit", "-qm", words)


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    """A repository with a committed video line, its two recordings in DVC's cache."""
    folder, videos = tmp_path_factory.mktemp("committed"), tmp_path_factory.mktemp("videos")
    for name in "ab":
        write_video(videos / f"{name}.mp4", [scene()] * 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("git", "init", "-q")
        run(sys.executable, "-m", "dvc", "init", "-q")
        shutil.copytree(ROOT / "conf", "conf")
        for name in ("dvc.yaml", ".gitignore"):
            shutil.copyfile(ROOT / name, name)
        edit_yaml(Path("conf/lines.yaml"), lambda lists: lists.update(lists_of("simulated_lines", "demo")))
        add_line(LINE, videos, "motion", "tiny", ["pick", "place"])
        Path("params.yaml").write_text("lines: {}\n")
        Path("dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
        commit("a line")
    return folder


@pytest.fixture
def checkout(committed, tmp_path, monkeypatch):
    """A copy of it; the process is in it."""
    folder = tmp_path / "checkout"
    shutil.copytree(committed, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return folder


def state_of(checkout: Path) -> tuple[str, ...]:
    """What a person sees of their own checkout."""
    asked = (
        ("rev-parse", "HEAD"),
        ("symbolic-ref", "HEAD"),
        ("status", "--porcelain"),
        ("diff",),
        ("diff", "--cached"),
    )
    return tuple(run("git", *arguments, cwd=checkout) for arguments in asked)


def test_a_worktree_has_the_commit_and_the_words_of_people_and_touches_nothing(checkout, monkeypatch):
    edited = Path("conf/config.yaml")
    edited.write_text(edited.read_text() + "# half-done\n")
    Path("notes.txt").write_text("mine")
    run("git", "add", "notes.txt")
    decisions = Path(f"data/{LINE}/review/decisions.csv")
    decisions.write_text(decisions.read_text() + "said but not committed\n")
    before = state_of(checkout)
    folder = enter_worktree(LINE, "run-1")
    assert state_of(checkout) == before
    assert "half-done" not in (folder / edited).read_text()
    assert not (folder / "notes.txt").exists()
    assert (folder / decisions).read_text() == decisions.read_text()
    for name in "ab":
        there = folder / f"data/{LINE}/raw/{name}.mp4"
        assert there.read_bytes() == Path(f"data/{LINE}/raw/{name}.mp4").read_bytes()
        assert there.resolve().is_relative_to(checkout / ".dvc/cache") or not there.is_symlink()
    assert (folder / ".lineact").resolve() == checkout / ".lineact"
    assert scheduled_run() is None
    monkeypatch.chdir(folder)
    found = scheduled_run()
    assert found is not None
    assert (found.line, found.flow_run, found.commit) == (LINE, "run-1", before[0].strip())
    assert found.schedule is not None
    assert found.schedule.cron == "0 2 * * *"
    assert checkout_of(folder) == checkout_of(checkout) == checkout


def test_a_checkout_whose_state_lies_on_another_disk_is_a_checkout(tmp_path):
    disk, checkout = tmp_path / "disk/state", tmp_path / "checkout"
    disk.mkdir(parents=True)
    checkout.mkdir()
    (checkout / ".lineact").symlink_to(disk)
    assert checkout_of(checkout) == checkout
    worktree = tmp_path / "worktree"
    worktree.mkdir()
    (worktree / ".lineact").symlink_to(checkout / ".lineact")
    (worktree / "scheduled_run.json").write_text("{}")
    assert checkout_of(worktree) == checkout


def test_dvc_of_a_worktree_uses_the_checkouts_cache_and_remotes_and_its_own_locks(checkout, monkeypatch):
    run(sys.executable, "-m", "dvc", "remote", "add", "-q", "-d", "store", "../store")
    run(sys.executable, "-m", "dvc", "remote", "modify", "-q", "--local", "store", "verify", "true")
    commit("a remote")
    folder = enter_worktree(LINE, "run-1")
    monkeypatch.chdir(folder)
    assert Path(run(sys.executable, "-m", "dvc", "cache", "dir").strip()) == checkout / ".dvc/cache"
    assert run(sys.executable, "-m", "dvc", "remote", "list").split()[:2] == ["store", str(checkout.parent / "store")]
    assert "verify = " in Path(".dvc/config.local").read_text()
    assert Path(".dvc/config.local").stat().st_mode & 0o077 == 0  # it may hold the checkout's credentials
    assert run(sys.executable, "-m", "dvc", "root").strip() == "."
    assert (folder / ".dvc").resolve() != (checkout / ".dvc").resolve()


@pytest.mark.usefixtures("checkout")
def test_the_same_run_goes_on_in_its_worktree_and_the_next_one_begins_at_the_new_commit():
    folder = enter_worktree(LINE, "run-1")
    begun = json.loads((folder / "scheduled_run.json").read_text())
    (folder / "dvc.lock").write_text("half-way")
    Path(
        run("git", "-C", str(folder), "rev-parse", "--path-format=absolute", "--git-path", "index.lock").strip()
    ).touch()
    write_decisions(Path(f"data/{LINE}/review/decisions.csv"), [])
    assert enter_worktree(LINE, "run-1") == folder  # killed, and taken up again
    assert (folder / "dvc.lock").read_text() == "half-way"
    assert json.loads((folder / "scheduled_run.json").read_text()) == begun
    Path("params.yaml").write_text("lines: {new: {}}\n")
    commit("new settings")
    made = folder / f"data/{LINE}/detect/boxes.parquet"
    made.parent.mkdir(parents=True)
    made.write_text("made by the run before")
    enter_worktree(LINE, "run-2")
    assert (folder / "dvc.lock").read_text() != "half-way"
    assert (folder / "params.yaml").read_text() == "lines: {new: {}}\n"
    assert made.is_file()
    assert json.loads((folder / "scheduled_run.json").read_text())["flow_run"] == "run-2"
    leave_worktree(LINE)
    assert not folder.exists()
    assert str(folder) not in run("git", "worktree", "list")


@pytest.mark.usefixtures("checkout")
@pytest.mark.parametrize("broken", ["no folder", "no git", "a file"])
def test_what_a_kill_left_of_a_worktree_is_no_hindrance(broken):
    folder = enter_worktree(LINE, "run-1")
    shutil.rmtree(folder) if broken != "no git" else (folder / ".git").unlink()
    if broken == "a file":
        folder.mkdir()
        (folder / "dvc.yaml").write_text("stages: [")
    assert enter_worktree(LINE, "run-2") == folder
    assert (folder / "dvc.yaml").read_bytes() == Path("dvc.yaml").read_bytes()
    assert run("git", "-C", str(folder), "status", "--porcelain", "-uno") == ""


def test_a_worktree_that_another_process_works_in_is_not_entered(checkout):
    enter_worktree(LINE, "run-1")
    script = f"from flows.worktrees import enter_worktree\nenter_worktree({LINE!r}, 'run-2')"
    with only_run_of(LINE):
        asked = subprocess.run([sys.executable, "-c", script], env=_paths(), capture_output=True, text=True)
    assert "another run is going on" in asked.stderr
    assert json.loads((checkout / f".lineact/worktrees/{LINE}/scheduled_run.json").read_text())["flow_run"] == "run-1"


def _paths() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


@pytest.mark.usefixtures("checkout")
def test_a_line_that_is_not_committed_is_told_with_the_way_out():
    edit_yaml(Path("conf/lines.yaml"), lambda lists: lists.update(lists_of("simulated_lines", "demo", "gi_d")))
    with pytest.raises(ConfigError, match=r"unknown line 'gi_d'.*takes what is committed: .*git add conf data"):
        enter_worktree("gi_d", "run-1")


@pytest.mark.usefixtures("checkout")
def test_recordings_that_the_cache_does_not_have_are_named():
    shutil.rmtree(".dvc/cache")
    with pytest.raises(InputError, match=rf"data/{LINE}/raw\.dvc: DVC's cache does not have .*`dvc pull"):
        enter_worktree(LINE, "run-1")


def test_a_repository_without_a_commit_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("git", "init", "-q")
    with pytest.raises(InputError, match="`git rev-parse --verify HEAD` failed"):
        enter_worktree(LINE, "run-1")


def test_the_ledger_is_one_for_checkout_and_worktrees(checkout, monkeypatch):
    decided = {"line": LINE, "version": "1", "previous": None, "bundle_sha256": "a"}
    folder = enter_worktree(LINE, "run-1")
    monkeypatch.chdir(folder)
    add_entry(LINE, decided, {}, {})
    add_entry(LINE, decided | {"version": "2", "previous": "1"}, {}, {})
    monkeypatch.chdir(checkout)
    assert [entry.content["version"] for entry in read_ledger(LINE)] == ["1", "2"]
    leave_worktree(LINE)
    assert ledger_of(LINE).is_file()
    assert not ledger_of(LINE).is_symlink()


def test_a_result_is_a_branch_that_a_person_can_merge_and_nothing_else(checkout, monkeypatch):
    hooks = Path(".git/hooks/pre-commit")
    hooks.parent.mkdir(exist_ok=True)
    hooks.write_text("#!/bin/sh\nexit 1\n")
    hooks.chmod(0o755)
    folder = enter_worktree(LINE, "run-1")
    before = state_of(checkout)
    monkeypatch.chdir(folder)
    here = scheduled_run()
    assert here is not None
    assert result.commit_result(here) is None  # nothing changed
    Path("dvc.lock").write_text("schema: '2.0'\nstages: {a: {}}\n")
    Path("params.yaml").write_text(f"lines: {{{LINE}: {{}}}}\n")
    Path(f"data/{LINE}/review/decisions.csv").write_text("a person's own\n")
    branch = result.commit_result(here)
    assert branch == f"retrain/{LINE}/{here.begun_at}"
    assert result.commit_result(here) == branch  # a run that was killed right after
    assert state_of(checkout) == before
    monkeypatch.chdir(checkout)
    changed = run("git", "diff", "--name-only", "HEAD", branch).split()
    assert changed == ["dvc.lock", "params.yaml"]
    assert git("rev-list", "--count", f"HEAD..{branch}") == "1"
    run("git", "merge", "-q", "--ff-only", branch)
    assert "stages: {a: {}}" in Path("dvc.lock").read_text()


def locked(**stages: str) -> str:
    """A dvc.lock with a hash for each stage."""
    entries = {
        name.replace("_at_", "@"): {"cmd": "x", "deps": [{"path": "a", "md5": md5}]} for name, md5 in stages.items()
    }
    return yaml.safe_dump({"schema": "2.0", "stages": entries}, sort_keys=True)


def test_the_branches_of_two_lines_can_be_merged_one_after_the_other(checkout, monkeypatch):
    """Each pins its champion in its own file of conf/, so that `configure` depends on something else in each."""
    before = {"detect_at_demo": "0", "detect_at_press_a": "0"}
    Path("dvc.lock").write_text(locked(configure="0", **before))
    commit("both lines ran")
    branches: list[str | None] = []
    for line in ("demo", LINE):
        with monkeypatch.context() as patch:
            patch.chdir(enter_worktree(line, f"run of {line}"))
            Path("dvc.lock").write_text(locked(configure=f"of {line}", **before | {f"detect_at_{line}": "1"}))
            own = Path(f"conf/line/{line}.yaml")
            own.write_text(own.read_text() + f"seed: {len(branches) + 1}\n")
            here = scheduled_run()
            assert here is not None
            branches.append(result.commit_result(here))
    for branch in branches:
        run("git", "-c", "user.name=ann", "-c", "user.email=ann@plant.invalid", "merge", "-q", str(branch))
    assert yaml.safe_load(Path("dvc.lock").read_text()) == yaml.safe_load(
        locked(configure="0", detect_at_demo="1", detect_at_press_a="1")
    )
    assert checkout == Path.cwd()


MAKES_TABLE = "mkdir -p data/${item}/ingest && yes rows | head -c 262144 > data/${item}/ingest/table"


def push(remote: str | None = None) -> str | None:
    """Pushes a stage's output of the worktree that this process is in."""
    ingest = {"foreach": [LINE], "do": {"cmd": MAKES_TABLE, "outs": ["data/${item}/ingest"]}}
    write_text(Path("dvc.yaml"), yaml.safe_dump({"stages": {"ingest": ingest}}))
    run(sys.executable, "-m", "dvc", "repro", "-q", f"ingest@{LINE}")
    here = scheduled_run()
    assert here is not None
    assert here.schedule is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(result, "stages_of", lambda _: ["ingest"])
        object.__setattr__(here.schedule, "remote", remote)
        return result.push_result(here, print)


@pytest.fixture
def entered(checkout, monkeypatch):
    """The process is in a worktree of a checkout with the DVC remotes `store` and `spare`."""
    for name in ("store", "spare"):
        run(sys.executable, "-m", "dvc", "remote", "add", "-q", name, f"../{name}")
    commit("remotes")
    monkeypatch.chdir(enter_worktree(LINE, "run-1"))
    return checkout.parent


def test_results_are_pushed_to_the_lines_remote_and_without_one_nowhere(entered):
    assert push() is None
    assert push("spare") == "spare"
    assert len(pushed_to(entered / "spare")) >= 4  # table, recordings and their folders
    assert not (entered / "store").exists()
    with pytest.raises(
        ConfigError, match=r"schedule\.remote: expected one of DVC's remotes \(spare, store\), .*'stor'"
    ):
        push("stor")


def pushed_to(store: Path) -> list[Path]:
    """The remote's files; the table is among them."""
    pushed = [path for path in store.rglob("*") if path.is_file()]
    assert any(b"rows" in path.read_bytes() for path in pushed)
    return pushed


@pytest.mark.parametrize(
    ("kind", "told"), [("full", "No space left on device"), ("read-only", "Read-only file system")]
)
def test_a_remote_that_is_full_or_read_only_is_a_clear_error_and_loses_nothing(kind, told, entered):
    """The real thing: a file system of 64 KiB, or one that is mounted read-only."""
    (entered / "store").mkdir()
    options = "size=64k" if kind == "full" else "ro"
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\nfrom tests.code.test_worktrees import push\n"
        "from flows.result import is_io_failure\n"
        "try:\n    push('store')\n"
        "except Exception as error:\n    print(type(error).__name__, is_io_failure(error), error)"
    )
    mounted = f'mount -t tmpfs -o {options} none {entered / "store"} && exec "$@"'
    command = [
        "unshare",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        mounted,
        "sh",
        sys.executable,
        "-c",
        script,
        str(ROOT),
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=_paths())
    if "Operation not permitted" in done.stderr:
        pytest.skip("this system gives an ordinary user no mount of its own")
    assert done.stdout.startswith("PushError True DVC's remote store"), done.stdout + done.stderr
    assert told in done.stdout
    assert "Nothing is lost" in done.stdout
    assert push("store") == "store"  # mended
    assert len(pushed_to(entered / "store")) >= 4


@pytest.mark.parametrize(
    ("error", "is_io"),
    [
        (FullDiskError(Path("x")), True),
        (StageError("`dvc repro` failed", FullDiskError.exit_code), True),
        (StageError("OSError: [Errno 5] Input/output error", 1), True),
        (StageError("fetching weights: Connection refused", 3), True),
        (StageError("the read operation timed out", 1), True),
        (ConnectionResetError(), True),
        (FileNotFoundError(2, "No such file or directory"), False),
        (StageError("ZeroDivisionError: division by zero", 1), False),
        (StageError("data/x: expected a table, found nothing", 3), False),
        (ConfigError("cron: expected five fields"), False),
        (None, False),
    ],
)
def test_failures_of_disk_network_and_servers_alone_are_tried_again(error, is_io):
    assert result.is_io_failure(error) is is_io


@pytest.mark.usefixtures("checkout")
def test_forgetting_a_line_leaves_no_worktree_that_git_remembers():
    enter_worktree(LINE, "run-1")
    shutil.rmtree(worktrees.WORKTREES / LINE)
    leave_worktree(LINE)
    assert LINE not in run("git", "worktree", "list")


def test_a_scheduled_runs_tasks_are_tried_again_after_io_failures_and_a_persons_are_not(checkout, monkeypatch):
    from prefect.states import Failed

    assert retried() == {}
    monkeypatch.chdir(enter_worktree(LINE, "run-1"))
    options = retried()
    assert (options["retries"], options["retry_delay_seconds"]) == (2, 60.0)
    full, broken = StageError("full", FullDiskError.exit_code), ConfigError("cron: expected five fields")
    asked = [options["retry_condition_fn"](None, None, Failed(data=error)) for error in (full, broken)]
    assert asked == [True, False]
    assert checkout_of(Path.cwd()) == checkout


def test_a_prefect_server_that_went_away_crashes_a_run_which_then_goes_on_and_does_not_fail_it():
    with pytest.raises(SystemExit, match="the Prefect server went away"), crashing_without_server():
        raise httpx.ConnectError("All connection attempts failed")
    with pytest.raises(ConfigError), crashing_without_server():
        raise ConfigError("another")
