"""Many settings of classifiers, each trial an MLflow run: a grid by Hydra's multirun, or a search by Optuna.

    python -m flows.classifier_sweep -m lines=demo classifier=vit_s,resnet34 seeds=0,1 classifier.fit.lr=0.001,0.003
    python -m flows.classifier_sweep search=vit_s_distilled lines=demo [trials=20]

Both look for a better macro F1 on the validation crops; the test crops' figures stand beside it, to be reported and not
to be chosen by. A trial that ran before is not trained again. Hydra's own Optuna sweeper is left aside: its release for
hydra 1.3 needs Optuna 2, whose storage fails with the SQLAlchemy that MLflow and Prefect need.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows import command_line, tracking
from flows.classifier_choices import PRIMARY
from flows.classifier_comparison import EXPERIMENT, choice_with, compared_choice, line_of, log_trial
from flows.command_line import names_of
from flows.one_run import only_run_of
from flows.pipeline import CONF
from lineact.classifiers.settings import ClassifierParams
from lineact.compare.classifiers.trials import Line, Trial, run_trial
from lineact.errors import ConfigError
from lineact.settings import from_mapping
from tasks.configure import read_yaml

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from optuna.trial import Trial as Suggestion

STUDIES = Path(".lineact/sweeps")


@dataclass(frozen=True)
class Interval:
    """Numbers from which a setting is drawn.

    Attributes:
        low: least.
        high: greatest.
        log: whether orders of magnitude are alike.
    """

    low: float
    high: float
    log: bool

    def __post_init__(self) -> None:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"low must be below high, and above 0 where log is true, found {self.low} and {self.high}")


@dataclass(frozen=True)
class SearchParams:
    """A file of conf/sweep/.

    Attributes:
        choice: whose settings are looked for.
        trials: so many settings are tried.
        seeds: of each one's trainings; the figure is the mean over them and the lines.
        seed: of the search.
        numbers: Hydra key, e.g. "classifier.fit.lr" -> from where it is drawn.
        options: Hydra key -> values, as Hydra reads them.
    """

    choice: str
    trials: int
    seeds: tuple[int, ...]
    seed: int
    numbers: dict[str, Interval]
    options: dict[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        if self.trials < 1 or not self.seeds:
            raise ValueError("trials must be at least 1, and seeds name at least one")
        if not (self.numbers or self.options) or not all(self.options.values()):
            raise ValueError("numbers or options must name at least one setting, each option at least one value")


def grid() -> None:
    """Hydra's multirun over `lines`, `seeds`, `classifier` and all settings of a choice; each job is a trial.

    Raises:
        ConfigError: where something does not compose.
    """
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # else Hydra prints a traceback and ends the process itself
    source = f"flows.classifier_sweep {' '.join(sys.argv[1:])}"
    with only_run_of(EXPERIMENT), tracking.comparison_run(EXPERIMENT, "grid", source, _provenance()) as parent_id:
        job = hydra.main(version_base="1.3", config_path=str(CONF.resolve()), config_name=PRIMARY)
        try:
            job(lambda composed: _job(composed, parent_id))()
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(f"{' '.join(sys.argv[1:])}: {' '.join(str(error).split())}") from error


def _job(composed: "DictConfig", parent_id: str) -> float:
    """One trial of the grid; returns its figure, for sweepers that look at it."""
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    job = HydraConfig.get()
    name, overrides = job.runtime.choices["classifier"], list(job.overrides.task)
    values: Any = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    GlobalHydra.instance().clear()  # a teacher is composed by itself
    if not values["lines"]:
        raise ConfigError("argument 'lines' is missing: expected lines=demo or lines=demo,gi_d")
    params = from_mapping(ClassifierParams, values["classifier"], " ".join(overrides))
    choice = choice_with(name, params, values["foundation"])
    line = line_of(values["lines"])
    trial = run_trial(choice, line, int(values["seeds"]))
    log_trial(parent_id, trial, choice, line)
    figure = _figure(trial)
    print(f"{' '.join(overrides)}: validation macro F1 {figure:.4f}", flush=True)
    return figure


def search(name: str, lines: tuple[str, ...], trials: int | None = None) -> str:
    """Optuna's search over a file of conf/sweep/; the same command goes on with the study.

    Args:
        name: of the file.
        lines: on all of which each trial is trained.
        trials: in place of the file's number.

    Returns:
        The best settings and their figure, in words.

    Raises:
        ConfigError: where the file or what it names is not as it must be.
    """
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path = CONF / "sweep" / f"{name}.yaml"
    params = from_mapping(SearchParams, read_yaml(path), str(path))
    wanted = trials or params.trials
    data = [line_of(line) for line in lines]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    STUDIES.mkdir(parents=True, exist_ok=True)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(STUDIES / f"{name}.log"))),
        study_name=f"{name} on {','.join(lines)}",
        sampler=optuna.samplers.TPESampler(seed=params.seed),
        direction="maximize",
        load_if_exists=True,
    )
    source = f"flows.classifier_sweep search={name} lines={','.join(lines)}"
    with (
        only_run_of(EXPERIMENT),
        tracking.comparison_run(EXPERIMENT, study.study_name, source, _provenance()) as parent_id,
    ):
        done = len(study.get_trials(states=[optuna.trial.TrialState.COMPLETE]))  # not those that were killed
        print(f"{done} of {wanted} trials are there already", flush=True)
        study.optimize(lambda asked: _tried(asked, params, data, parent_id), n_trials=max(wanted - done, 0))
    best = " ".join(f"{key}={value}" for key, value in study.best_params.items())
    return f"best of {wanted} trials: validation macro F1 {study.best_value:.4f} with classifier={params.choice} {best}"


def _tried(asked: "Suggestion", params: SearchParams, lines: list[Line], parent_id: str) -> float:
    """One trial of the search: all lines and seeds with the same settings."""
    drawn: dict[str, Any] = {
        key: asked.suggest_float(key, one.low, one.high, log=one.log) for key, one in params.numbers.items()
    }
    drawn |= {key: asked.suggest_categorical(key, values) for key, values in params.options.items()}
    choice = compared_choice(params.choice, "tiny", [f"{key}={value}" for key, value in drawn.items()])
    figures = []
    for line in lines:
        for seed in params.seeds:
            trial = run_trial(choice, line, seed)
            log_trial(parent_id, trial, choice, line)
            figures.append(_figure(trial))
    figure = sum(figures) / len(figures)
    print(f"trial {asked.number}: validation macro F1 {figure:.4f} with {_words(drawn)}", flush=True)
    return figure


def _figure(trial: Trial) -> float:
    if trial.facts.val_macro_f1 is None:
        raise ConfigError(f"{trial.choice}: expected a choice that is trained: there is nothing to look for in another")
    return trial.facts.val_macro_f1


def _words(settings: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in settings.items())


def _provenance() -> dict[str, str]:
    return {"git_commit": tracking.git_commit(), "lineact.kind": "sweep"}


def main() -> None:
    """`-m key=a,b ...`, or `search=NAME lines=demo [trials=20]`."""
    if sys.argv[1:2] and sys.argv[1] in ("-m", "--multirun"):
        grid()
        return
    values = command_line.parse(sys.argv[1:], ("search", "lines"), ("trials",))
    trials = values.get("trials") or "0"
    if not trials.isdecimal():
        raise ConfigError(f"trials={trials}: expected a number from 1 on")
    print(search(values["search"], names_of(values["lines"]), int(trials) or None))
    print(f"all trials: `make ui`, experiment lineact-{EXPERIMENT}")


if __name__ == "__main__":
    command_line.run(main)
