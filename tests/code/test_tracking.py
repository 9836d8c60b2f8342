"""MLflow as the projection of what DVC made, and the registry: real MLflow on SQLite, in a folder of the test's own."""

import contextlib
import hashlib
import json
import re
import shutil
import sqlite3
from dataclasses import asdict
from pathlib import Path

import pytest
import requests.exceptions
import yaml

from flows import patience, tracking
from flows import register as registry
from flows.champion import champion_of, find_bundle, pin_of, ready_champion
from flows.classifier_choices import choices_of, classifier_of
from flows.dvc_stage import Outcome, StageResult
from flows.lines import edit_yaml
from flows.pin import is_champion, pin_champion
from flows.versions import versions_of
from lineact.errors import InputError
from lineact.evaluate.champion import CHAMPIONS
from lineact.files import sha256_of_tree, write_json, write_text

ROOT = Path(__file__).resolve().parents[2]
LINE = "demo"
GOOD = {"detection_recall_iou40": 0.95, "detection_accuracy_iou40": 0.9, "action_accuracy": 0.9}
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("project")]  # laying out a database takes over ten seconds
STAGES = ("dataset", "distil", "export", "machine", "benchmark", "evaluate", "evaluate_events")


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory):
    """MLflow takes seconds to lay out a database: once for all tests."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def project(tmp_path, monkeypatch, empty_database):
    """A folder as a whole pipeline run leaves it, with a bundle that no one can load but everyone can register."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    shutil.copyfile(empty_database, "mlflow.db")
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copyfile(ROOT / name, name)
    shutil.copytree(ROOT / "conf", "conf")
    for package in ("flows", "lineact"):
        Path(package).symlink_to(ROOT / package)
    write_lock()
    write_bundle("first")
    write_json(Path("models/demo/machine/machine.json"), {"host": "cell7"})
    write_json(
        Path("models/demo/benchmark/metrics.json"), {"classifier_p95_ms": 2.0, "pair_p99_ms": 3.0, "event_p95_ms": 9.0}
    )
    write_json(Path("models/demo/evaluate/metrics.json"), GOOD)
    write_json(Path("models/demo/evaluate_events/metrics.json"), {"event_f1": 0.9, "false_events_per_h": 0.0})
    write_json(Path("data/demo/dataset/metrics.json"), {"crops_train": 9, "crops_val": None})
    return tmp_path


GAINS = {"action_gain_low": 0.1, "recall_gain_low": 0.0, "false_boxes_gain_low": 0.0, "action_gain_blocks": 8}
PARAMS = {"seed": 0, "fit": {"lr": 0.1}}


def write_lock(params: dict[str, object] = PARAMS, **changed: str) -> None:
    """A dvc.lock of the stages that the flows ask for.

    Args:
        params: of every stage.
        changed: other hashes of dependencies by stage.
    """
    stages = {}
    for stage in STAGES:
        folder = f"{'data' if stage == 'dataset' else 'models'}/demo/{stage}"
        stages[f"{stage}@demo"] = {
            "cmd": f"python -m tasks.{stage}",
            "deps": [{"path": "in", "md5": changed.get(stage, "0")}],
            "params": {"params.yaml": {f"lines.demo.{stage}": params}},
            "outs": [{"path": folder, "md5": f"hash-of-{stage}"}],
        }
    write_text(Path("dvc.lock"), yaml.safe_dump({"schema": "2.0", "stages": stages}))


def write_bundle(content: str) -> str:
    """Returns the bundle's hash."""
    bundle = Path("models/demo/export/bundle")
    write_json(bundle / "manifest.json", {"content": content})
    write_text(bundle / "networks" / "classifier.onnx", content)
    return sha256_of_tree(bundle)


def pin() -> None:
    """Names the champion in params.yaml, as `flows.pin` and `configure` do before `evaluate`."""
    champion = champion_of(LINE)
    set_pin_of_params({"version": champion[0], "bundle_sha256": champion[1]} if champion else None)


