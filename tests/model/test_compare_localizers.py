"""The second paper's table on generated videos: real rows, real training, rows without weights marked."""

import csv
from dataclasses import astuple, replace

import pytest

from flows.compare_localizers import choice_of, station_of
from lineact.compare.localizers import HTML, MARKDOWN, PLOT, TABLE, Station, Trial, run_trial, write_report
from lineact.errors import ConfigError, InputError
from lineact.schema import VIDEOS, table_of
from lineact.temporal.activitynet import GroundTruth
from lineact.temporal.segments import segments_of
from tests.generated_videos import scene, with_arm, write_video
from tests.test_pipeline import ROOT

NAMES = tuple(f"rec_{number}.mp4" for number in range(5))
SECONDS = 6.0


@pytest.fixture(scope="module")
def station(released, tmp_path_factory):
    """Five recordings in which an arm comes twice; the last one measures."""
    raw = tmp_path_factory.mktemp("raw")
    segments = []
    for number, name in enumerate(NAMES):
        starts = (10 + number, 35 + number)
        pictures = [scene() if all(not 0 <= tick - start < 12 for start in starts) else with_arm(scene(), (150, 120))
                    for tick in range(round(10 * SECONDS))]  # fmt: skip
        write_video(raw / name, pictures)
        segments += [(name, start / 10, start / 10 + 1.2, "bolt", 1.0) for start in starts]
    rows = [
        {"video_sha256": str(number) * 64, "name": name, "start_s": 0.0, "duration_s": SECONDS, "fps": 10.0}
        | {"frame_count": 60, "width_px": 320, "height_px": 180, "codec": "h264"}
        for number, name in enumerate(NAMES)
    ]
    truth = GroundTruth(segments_of(segments), NAMES, dict.fromkeys(NAMES, SECONDS))
    return Station("ua", table_of(rows, VIDEOS), raw, released / "export/bundle", truth)


@pytest.fixture
def choice(monkeypatch):
    """The line's settings, made small."""
    monkeypatch.chdir(ROOT)
    made = choice_of("ua", "student", 2, "temporalmaxer", 1.0, 0)
    holdout = replace(made.training.holdout, recordings=NAMES[-1:])
    assert made.training.head is not None
    head = replace(made.training.head, width=16, levels=2)
    fit = replace(made.training.fit, epochs=2)
    training = replace(made.training, actions=("bolt",), holdout=holdout, head=head, fit=fit)
    return replace(made, training=training, evaluation=replace(made.evaluation, holdout=holdout))


def test_a_choice_has_the_lines_settings_with_the_changes_asked_for(monkeypatch):
    monkeypatch.chdir(ROOT)
    made = choice_of("ua", "r3d_18", 8, "actionformer", 0.1, 3)
    assert (made.features.extractor.name, made.features.extractor.weights) == (
        "r3d_18",
        "models/foundation/tiny/r3d_18",
    )
    assert (made.features.clips.stack, made.features.clips.step) == (16, 8)
    assert made.training.clips == made.features.clips
    assert made.training.head is not None
    assert (made.training.head.kind, made.training.labelled_share, made.training.seed) == ("actionformer", 0.1, 3)
    of_spot = choice_of("ua", "student", None, "spot", 0.1, 0).training
    assert (of_spot.learner, of_spot.head, of_spot.fit.epochs) == ("spot", None, 70)
    assert of_spot.spot is not None
    assert of_spot.spot.changes.alternate
    with pytest.raises(ConfigError, match=r"extractors: expected some of student, .*, found 'x3d'"):
        choice_of("ua", "x3d", None, "actionformer", 1.0, 0)
    with pytest.raises(ConfigError, match=r"heads: expected some of actionformer, .*, found 'bmn'"):
        choice_of("ua", "student", None, "bmn", 1.0, 0)


@pytest.mark.parametrize(("word", "made"), [("none", ""), ("A", "A"), ("ABD", "ABD"), ("ABCDE", "ABCDE")])
def test_an_ablation_s_row_is_spot_with_these_changes_alone(word, made):
    choice = choice_of("ua", "student", None, "spot", 0.1, 0, word)
    assert choice.training.spot is not None
    switched = [letter for letter, on in zip("ABCDE", astuple(choice.training.spot.changes), strict=True) if on]
    assert switched == list(made)
    assert f"spot {word}" in choice.name


@pytest.mark.parametrize(("head", "word"), [("spot", "AF"), ("spot", "nothing"), ("actionformer", "A")])
def test_changes_of_another_head_or_of_another_name_are_refused(head, word):
    with pytest.raises(ConfigError, match=r"changes: expected heads=spot and letters of ABCDE or none, found"):
        choice_of("ua", "student", None, head, 1.0, 0, word)


