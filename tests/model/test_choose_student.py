"""The student chosen by latency: what candidates begin with, which are trained, which one is taken."""

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from lineact.bundle.networks import Setup
from lineact.choose_student import CandidateParams, ChooseStudentParams
from lineact.choose_student.choosing import best_of, choose, make_candidates, short_list
from lineact.choose_student.latency import Timed, open_untrained, read_crops, time_calls
from lineact.choose_student.report import Score
from lineact.choose_student.starts import Candidate, Start, make_candidate
from lineact.distil import distil
from lineact.errors import ConfigError, InputError
from lineact.files import write_json
from lineact.foundation.vit import load_vit
from lineact.foundation.weights import Preprocessing, read_config
from lineact.settings import from_mapping
from lineact.training.classifier import ClassifierSpec, predict_logits, save_classifier
from tasks.choose_student import choose_student
from tests.training_sets import LABELS, SIDE_PX, crop_set, distil_params, fit_params, write_crops, write_vit

ROOT = Path(__file__).resolve().parents[2]
SETUP = Setup("openvino", "f32", 1)
FIXED, SHALLOW, FINE, WIDE, NARROW = (
    CandidateParams(),
    CandidateParams(depth=1),
    CandidateParams(patch_px=4),
    CandidateParams(width=48),
    CandidateParams(width=16),
)
NAMES = ("w32_d2_p8_s24", "w32_d1_p8_s24", "w32_d2_p4_s24")


def choose_params(*candidates: CandidateParams, student: str = "auto", **changes) -> ChooseStudentParams:
    settings: dict[str, Any] = {
        "candidates": candidates,
        "most_trained": 2,
        "calls": 3,
        "warmup": 1,
        "max_p95_ms": 10.0,
        "target_machine": "any",
        "setup": SETUP,
        "distil": distil_params(fit_params(epochs=1), student=student),
    }
    return ChooseStudentParams(**(settings | changes))


@pytest.fixture
def starts(tmp_path):
    """The student's own start, and a wider one."""
    own, wide = write_vit(tmp_path / "own"), write_vit(tmp_path / "wide", 1, embed_dim=48, depth=3)
    return [Start(str(own), None), Start(str(wide), None)]


@pytest.fixture
def line(tmp_path, starts, monkeypatch):
    """What the stage reads of a line, by its arguments' names; the cache lies below the working folder."""
    monkeypatch.chdir(tmp_path)
    model, _ = load_vit(starts[0].name, None, class_count=len(LABELS))
    spec = ClassifierSpec(read_config(starts[0].name, None), LABELS)
    save_classifier(tmp_path / "teacher", "teacher_early", model, spec)
    write_json(tmp_path / "machine/machine.json", {"host": "cell7", "cpu": "Some CPU", "cores": 2})
    return {
        "crops": write_crops(tmp_path / "crops.parquet", count=45),
        "teacher": tmp_path / "teacher",
        "machine": tmp_path / "machine",
        "tiny": Path(starts[0].name),
        "wide": Path(starts[1].name),
        "out": tmp_path / "out",
    }


def take_ms(monkeypatch, *p95_ms: float) -> None:
    """Candidates, in their order, take these times."""
    monkeypatch.setattr(
        "lineact.choose_student.choosing.time_calls", lambda *_: np.repeat(np.array(p95_ms)[:, None], 3, axis=1)
    )


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text())