def set_pin_of_params(pinned: dict[str, str] | None) -> None:
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["lines"][LINE]["evaluate"]["champion"] = pinned
    write_text(Path("params.yaml"), yaml.safe_dump(params))


def register() -> registry.Registration:
    pin()
    return compared()


def compared() -> registry.Registration:
    return registry.register(LINE, tracking.start_parent(LINE))


def alias(name: str) -> str:
    return str(tracking.client().get_model_version_by_alias("lineact-demo", name).version)


def ledger() -> list[bytes]:
    return Path("models/demo/promotions.jsonl").read_bytes().splitlines()


def test_versions_aliases_and_ledger():
    assert champion_of(LINE) is None
    first_sha256 = write_bundle("first")
    first = register()
    assert first.promoted
    assert champion_of(LINE) == (first.version, first_sha256)
    assert is_champion(LINE)
    entry = json.loads(ledger()[0])
    assert entry["bundle_sha256"] == first_sha256
    assert entry["previous"] is None
    assert entry["hash_of_entry_before"] is None
    assert entry["why"]["action_accuracy"] == "0.9, needed at least 0.8"
    assert entry["from"]["data_hash"] == "hash-of-dataset"

    again = register()
    assert (again.version, again.promoted, again.gates) == (first.version, True, [])
    assert len(ledger()) == 1

    second_sha256 = write_bundle("second")
    write_json(Path("models/demo/evaluate/metrics.json"), GOOD | GAINS | {"action_gain_low": -0.2})
    worse = register()
    assert not worse.promoted
    assert worse.version != first.version
    assert "action_gain_low (-0.2, needed at least -0.01)" in worse.words
    assert champion_of(LINE) == (first.version, first_sha256)
    assert not is_champion(LINE)
    assert len(ledger()) == 1

    write_json(Path("models/demo/evaluate/metrics.json"), GOOD | GAINS)
    better = register()
    assert better.promoted
    assert better.version == worse.version  # the same bytes keep their version
    assert champion_of(LINE) == (better.version, second_sha256)
    assert alias("previous") == first.version
    lines = ledger()
    assert len(lines) == 2
    assert json.loads(lines[1])["hash_of_entry_before"] == hashlib.sha256(lines[0]).hexdigest()
    assert json.loads(lines[1])["previous"] == first.version

    version = tracking.client().get_model_version("lineact-demo", better.version)
    assert version.tags["bundle_sha256"] == second_sha256
    assert version.tags["data_hash"] == "hash-of-dataset"
    gates = json.loads(version.tags["gates"])
    assert all(gate["passed"] for gate in gates)
    assert {"event_f1", "false_events_per_h"} <= {gate["name"] for gate in gates}

    # an older version comes back as the registry holds it, and stays apart from this run's bundle
    shutil.rmtree(CHAMPIONS)
    fetched = find_bundle(LINE, first_sha256)
    assert fetched == CHAMPIONS / first_sha256
    assert sha256_of_tree(fetched) == first_sha256
    write_text(fetched / "manifest.json", "other bytes are put right")
    assert find_bundle(LINE, first_sha256) == fetched
    assert sha256_of_tree(fetched) == first_sha256
    assert find_bundle(LINE, "0" * 64) is None


class Killed(BaseException):
    """What no one catches."""


