"""A small real comparison: two lines, a classifier and the pupil that it teaches, two seeds; killed and repeated."""

import csv
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

import lineact.classifiers.train as training
from flows.classifier_comparison import compared_choice, line_of, lines_with_one_left_out
from flows.command_line import names_of
from flows.compare_classifiers import foundation_of, left_out_by, seeds_of
from lineact.compare.classifiers.calls import CallTime, time_calls
from lineact.compare.classifiers.plots import draw_plots
from lineact.compare.classifiers.report import Findings, markdown, sentence, write_report
from lineact.compare.classifiers.scores import (
    Compared,
    Versus,
    paired_choices,
    table_rows,
    trial_metrics,
    versus,
)
from lineact.compare.classifiers.statistics import Estimate
from lineact.compare.classifiers.trials import Choice, Line, run_trial
from lineact.errors import ConfigError, InputError
from lineact.schema import LABELLED_CROPS, read_table, table_of, write_table
from tasks.configure import LISTS
from tests.training_sets import ACTIONS, write_crops

ROOT = Path(__file__).parents[2]
LINES = ("left", "right")
SEEDS = (0, 1)
SMALL = "fit:\n  epochs: 2\n  lr: 0.01\n"
CHOICES = {
    "plain": f"family: cnn\n{SMALL}",
    "pupil": (
        "family: cnn\ndistil:\n  teacher: plain\n  teacher_temperature: 0.07\n  student_temperature: 1.0\n"
        "  soft_share: 0.5\n  feature_share: 0.0\n  relation_share: 0.0\n  teach_epochs: 1\n  teacher_sees: clean\n"
        f"{SMALL}"
    ),
}


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A project of two lines of labelled crops, with choices of its own."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "conf", "conf", ignore=lambda folder, names: names if folder.endswith("classifier") else [])
    shared = Path("conf/compare_classifiers.yaml")
    shared.write_text(shared.read_text().replace("classifier: vit_s_distilled", "classifier: plain"))
    for name, text in CHOICES.items():
        (tmp_path / f"conf/classifier/{name}.yaml").write_text(text)
    lists: dict[str, list[str]] = {name: [] for name in LISTS}
    lists |= {key: list(LINES) for key in ("video_lines", "recorded_lines", "active_lines")}
    (tmp_path / "conf/lines.yaml").write_text(yaml.safe_dump(lists))
    shutil.copyfile(ROOT / "dvc.yaml", "dvc.yaml")
    sections = {
        "train_teacher": {"actions": list(ACTIONS), "split_gap_s": 0.5},
        "dataset": {"validation": {"share": 0.3, "by": "auto", "block_s": 2.0, "guard_s": 0.5}},
        "hub_cache": "hub",
    }
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"lines": dict.fromkeys(LINES, sections)}))
    for number, line in enumerate(LINES):
        write_crops(Path(f"data/{line}/dataset/crops.parquet"), count=40, seed=number)
        write_held_out(line, seed=10 + number)
    return tmp_path


def write_held_out(line: str, seed: int) -> None:
    """Crops of a third recording, as an import leaves them."""
    path = Path(f"data/{line}/dataset/holdout_crops.parquet")
    rows = read_table(write_crops(path, count=30, seed=seed), LABELLED_CROPS).to_pylist()
    rows = [row | {"split": "holdout", "video_sha256": "video-holdout"} for row in rows]
    write_table(table_of(rows, LABELLED_CROPS), path, LABELLED_CROPS)


def tell_recordings_apart() -> None:
    """No two lines share a recording, as in life."""
    for line in LINES:
        for name in ("crops.parquet", "holdout_crops.parquet"):
            path = Path(f"data/{line}/dataset") / name
            rows = read_table(path, LABELLED_CROPS).to_pylist()
            rows = [row | {"video_sha256": f"{line}-{row['video_sha256']}"} for row in rows]
            write_table(table_of(rows, LABELLED_CROPS), path, LABELLED_CROPS)


@pytest.fixture
def trainings(monkeypatch) -> list[tuple]:
    """(family, seed) of every training that begins; dies at the one whose number stands in `trainings.dies_at`."""

    class Trainings(list):
        dies_at: int | None = None

    begun, train = Trainings(), training.train_classifier

    def counted(params, labels, seed, *arguments, **options):
        if len(begun) == begun.dies_at:
            raise KeyboardInterrupt
        begun.append((params.distil is not None, seed))
        return train(params, labels, seed, *arguments, **options)

    monkeypatch.setattr(training, "train_classifier", counted)
    return begun


