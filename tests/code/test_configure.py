"""A configuration that cannot be used: one line with the file, what was expected, what was found, the way out."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from flows.lines import activate
from flows.pipeline import stages_of
from lineact.errors import ConfigError
from tasks.configure import compose_line, configure

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def conf(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    shutil.copyfile(ROOT / "dvc.yaml", tmp_path / "dvc.yaml")
    monkeypatch.chdir(tmp_path)
    return Path("conf")


def set_in(conf, name, value):
    """Changes one setting of the line `demo`."""
    path = conf / "line" / "demo.yaml"
    settings = OmegaConf.load(path)
    OmegaConf.update(settings, name, yaml.safe_load(value), force_add=True)
    path.write_text(f"# @package _global_\n{OmegaConf.to_yaml(settings)}")


def test_a_line_that_asks_for_a_localiser_is_in_the_list(conf):
    set_in(conf, "localize", "true")
    told = r"lines.yaml: expected localized_lines to hold .* once \(demo\), found \[\]; `make activate LINE=...` adds"
    with pytest.raises(ConfigError, match=told):
        configure(conf, Path("params.yaml"))
    activate("demo")
    configure(conf, Path("params.yaml"))
    assert "features" in yaml.safe_load(Path("params.yaml").read_text())["lines"]["demo"]


def test_localize_is_yes_or_no(conf):
    set_in(conf, "localize", "soon")
    with pytest.raises(ConfigError, match="localize: expected true or false, found 'soon'"):
        configure(conf, Path("params.yaml"))


@pytest.mark.parametrize(
    ("setting", "decides"),
    [
        ("ingest.label_fps=2.0", True),
        ("detect.filters.box_threshold=0.4", True),
        ("embed.context=2.0", True),
        ("match.templates_per_group=5", True),
        ("match.seed=7", True),
        ("queue.crops=70", True),
        ("queue.audit_calibrate=100", True),
        ("dataset.labels.nearest=5", True),
        ("dataset.labels.precision=0.95", True),
        ("dataset.labels.min_certainty=1.0", True),
        ("dataset.labels.moment_s=0.3", True),
        ("dataset.min_iou=0.4", True),
        ("queue.audit_certify=900", False),  # how fresh random crops are had
        ("queue.holdout_frames=30", False),
        ("dataset.labels.min_hand_certainty=0.7", False),
        ("dataset.max_label_error=0.1", False),
        ("dataset.detector_frames=10", False),
        ("embed.batch_size=8", False),
        ("detect.shard_frames=8", False),
        ("train_detector.epochs=3", False),
    ],
)
def test_what_is_accepted_is_told_by_the_settings_that_decide_it(setting, decides, conf):
    before = compose_line(conf, "demo")
    set_in(conf, *setting.split("="))
    after = compose_line(conf, "demo")
    assert (after["dataset"]["accepted_by"] != before["dataset"]["accepted_by"]) == decides
    assert after["simulate_review"]["dataset"]["accepted_by"] == after["dataset"]["accepted_by"]


def test_what_tells_the_settings_is_not_one_of_them(conf):
    set_in(conf, "dataset.accepted_by", "mine")
    with pytest.raises(ConfigError, match=r"dataset\.accepted_by tells the other settings and cannot be set"):
        compose_line(conf, "demo")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("simulated_lines: [demo\n", "expected YAML, found: while parsing"),
        ("simulated_lines: [demo]\nvideo_lines:\nactive_lines: [demo]\n", r"video_lines: expected a list .*found None"),
        ("simulated_lines: demo\nvideo_lines: []\nactive_lines: [demo]\n", "simulated_lines: .*found 'demo'"),
        ("simulated_lines: [1]\nvideo_lines: []\nactive_lines: [1]\n", r"simulated_lines: .*found \[1\]"),
        (
            "simulated_lines: [demo]\nactive_lines: [demo]\n",
            "expected the lists .*, crop_lines",
        ),
        ("", "expected the lists .*found None"),
        ("- demo\n", r"expected the lists .*found \['demo'\]"),
        ("\x00", "expected YAML"),
        (None, "found nothing there"),
    ],
)
def test_an_unusable_list_of_lines_is_told_by_whoever_reads_it(text, named, conf):
    path = conf / "lines.yaml"
    path.unlink() if text is None else path.write_text(text)
    for read in (lambda: configure(conf, Path("params.yaml")), lambda: stages_of("demo"), lambda: activate("gi_d")):
        with pytest.raises(ConfigError, match=rf"^conf/lines\.yaml: .*{named}.*git checkout conf/lines\.yaml"):
            read()
    assert not Path("params.yaml").exists()
    assert text is None or path.read_text() == text


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (('cron: "0 2 * * *"', 'cron: "every day"'), r"schedule: cron: expected five fields .*found 'every day'"),
        (("timezone: UTC", "timezone: Mars/X"), r"schedule: timezone: expected a name .*found 'Mars/X'"),
        (("  min_motion:", "  min_motionn:"), r"ingest: unknown key 'min_motionn'; known keys are"),
        (("schedule:\n", "shedule:\n"), r"unknown key 'shedule'; known keys are"),
        (("schedule:\n", "schedule: [\n"), r"does not compose"),
        (("min_similarity: ", "min_similarity: 1"), r"match: min_similarity must be from -1 to 1, found"),
        (("  min_motion: 0", "  min_motion: 1"), r"ingest: min_motion must be from 0 to 1, found 1"),
    ],
)
def test_a_wrong_key_or_value_is_one_line_of_the_command(change, named, conf):
    config = conf / "config.yaml"
    assert change[0] in config.read_text()
    config.write_text(config.read_text().replace(*change))
    with pytest.raises(ConfigError, match=named):
        configure(conf, Path("params.yaml"))


@pytest.mark.parametrize(
    ("setting", "value", "named"),
    [
        ("grounding_dino.prompt", "[]", r"prompt must name at least one thing to look for, .*found an empty list"),
        ("grounding_dino.prompt", "['  ']", r"prompt must hold words, found '  '"),
        (
            "grounding_dino.prompt",
            str(["hand"] * 300),
            r"prompt must have at most 256 words, found 300; ask for fewer things",
        ),
        ("grounding_dino.prompt", str([" ".join(["hand"] * 300)]), r"prompt must have at most 256 words, found 300"),
        ("grounding_dino.text_threshold", "1.5", r"text_threshold must be from 0 to 1, found 1\.5"),
        ("grounding_dino.score_floor", "1.1", r"score_floor must be from 0 to 1, found 1\.1"),
        ("filters.box_threshold", "1.4", r"box_threshold must be from 0 to 1, found 1\.4"),
        ("filters.nms_iou", "-1", r"nms_iou must be from 0 to 1, found -1"),
        ("grounding_dino.score_floor", "-0.1", r"score_floor must be from 0 to 1, found -0\.1"),
    ],
)
def test_a_prompt_or_threshold_that_cannot_be_asked_is_refused_before_any_stage(setting, value, named, conf):
    set_in(conf, f"detect.{setting}", value)
    with pytest.raises(ConfigError, match=rf"detect\.{setting.partition('.')[0]}: {named}"):
        configure(conf, Path("params.yaml"))
    assert not Path("params.yaml").exists()


def test_the_command_prints_no_traceback(conf):
    (conf / "lines.yaml").write_text("video_lines:\n")
    command = [sys.executable, "-m", "tasks.configure", "--conf", "conf", "--out", "params.yaml"]
    done = subprocess.run(command, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("configure: conf/lines.yaml: video_lines: expected a list")
    assert len(done.stderr.splitlines()) == 1
