"""The guards of the design: what keeps DVC's, Hydra's and Python's idea of the pipeline the same."""

import ast
import inspect
import re
import shlex
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from flows.lines import RESULTS_FILE, results_of
from lineact.detect.grounding_dino import EMBEDDED
from tasks.configure import (
    KINDS,
    LACKING,
    LOCALIZED,
    LOCALIZING,
    SHARED_KEYS,
    UNIONS,
    LineParams,
    active_lines,
    compose_line,
    configure,
)

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("flows", "tasks", "lineact")
STAGES = {
    stage: entry["do"]
    for stage, entry in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items()
    if "foreach" in entry
}
LINES = sorted(path.stem for path in (ROOT / "conf" / "line").glob("*.yaml"))


@cache
def imports_of(module: Path) -> frozenset[Path]:
    """First-party files that a module imports, at its top or within functions (type-checking blocks left out)."""
    found: set[Path] = set()
    tree = ast.parse(module.read_text())
    guarded = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in guarded:
            continue
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.split(".")[0] in PACKAGES:
                found |= files_of(name)
    return frozenset(found)


def files_of(name: str) -> set[Path]:
    """The files that importing a dotted name runs, the packages above it included."""
    path = ROOT.joinpath(*name.split("."))
    candidates = [path.with_suffix(".py"), path / "__init__.py"]
    candidates += [parent / "__init__.py" for parent in path.parents if parent != ROOT and ROOT in parent.parents]
    return {candidate for candidate in candidates if candidate.is_file()}


def closure(module: Path) -> set[Path]:
    """A module and all that it imports of this project, transitively."""
    seen: set[Path] = set()
    open_modules = [module]
    while open_modules:
        current = open_modules.pop()
        if current not in seen:
            seen.add(current)
            open_modules += imports_of(current)
    return seen


def has_code(module: Path) -> bool:
    return any(not isinstance(node, ast.Expr) for node in ast.parse(module.read_text()).body)


@pytest.mark.parametrize("stage", STAGES)
def test_deps_cover_every_module_that_the_stage_imports(stage):
    deps = [ROOT / dep for dep in STAGES[stage]["deps"] if "${" not in dep]
    needed = {module for module in closure(ROOT / "tasks" / f"{stage}.py") if has_code(module)}
    uncovered = {module for module in needed if not any(module == dep or dep in module.parents for dep in deps)}
    assert not uncovered, f"add to deps of {stage}: {sorted(str(path.relative_to(ROOT)) for path in uncovered)}"


@pytest.mark.parametrize("stage", STAGES)
def test_deps_exist_and_are_needed(stage):
    deps = [ROOT / dep for dep in STAGES[stage]["deps"] if dep.startswith(("lineact", "tasks"))]
    needed = closure(ROOT / "tasks" / f"{stage}.py")
    for dep in deps:
        assert dep.exists(), dep
        assert any(module == dep or dep in module.parents for module in needed), f"{stage} does not import {dep}"


def test_deps_of_configure_cover_what_it_imports():
    deps = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["configure"]["deps"]
    needed = {module for module in closure(ROOT / "tasks" / "configure.py") if has_code(module)}
    assert all(any(module == ROOT / dep or ROOT / dep in module.parents for dep in deps) for module in needed)


@pytest.mark.parametrize("stage", STAGES)
def test_stage_tracks_exactly_its_own_params_section(stage):
    assert STAGES[stage]["params"] == [f"lines.${{item}}.{stage}"]


@pytest.mark.parametrize("stage", STAGES)
def test_the_lock_is_of_todays_settings(stage):
    """Whoever changes a setting runs the line again: the figures that README gives are those of the lock."""
    lock = yaml.safe_load((ROOT / "dvc.lock").read_text())["stages"]
    params = yaml.safe_load((ROOT / "params.yaml").read_text())["lines"]
    locked = {name.partition("@")[2]: entry for name, entry in lock.items() if name.startswith(f"{stage}@")}
    assert set(locked) <= set(params)
    for line, entry in locked.items():
        assert entry["params"]["params.yaml"] == {f"lines.{line}.{stage}": params[line][stage]}


@pytest.mark.parametrize("stage", STAGES)
def test_paths_of_the_command_equal_deps_and_outs(stage):
    words = shlex.split(STAGES[stage]["cmd"])
    assert words[:5] == ["python", "-m", f"tasks.{stage}", "--line", "${item}"]
    on_command = {word for word in words[5:] if not word.startswith("--")}
    artefacts = {dep for dep in STAGES[stage]["deps"] if dep.startswith(("data/", "models/"))}
    assert on_command == artefacts | set(STAGES[stage]["outs"])


@pytest.mark.parametrize("stage", STAGES)
def test_one_word_per_stage(stage):
    """Task module, function, params class, options and artefact folder all carry the stage's word."""
    task = import_module(f"tasks.{stage}")
    body = getattr(task, stage)
    params_class = f"{stage.title().replace('_', '')}Params"
    assert hasattr(task, params_class)
    assert stage in LineParams.__dataclass_fields__
    assert any(Path(out).name == stage for out in STAGES[stage]["outs"])
    options = {f"--{name.replace('_', '-')}" for name in inspect.signature(body).parameters}
    options -= {"--params", "--line"}
    assert options == set(re.findall(r"(--[a-z-]+)", STAGES[stage]["cmd"])) - {"--line"}


