"""`flows.monitor`: a look is logged, told with its rate of false alarms, and opens a review where something changed."""

import contextlib
import os
import shutil
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from prefect.states import Completed, Failed, State

from flows import harvest as harvesting
from flows import look as looking
from flows import monitor as flow
from flows import monitor_line
from flows.report_facts import facts_of
from flows.report_page import Addresses, line_page
from lineact.boxes import crop_square
from lineact.drift.blocks import GROUPS
from lineact.drift.policy import DriftParams
from lineact.errors import AwaitingReview, ConfigError, InputError
from lineact.files import write_text
from lineact.schema import HARVEST_FOLDER
from tests.generated_videos import scene, write_video
from tests.labelled_line import COLOURS, HAND_PX, dataset_params, embed_params, section_of

pytestmark = pytest.mark.slow  # laying out MLflow's database takes over ten seconds
ROOT = Path(__file__).resolve().parents[2]
LINE, SHA256 = "press_a", "f00d" * 16
CROP_PX, CONTEXT = 32, 1.5
FPS = 5


class Seer:
    """A pair that finds the one saturated square, and names it by its colour."""

    labels = ("screw", "wipe", "NG")
    lags_s = (0.0,)
    manifest = SimpleNamespace(classifier=SimpleNamespace(crop_context=CONTEXT))

    def detect(self, image_rgb):
        ys, xs = np.nonzero(np.ptp(image_rgb.astype(int), axis=2) > 110)
        if len(xs) < 100:
            return np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
        return np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]], np.float32), np.ones(1, np.float32)

    def crops(self, image_rgb, boxes_xyxy_px):
        crops = [crop_square(image_rgb, box, CONTEXT, CROP_PX) for box in boxes_xyxy_px]
        return np.stack(crops) if crops else np.zeros((0, CROP_PX, CROP_PX, 3), np.uint8)

    def classify(self, crops_rgb):
        middle = crops_rgb[:, 12:20, 12:20].reshape(len(crops_rgb), -1, 3).mean(axis=1)
        near = -np.linalg.norm(middle[:, None] - np.array(list(COLOURS.values()))[None], axis=2) / 40
        return np.exp(near) / np.exp(near).sum(axis=1, keepdims=True)


def filmed(path: Path, seed: int, *, seconds: int = 40, colour=None) -> Path:
    """A hand that works; `colour` is that of a new glove."""
    rng = np.random.default_rng(seed)
    images = []
    for _ in range(seconds * FPS):
        image = scene()
        x, y = int(rng.integers(20, 220)), int(rng.integers(20, 120))
        image[y : y + HAND_PX, x : x + HAND_PX] = colour or list(COLOURS.values())[rng.integers(0, 3)]
        images.append(np.clip(image + rng.normal(0, 3), 0, 255).astype(np.uint8))
    return write_video(path, images, [index / FPS for index in range(len(images))])


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    for number in range(2):
        filmed(folder / "first" / f"{number}.mp4", number)
    filmed(folder / "same" / "a.mp4", 7)
    filmed(folder / "gloves" / "a.mp4", 8, colour=(250, 170, 20))
    filmed(folder / "short" / "a.mp4", 9, seconds=1)
    return folder


def settle(**drift) -> None:
    """Writes the line's file."""
    own = {"description": "a press", "actions": ["screw", "wipe"], "holdout": {"last_share": 0.2}, "drift": drift}
    Path(f"conf/line/{LINE}.yaml").write_text("# @package _global_\n" + yaml.safe_dump(own))


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    sections = {"embed": section_of(embed_params()), "dataset": section_of(dataset_params())}
    Path("params.yaml").write_text(yaml.safe_dump({"lines": {LINE: sections}}))
    shutil.copytree(ROOT / "conf", "conf")
    settle(on_alarm="tell")
    Path(f"data/{LINE}/raw").mkdir(parents=True)
    lists = {"simulated_lines": ["demo"]}
    monkeypatch.setattr(flow, "champion_of", lambda _: SimpleNamespace(bundle_sha256=SHA256))
    monkeypatch.setattr(monitor_line, "refuse_without_recordings", lambda _: None)
    for module in (flow, looking):
        monkeypatch.setattr(module, "released", lambda _: (Seer(), SHA256))
    for module in (flow, harvesting):
        monkeypatch.setattr(module, "refuse_without_recordings", lambda _: None)
        monkeypatch.setattr(module, "lists_of_lines", lambda _: lists)
        monkeypatch.setattr(module, "only_run_of", lambda _: contextlib.nullcontext())
    added = SimpleNamespace(returncode=0, stderr="")
    monkeypatch.setattr(harvesting, "subprocess", SimpleNamespace(run=lambda *_, **__: added))
    return tmp_path


