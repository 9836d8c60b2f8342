"""Grids by Hydra's multirun and searches by Optuna: every trial an MLflow run, none trained twice."""

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from flows import classifier_sweep, tracking
from flows.classifier_choices import classifier_of
from flows.classifier_sweep import SearchParams, grid, search
from lineact.compare.classifiers.trials import Choice, Line
from lineact.errors import ConfigError
from lineact.settings import from_mapping

ROOT = Path(__file__).parents[2]


@pytest.fixture
def trials(tmp_path, monkeypatch) -> list[tuple[str, str, int, float]]:
    """(choice, line, seed, learning rate) of every trial; its figure is best at a learning rate of 0.001."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    shutil.copytree(ROOT / "conf", "conf")
    asked: list[tuple[str, str, int, float]] = []

    def run(choice: Choice, line: Line, seed: int) -> SimpleNamespace:
        lr = choice.params.fit.lr
        asked.append((choice.name, line.name, seed, lr))
        facts = SimpleNamespace(val_macro_f1=1 - abs(lr - 0.001))
        return SimpleNamespace(choice=choice.name, line=line.name, seed=seed, facts=facts)

    def log(parent_id: str, trial: SimpleNamespace, choice: Choice, line: Line) -> str:
        metrics = {"val_macro_f1": trial.facts.val_macro_f1}
        return tracking.log_compared(parent_id, "compare_classifiers", f"{choice.name} {line.name}", {}, {}, metrics)

    monkeypatch.setattr(classifier_sweep, "run_trial", run)
    monkeypatch.setattr(classifier_sweep, "log_trial", log)
    monkeypatch.setattr(classifier_sweep, "line_of", lambda name: SimpleNamespace(name=name))
    return asked


def runs_of_last_sweep() -> tuple[str, list]:
    """Status of the parent and its children."""
    store, experiment = tracking.client(), tracking.experiment_id("compare_classifiers")
    parent = store.search_runs([experiment], "tags.`lineact.kind` = 'sweep'")[0]
    children = store.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    return parent.info.status, children


@pytest.mark.slow
def test_a_grid_is_every_combination(trials, monkeypatch):
    keys = ["lines=demo", "classifier=vit_s,cnn_scratch", "seeds=0,1", "classifier.fit.lr=0.001,0.002"]
    monkeypatch.setattr(sys, "argv", ["compare_classifiers", "-m", *keys])
    grid()
    names, seeds, rates = ("vit_s", "cnn_scratch"), (0, 1), (0.001, 0.002)
    assert trials == [(name, "demo", seed, lr) for name in names for seed in seeds for lr in rates]
    status, children = runs_of_last_sweep()
    assert (status, len(children)) == ("FINISHED", 8)
    assert {child.info.status for child in children} == {"FINISHED"}
    assert not (Path.cwd() / "outputs").exists()
    assert not (Path.cwd() / "multirun").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("keys", "named"),
    [
        (["lines=demo", "classifier=nope"], "classifier=nope: .*Could not find 'classifier/nope'"),
        (["lines=demo", "classifier.nope=1"], "Could not override 'classifier.nope'"),
        (["lines=demo", "classifier.fit.lr=-1"], "lr must be above 0"),
        (["classifier=vit_s"], "argument 'lines' is missing"),
    ],
)
def test_a_grid_that_does_not_compose_is_one_clear_error(keys, named, trials, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["compare_classifiers", "-m", *keys])
    with pytest.raises(ConfigError, match=named):
        grid()
    assert not trials
    assert runs_of_last_sweep()[0] == "FAILED"


def write_search(trial_count: int) -> None:
    Path("conf/sweep/rates.yaml").write_text(
        f"choice: vit_s\ntrials: {trial_count}\nseeds: [0, 1]\nseed: 0\n"
        "numbers:\n  classifier.fit.lr: {low: 0.0001, high: 0.1, log: true}\noptions: {}\n"
    )


@pytest.mark.slow
def test_a_search_finds_better_settings_and_goes_on(trials, monkeypatch):
    write_search(4)
    search("rates", ("demo", "gi_d"))
    assert len(trials) == 4 * 2 * 2
    search("rates", ("demo", "gi_d"))
    assert len(trials) == 16  # all are there
    working = classifier_sweep.run_trial
    monkeypatch.setattr(classifier_sweep, "run_trial", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        search("rates", ("demo", "gi_d"), 12)
    monkeypatch.setattr(classifier_sweep, "run_trial", working)
    told = search("rates", ("demo", "gi_d"), 12)
    assert len(trials) == 12 * 4  # the killed trial does not count
    status, children = runs_of_last_sweep()
    assert (status, len(children)) == ("FINISHED", 8 * 4)
    found = min((lr for *_, lr in trials), key=lambda lr: abs(lr - 0.001))
    assert f"validation macro F1 {1 - abs(found - 0.001):.4f} with classifier=vit_s classifier.fit.lr={found}" in told


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"trials": 0}, "trials must be at least 1"),
        ({"seeds": ()}, "seeds name at least one"),
        ({"numbers": {}, "options": {}}, "at least one setting"),
        ({"options": {"classifier.distil.teacher_sees": ()}}, "each option at least one value"),
        ({"numbers": {"classifier.fit.lr": {"low": 0.0, "high": 1.0, "log": True}}}, "above 0 where log is true"),
        ({"numbers": {"classifier.fit.lr": {"low": 2.0, "high": 1.0, "log": False}}}, "low must be below high"),
    ],
)
def test_searches_that_cannot_be(changes, named):
    good = {
        "choice": "vit_s",
        "trials": 1,
        "seeds": [0],
        "seed": 0,
        "numbers": {"classifier.fit.lr": {"low": 0.1, "high": 1.0, "log": True}},
        "options": {},
    }
    from_mapping(SearchParams, good, "a file")
    with pytest.raises(ConfigError, match=named):
        from_mapping(SearchParams, good | changes, "a file")


def test_the_searches_of_this_project_are_valid():
    for path in (ROOT / "conf/sweep").glob("*.yaml"):
        params = from_mapping(SearchParams, classifier_sweep.read_yaml(path), str(path))
        overrides = [f"{key}={one.low}" for key, one in params.numbers.items()]
        overrides += [f"{key}={values[0]}" for key, values in params.options.items()]
        classifier_of(ROOT / "conf", params.choice, overrides=overrides)