def compare(choices: tuple[Choice, ...], lines: tuple[Line, ...]) -> Compared:
    trials = {
        (choice.name, line.name, seed): run_trial(choice, line, seed)
        for choice in choices
        for line in lines
        for seed in SEEDS
    }
    return Compared(choices, lines, SEEDS, trials)


@pytest.mark.usefixtures("project")
def test_a_teacher_that_is_compared_itself_is_trained_once_and_nothing_twice(trainings):
    choices, lines = tuple(map(compared_choice, CHOICES)), tuple(map(line_of, LINES))
    assert [choice.teach_epochs for choice in choices] == [1, None]
    pupil_first = compare(choices[::-1], lines)
    assert sorted(trainings) == sorted([(taught, seed) for taught in (False, True) for seed in SEEDS] * 2)
    again = compare(choices, lines)
    assert len(trainings) == 8
    for key, trial in again.trials.items():
        assert np.array_equal(trial.logits, pupil_first.trials[key].logits)
        assert trial.logits.shape == (30, 3)
        assert len(trial.history) == 2
        assert (trial.teacher_s > 0) == (trial.choice == "pupil")
    assert np.any(again.trials["plain", "left", 0].logits != again.trials["plain", "left", 1].logits)
    other = compared_choice("plain", overrides=["classifier.fit.lr=0.02"])
    run_trial(other, lines[0], 0)  # one setting, one training
    assert len(trainings) == 9


@pytest.mark.usefixtures("project")
def test_a_killed_comparison_goes_on(trainings):
    choices, lines = tuple(map(compared_choice, CHOICES)), tuple(map(line_of, LINES))
    trainings.dies_at = 5
    with pytest.raises(KeyboardInterrupt):
        compare(choices, lines)
    trainings.dies_at = None
    compare(choices, lines)
    assert len(trainings) == 8


@pytest.mark.usefixtures("project")
def test_other_test_crops_are_asked_about_without_a_training(trainings):
    choice, line = compared_choice("plain"), line_of("left")
    first = run_trial(choice, line, 0)
    write_held_out("left", seed=99)
    second = run_trial(choice, line_of("left"), 0)
    assert len(trainings) == 1
    assert np.any(first.logits != second.logits)


def test_the_report_has_the_papers_table_the_pictures_and_the_sentences(project):
    choices, lines = tuple(map(compared_choice, CHOICES)), tuple(map(line_of, LINES))
    compared = compare(choices, lines)
    calls = time_calls({choice.name: compared.trials[choice.name, "left", 0].folder for choice in choices})
    rows = table_rows(compared, calls)
    assert paired_choices(compared) == [("pupil", "plain")]
    pairs = versus(compared, "pupil", "plain")
    assert [pair.lines for pair in pairs] == [LINES, ("left",), ("right",)]
    folder = project / "report"
    folder.mkdir()
    findings = Findings(compared, rows, pairs, "a machine", {"broken": "it cannot be trained"})
    write_report(folder, findings, draw_plots(folder, compared, rows))

    text = (folder / "report.md").read_text()
    assert "| left | 32 | 8 | 30 | 3 | screw, wipe, NG | labelled crops that came with the data |" in text
    assert "Left out: broken: it cannot be trained" in text
    expected = np.mean([trial_metrics(compared.trials["plain", "left", seed], lines[0])["accuracy"] for seed in SEEDS])
    assert re.search(rf"\| plain \(from scratch\) \| (\*\*)?{100 * expected:.2f}", text)
    assert "- pupil against plain over 2 lines: " in text
    assert "- pupil against plain on left: " in text
    page = (folder / "report.html").read_text()
    pictures = {path.name for path in folder.glob("*.png")}
    assert pictures == {
        "accuracy.png",
        "calls.png",
        *(f"{kind}_{line}.png" for kind in ("confusion", "curves") for line in LINES),
    }
    assert page.count("data:image/png;base64,") == len(pictures)
    assert not re.search(r'(src|href)="(?!data:)', page)  # one file: nothing from elsewhere
    with (folder / "table.csv").open() as stream:
        table = list(csv.DictReader(stream))
    assert len(table) == 8
    found = trial_metrics(compared.trials["plain", "left", 0], lines[0])["accuracy"]
    assert float(table[0]["accuracy"]) == pytest.approx(found, abs=1e-6)
    for row in rows:
        assert 0 < row.call.p50_ms <= row.call.p95_ms
        assert row.stations_s == pytest.approx(20 * (row.training_s + row.teacher_s))


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("recording", [f"{line}-{line}-video-{part}"[:17] for line in LINES for part in ("holdout", "train", "val")]),
        ("line", ["left", "right"]),
    ],
)
def test_what_is_left_out_is_all_that_a_fold_tests_on(by, names):
    tell_recordings_apart()
    folds, refused = lines_with_one_left_out(LINES, by)
    assert [fold.name[:17] for fold in folds] == names
    assert not refused
    for fold in folds:
        trained = read_table(fold.crops, LABELLED_CROPS)
        tested = read_table(fold.held_out.path, LABELLED_CROPS)
        assert set(trained["split"].to_pylist()) == {"train", "val"}
        assert not set(trained["video_sha256"].to_pylist()) & set(tested["video_sha256"].to_pylist())
        assert len(fold.held_out.classes) == len(tested)
    if by == "line":
        assert [len(fold.held_out.classes) for fold in folds] == [40 + 30, 40 + 30]
    written = [fold.crops.stat().st_mtime_ns for fold in folds]
    again, _ = lines_with_one_left_out(LINES, by)
    assert [fold.crops.stat().st_mtime_ns for fold in again] == written  # kept, as the trainings on them are