def command(monkeypatch, *arguments: str) -> None:
    monkeypatch.setattr("sys.argv", ["monitor", f"line={LINE}", *arguments])
    flow.main()


@pytest.mark.usefixtures("project")
def test_a_station_is_looked_at_and_a_change_opens_a_review(films, monkeypatch, capsys):
    from mlflow import MlflowClient

    with pytest.raises(InputError, match=r"f00df00df00d.npz: .* found nothing; take it anew with REFERENCE=yes"):
        command(monkeypatch, f"from={films / 'same'}")
    command(monkeypatch, f"from={films / 'first'}", "reference=yes", "fps=5", "block_s=4")
    assert "20 blocks of 4 s; it belongs into git" in capsys.readouterr().out

    command(monkeypatch, f"from={films / 'same'}", "on_alarm=review")
    told = capsys.readouterr().out
    assert "10 blocks held against 20 of the reference" in told
    assert "no alarm; where nothing changes, a look alarms with a chance of at most 0.0027: 1 a year" in told
    assert not Path(f"data/{LINE}/raw/{HARVEST_FOLDER}").exists()

    asked = []
    monkeypatch.setattr("flows.server.use_server", lambda: None)
    monkeypatch.setitem(
        __import__("sys").modules, "flows.label_line", SimpleNamespace(label_line=lambda line, **_: asked.append(line))
    )
    monkeypatch.setattr(flow.command_line, "end_with", lambda _: None)
    command(monkeypatch, f"from={films / 'gloves'}", "on_alarm=review")
    told = capsys.readouterr().out
    assert "colours: changed (p = " in told
    assert "alarm: " in told
    (harvested,) = Path(f"data/{LINE}/raw/{HARVEST_FOLDER}").iterdir()
    assert harvested.stat().st_size > 0
    assert "crops that the release was least sure of are asked next" in told
    assert asked == [LINE]

    client = MlflowClient()
    experiment = client.get_experiment_by_name(f"lineact-{LINE}")
    assert experiment is not None
    experiments = [experiment.experiment_id]
    runs = client.search_runs(experiments, "tags.`lineact.kind` = 'drift'", order_by=["attributes.start_time"])
    assert [run.data.tags["lineact.drift"] for run in runs] == ["as before", "alarm"]
    assert "colours: changed" in runs[1].data.tags["lineact.drift_words"]
    assert runs[1].data.metrics["colours.p_value"] <= runs[1].data.metrics["level"] / len(GROUPS)
    assert [one.path for one in client.list_artifacts(runs[1].info.run_id, "plots")] == ["plots/drift.png"]
    assert {run.info.status for run in runs} == {"FINISHED"}

    write_text(Path(f"models/{LINE}/x"), "")
    facts = facts_of(LINE, "a press")
    page = line_page(facts, Addresses("http://m", "http://p"), facts.runs[0].started_at)
    assert "colours: changed" in page
    assert "drift: nobody looked" not in page


@pytest.mark.usefixtures("project")
def test_the_lines_settings_are_the_policy_and_the_command_goes_before_them():
    assert flow.policy_of(LINE, {}) == DriftParams("tell", 1.0, 24.0, "")
    told = {"on_alarm": "retrain", "every_h": "8", "per_year": ""}
    assert flow.policy_of(LINE, told) == DriftParams("retrain", 1.0, 8.0, "")
    assert flow.policy_of(LINE, told).rate.level == pytest.approx(8 / 8766)
    settle(videos="/srv/press_a/video", every_h=8)
    assert flow.policy_of(LINE, {}) == DriftParams("review", 1.0, 8.0, "/srv/press_a/video")
    settle(videos=None)
    with pytest.raises(ConfigError, match=r"drift\.videos: expected str, found None"):
        flow.policy_of(LINE, {})


def brought(film: Path, name: str, *, minutes_ago: float) -> Path:
    """A station's video in its folder."""
    path = Path("station") / name
    path.parent.mkdir(exist_ok=True)
    shutil.copyfile(film, path)
    written_s = time.time() - 60 * minutes_ago
    os.utime(path, (written_s, written_s))
    return path


def looked() -> tuple[str | None, str]:
    """What the flow of `make serve` ends as, without a server."""
    state = monitor_line.monitor.fn(LINE)
    assert state.is_completed()
    return state.name, state.message or ""