def timed(name: str, p95_ms: float) -> Timed:
    candidate = Candidate(name, Path("none"), None, 32, 2, 8, Preprocessing(24, (0, 0, 0), (1, 1, 1)), 9)
    return Timed(candidate, np.full(5, p95_ms))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"candidates": [{"heads": 2}]}, r"candidates\[0\]: unknown key 'heads'; known keys are depth, hub_model"),
        ({"candidates": [{}, {"depth": 0}]}, r"candidates\[1\]: depth must be null or at least 1, found 0"),
        ({"candidates": [{"depth": "two"}]}, r"candidates\[0\].depth: expected int, found 'two'"),
        ({"candidates": []}, "candidates must name at least one where distil.student is auto"),
        ({"candidates": [{"depth": 1}, {"depth": 1}]}, "candidates must differ from one another"),
        ({"candidates": [{"hub_model": "timm/x"}]}, "hub_model is for foundation: hub, found it with tiny"),
        ({"candidates": [{"hub_revision": "abc"}]}, "hub_revision belongs to a hub_model, found none"),
        ({"most_trained": 0}, "most_trained and calls must be at least 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(change, named):
    values = dataclasses.asdict(choose_params(SHALLOW))
    with pytest.raises(ConfigError, match=named):
        from_mapping(ChooseStudentParams, values | change, "lines.demo.choose_student")


def test_a_fixed_student_needs_no_candidates():
    assert not choose_params(student="fixed").candidates


def test_an_unchanged_candidate_is_the_start_itself(starts, tmp_path):
    made = make_candidate(FIXED, None, starts, 0, tmp_path / "made")
    assert (made.name, made.began_with) == (NAMES[0], starts[0].name)
    own, preprocessing = load_vit(starts[0].name)
    again, _ = load_vit(str(made.folder))
    images_rgb = crop_set(4).images_rgb
    assert torch.equal(predict_logits(own, images_rgb, preprocessing), predict_logits(again, images_rgb, preprocessing))


def test_fewer_blocks_are_the_first_ones(starts, tmp_path):
    made, _ = load_vit(str(make_candidate(SHALLOW, None, starts, 0, tmp_path / "made").folder))
    before = load_vit(starts[0].name)[0].state_dict()
    after = made.state_dict()
    assert len(made.blocks) == 1
    assert all(torch.equal(after[name], before[name]) for name in after)


def test_another_patch_and_side_keep_the_blocks_and_resample_the_rest(starts, tmp_path):
    wanted = CandidateParams(patch_px=4, side_px=32)
    made = make_candidate(wanted, None, starts, 0, tmp_path / "made")
    model, preprocessing = load_vit(str(made.folder))
    assert preprocessing.side_px == made.preprocessing.side_px == 32
    before, after = load_vit(starts[0].name)[0].state_dict(), model.state_dict()
    changed = {name for name in after if not torch.equal(before[name], after[name])}
    assert changed == {"pos_embed", "patch_embed.proj.weight"}
    assert after["pos_embed"].shape[1] == 1 + 8 * 8
    assert torch.equal(after["pos_embed"][:, 0], before["pos_embed"][:, 0])
    assert (
        np.corrcoef(  # a resampled position stands for the same place
            after["pos_embed"][0, 1:].reshape(8, 8, -1)[::7, ::7].flatten(),
            before["pos_embed"][0, 1:].reshape(3, 3, -1)[::2, ::2].flatten(),
        )[0, 1]
        == pytest.approx(1, abs=0.1)
    )


def test_another_width_takes_the_weights_that_have_it_or_none(starts, tmp_path):
    wide = make_candidate(WIDE, None, starts, 0, tmp_path / "wide")
    assert (wide.name, wide.began_with) == ("w48_d3_p8_s24", starts[1].name)
    narrow = make_candidate(NARROW, None, starts, 0, tmp_path / "narrow")
    assert (narrow.name, narrow.began_with) == ("w16_d2_p8_s24", None)
    arguments = read_config(str(narrow.folder))["model_args"]
    assert arguments["num_heads"] == 1  # as wide as the start's


@pytest.mark.parametrize("wanted", [NARROW, CandidateParams(depth=3)])
def test_random_weights_come_from_the_seed_alone(wanted, starts, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        torch.rand(1)
        make_candidate(wanted, None, starts, seed, tmp_path / name)
    first, again, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert first == again != other


def test_the_depth_of_the_settings_counts_where_a_candidate_has_none(starts, tmp_path):
    params = choose_params(FIXED, CandidateParams(depth=2), distil=distil_params(student="auto", depth=1))
    made = make_candidates(params, [Path(start.name) for start in starts], tmp_path / "made")
    assert [candidate.depth for candidate in made] == [1, 2]


def test_full_size_candidates_may_begin_with_another_model(starts, tmp_path):
    own, wide = (start.name for start in starts)
    settings = distil_params(student="auto", foundation="hub", hub_model=own, depth=1)
    params = choose_params(FIXED, CandidateParams(hub_model=wide), CandidateParams(width=48), distil=settings)
    made = make_candidates(params, [], tmp_path / "made")
    assert [candidate.began_with for candidate in made] == [own, wide, None]
    assert [candidate.depth for candidate in made] == [1, 3, 1]  # the settings' depth is of their own model


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (CandidateParams(side_px=20), "side_px to be a multiple of patch_px, found 20 and 8"),
        (CandidateParams(width=40), "a multiple of the start's 16 per head, found 40"),
    ],
)
def test_what_cannot_be_built_is_named(wanted, reason, starts, tmp_path):
    with pytest.raises(
        InputError, match=rf"choose_student.candidates\[1\] .*cannot be built: .*{reason}.*leave it out"
    ):
        make_candidates(choose_params(FIXED, wanted), [Path(start.name) for start in starts], tmp_path / "made")