@pytest.mark.parametrize("alias_name", ["previous", "champion"])
def test_a_killed_promotion_is_finished_and_not_decided_again(alias_name, monkeypatch):
    from mlflow import MlflowClient

    first = register()
    second_sha256 = write_bundle("second")
    write_json(Path("models/demo/evaluate/metrics.json"), GOOD | GAINS)
    move = MlflowClient.set_registered_model_alias

    def killed_at(self, name, alias, version):
        if alias == alias_name:
            raise Killed
        move(self, name, alias, version)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_registered_model_alias", killed_at)
        with pytest.raises(Killed):
            register()
    assert alias("champion") == first.version
    decided = ledger()
    assert len(decided) == 2

    write_json(
        Path("models/demo/benchmark/metrics.json"), {"classifier_p95_ms": 3.0, "pair_p99_ms": 3.0, "event_p95_ms": 9.0}
    )  # measured again in between
    finished = register()
    assert finished.promoted
    assert champion_of(LINE) == (finished.version, second_sha256)
    assert alias("previous") == first.version
    assert ledger() == decided

    # a promotion after a way back by hand is another decision
    tracking.client().set_registered_model_alias("lineact-demo", "champion", first.version)
    register()
    assert alias("champion") == finished.version
    assert len(ledger()) == 3
    assert json.loads(ledger()[2])["hash_of_entry_before"] == hashlib.sha256(decided[1]).hexdigest()


def test_the_pinned_champion_is_a_setting_that_configure_takes():
    """MLflow gives the version as a number, and the line's file must hold a text."""
    from flows.pin import pin_champion
    from tasks.configure import compose_line

    registration = register()
    assert pin_champion(LINE) == registration.version
    champion = compose_line(Path("conf"), LINE)["evaluate"]["champion"]
    assert champion["version"] == registration.version == "1"


def test_a_champion_that_evaluate_did_not_compare_with_stops_the_registration():
    register()
    write_bundle("second")
    write_json(Path("models/demo/evaluate/metrics.json"), GOOD | GAINS)
    params = yaml.safe_load(Path("params.yaml").read_text())
    assert params["lines"][LINE]["evaluate"]["champion"] is None
    with pytest.raises(InputError, match=r"the champion is version 1, but `evaluate` compared with none.*run .* again"):
        compared()
    assert alias("champion") == champion_of(LINE)[0]  # type: ignore[index]
    assert len(ledger()) == 1


def test_a_changed_ledger_is_refused():
    register()
    write_bundle("second")
    write_json(Path("models/demo/evaluate/metrics.json"), GOOD | GAINS)
    register()
    path = Path("models/demo/promotions.jsonl")
    path.write_text(path.read_text().replace('"who": "', '"who": "not ', 1))
    write_bundle("third")
    with pytest.raises(InputError, match=r"promotions.jsonl, line 2: expected the hash of the entry before"):
        register()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda text: text.replace('"who": "', '"who": "not '), "expected an entry with the hash .* version 1"),
        (lambda _: "", "expected an entry with the hash .* version 1"),
        (lambda _: None, "expected an entry with the hash .* version 1"),
        (lambda text: text + "\n", "line 2: expected a promotion with line, .* found an empty line"),
        (lambda text: text + "garb\xffage\n", "line 2: expected a promotion with .*garb"),
        (lambda text: text + '{"a": 1}\n', "line 2: expected a promotion with "),
        (lambda text: text.replace('"version": "1"', '"version": 1'), "line 1: expected a promotion with "),
        (
            lambda text: text.replace('"line": "demo"', '"line": "gi_d"'),
            "line 1: expected a promotion of demo, .* gi_d",
        ),
    ],
    ids=["edited", "emptied", "removed", "empty line", "garbage", "no entry", "a number", "another line's"],
)
def test_a_ledger_that_does_not_fit_the_registry_is_refused_before_anything_is_registered(damage, says):
    register()
    path = Path("models/demo/promotions.jsonl")
    damaged = damage(path.read_text())
    if damaged is None:
        path.unlink()
    else:
        path.write_bytes(damaged.encode("latin-1"))
    versions = len(versions_of(LINE))
    for content in ("first", "second"):  # the champion's own bytes, too
        write_bundle(content)
        with pytest.raises(InputError, match=rf"promotions\.jsonl.*{says}.*git checkout"):
            register()
    assert len(versions_of(LINE)) == versions