@pytest.mark.slow
@pytest.mark.usefixtures("project", "trainings")
def test_the_report_of_folds_says_what_was_left_out(tmp_path, monkeypatch):
    import flows.compare_classifiers as module

    tell_recordings_apart()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setattr(module, "try_choice", module.try_choice.fn)  # without a Prefect server
    folder = module.compare_classifiers.fn(LINES, (0,), ("plain",), leave="line")
    report = (folder / "report.md").read_text()
    assert "all of left, left out; the actions that left shares with the other lines, screw, wipe, and NG" in report
    assert (folder / "confusion_right.png").is_file()


@pytest.mark.slow
@pytest.mark.usefixtures("project")
def test_the_flow_ends_with_finished_runs_that_compare_in_mlflow(tmp_path, monkeypatch, trainings):
    import flows.compare_classifiers as module
    from flows import tracking

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.setattr(module, "try_choice", module.try_choice.fn)  # without a Prefect server
    trainings.dies_at = 3
    with pytest.raises(KeyboardInterrupt):
        module.compare_classifiers.fn(LINES, SEEDS)
    trainings.dies_at = None
    Path("conf/classifier/stuck.yaml").write_text(f"family: cnn\ntrains: stages\nstages: [nowhere]\n{SMALL}")
    folder = module.compare_classifiers.fn(LINES, SEEDS)
    assert len(trainings) == 8 + 1  # the one that cannot be trained begins, and is left out
    assert "Left out: stuck: stages: unknown stage 'nowhere'" in (folder / "report.md").read_text()

    store = tracking.client()
    experiment = tracking.experiment_id("compare_classifiers")
    parents = store.search_runs([experiment], "tags.`lineact.kind` = 'comparison'")
    assert sorted(run.info.status for run in parents) == ["FINISHED", "KILLED"]
    parent = next(run for run in parents if run.info.status == "FINISHED")
    assert parent.data.metrics.keys() >= {"plain.accuracy", "plain.accuracy_left", "pupil.call_p95_ms"}
    names = {artifact.path for artifact in store.list_artifacts(parent.info.run_id)}
    assert names >= {"report.md", "report.html", "table.csv", "accuracy.png"}
    children = store.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    asked = {(run.data.params["choice"], run.data.params["line"], run.data.params["seed"]) for run in children}
    assert asked == {(choice, line, str(seed)) for choice in CHOICES for line in LINES for seed in SEEDS}
    assert {run.info.status for run in children} == {"FINISHED"}
    assert len({frozenset(run.data.metrics) for run in children}) == 1  # the same names for all
    one = children[0]
    assert one.data.metrics.keys() >= {"accuracy", "macro_f1", "top_2", "train_s", "call_p95_ms", "curve.val_loss"}
    assert len(store.get_metric_history(one.info.run_id, "curve.val_macro_f1")) == 2
    assert one.data.params["settings.fit.epochs"] == "2"


ROUGHLY = "reached (the interval does not exclude less)"
PERHAPS = "not reached (the interval does not exclude it)"


def estimate(value: float, low: float, high: float) -> Estimate:
    return Estimate(low, value, high)


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        pytest.param(
            Versus("a", "b", LINES, estimate(0.04, 0.01, 0.06), estimate(0.5, 0.2, 0.7)),
            "a against b over 2 lines: +4.00 points [+1.00, +6.00], 50 % fewer errors "
            "(95 % interval of fewer errors 20 to 70 %).",
            id="better",
        ),
        pytest.param(
            Versus("a", "b", ("left",), estimate(-0.02, -0.05, 0.01), estimate(-0.25, -0.9, 0.1)),
            "a against b on left: -2.00 points [-5.00, +1.00], 25 % more errors "
            "(95 % interval of fewer errors -90 to 10 %); the interval of the difference holds zero.",
            id="worse, perhaps",
        ),
        pytest.param(
            Versus("a", "b", ("left",), estimate(-0.02, -0.05, -0.01), None),
            "a against b on left: -2.00 points [-5.00, -1.00]; b makes no error.",
            id="no errors",
        ),
    ],
)
def test_sentences(pair, said):
    assert sentence(pair) == said