def test_a_start_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"candidates\[0\] .*nowhere"):
        make_candidates(choose_params(FIXED), [tmp_path / "nowhere"], tmp_path / "made")


def test_two_names_for_one_network_are_refused(starts, tmp_path):
    with pytest.raises(ConfigError, match=r"another network than that of candidates\[0\], found w32_d2_p8_s24 again"):
        make_candidates(
            choose_params(FIXED, CandidateParams(depth=2)), [Path(start.name) for start in starts], tmp_path / "made"
        )


@pytest.mark.parametrize(
    ("times_ms", "budget_ms", "expected"),
    [
        ((1.0, 2.0, 3.0), 10.0, ["c", "b"]),
        ((3.0, 12.0, 1.0), 10.0, ["a", "c"]),
        ((1.0, 10.0, 10.1), 10.0, ["b", "a"]),
        ((11.0, 12.0, 1.0), 10.0, ["c"]),
    ],
)
def test_the_slowest_in_time_are_trained(times_ms, budget_ms, expected):
    params = choose_params(FIXED, max_p95_ms=budget_ms)
    found = short_list(params, [timed(*each) for each in zip("abc", times_ms, strict=True)], "here")
    assert [each.candidate.name for each in found] == expected


def test_a_burst_of_other_work_does_not_order_them():
    quick, slow = timed("quick", 1.0), timed("slow", 2.0)
    quick.calls_ms[:2] = 9.0
    params = choose_params(FIXED, most_trained=1)
    assert quick.p95_ms > slow.p95_ms
    assert short_list(params, [quick, slow], "here") == [slow]
    assert best_of([quick, slow], {"quick": Score(0.5, 0.5), "slow": Score(0.5, 0.5)}) is quick


def test_none_in_time_names_the_fastest_and_the_ways_out():
    params = choose_params(FIXED, max_p95_ms=1.0)
    with pytest.raises(InputError) as refused:
        short_list(params, [timed("slow", 3.0), timed("quick", 2.5)], "Some CPU, 2 cores")
    for words in (
        "register.max_p95_ms 1 ms",
        "the fastest of 2, quick, takes 2.500 ms",
        "openvino_f32_1t on Some CPU, 2 cores",
        "distil.student: fixed",
    ):
        assert words in str(refused.value)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [((0.8, 0.9, 0.7), "b"), ((0.9, 0.9, 0.7), "b"), ((None, 0.1, 0.2), "c"), ((None, None, None), "c")],
)
def test_the_most_accurate_is_taken_and_of_equal_ones_the_faster(scores, expected):
    trained = [timed("a", 3.0), timed("b", 2.0), timed("c", 1.0)]
    by_name = {name: Score(0.5, f1) for name, f1 in zip("abc", scores, strict=True)}
    assert best_of(trained, by_name).candidate.name == expected


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_a_candidate_is_timed_as_it_would_be_released(runtime, starts, line, tmp_path):
    made = make_candidate(FINE, None, starts, 0, tmp_path / "made")
    classifier = open_untrained(made, len(LABELS), Setup(runtime, "f32", 1))
    crops_rgb = read_crops(line["crops"])
    assert crops_rgb[0].shape == (1, SIDE_PX, SIDE_PX, 3)
    assert classifier.classify(crops_rgb[0]).sum() == pytest.approx(1, abs=1e-5)
    calls_ms = time_calls([classifier, classifier], crops_rgb, 3, 1)
    assert calls_ms.shape == (2, 3)
    assert (calls_ms > 0).all()


def test_a_fixed_student_is_the_same_on_every_machine(tmp_path):
    """Nothing is read, so that inputs may be missing; what distil depends on has the same bytes."""
    params, none = choose_params(student="fixed"), tmp_path / "none"
    for name in ("a", "b"):
        machine = tmp_path / name / "machine"
        write_json(machine / "machine.json", {"host": name, "cpu": name, "cores": 2})
        choose_student(params, crops=none, teacher=none, machine=machine, tiny=none, wide=none, out=tmp_path / name)
    (first,), (again,) = (sorted((tmp_path / name / "start").iterdir()) for name in ("a", "b"))
    assert first.read_bytes() == again.read_bytes()
    assert metrics_of(tmp_path / "a") == {"candidates": 0}