def test_a_champion_that_nothing_promoted_is_refused():
    """The alias is moved by hand: to a version that failed its gates, or to one of another tool."""
    register()
    write_bundle("second")
    write_json(Path("models/demo/evaluate/metrics.json"), GOOD | GAINS | {"action_gain_low": -0.2})
    worse = register()
    move = tracking.client().set_registered_model_alias
    move("lineact-demo", "champion", worse.version)
    with pytest.raises(InputError, match=r"the promotion of the champion, version 2, found none.*moved by hand"):
        register()
    tracking.client().delete_model_version_tag("lineact-demo", worse.version, "bundle_sha256")
    with pytest.raises(InputError, match=r"found it on version 2, which `register` did not make"):
        compared()


def test_a_promotion_killed_before_its_last_tag_is_finished():
    """Without the tag, the last entry could be changed unnoticed."""
    version = register().version
    tracking.client().delete_model_version_tag("lineact-demo", version, "promotion")
    register()
    tags = tracking.client().get_model_version("lineact-demo", version).tags
    assert tags["promotion"] == hashlib.sha256(ledger()[0]).hexdigest()


def promoted_twice() -> str:
    """Versions 1 and 2 are promoted and 2 is pinned; then another bundle is exported and scored as worse.

    Returns:
        The hash of version 2.
    """
    register()
    sha256 = write_bundle("second")
    write_json(Path("models/demo/evaluate/metrics.json"), GOOD | GAINS)
    register()
    pin()
    write_bundle("third")
    write_json(Path("models/demo/evaluate/metrics.json"), GOOD | GAINS | {"action_gain_low": -0.12})
    return sha256


def lose_registry_of(project: Path, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """mlflow.db and mlruns/ are gone; the next run lays out a new database."""
    shutil.copyfile(empty_database, project / "new.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project / 'new.db'}")
    shutil.rmtree(project / "mlruns")


def test_a_lost_registry_lets_no_worse_challenger_in(project, empty_database, monkeypatch):
    """MLflow is a projection: the ledger's champion is registered again, under another number, and compared with."""
    second_sha256 = promoted_twice()
    lose_registry_of(project, empty_database, monkeypatch)
    worse = compared()
    assert not worse.promoted
    assert "action_gain_low (-0.12, needed at least -0.01)" in worse.words
    assert "the registry had lost its champion, version 2; registered again as version 1" in worse.words
    assert champion_of(LINE) == ("1", second_sha256)
    again = json.loads(ledger()[2])
    assert (again["version"], again["previous"], again["bundle_sha256"]) == ("1", "2", second_sha256)
    assert "registered again as version 1" in again["why"]["registered_again"]
    assert again["from"] == json.loads(ledger()[1])["from"]

    write_json(Path("models/demo/evaluate/metrics.json"), GOOD | GAINS)
    better = compared()
    assert (better.version, better.promoted) == (worse.version, True)
    assert json.loads(ledger()[3])["previous"] == "1"
    assert alias("previous") == "1"
    assert len(ledger()) == 4


def test_a_registry_older_than_the_ledger_lets_nobody_in(project, monkeypatch):
    """Else a backup from before the last promotion would be compared with."""
    first_sha256 = sha256_of_tree(Path("models/demo/export/bundle"))
    register()
    shutil.copyfile("mlflow.db", "backup.db")
    second_sha256 = promoted_twice()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project / 'backup.db'}")
    assert champion_of(LINE) == ("1", first_sha256)
    with pytest.raises(InputError, match=rf"champion is version 1, but .* version 2 \({second_sha256}\).*newer mlflow"):
        register()
    tracking.client().delete_registered_model_alias("lineact-demo", "champion")
    set_pin_of_params({"version": "2", "bundle_sha256": second_sha256})
    assert not compared().promoted
    assert champion_of(LINE) == ("2", second_sha256)