def test_stages_read_only_earlier_stages():
    outs_so_far: set[str] = set()
    for stage, entry in STAGES.items():
        for dep in entry["deps"]:
            made_here = dep.startswith(("data/${item}/", "models/${item}/")) and not dep.endswith(("/raw", ".csv"))
            if made_here:
                assert any(dep == out or dep.startswith(f"{out}/") for out in outs_so_far), f"{stage} reads {dep}"
        outs_so_far |= set(entry["outs"])


@pytest.mark.parametrize("package", ["lineact", "tasks"])
def test_imports_point_one_way(package):
    forbidden = {"lineact": ("flows", "tasks", "prefect", "dvc", "hydra", "mlflow"), "tasks": ("flows", "prefect")}
    for module in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for name in names:
                assert name.split(".")[0] not in forbidden[package], f"{module.relative_to(ROOT)} imports {name}"


def test_no_module_is_longer_than_400_lines():
    """Longer ones have several rooms: they become a package with a name for each."""
    modules = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in modules}
    assert not {module: length for module, length in lengths.items() if length > 400}


def test_data_and_models_hold_no_code():
    assert not [*(ROOT / "models").rglob("*.py")]
    assert not list((ROOT / "data").rglob("*.py"))


def test_params_file_equals_a_fresh_composition(tmp_path):
    configure(ROOT / "conf", tmp_path / "params.yaml")
    assert (tmp_path / "params.yaml").read_text() == (ROOT / "params.yaml").read_text(), "run `dvc repro configure`"


def kinds_of(stage: str) -> tuple[str, ...]:
    """The lists of the kinds of lines that have a stage."""
    looped = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"][stage]["foreach"]
    name = looped.removeprefix("${").removesuffix("}")
    return UNIONS["recorded_lines"] if name == LOCALIZED else UNIONS.get(name, (name,))


def is_localized(line: str) -> bool:
    return bool(yaml.safe_load((ROOT / "conf" / "line" / f"{line}.yaml").read_text()).get("localize"))


@pytest.mark.parametrize("source", LACKING)
def test_the_settings_of_a_kind_are_those_of_its_stages(source):
    optional = {"simulate", "simulate_review", "import_crops", "import_yolo", "evaluate_crops", "evaluate_pictures"}
    optional |= {"evaluate_events", "simulate_segments"}
    without = {stage for stage in STAGES if KINDS[source] not in kinds_of(stage)} - optional
    assert without == LACKING[source] & set(STAGES)


@pytest.mark.parametrize("line", LINES)
def test_every_line_composes_and_validates(line):
    sections = compose_line(ROOT / "conf", line)
    lacking = {stage for stage in STAGES if stage not in sections}
    source = yaml.safe_load((ROOT / "conf" / "line" / f"{line}.yaml").read_text())["defaults"][0]["override /source"]
    expected = {stage for stage in STAGES if KINDS[source] not in kinds_of(stage)}
    assert lacking == expected | (set() if is_localized(line) else set(LOCALIZING))
    assert not set(sections) & SHARED_KEYS


@pytest.mark.parametrize("line", LINES)
def test_the_score_threshold_is_chosen_with_the_boxes_that_the_release_keeps(line):
    sections = compose_line(ROOT / "conf", line)
    for name in ("nms_iou", "max_hands"):
        assert sections["train_detector"][name] == sections["export"][name]


@pytest.mark.parametrize("line", ["demo", "gi_d", "gi_wd", "ttp_wh"])
def test_the_lines_of_the_papers_are_labelled_by_the_embedded_grounding_dino(line):
    detect = compose_line(ROOT / "conf", line)["detect"]
    assert detect["backend"] == "grounding_dino"
    assert detect["grounding_dino"]["weights"] == EMBEDDED


def test_active_lines_are_the_lines_of_all_kinds():
    assert active_lines(ROOT / "conf") == yaml.safe_load((ROOT / "conf" / "lines.yaml").read_text())["active_lines"]


def test_every_key_of_the_configuration_is_commented():
    primary = [ROOT / "conf" / f"{name}.yaml" for name in ("config", "compare_classifiers")]
    for path in [
        *primary,
        *(path for group in ("detector", "classifier", "compute") for path in (ROOT / "conf" / group).glob("*.yaml")),
    ]:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            is_scalar = re.match(r"\s+\w+:\s*[^\s#$]", line)  # ${...} is explained where it comes from
            assert not is_scalar or "#" in line, f"{path.relative_to(ROOT)}:{number}: say what it is, with its unit"


def test_lock_file_is_hash_pinned_and_names_no_host():
    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    pins = re.findall(r"^[a-zA-Z0-9_.-]+==\S+", lock, re.MULTILINE)
    assert len(pins) > 100
    assert lock.count("--hash=sha256:") >= len(pins)


@pytest.mark.parametrize("line", active_lines(ROOT / "conf"))
def test_dvc_knows_the_metrics_and_plots_of_every_active_line(line):
    results = ROOT / results_of(line)
    assert results.read_bytes() == RESULTS_FILE.read_bytes()
    named = yaml.safe_load(results.read_text())
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for path in (*named["metrics"], *(next(iter(plot)) for plot in named["plots"])):
        assert path.split("/")[0] in stages