def test_a_machine_reaches_distil_by_the_chosen_start_alone():
    deps = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["distil"]["do"]["deps"]
    measured = [dep for dep in deps if "/machine" in dep or "/choose_student" in dep]
    assert measured == ["models/${item}/choose_student/start"]


def test_the_best_in_time_becomes_the_student(line, monkeypatch):
    take_ms(monkeypatch, 2.0, 1.0, 30.0)
    params = choose_params(FIXED, SHALLOW, FINE)
    choose_student(params, **line)
    metrics = metrics_of(line["out"])
    counts = {name: metrics[name] for name in ("candidates", "within_budget", "trained", "budget_ms")}
    assert counts == {"candidates": 3, "within_budget": 2, "trained": 2, "budget_ms": 10.0}
    assert [metrics[f"{name}_p95_ms"] for name in NAMES] == [2.0, 1.0, 30.0]
    scored = [metrics[f"{name}_val_macro_f1"] for name in NAMES[:2]]
    assert metrics["val_macro_f1"] == max(scored)
    assert f"{NAMES[2]}_val_macro_f1" not in metrics
    with (line["out"] / "candidates.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["name"] for row in rows] == [NAMES[1], NAMES[0], NAMES[2]]
    assert [row["within_budget"] for row in rows] == ["True", "True", "False"]
    (chosen,) = [row for row in rows if row["chosen"] == "True"]
    assert float(chosen["p95_ms"]) == metrics["p95_ms"]
    assert (line["out"] / "plots/student_tradeoff.png").stat().st_size > 1000
    start, _ = load_vit(str(line["out"] / "start"))
    assert len(start.blocks) == int(chosen["depth"])


def test_nothing_is_trained_again(line, monkeypatch, tmp_path):
    """Neither by distil, nor on another machine as long as its choice falls among the same candidates."""
    take_ms(monkeypatch, 2.0, 1.0)
    params = choose_params(FIXED, SHALLOW)
    choose_student(params, **line)
    chosen = line["out"] / "start"
    monkeypatch.setattr("lineact.classifiers.train.fit", None)  # calling it would fail
    distil(params.distil, line["crops"], line["teacher"], chosen, tmp_path / "none", tmp_path / "student")
    metrics = metrics_of(tmp_path / "student")
    assert metrics["val_macro_f1"] == metrics_of(line["out"])["val_macro_f1"]
    take_ms(monkeypatch, 40.0, 4.0)
    choose_student(params, **(line | {"out": tmp_path / "elsewhere"}))
    assert len(load_vit(str(tmp_path / "elsewhere" / "start"))[0].blocks) == 1


def test_a_student_is_timed_on_its_target_machine(line):
    params = choose_params(FIXED, target_machine="press7")
    with pytest.raises(InputError, match=r"register.target_machine press7, found cell7; .*distil.student: fixed"):
        choose_student(params, **line)
    assert not line["out"].exists()


def test_a_precision_that_the_machine_lacks_is_timed_in_f32(line, capsys):
    params = choose_params(FIXED, setup=Setup("onnxruntime", "bf16", 1))
    choose(params, line["crops"], line["teacher"], line["machine"], (line["tiny"], line["wide"]), line["out"])
    assert "untrained candidates, onnxruntime_f32_1t" in capsys.readouterr().out


@pytest.mark.parametrize("foundation", ["tiny", "hub"])
def test_the_shipped_candidates_are_settings(foundation):
    """Those of `tiny` can be built from the embedded weights."""
    shipped = yaml.safe_load((ROOT / "conf/foundation" / f"{foundation}.yaml").read_text())["choose_student"]
    values = dataclasses.asdict(choose_params(student="auto", candidates=(FIXED,)))
    values["distil"]["foundation"] = foundation
    params = from_mapping(ChooseStudentParams, values | shipped, foundation)
    assert params.candidates[0] == FIXED


def test_the_shipped_candidates_of_the_embedded_size_can_be_built(tmp_path):
    shipped = yaml.safe_load((ROOT / "conf/foundation/tiny.yaml").read_text())["choose_student"]["candidates"]
    params = choose_params(*(CandidateParams(**values) for values in shipped))
    tiny = [ROOT / "models/foundation/tiny" / name for name in ("vit_student", "vit_teacher")]
    made = make_candidates(params, tiny, tmp_path)
    assert [candidate.name for candidate in made if candidate.began_with is None] == ["w64_d4_p16_s96"]