def test_a_deleted_champion_is_registered_again():
    second_sha256 = promoted_twice()
    tracking.client().delete_model_version("lineact-demo", "2")
    assert champion_of(LINE) is None
    assert not compared().promoted
    assert champion_of(LINE) == ("3", second_sha256)


def test_a_champion_whose_alias_was_taken_away_keeps_its_version():
    second_sha256 = promoted_twice()
    tracking.client().delete_registered_model_alias("lineact-demo", "champion")
    assert not compared().promoted
    assert champion_of(LINE) == ("2", second_sha256)
    assert len(ledger()) == 2


def test_a_pin_alone_names_the_champion(project, empty_database, monkeypatch):
    second_sha256 = promoted_twice()
    lose_registry_of(project, empty_database, monkeypatch)
    Path("models/demo/promotions.jsonl").unlink()
    assert not compared().promoted
    assert champion_of(LINE) == ("1", second_sha256)
    assert [json.loads(entry)["previous"] for entry in ledger()] == ["2"]


@pytest.fixture
def champion_nowhere(project, empty_database, monkeypatch):
    """The registry and every copy of the champion's bundle are gone; the ledger and conf/ are there."""
    second_sha256 = promoted_twice()
    lose_registry_of(project, empty_database, monkeypatch)
    shutil.rmtree(CHAMPIONS)
    return second_sha256


def set_pin(pinned: dict[str, str] | None) -> None:
    """Writes the pin into the line's file, and into params.yaml as `configure` would."""
    edit_yaml(Path("conf/line/demo.yaml"), lambda config: config.update(evaluate={"champion": pinned}))
    set_pin_of_params(pinned)


@pytest.mark.parametrize("pinned_by", ["ledger", "pin", "both"])
def test_a_champion_that_is_nowhere_stops_everything_before_the_training(pinned_by, champion_nowhere):
    if pinned_by == "pin":
        Path("models/demo/promotions.jsonl").unlink()
    if pinned_by != "ledger":
        set_pin({"version": "2", "bundle_sha256": champion_nowhere})
    ways_out = rf"champions/{champion_nowhere}: .*Copy the bundle's folder.*mlflow\.db and mlruns/.*champion to null in"
    for command in (lambda: ready_champion(LINE, "parent"), lambda: pin_champion(LINE), compared):
        with pytest.raises(InputError, match=ways_out):
            command()
    assert versions_of(LINE) == []


def test_the_bundle_copied_to_its_place_is_a_way_out(champion_nowhere, capsys):
    write_bundle("second")
    shutil.copytree("models/demo/export/bundle", CHAMPIONS / champion_nowhere)
    write_bundle("third")
    set_pin(None)  # is no way around a comparison that can be made
    ready_champion(LINE, tracking.start_parent(LINE))
    assert "line demo: the registry had lost its champion, version 2" in capsys.readouterr().err
    assert pin_champion(LINE) == "1"
    assert pin_of(LINE) == champion_of(LINE) == ("1", champion_nowhere)
    with pytest.raises(InputError, match="`evaluate` compared with none"):
        compared()


def test_a_null_on_purpose_is_told_written_into_the_ledger_and_spent(champion_nowhere, capsys):
    set_pin(None)
    ready_champion(LINE, tracking.start_parent(LINE))
    said = rf"champion version 2 \({champion_nowhere}\) is nowhere.*judged by the absolute minimums"
    assert re.search(said, capsys.readouterr().err)
    assert pin_champion(LINE) is None
    write_json(Path("models/demo/evaluate/metrics.json"), GOOD)
    registration = compared()
    assert registration.promoted
    assert re.search(said, registration.words)
    entry = json.loads(ledger()[2])
    assert entry["previous"] == "2"
    assert re.search(said, entry["why"]["no_champion"])
    # it does not stand in the file for the next loss
    assert "evaluate" not in yaml.safe_load(Path("conf/line/demo.yaml").read_text())
    assert pin_champion(LINE) == registration.version


