"""What the flows read and write around the stages: arguments, DVC's output, conf/, the gates of a promotion."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flows import command_line, lines
from flows.dvc_stage import StageError, _failure, outcome_of, repro
from flows.lines import activate, add_line, edit_yaml, results_of
from flows.one_run import only_run_of
from flows.pipeline import stages_of
from lineact.decisions import DECISION_COLUMNS
from lineact.errors import AwaitingReview, ConfigError, InputError, LineactError
from lineact.register import RegisterParams, judge
from tasks.configure import active_lines, compose_line, configure
from tests.generated_videos import scene, write_sound, write_video
from tests.small_line import lists_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def empty_repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("empty")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], cwd=folder, check=True)
    return folder


@pytest.fixture
def project(tmp_path, monkeypatch, empty_repository):
    """A git and DVC repository with conf/ (demo alone active) and dvc.yaml of this project; the process is in it."""
    folder = tmp_path / "project"
    shutil.copytree(empty_repository, folder)
    shutil.copytree(ROOT / "conf", folder / "conf")
    shutil.copyfile(ROOT / "dvc.yaml", folder / "dvc.yaml")
    lists = lists_of("simulated_lines", "demo")
    edit_yaml(folder / "conf" / "lines.yaml", lambda content: content.update(lists))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "recordings"
    write_video(folder / "morning" / "a.mp4", [scene()] * 3)
    write_video(folder / "b.mp4", [scene(1)] * 3)
    (folder / "notes.txt").write_text("not a video")
    return folder


def test_arguments_become_values():
    found = command_line.parse(["line=demo", "port=4201"], ("line",), ("host", "port"))
    assert found == {"line": "demo", "port": "4201"}
    assert command_line.parse(["line=a=b"], ("line",)) == {"line": "a=b"}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["demo"], "argument 'demo'"),
        (["--line=demo"], "argument '--line=demo'"),
        (["lines=demo"], "argument 'lines=demo'"),
        ([], "argument 'line' is missing"),
        (["line="], "argument 'line' is missing"),
        (["port=1"], "argument 'line' is missing"),
    ],
)
def test_wrong_arguments_are_named_with_the_usage(arguments, named):
    with pytest.raises(ConfigError) as caught:
        command_line.parse(arguments, ("line",), ("port",))
    assert named in str(caught.value)
    assert "line=... [port=...]" in str(caught.value)


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ConfigError("file: wrong"), 2, "error: file: wrong\n"),
        (InputError("file: broken"), 3, "error: file: broken\n"),
        (StageError("ingest failed", 74), 74, "error: ingest failed\n"),
        (AwaitingReview("awaiting review: 12 items"), 75, "awaiting review: 12 items\n"),  # which is no error
    ],
)
def test_an_error_is_one_line_and_an_exit_code(error, code, said, capsys):
    def fail() -> None:
        raise error

    with pytest.raises(SystemExit) as ended:
        command_line.run(fail)
    assert ended.value.code == code
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("lines", "outcome"),
    [
        (["Running stage 'ingest@demo':", "> python -m tasks.ingest --line demo"], "ran"),
        (["Stage 'ingest@demo' is cached - skipping run, checking out outputs"], "restored"),
        (["Stage 'ingest@demo' didn't change, skipping", "Data and pipelines are up to date."], "unchanged"),
        (["Running stage 'simulate@demo':", "Stage 'ingest@demo' didn't change, skipping"], "unchanged"),
        (["Running stage 'simulate@demo':", "Stage 'ingest@demo' is cached - skipping run"], "restored"),
        (["Running stage 'ingest@demo_b':"], "unchanged"),
        ([], "unchanged"),
    ],
)
def test_the_outcome_is_read_from_what_dvc_says(lines, outcome):
    assert outcome_of("ingest@demo", lines) == outcome


WAITS = "dataset: 12 of 90 items are decided; go on with `make review LINE=demo`"


@pytest.mark.parametrize(
    ("code", "kind"), [(75, AwaitingReview), (1, StageError), (3, StageError), (-9, StageError), (175, StageError)]
)
def test_the_exit_code_of_a_stage_tells_waiting_from_failing(code, kind):
    lines = [
        "Running stage 'dataset@demo':",
        "> python -m tasks.dataset --line demo",
        WAITS,
        "ERROR: failed to reproduce 'dataset@demo': failed to run: "
        f"python -m tasks.dataset --line demo --out data/demo/dataset, exited with {code}",
    ]
    error = _failure("dataset@demo", lines)
    assert type(error) is kind
    assert WAITS in str(error)
    assert error.exit_code == (code if code > 0 else 1)
    if kind is AwaitingReview:
        assert str(error) == WAITS


def test_a_failure_is_told_in_the_words_of_the_stage():
    lines = [
        "Verifying data sources in stage: 'data/demo/raw.dvc'",
        "'data/demo/raw.dvc' didn't change, skipping",
        "Stage 'configure' didn't change, skipping",
        "Running stage 'ingest@demo':",
        "> python -m tasks.ingest --line demo",
        "ingest@demo: 1 of 2 recordings",
        "a library's remark",
        "ingest@demo: data/demo/raw/notes.mp4: no video",
        "of 12 bytes",
        "ERROR: failed to reproduce 'ingest@demo': failed to run: python -m tasks.ingest --line demo, exited with 3",
    ]
    said = "ingest@demo: data/demo/raw/notes.mp4: no video\nof 12 bytes"
    assert str(_failure("ingest@demo", lines)).splitlines()[1:] == said.splitlines()
    waiting = ["ingest@demo: awaiting review: 12 items", "ERROR: failed to reproduce, exited with 75"]
    assert str(_failure("ingest@demo", waiting)) == "awaiting review: 12 items"


def test_a_failure_of_dvc_itself_keeps_its_words():
    error = _failure("nothing@demo", ["ERROR: Stage 'nothing@demo' not found inside 'dvc.yaml' file"])
    assert isinstance(error, StageError)
    assert "not found inside" in str(error)


@pytest.mark.slow
def test_real_dvc_runs_restores_waits_and_fails(project):
    """The words above are DVC's own: this fails where a release of DVC changes them."""
    waits = "python -c \"import sys; print('waits: 3 items'); sys.exit(75)\""
    breaks = "python -c \"import sys; print('broken: file x'); sys.exit(3)\""
    stages = {
        "copy": {"foreach": ["demo"], "do": {"cmd": "cp given made", "deps": ["given"], "outs": ["made"]}},
        "wait": {"foreach": ["demo"], "do": {"cmd": waits, "deps": ["made"]}},
        "fail": {"foreach": ["demo"], "do": {"cmd": breaks}},
    }
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (project / "given").write_text("1")
    told: list[str] = []
    assert [repro("copy@demo", told.append).outcome for _ in range(2)] == ["ran", "unchanged"]
    (project / "given").write_text("2")
    repro("copy@demo", told.append)
    (project / "given").write_text("1")
    assert repro("copy@demo", told.append).outcome == "restored"
    assert (project / "made").read_text() == "1"
    (project / "given").write_text("3")
    with pytest.raises(AwaitingReview, match=r"^waits: 3 items$"):
        repro("wait@demo", told.append)
    with pytest.raises(StageError, match="broken: file x") as caught:
        repro("fail@demo", told.append)
    assert caught.value.exit_code == 3