@pytest.mark.usefixtures("project")
def test_a_scheduled_look_takes_what_came_since_the_last_one(films, monkeypatch, capsys):
    assert looked()[0] == "NotLooked"
    settle(on_alarm="tell", videos="station")
    with pytest.raises(InputError, match="station: expected the folder of what the station keeps, found nothing"):
        command(monkeypatch, "reference=yes")
    for number in range(2):
        brought(films / "first" / f"{number}.mp4", f"first{number}.mp4", minutes_ago=120)
    name, words = looked()
    assert name == "NotLooked"
    assert "f00df00df00d.npz is not there" in words
    assert f"`make monitor LINE={LINE} REFERENCE=yes` takes the videos of station for it" in words

    command(monkeypatch, "reference=yes", "fps=5", "block_s=4")
    reference = looking.reference_of(LINE, SHA256)
    os.utime(reference, (time.time() - 3600,) * 2)
    assert looked()[1].startswith(f"line {LINE}: no video came to station since ")  # of the reference's own none
    brought(films / "short" / "a.mp4", "short.mp4", minutes_ago=50)
    name, words = looked()
    assert name == "NotLooked"
    assert "1 videos are too few, the next look takes them, too: expected at least 4 s" in words
    brought(films / "same" / "a.mp4", "same.mp4", minutes_ago=40)
    brought(films / "gloves" / "a.mp4", "gloves.mp4", minutes_ago=0)  # it may still grow
    capsys.readouterr()
    name, words = looked()
    assert name == "AsBefore"
    assert words.startswith("no alarm; ")
    assert "10 blocks held against 20 of the reference" in capsys.readouterr().out
    assert looked()[0] == "NotLooked"
    brought(films / "gloves" / "a.mp4", "gloves.mp4", minutes_ago=30)
    command(monkeypatch)  # the same by hand
    assert "alarm: " in capsys.readouterr().out
    assert looked()[0] == "NotLooked"


@pytest.mark.usefixtures("project")
def test_a_scheduled_alarm_opens_a_review_or_starts_the_lines_deployment_and_one_cut_short_is_looked_at_again(
    films, monkeypatch
):
    command(monkeypatch, f"from={films / 'first'}", "reference=yes", "fps=5", "block_s=4")
    os.utime(looking.reference_of(LINE, SHA256), (time.time() - 7200,) * 2)
    settle(on_alarm="review", videos="station")
    brought(films / "gloves" / "a.mp4", "gloves.mp4", minutes_ago=90)
    monkeypatch.setattr("flows.server.use_server", lambda: None)

    def label(line, **_):
        assert line == LINE
        return ended

    monkeypatch.setitem(__import__("sys").modules, "flows.label_line", SimpleNamespace(label_line=label))
    ended: State = Failed(message="DVC's cache is away")
    with pytest.raises(Exception, match="DVC's cache is away"):
        looked()
    ended = Completed(name="AwaitingReview", message="3 names of groups")
    assert looked() == ("AwaitingReview", "3 names of groups")
    (harvested,) = Path(f"data/{LINE}/raw/{HARVEST_FOLDER}").iterdir()
    assert harvested.stat().st_size > 0
    assert looked()[0] == "NotLooked"

    settle(on_alarm="retrain", videos="station")
    brought(films / "gloves" / "a.mp4", "more.mp4", minutes_ago=20)
    started = []
    monkeypatch.setattr(monitor_line, "start_deployment", lambda line, name, *_: started.append((line, name)))
    assert looked()[0] == "Alarm"
    assert started == [(LINE, f"after drift of {LINE}")]
    with pytest.raises(AwaitingReview, match="3 names"):
        command(monkeypatch, f"from={films / 'gloves'}", "on_alarm=review")
    settle(on_alarm="tell")
    with pytest.raises(ConfigError, match=r"FROM=DIR or drift\.videos in its file, found none"):
        command(monkeypatch)


@pytest.mark.usefixtures("project")
def test_a_line_without_a_release_is_not_looked_at(monkeypatch):
    settle(videos="station")
    monkeypatch.setattr(flow, "champion_of", lambda _: None)
    name, words = looked()
    assert name == "NotLooked"
    assert "nothing is released yet" in words


def test_what_cannot_be_looked_at_is_said(project, films, monkeypatch):
    command(monkeypatch, f"from={films / 'first'}", "reference=yes", "fps=5", "block_s=4")
    with pytest.raises(InputError, match="expected at least 4 s of video, found less"):
        command(monkeypatch, f"from={films / 'short'}")
    for wrong in (["on_alarm=shout"], ["reference=maybe"], ["every_h=0"], ["per_year=x"], ["per_year=300"]):
        with pytest.raises(ConfigError):
            command(monkeypatch, f"from={films / 'same'}", *wrong)
    assert not (project / "mlflow.db").exists()