def test_a_registry_that_lost_its_files_alone_keeps_its_numbers(project):
    """mlruns/ is gone, mlflow.db is not."""
    second_sha256 = promoted_twice()
    for folder in (project / "mlruns", CHAMPIONS):
        shutil.rmtree(folder)
    with pytest.raises(InputError, match=f"champions/{second_sha256}: expected the bundle"):
        compared()
    set_pin(None)
    write_json(Path("models/demo/evaluate/metrics.json"), GOOD)
    assert compared().version == "3"
    assert (alias("champion"), alias("previous"), json.loads(ledger()[2])["previous"]) == ("3", "2", "2")


def test_the_training_does_not_start_without_the_champion(champion_nowhere, monkeypatch):
    from flows import retrain, train_line

    set_pin({"version": "2", "bundle_sha256": champion_nowhere})
    for module in (retrain.retrain, train_line.train_line):
        monkeypatch.setattr("flows.train_line.run_stages", lambda *_: pytest.fail("a stage ran"))
        monkeypatch.setattr("flows.retrain.label_line", lambda *_, **__: pytest.fail("labelling ran"))
        with pytest.raises(InputError, match="expected the bundle of demo's champion"):
            module.fn(LINE)


def test_a_lost_database_is_healed_by_the_export_that_is_the_champion(project, empty_database, monkeypatch):
    first = register()
    lose_registry_of(project, empty_database, monkeypatch)
    shutil.rmtree(CHAMPIONS)
    again = compared()
    assert (again.version, again.promoted) == (first.version, True)
    assert len(ledger()) == 1


def test_without_a_champion_the_minimums_decide():
    write_json(Path("models/demo/evaluate/metrics.json"), GOOD | {"action_accuracy": None})
    registration = register()
    assert not registration.promoted
    assert "action_accuracy (undefined" in registration.words
    assert champion_of(LINE) is None
    assert not Path("models/demo/promotions.jsonl").exists()


def test_a_registry_that_does_not_answer_is_no_missing_champion():
    """Otherwise a broken database would let a worse challenger in by the absolute minimums."""
    from mlflow.exceptions import MlflowException

    assert champion_of(LINE) is None
    with contextlib.closing(sqlite3.connect("mlflow.db")) as database:
        database.execute("DROP TABLE registered_models")
    with pytest.raises(MlflowException, match="registered_models"):
        champion_of(LINE)


def test_the_registered_model_has_a_signature_and_pickles_nothing():
    import mlflow

    version = register().version
    uri = f"models:/lineact-demo/{version}"
    signature = mlflow.models.get_model_info(uri).signature
    assert signature is not None
    assert signature.inputs.inputs[0].shape == (-1, -1, -1, 3)
    assert signature.outputs.input_names() == ["frame", "x1", "y1", "x2", "y2", "score", "action", "confidence"]
    stored = [path for path in Path(mlflow.artifacts.download_artifacts(uri)).rglob("*") if path.is_file()]
    assert {"MLmodel", "registered_model.py", "manifest.json"} <= {path.name for path in stored}
    assert not [path for path in stored if path.suffix in (".pkl", ".pickle", ".pt", ".pth", ".joblib")]
    assert not [path for path in stored if path.read_bytes()[:1] == b"\x80"], "a pickle under another name"


def log(stage: str, outcome: Outcome) -> tuple[str, str]:
    """Returns the parent's and the child's run id."""
    parent_id = tracking.start_parent(LINE)
    return parent_id, tracking.log_stage(parent_id, LINE, StageResult(stage, outcome, 1.5))


def test_a_stage_that_did_not_run_points_to_the_earlier_child():
    _, ran = log("evaluate", "ran")
    parent_id, restored = log("evaluate", "restored")
    _, unchanged = log("evaluate", "unchanged")
    assert restored == unchanged == ran
    parent = tracking.client().get_run(parent_id).data
    assert parent.tags["stage.evaluate"] == f"restored {ran}"
    assert parent.metrics["action_accuracy"] == 0.9
    write_lock(evaluate="1")
    _, other = log("evaluate", "restored")
    assert other != ran
    _, rerun = log("evaluate", "ran")
    assert rerun not in (ran, other)