@pytest.mark.parametrize(
    ("fewer", "difference", "p95_ms", "verdicts"),
    [
        ((0.6, 0.5, 0.7), (0.001, -0.001, 0.01), 5.0, ("reached", "reached", "reached")),
        (
            (0.6, 0.3, 0.7),
            (-0.004, -0.01, 0.01),
            12.0,
            (
                "reached (the interval does not exclude less)",
                "reached (the interval does not exclude less)",
                "not reached",
            ),
        ),
        ((0.1, 0.0, 0.2), (-0.03, -0.05, -0.01), 9.9, ("not reached", "not reached", "reached")),
        (
            (0.3, 0.0, 0.5),
            (-0.006, -0.05, 0.01),
            9.9,
            (
                "not reached (the interval does not exclude it)",
                "not reached (the interval does not exclude it)",
                "reached",
            ),
        ),
    ],
)
def test_what_the_student_is_meant_to_reach_is_judged_by_figure_and_interval(
    fewer, difference, p95_ms, verdicts, project
):
    line = line_of("left")
    plain = compared_choice("plain")
    names = ("resnet18_retrained", "vit_s_distilled", "vit_l_lora")
    trial = run_trial(plain, line, 0)
    compared = Compared(
        tuple(replace(plain, name=name) for name in names), (line,), (0,), {(name, "left", 0): trial for name in names}
    )
    rows = table_rows(compared, {name: CallTime(1.0, p95_ms) for name in names})
    pairs = [
        Versus("vit_s_distilled", "resnet18_retrained", ("left",), estimate(0.1, 0.0, 0.2), estimate(*fewer)),
        Versus("vit_s_distilled", "vit_l_lora", ("left",), estimate(*difference), None),
    ]
    text = markdown(Findings(compared, rows, pairs, "a machine", {}), [])
    assert f"- 40% fewer errors than resnet18_retrained: {verdicts[0]}\n" in text
    assert f"- within 0.5 points of vit_l_lora: {verdicts[1]}\n" in text
    assert f"- a call under 10 ms p95: {verdicts[2]}\n" in text
    assert project.is_dir()


@pytest.mark.usefixtures("project")
def test_what_is_missing_or_wrong_is_named_with_the_way_out():
    Path("data/left/dataset/crops.parquet").unlink()
    with pytest.raises(InputError, match=r"crops\.parquet: .* `python -m flows\.retrain line=left` makes it$"):
        line_of("left")
    Path("data/right/dataset/holdout_crops.parquet").unlink()
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["lines"]["right"]["dataset"] = {
        "context": 1.8,
        "crop_px": 24,
        "short_context": {"context_s": 0.0, "context_crops": 4},
    }
    Path("params.yaml").write_text(yaml.safe_dump(params))
    Path("data/right/raw").mkdir()
    with pytest.raises(InputError, match=r"holdout\.parquet: expected truth on held-out frames, found nothing"):
        line_of("right")
    with pytest.raises(ConfigError, match="unknown line 'nope'"):
        line_of("nope")
    with pytest.raises(ConfigError, match="choice 'nope': expected one of plain, pupil"):
        compared_choice("nope")
    Path("conf/classifier/chain.yaml").write_text(CHOICES["pupil"].replace("teacher: plain", "teacher: pupil"))
    with pytest.raises(ConfigError, match=r"chain\.yaml: distil\.teacher: .* found 'pupil', which has a teacher"):
        compared_choice("chain")


def test_arguments():
    assert names_of(" a, b,") == ("a", "b")
    assert (seeds_of(""), seeds_of("3,1")) == ((0, 1, 2), (3, 1))
    assert (foundation_of(""), foundation_of("hub")) == ("tiny", "hub")
    assert (left_out_by(""), left_out_by("line")) == (None, "line")
    unknown = (lambda: foundation_of("big"), lambda: left_out_by("station"))
    for wrong in (lambda: names_of("a,a"), lambda: seeds_of("x"), lambda: seeds_of("-1"), *unknown):
        with pytest.raises(ConfigError):
            wrong()
