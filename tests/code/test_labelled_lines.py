"""`make line` with CROPS or YOLO: what is imported, what the line then has, and what is refused."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from flows.deployments import schedules
from flows.labelled_lines import add_labelled
from flows.lines import activate
from flows.pipeline import has_recordings, labelling_and_training, refuse_without_recordings, stages_of
from flows.retrain import NOT_RELEASED
from flows.summary import print_summary
from lineact.errors import ConfigError, InputError
from lineact.import_yolo import import_yolo
from tasks.configure import active_lines, compose_line, configure
from tests.labelled_pictures import ACTIONS, write_class_folders, write_picture, write_yolo_folder, yolo_params
from tests.small_line import lists_of

ROOT = Path(__file__).resolve().parents[2]
TRAINED = ("train_teacher", "machine", "choose_student", "distil", "evaluate_crops")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """conf/ (demo alone active) and dvc.yaml of this project; `dvc add` writes its pointer and nothing else."""
    folder = tmp_path / "project"
    shutil.copytree(ROOT / "conf", folder / "conf")
    shutil.copyfile(ROOT / "dvc.yaml", folder / "dvc.yaml")
    (folder / "conf" / "lines.yaml").write_text(yaml.safe_dump(lists_of("simulated_lines", "demo")))

    def dvc_add(command, **_):
        Path(f"{command[-1]}.dvc").write_text("outs: []\n")
        return SimpleNamespace(returncode=0, stderr="")

    monkeypatch.setattr("flows.lines.subprocess", SimpleNamespace(run=dvc_add))
    monkeypatch.chdir(folder)
    return folder


def lists():
    return yaml.safe_load(Path("conf/lines.yaml").read_text())


def test_folders_of_crops_become_a_line(project, tmp_path):
    raw = write_class_folders(tmp_path / "crops", count=6, actions=("0", "no", "NG"))
    (raw / "LICENSE").write_text("no picture")
    add_labelled(["name=signs", "videos=", f"crops={raw}", "yolo=", "actions=", "detector="])
    imported = sorted(path.relative_to("data/signs/raw").as_posix() for path in Path("data/signs/raw").rglob("*.*"))
    assert imported == sorted(path.relative_to(raw).as_posix() for path in raw.rglob("*.png"))
    sections = compose_line(Path("conf"), "signs")
    assert sections["distil"]["actions"] == ["0", "no"]  # words that YAML reads otherwise stay words
    assert sections["distil"]["foundation"] == "tiny"
    assert set(sections) == {"hub_cache", "import_crops", *TRAINED}
    configure(Path("conf"), Path("params.yaml"))
    assert stages_of("signs") == ["import_crops", *TRAINED]
    assert labelling_and_training("signs") == (["import_crops"], list(TRAINED))
    found = lists()
    assert (found["crop_lines"], found["active_lines"]) == (["signs"], ["demo", "signs"])
    assert found["recorded_lines"] == found["detector_lines"] == ["demo"]
    assert active_lines(Path("conf")) == ["demo", "signs"]
    assert not (project / "data/signs/review").exists()
    results = yaml.safe_load(Path("models/signs/dvc.yaml").read_text())
    told = [stage for stage in TRAINED if stage != "machine"]
    assert results["metrics"] == [f"{stage}/metrics.json" for stage in told]
    assert {next(iter(plot)).split("/")[0] for plot in results["plots"]} == set(told) - {"choose_student"}


def test_a_yolo_folder_becomes_a_line(project, tmp_path):
    raw = write_yolo_folder(tmp_path / "yolo")
    (raw / "runs").mkdir()
    (raw / "runs" / "weights.pt").write_text("not imported")
    add_labelled(["name=fingers", f"yolo={raw}", "actions=closed,open"])
    assert not (project / "data/fingers/raw/runs").exists()
    sections = compose_line(Path("conf"), "fingers")
    assert sections["import_yolo"]["actions"] == ["closed", "open"]
    assert stages_of("fingers") == [
        "import_yolo",
        "train_detector",
        *TRAINED,
        "export",
        "evaluate_pictures",
    ]
    results = yaml.safe_load(Path("models/fingers/dvc.yaml").read_text())
    told = {path.split("/")[0] for path in results["metrics"]}
    assert told >= {"train_detector", "evaluate_crops", "evaluate_pictures"}
    assert told & {"evaluate", "benchmark"} == set()
    assert lists()["detector_lines"] == ["demo", "fingers"]
    import_yolo(yolo_params(), Path("data/fingers/raw"), tmp_path / "dataset", tmp_path / "out")
    import_yolo(yolo_params(), raw, tmp_path / "dataset_there", tmp_path / "out_there")
    for name in ("crops.parquet", "holdout_crops.parquet"):
        assert (tmp_path / "dataset" / name).read_bytes() == (tmp_path / "dataset_there" / name).read_bytes()


@pytest.mark.parametrize("how", ["names", "data_yaml"])
@pytest.mark.usefixtures("project")
def test_the_classes_may_be_told_elsewhere(how, tmp_path):
    raw = write_yolo_folder(tmp_path / "yolo")
    moved = (raw / "data.yaml").rename(tmp_path / "elsewhere.yaml")
    add_labelled(["name=fingers", f"yolo={raw}", "names=open, closed" if how == "names" else f"data_yaml={moved}"])
    written = yaml.safe_load(Path("data/fingers/raw/data.yaml").read_text())
    assert written["names"] == {0: "open", 1: "closed"}
    assert ("test" in written) is (how == "data_yaml")
    assert compose_line(Path("conf"), "fingers")["distil"]["actions"] == ["open", "closed"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["crops=CROPS", "yolo=YOLO"], "expected one of VIDEOS, CROPS and YOLO, found CROPS and YOLO"),
        (["crops=CROPS", "names=a"], "NAMES= means nothing for a line of CROPS="),
        (["crops=CROPS", "detector=motion"], "DETECTOR= means nothing for a line of CROPS="),
        (["yolo=YOLO", "names=open,closed", "data_yaml=x"], "expected one of DATA_YAML and NAMES, found both"),
        (["crops=CROPS", "actions=open,shut"], r"ACTIONS=open,shut: expected the classes closed, open"),
        (["crops=CROPS", "foundation=huge"], "FOUNDATION=huge: expected one of hub, tiny"),
        (["crops=ODD"], r"class 'up \(left\)': expected letters"),
        (["crops=EMPTY"], "a folder with pictures for each class, found none"),
        (["yolo=EMPTY"], "found no such file; DATA_YAML="),
        (["yolo=MISSING"], "found no folder there"),
    ],
)
@pytest.mark.usefixtures("project")
def test_what_does_not_go_together_is_refused(arguments, named, tmp_path):
    folders = {name: tmp_path / name for name in ("CROPS", "YOLO", "ODD", "EMPTY")} | {"MISSING": tmp_path / "none"}
    write_class_folders(folders["CROPS"], count=4)
    write_yolo_folder(folders["YOLO"], "ab", 2)
    write_picture(folders["ODD"] / "up (left)" / "1.png", 1)
    folders["EMPTY"].mkdir()
    for name, folder in folders.items():
        arguments = [argument.replace(f"={name}", f"={folder}") for argument in arguments]
    with pytest.raises((ConfigError, InputError), match=named):
        add_labelled(["name=signs", *arguments])
    assert not Path("data").exists()
    assert not Path("conf/line/signs.yaml").exists()
    assert active_lines(Path("conf")) == ["demo"]


@pytest.mark.usefixtures("project")
def test_a_line_with_a_file_is_activated_by_its_kind(tmp_path):
    add_labelled(["name=signs", f"crops={write_class_folders(tmp_path / 'crops', count=4)}"])
    Path("conf/lines.yaml").write_text(yaml.safe_dump(lists_of("simulated_lines", "demo")))
    activate("signs")
    assert lists()["crop_lines"] == ["signs"]
    assert stages_of("signs")[0] == "import_crops"


@pytest.mark.usefixtures("project")
def test_flows_that_need_recordings_say_so(tmp_path):
    add_labelled(["name=signs", f"crops={write_class_folders(tmp_path / 'crops', count=4)}"])
    assert has_recordings("demo")
    refuse_without_recordings("demo")
    assert not has_recordings("signs")
    with pytest.raises(ConfigError, match=r"signs has no recordings: .* no queue, no review .*line=signs"):
        refuse_without_recordings("signs")
    with pytest.raises(ConfigError, match="unknown line 'press_z'"):
        refuse_without_recordings("press_z")


@pytest.mark.usefixtures("project")
def test_the_summary_says_why_nothing_is_released(tmp_path, capsys):
    add_labelled(["name=signs", f"crops={write_class_folders(tmp_path / 'crops', actions=ACTIONS, count=4)}"])
    print_summary("signs", [], NOT_RELEASED, 12.0)
    told = capsys.readouterr().out
    assert "nothing is released: a line without recordings" in told
    assert "make review" not in told


@pytest.mark.usefixtures("project")
def test_a_line_without_recordings_has_a_deployment_and_no_schedule(tmp_path):
    """Its pictures change by hand alone."""
    add_labelled(["name=signs", f"crops={write_class_folders(tmp_path / 'crops', count=4)}"])
    scheduled = {line: sections.schedule is not None for line, sections in schedules().items()}
    assert scheduled == {"demo": True, "signs": False}