def test_a_child_holds_params_metrics_and_plots():
    plots = Path("models/demo/distil/plots")
    write_json(Path("models/demo/distil/metrics.json"), {"val_accuracy": 0.8, "ng_recall": None})
    write_text(plots / "curves.csv", "epoch,a,b,c\n" + "".join(f"{n},{n / 2},1.5,2.5\n" for n in range(1, 401)))
    parent_id, child_id = log("distil", "ran")
    run = tracking.client().get_run(child_id)
    assert run.data.tags["mlflow.parentRunId"] == parent_id
    assert run.data.params == {"seed": "0", "fit.lr": "0.1"}
    assert run.data.metrics["val_accuracy"] == 0.8
    assert "ng_recall" not in run.data.metrics
    curve = tracking.client().get_metric_history(child_id, "curve.a")
    assert sorted((point.step, point.value) for point in curve) == [(n, n / 2) for n in range(1, 401)]
    assert [artifact.path for artifact in tracking.client().list_artifacts(child_id, "plots")] == ["plots/curves.csv"]
    assert run.info.status == "FINISHED"


def test_no_parameter_is_lost():
    """MLflow takes 100 parameters a request, and cuts a value at 6,000 characters with a warning that nobody reads."""
    import mlflow

    numbers = {f"key_{number:03}": number for number in range(230)}
    actions = [f"action_{number:04}" for number in range(1000)]
    write_lock({"many": numbers, "actions": actions, "none": {}})
    _, child_id = log("evaluate", "ran")
    params = tracking.client().get_run(child_id).data.params
    assert {name: value for name, value in params.items() if name.startswith("many.")} == {
        f"many.{name}": str(number) for name, number in numbers.items()
    }
    assert params["actions"].startswith("['action_0000', 'action_0001'")
    assert params["actions"].endswith(f"({len(str(actions))} characters, whole in params.json)")
    whole = json.loads(mlflow.artifacts.load_text(f"runs:/{child_id}/params.json"))
    assert whole == {"many": numbers, "actions": actions, "none": {}}


def test_a_half_written_child_is_not_pointed_to():
    key = tracking.stage_key("evaluate", LINE)
    killed = tracking.client().create_run(tracking.experiment_id(LINE), tags={"lineact.stage_key": key})
    _, child_id = log("evaluate", "unchanged")
    assert child_id != killed.info.run_id


def test_a_lost_database_is_rebuilt_from_the_outputs(project, empty_database):
    _, before = log("evaluate", "ran")
    shutil.copyfile(empty_database, "other.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project / 'other.db'}")
        _, after = log("evaluate", "unchanged")
        assert after != before
        run = tracking.client().get_run(after)
        assert run.data.metrics["action_accuracy"] == 0.9
        assert run.data.tags["lineact.stage_key"] == tracking.stage_key("evaluate", LINE)


