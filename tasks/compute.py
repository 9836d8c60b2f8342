"""Where a line's stages `ingest`, `detect` and `embed` are computed. No result depends on it, so no stage tracks it."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from lineact.errors import ConfigError
from lineact.scale import ComputeParams, DaskParams
from lineact.settings import from_mapping
from tasks.stage import PARAMS_FILE, section_of

FILES = Path("conf/compute")
VARIABLE = "LINEACT_COMPUTE"
SECTION = "compute"


def cluster_of(line: str | None) -> DaskParams | None:
    """The cluster that computes a line's recordings; None where this process does.

    The environment goes before the line's settings: LINEACT_COMPUTE names a file of conf/compute/.

    Args:
        line: its name; None for this process.

    Raises:
        ConfigError: where the settings are wrong, or the variable names none.
    """
    if line is None:
        return None
    chosen = os.environ.get(VARIABLE)
    values, where = _read(chosen) if chosen else (section_of(line, SECTION), f"{PARAMS_FILE}: lines.{line}.{SECTION}")
    compute = from_mapping(ComputeParams, values, where)
    return compute.dask if compute.engine == "dask" else None


def stores_of(lines: Iterable[str]) -> list[str]:
    """Addresses of all stores through which recordings of these lines may have passed: theirs, and conf/compute/'s.

    Raises:
        ConfigError: as `cluster_of`.
    """
    read = [_read(path.stem) for path in sorted(FILES.glob("*.yaml"))]
    read += [(section_of(line, SECTION), f"{PARAMS_FILE}: lines.{line}.{SECTION}") for line in lines]
    settings = [from_mapping(ComputeParams, values, where) for values, where in read]
    return sorted({compute.dask.store for compute in settings if compute.dask is not None})


def _read(name: str) -> tuple[Any, str]:
    """What a file of conf/compute/ sets, and what to call it in errors."""
    path = FILES / f"{name}.yaml"
    known = sorted(path.stem for path in FILES.glob("*.yaml"))
    if name not in known:
        raise ConfigError(f"{VARIABLE}={name}: expected one of {', '.join(known) or f'the files of {FILES}/'}")
    try:
        return yaml.safe_load(path.read_text())[SECTION], f"{path}: {SECTION}"
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError) as error:
        raise ConfigError(f"{path}: expected YAML with a section {SECTION}, found something else ({error})") from error