def test_activate_adds_a_line_once_and_keeps_comments(project):
    before = (project / "conf/lines.yaml").read_text()
    comments = [line.split("#", 1)[1] for line in before.splitlines() if "#" in line]
    activate("gi_d")
    once = (project / "conf/lines.yaml").read_text()
    activate("gi_d")
    assert (project / "conf/lines.yaml").read_text() == once
    assert comments
    assert all(comment in once for comment in comments)
    lists = yaml.safe_load(once)
    assert lists["simulated_lines"] == ["demo", "gi_d"]
    assert lists["video_lines"] == []
    assert active_lines(project / "conf") == ["demo", "gi_d"]
    assert "simulate" in stages_of("gi_d")


def test_a_line_that_asks_for_a_localiser_gets_its_stages(project):
    activate("ua")
    assert yaml.safe_load((project / "conf/lines.yaml").read_text())["localized_lines"] == ["ua"]
    configure(project / "conf", project / "params.yaml")
    stages = stages_of("ua")
    assert stages.index("export") < stages.index("features") < stages.index("train_localizer")
    assert not {"features", "train_localizer"} & set(stages_of("demo"))
    results = yaml.safe_load(results_of("ua").read_text())
    assert {"train_localizer/metrics.json", "evaluate_localizer/metrics.json"} <= set(results["metrics"])
    assert "train_localizer/plots/curves.csv" in results["plots"][-1]