def test_a_line_without_results_names_the_command_that_makes_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    with pytest.raises(ConfigError, match="line 'demo': expected one of the localised lines"):
        station_of("demo")
    monkeypatch.setattr("flows.compare_localizers.lists_of_lines", lambda _: {"localized_lines": ["ua"]})
    with pytest.raises(
        InputError, match=r"videos\.parquet: expected it, .*`python -m flows\.retrain line=ua` makes it"
    ):
        station_of("ua")


def test_a_trial_is_extracted_trained_and_measured_once(station, choice, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trial = run_trial(station, choice)
    assert trial.figures is not None
    figures = trial.figures
    assert (figures["recordings"], figures["true_segments"], figures["recordings_train"]) == (1, 2, 3)
    assert 0 <= float(figures["map"] or 0) <= 1
    assert float(figures["real_time_factor"] or 0) > 0

    def fails(*_: object) -> None:
        raise AssertionError("extracted again")

    monkeypatch.setattr("lineact.temporal.features.student.extract", fails)
    again = run_trial(station, choice)
    assert again.figures is not None
    assert again.figures["map"] == figures["map"]
    assert again.figures["real_time_factor"] == figures["real_time_factor"]
    assert again.figures["train_s"] == figures["train_s"] != 0  # of the training, not of taking it from the cache


def test_spot_learns_from_recordings_without_labels_too(station, choice, tmp_path, monkeypatch):
    seed = choice_of("ua", "student", None, "spot", 0.1, 0).training.spot
    assert seed is not None
    assert (sum(seed.pretrains), len(seed.pretrains), seed.scale, seed.attention_heads) == (30, 70, 256, 4)
    monkeypatch.chdir(tmp_path)
    spot = replace(seed, width=8, fitted_scale=32, pretrain_epochs=1, train_epochs=2)
    training = replace(
        choice.training, learner="spot", head=None, spot=spot, fit=replace(choice.training.fit, epochs=3), val_share=0.0
    )
    trial = run_trial(station, replace(choice, head="spot", training=replace(training, labelled_share=0.1)))
    assert trial.figures is not None
    assert (trial.figures["recordings_train"], trial.figures["recordings_unlabelled"]) == (3, 1)
    assert 0 <= float(trial.figures["map"] or 0) <= 1


def test_a_row_without_weights_is_marked_and_the_report_tells_both(station, choice, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    extractor = replace(choice.features.extractor, name="r3d_18", weights="none/r3d_18")
    without = run_trial(station, replace(choice, features=replace(choice.features, extractor=extractor)))
    assert without.figures is None
    figures = {f"map_{t_iou}": 0.5 for t_iou in ("0.1", "0.3", "0.5", "0.7")} | {"map": 0.625, "recordings": 1}
    figures |= {"true_segments": 2, "video_s": 6.0, "recordings_train": 3, "recordings_unlabelled": 7}
    done = Trial("ua", choice, figures | {"real_time_factor": 0.04, "memory_peak_mb": 300.0, "train_s": 2.0})
    write_report(tmp_path, [done, without], "0.1:0.1:0.7", "2 cores, a CPU")
    text = (tmp_path / MARKDOWN).read_text()
    assert "| student | temporalmaxer | 4 | 2 | 100% | 50.0 | 50.0 | 50.0 | 50.0 | **62.5** | 0.040 | 300 | 2 |" in text
    assert (
        "| r3d_18 (none/r3d_18) | temporalmaxer | 4 | 2 | 100% | no weights: r3d_18: no weights: found no file" in text
    )
    assert "1 held-out recordings with 2 segments, 6 s; 10 recordings teach" in text
    assert "data:image/png;base64," in (tmp_path / HTML).read_text()
    assert (tmp_path / PLOT).stat().st_size > 5000
    [first, second] = list(csv.DictReader((tmp_path / TABLE).open()))
    assert (first["map"], first["marked"], second["map"]) == ("0.625", "", "")
    assert "found no file or small variant none/r3d_18" in second["marked"]
    assert done.figures is not None
    elsewhere = {name: value for name, value in done.figures.items() if name != "map_0.1"}
    write_report(tmp_path, [replace(done, figures=elsewhere)], "0.3:0.2:0.7", "2 cores, a CPU")
    assert "| 100% | - | 50.0 | 50.0 | 50.0 | **62.5** |" in (tmp_path / MARKDOWN).read_text()


def test_epochs_that_are_not_spots_are_told_before_anything_is_extracted(monkeypatch):
    monkeypatch.chdir(ROOT)
    training = choice_of("ua", "student", None, "spot", 0.1, 0).training
    with pytest.raises(ValueError, match=r"fit\.epochs must be spot's pretrain_epochs \+ train_epochs, 70, found 50"):
        replace(training, fit=replace(training.fit, epochs=50))
