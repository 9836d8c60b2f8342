"""Settings of all tests."""

import logging
import os

import pytest
from hypothesis import settings

# Tests side by side share the cores. Were the threads of each to use all of them, they would mostly wait for one
# another, and wait by turning: a small network then trains ten times as slowly. Both are read when torch is loaded,
# also by the commands that a test runs.
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", 0)):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // workers)))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A busy machine is no defect: no test asserts on time. The same code gives the same verdict each time;
# `pytest --hypothesis-profile=explore` looks for new examples.
settings.register_profile("lineact", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile("lineact")


@pytest.fixture(autouse=True)
def _own_loggers_speak() -> None:
    """MLflow's migrations (alembic's `fileConfig`) switch off every logger of the process that is there."""
    for name, logger in logging.root.manager.loggerDict.items():
        if name.split(".")[0] == "lineact" and isinstance(logger, logging.Logger):
            logger.disabled = False


@pytest.fixture(scope="session")
def released(tmp_path_factory):
    """A folder with a tiny pair: models/ and data/ as the stages before `export` leave them, export/ as it does."""
    from tests.released_pair import export_pair

    folder = tmp_path_factory.mktemp("released")
    export_pair(folder)
    return folder


@pytest.fixture(scope="session")
def line(tmp_path_factory):
    """A generated line, for those who change nothing of it: see `tests.labelled_line.Line`."""
    from tests.labelled_line import Line

    return Line(tmp_path_factory.mktemp("line"))


@pytest.fixture(scope="session")
def embedded(line, tmp_path_factory):
    """Its crops and their embeddings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("work"))
        return line.embed()


@pytest.fixture(scope="session")
def found(line, embedded):
    """Its tables, with a queue of twenty crops that calibrate."""
    from tests.labelled_line import match_params, queue_params

    matched = line.match(embedded, match_params())
    return line.found(embedded, matched, line.queue(embedded, matched, queue_params(audit_calibrate=20)))