def test_the_parent_carries_what_it_rests_on():
    parent_id = tracking.start_parent(LINE)
    tracking.end_parent(parent_id, LINE, "FINISHED")
    run = tracking.client().get_run(parent_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["data_hash"] == "hash-of-dataset"
    assert run.data.tags["dvc_lock_sha256"] == hashlib.sha256(Path("dvc.lock").read_bytes()).hexdigest()
    assert run.data.tags["git_commit"]


def test_a_parent_run_is_closed_by_whoever_opened_it():
    with tracking.parent_run(LINE) as run_id:
        with tracking.parent_run(LINE, run_id) as inner_id:
            assert inner_id == run_id
        assert status_of(run_id) == "RUNNING"
    assert status_of(run_id) == "FINISHED"


def test_a_parent_run_whose_block_raises_has_failed():
    ids = []

    def fail():
        with tracking.parent_run(LINE) as run_id:
            ids.append(run_id)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert status_of(ids[0]) == "FAILED"


def test_an_interrupted_parent_run_is_told_from_a_failed_one():
    with pytest.raises(KeyboardInterrupt), tracking.parent_run(LINE) as run_id:
        raise KeyboardInterrupt
    assert status_of(run_id) == "KILLED"


def test_the_next_run_closes_those_that_a_killed_one_left_open(monkeypatch, tmp_path_factory):
    left, of_another_line = tracking.start_parent(LINE), tracking.start_parent("press_a")
    with monkeypatch.context() as elsewhere:
        elsewhere.chdir(tmp_path_factory.mktemp("another_checkout"))
        of_another_checkout = tracking.start_parent(LINE)
    with tracking.parent_run(LINE) as run_id:
        assert status_of(left) == "KILLED"
        for other in (of_another_line, of_another_checkout, run_id):
            assert status_of(other) == "RUNNING"


@pytest.mark.parametrize("is_lost_after", [True, False])
@pytest.mark.parametrize(
    "call", ["create_model_version", "set_registered_model_alias", "set_model_version_tag", "log_artifacts"]
)
def test_nothing_is_registered_twice_where_mlflow_goes_away_meanwhile(call, is_lost_after, monkeypatch):
    """A scheduled run tries again whether the call, or only its answer, was lost."""
    schedule = {"cron": "0 2 * * *", "timezone": "UTC", "work_pool": "lineact", "retries": 0, "retry_delay_s": 0.0}
    note = {"line": LINE, "flow_run": "run-1", "commit": "0", "begun_at": "2026-01-01T000000"}
    write_json(Path("scheduled_run.json"), note | {"schedule": schedule | {"mlflow_wait_s": 60.0, "remote": None}})
    monkeypatch.setattr(patience, "PAUSE_S", 0.01)
    kind = type(tracking.client())
    real = getattr(kind, call)
    lost: list[object] = []

    def lose_once(self, *arguments, **named):
        if lost:
            return real(self, *arguments, **named)
        lost.append(real(self, *arguments, **named) if is_lost_after else None)
        raise requests.exceptions.ConnectionError("the server is gone")

    write_bundle("first")
    pin()
    with monkeypatch.context() as patch:
        patch.setattr(kind, call, lose_once)
        found = registry.register(LINE, tracking.start_parent(LINE))
    assert lost
    assert found.promoted
    assert len(versions_of(LINE)) == 1
    assert len(ledger()) == 1
    assert alias("champion") == found.version
    assert versions_of(LINE)[0].tags["promotion"] == hashlib.sha256(ledger()[0]).hexdigest()


def test_registering_says_nothing_that_no_user_can_act_on(capfd, recwarn):
    register()
    told = capfd.readouterr().err + "".join(str(warning.message) for warning in recwarn)
    for noise in ("input example", "pip version", "Downloading artifacts"):
        assert noise not in told


def status_of(run_id):
    return tracking.client().get_run(run_id).info.status


@pytest.mark.parametrize("choice", choices_of(ROOT / "conf"))
def test_settings_of_every_choice_of_classifier_are_logged(choice):
    """Prompts of "*", all other actions, were refused by MLflow, and the comparison ended with a traceback."""
    settings = {"settings": asdict(classifier_of(ROOT / "conf", choice))}
    with tracking.comparison_run("compare_classifiers", "one", "source", {}) as parent_id:
        run_id = tracking.log_compared(parent_id, "compare_classifiers", choice, {}, settings, {"accuracy": 0.5})
    logged = tracking.client().get_run(run_id).data.params
    assert logged["settings.family"] == settings["settings"]["family"]
    if choice.startswith("clip"):
        assert "{}" in logged["settings.prompts._"]
