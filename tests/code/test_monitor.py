"""`flows.monitor`: a look is logged, told with its rate of false alarms, and opens a review where something changed."""

import contextlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from flows import harvest as harvesting
from flows import monitor as flow
from flows.report_facts import facts_of
from flows.report_page import Addresses, line_page
from lineact.boxes import crop_square
from lineact.drift.blocks import GROUPS
from lineact.errors import ConfigError, InputError
from lineact.files import write_text
from lineact.schema import HARVEST_FOLDER
from tests.generated_videos import scene, write_video
from tests.labelled_line import COLOURS, HAND_PX, dataset_params, embed_params, section_of

pytestmark = pytest.mark.slow  # laying out MLflow's database takes over ten seconds
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


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    sections = {"embed": section_of(embed_params()), "dataset": section_of(dataset_params())}
    Path("params.yaml").write_text(yaml.safe_dump({"lines": {LINE: sections}}))
    Path(f"data/{LINE}/raw").mkdir(parents=True)
    lists = {"simulated_lines": ["demo"]}
    monkeypatch.setattr(flow, "released", lambda _: (Seer(), SHA256))
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


def test_what_cannot_be_looked_at_is_said(project, films, monkeypatch):
    command(monkeypatch, f"from={films / 'first'}", "reference=yes", "fps=5", "block_s=4")
    with pytest.raises(InputError, match="expected at least 4 s of video, found less"):
        command(monkeypatch, f"from={films / 'short'}")
    for wrong in (["on_alarm=shout"], ["reference=maybe"], ["every_h=0"], ["per_year=x"], ["per_year=300"]):
        with pytest.raises(ConfigError):
            command(monkeypatch, f"from={films / 'same'}", *wrong)
    assert not (project / "mlflow.db").exists()