def test_activate_names_the_known_lines(project):
    before = (project / "conf/lines.yaml").read_bytes()
    with pytest.raises(ConfigError, match=r"unknown line 'press_z'.*demo, gi_d"):
        activate("press_z")
    assert (project / "conf/lines.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("asked", "backend", "foundation"),
    [
        pytest.param([], "grounding_dino", "hub", id="full-size by default"),
        pytest.param(["detector=motion"], "motion", "tiny", id="no weights wanted"),
        pytest.param(["detector=motion", "foundation=hub"], "motion", "hub", id="as asked"),
    ],
)
def test_which_weights_a_new_line_labels_with(project, videos, monkeypatch, asked, backend, foundation):
    monkeypatch.setattr("sys.argv", ["flows.lines", "name=press_a", f"videos={videos}", "actions=remove", *asked])
    lines.main()
    sections = compose_line(project / "conf", "press_a")
    assert sections["detect"]["backend"] == backend
    assert sections["embed"]["foundation"] == sections["distil"]["foundation"] == foundation
    if backend == "grounding_dino":
        assert re.fullmatch("[0-9a-f]{40}", sections["detect"]["grounding_dino"]["revision"])


def test_an_own_line_is_imported_and_composes(project, videos):
    add_line("press_a", videos, "motion", "tiny", ["remove", "place"])
    assert (project / "data/press_a/raw/morning/a.mp4").read_bytes() == (videos / "morning/a.mp4").read_bytes()
    assert (project / "data/press_a/raw/b.mp4").is_file()
    assert not (project / "data/press_a/raw/notes.txt").exists()
    assert (project / "data/press_a/raw.dvc").is_file()
    decisions = (project / "data/press_a/review/decisions.csv").read_text()
    assert decisions == ",".join(DECISION_COLUMNS) + "\n"
    sections = compose_line(project / "conf", "press_a")
    assert sections["dataset"]["actions"] == ["remove", "place"]
    assert sections["dataset"]["holdout"]["last_share"] == 0.333
    assert sections["detect"]["backend"] == "motion"
    assert "simulate" not in sections
    lists = yaml.safe_load((project / "conf/lines.yaml").read_text())
    assert lists["simulated_lines"] == ["demo"]
    assert lists["video_lines"] == ["press_a"]
    for union in ("recorded_lines", "detector_lines", "active_lines"):
        assert lists[union] == ["demo", "press_a"]
    stages = stages_of("press_a")
    assert "ingest" in stages
    assert "simulate" not in stages
    with pytest.raises(ConfigError, match=r"press_a.*exists already.*make activate"):
        add_line("press_a", videos, "motion", "tiny", ["remove"])


def files_below(*folders: Path) -> dict[Path, bytes | None]:
    """Every file's content and every folder."""
    paths = [path for folder in folders for path in folder.rglob("*")]
    return {path: path.read_bytes() if path.is_file() else None for path in paths}


def break_dvc(project: Path, patch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    (project / "dvc.yaml").write_text("stages: [")


def break_activation(project: Path, patch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    def full(_: str) -> None:
        edit_yaml(Path("conf/lines.yaml"), lambda lists: lists["video_lines"].append("press_a"))
        raise OSError("no space left on device")

    patch.setattr("flows.lines.activate", full)


def interrupt(project: Path, patch: pytest.MonkeyPatch) -> None:  # noqa: ARG001
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    patch.setattr("flows.lines.write_text", stop)


@pytest.mark.parametrize(
    ("break_", "has_own_files"), [(break_dvc, False), (break_activation, True), (interrupt, False)]
)
def test_a_failed_import_leaves_nothing_and_works_again(break_, has_own_files, project, videos):
    own = {
        project / "data/press_a/notes.txt": "mine",
        project / "data/press_a/.gitignore": "notes.txt\n",
        project / "data/press_a/review/decisions.csv": ",".join(DECISION_COLUMNS) + "\nmine\n",
    }
    if has_own_files:
        for path, text in own.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    before = files_below(project / "conf", project / "data", videos)
    dvc_yaml = (project / "dvc.yaml").read_text()
    with pytest.MonkeyPatch.context() as patch:
        break_(project, patch)
        with pytest.raises((LineactError, OSError, KeyboardInterrupt)):
            add_line("press_a", videos, "motion", "tiny", ["remove"])
    assert files_below(project / "conf", project / "data", videos) == before
    assert (project / "data").exists() == has_own_files

    (project / "dvc.yaml").write_text(dvc_yaml)
    add_line("press_a", videos, "motion", "tiny", ["remove"])
    assert active_lines(project / "conf") == ["demo", "press_a"]
    assert (project / "data/press_a/raw/b.mp4").is_file()
    if has_own_files:
        assert (project / "data/press_a/notes.txt").read_text() == "mine"
        assert (project / "data/press_a/review/decisions.csv").read_text().endswith("mine\n")
        assert (project / "data/press_a/.gitignore").read_text().startswith("notes.txt\n")


def test_a_killed_import_goes_on(project, videos):
    """kill -9 leaves the copied videos; the same ones are taken as they are, and others stay untouched."""
    raw = project / "data/press_a/raw"
    shutil.copytree(videos, raw, ignore=shutil.ignore_patterns("*.txt"))
    (raw / "b.mp4").write_bytes(b"another recording")
    with pytest.raises(InputError, match="data/press_a/raw: exists already, with other files"):
        add_line("press_a", videos, "motion", "tiny", ["remove"])
    assert (raw / "b.mp4").read_bytes() == b"another recording"
    shutil.copyfile(videos / "b.mp4", raw / "b.mp4")
    add_line("press_a", videos, "motion", "tiny", ["remove"])
    assert (project / "data/press_a/raw.dvc").is_file()


def test_a_line_whose_videos_dvc_knows_is_not_overwritten(project, videos):
    pointer = project / "data/press_a/raw.dvc"
    pointer.parent.mkdir(parents=True)
    pointer.write_text("outs: []\n")
    with pytest.raises(InputError, match=r"data/press_a/raw\.dvc: exists already; `dvc checkout"):
        add_line("press_a", videos, "motion", "tiny", ["remove"])
    assert pointer.read_text() == "outs: []\n"


@pytest.mark.parametrize("action", ["NG", "a]"])
def test_actions_that_do_not_compose_are_refused(action, project, videos):
    with pytest.raises(ConfigError, match=r"conf/line/press_a\.yaml"):
        add_line("press_a", videos, "motion", "tiny", ["remove", action])
    assert not (project / "data").exists()
    assert not (project / "conf/line/press_a.yaml").exists()
    assert active_lines(project / "conf") == ["demo"]


@pytest.mark.parametrize(
    "name", ["Press", "1st", "press-a", "../demo", "", "a b", "on", "no", "yes", "off", "null", "true", "foundation"]
)
def test_a_malformed_name_is_refused(name, project, videos):
    with pytest.raises(ConfigError, match="NAME="):
        add_line(name, videos, "motion", "tiny", ["remove"])
    assert not (project / "data").exists()


def test_files_none_of_which_is_a_video_are_refused(project, tmp_path):
    folder = tmp_path / "no_videos"
    folder.mkdir()
    (folder / "text.mp4").write_text("not a video")
    (folder / "nothing.mp4").write_bytes(b"")
    write_sound(folder / "sound.mp4")
    with pytest.raises(InputError, match=r"(?s)found none.*nothing\.mp4.*sound\.mp4.*text\.mp4"):
        add_line("press_a", folder, "motion", "tiny", ["remove"])
    assert not (project / "data").exists()
    write_video(folder / "video.mp4", [scene()] * 3)
    add_line("press_a", folder, "motion", "tiny", ["remove"])


def test_an_unknown_detector_and_a_folder_without_videos_are_refused(project, videos, tmp_path):
    with pytest.raises(ConfigError, match=r"DETECTOR=yolo: expected one of grounding_dino"):
        add_line("press_a", videos, "yolo", "tiny", ["remove"])
    with pytest.raises(ConfigError, match="FOUNDATION=huge: expected one of hub, tiny"):
        add_line("press_a", videos, "motion", "huge", ["remove"])
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "missing"):
        with pytest.raises(InputError, match=folder.name):
            add_line("press_a", folder, "motion", "tiny", ["remove"])
    (project / "data/press_a/raw").mkdir(parents=True)
    with pytest.raises(InputError, match="data/press_a/raw: exists already"):
        add_line("press_a", videos, "motion", "tiny", ["remove"])
    assert not (project / "conf/line/press_a.yaml").exists()
    assert active_lines(project / "conf") == ["demo"]


def test_editing_yaml_keeps_what_it_does_not_touch(tmp_path):
    path = tmp_path / "line.yaml"
    path.write_text("# head\na: 1   # one\nlist:\n  - x   # first\n")
    edit_yaml(path, lambda content: content.update(b={"c": None}))
    text = path.read_text()
    assert yaml.safe_load(text) == {"a": 1, "list": ["x"], "b": {"c": None}}
    assert all(comment in text for comment in ("# head", "# one", "# first"))


@pytest.mark.parametrize(("line", "way_out"), [("gi_d", "make activate LINE=gi_d"), ("press_z", "make line NAME=")])
@pytest.mark.usefixtures("project")
def test_an_inactive_line_is_told_the_way_out(line, way_out):
    with pytest.raises(LineactError, match=way_out) as caught:
        stages_of(line)
    assert "active lines are demo" in str(caught.value)


PARAMS = RegisterParams(
    min_detection_recall=0.8,
    min_detection_accuracy=0.7,
    min_action_accuracy=0.8,
    min_gain_low=-0.01,
    min_false_boxes_gain_low=-0.05,
    min_gain_blocks=5,
    min_event_f1=0.7,
    max_false_events_per_h=60.0,
    max_p95_ms=10.0,
    max_call_p99_ms=10.0,
    max_event_p95_ms=40.0,
    target_machine="any",
)
FAST = {"pair_p99_ms": 10.0, "event_p95_ms": 40.0}
GOOD = {"detection_recall_iou40": 0.8, "detection_accuracy_iou40": 0.7, "action_accuracy": 0.8}
GAINS = {"action_gain_low": -0.01, "recall_gain_low": 0.0, "false_boxes_gain_low": -0.05, "action_gain_blocks": 5}


@pytest.mark.parametrize(
    ("evaluate", "p95_ms", "has_champion", "failed"),
    [
        (GOOD, 10.0, False, set()),
        (GOOD, 10.1, False, {"classifier_p95_ms"}),
        (GOOD, None, False, {"classifier_p95_ms"}),
        (GOOD | {"action_accuracy": 0.79}, 1.0, False, {"action_accuracy"}),
        (GOOD | {"action_accuracy": None}, 1.0, False, {"action_accuracy"}),
        (GOOD | {"action_accuracy": float("nan")}, 1.0, False, {"action_accuracy"}),
        (GAINS, 1.0, False, set(GOOD)),
        (GAINS, 10.0, True, set()),
        (GAINS | {"action_gain_low": -0.02}, 1.0, True, {"action_gain_low"}),
        (GAINS | {"recall_gain_low": None}, 1.0, True, {"recall_gain_low"}),
        (GAINS | {"false_boxes_gain_low": -0.06}, 1.0, True, {"false_boxes_gain_low"}),
        (GAINS | {"action_gain_blocks": 4}, 1.0, True, {"action_gain_blocks"}),
        (GOOD, 1.0, True, set(GAINS)),
        (GAINS | {"action_accuracy": 0.0}, 1.0, True, set()),
    ],
)
def test_gates(evaluate, p95_ms, has_champion, failed):
    gates = judge(PARAMS, evaluate, FAST | {"classifier_p95_ms": p95_ms}, None, "cell7", has_champion)
    assert {gate.name for gate in gates if not gate.passed} == failed
    metrics = evaluate | FAST | {"classifier_p95_ms": p95_ms, "target_machine": 0.0}
    undefined = {gate.name for gate in gates if metrics.get(gate.name) is None}
    assert undefined == {gate.name for gate in gates if "undefined" in gate.reason}
    assert undefined <= failed


@pytest.mark.parametrize("slow", [{"pair_p99_ms": 10.1}, {"event_p95_ms": 40.1}, {"event_p95_ms": None}])
def test_a_slow_call_or_a_late_event_stops_a_promotion(slow):
    gates = judge(PARAMS, GOOD, FAST | {"classifier_p95_ms": 1.0} | slow, None, "cell7", False)
    assert {gate.name for gate in gates if not gate.passed} == set(slow)


@pytest.mark.parametrize("has_champion", [False, True])
@pytest.mark.parametrize(
    ("events", "failed"),
    [
        ({"event_f1": 0.7, "false_events_per_h": 60.0}, set()),
        ({"event_f1": 0.69, "false_events_per_h": 61.0}, {"event_f1", "false_events_per_h"}),
        ({"event_f1": None, "false_events_per_h": None}, {"event_f1", "false_events_per_h"}),
    ],
)
def test_events_are_judged_where_their_truth_is_known(events, failed, has_champion):
    gates = judge(PARAMS, GOOD | GAINS, FAST | {"classifier_p95_ms": 1.0}, events, "cell7", has_champion)
    assert {gate.name for gate in gates if not gate.passed} == failed


@pytest.mark.parametrize(("target", "passed"), [("any", True), ("cell7", True), ("cell8", False)])
def test_a_latency_counts_on_the_target_machine_alone(target, passed):
    params = RegisterParams(**(vars(PARAMS) | {"target_machine": target}))
    gates = judge(params, GOOD, FAST | {"classifier_p95_ms": 1.0}, None, "cell7", False)
    gate = next(gate for gate in gates if gate.name == "target_machine")
    assert gate.passed is passed
    assert "cell7" in gate.reason
    assert target in gate.reason


def test_a_line_may_hold_settings_of_a_detector_that_it_does_not_use(project):
    path = project / "conf/line/demo.yaml"
    text = path.read_text()
    assert "  motion:" in text
    detect = compose_line(project / "conf", "demo")["detect"]
    assert detect["backend"] == "grounding_dino"
    assert detect["grounding_dino"]["prompt"] == ["hand"]
    assert not set(detect) & {"motion", "groundingdino_py"}
    path.write_text(text.replace("/detector: grounding_dino_tiny", "/detector: motion"))
    assert compose_line(project / "conf", "demo")["detect"]["motion"]["hand_length_share"] == 0.16


@pytest.mark.parametrize(
    ("added", "named"),
    [
        ("    hand_lenght_share: 0.2", r"detect\.motion: unknown key 'hand_lenght_share'"),
        ("    min_area_share: 2.0", r"detect\.motion: min_area_share"),
        ("    width_px: wide", r"detect\.motion\.width_px: expected int"),
        ("  yolo:\n    width_px: 1", r"detect: unknown key 'yolo'"),
        ("  groundingdino_py: 3", r"detect\.groundingdino_py: expected a mapping"),
    ],
)
def test_settings_of_a_detector_that_is_not_used_are_checked_all_the_same(added, named, project):
    path = project / "conf/line/demo.yaml"
    path.write_text(f"{path.read_text()}{added}\n")
    with pytest.raises(ConfigError, match=named):
        compose_line(project / "conf", "demo")


def test_a_line_without_named_actions_composes_all_the_same(project, videos):
    add_line("press_b", videos, "motion", "tiny", [])
    assert compose_line(project / "conf", "press_b")["dataset"]["actions"] == ["action_1", "action_2"]


def test_retrain_ends_in_a_state_of_its_own_at_the_gate(monkeypatch):
    """Another run's state would show as "All states completed"."""
    from prefect.states import Completed, State

    import flows.retrain as module

    waiting: State = Completed(name="AwaitingReview", message="12 items wait")
    monkeypatch.setattr(module.tracking, "start_parent", lambda _: "parent")
    monkeypatch.setattr(module.tracking, "end_parent", lambda *_: None)
    monkeypatch.setattr(module, "ready_champion", lambda *_: None)
    monkeypatch.setattr(module, "label_line", lambda *_, **__: waiting)
    state = module.retrain.fn("demo")
    assert isinstance(state, State)
    assert (state.name, state.message) == ("AwaitingReview", "12 items wait")
    assert state is not waiting


def test_a_second_run_of_a_line_is_refused_and_another_line_is_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    other = "import sys; from flows.one_run import only_run_of\nwith only_run_of(sys.argv[1]): print('runs')"

    def in_another_process(line):
        command = [sys.executable, "-c", other, line]
        return subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)

    with only_run_of("demo"), only_run_of("demo"):
        refused = in_another_process("demo")
        assert "line demo: another run is going on" in refused.stderr
        assert in_another_process("press_a").stdout == "runs\n"
    assert in_another_process("demo").stdout == "runs\n"
