"""What `make forget` does not reach: the side that a move of services left, which keeps the plots that it had."""

import os
from pathlib import Path

from flows.backup import DATABASE
from flows.move import ARTEFACTS, LEFT, REMOTE
from flows.services import Services, services_of

PLOTS = "plots"  # the folder of a run's artefacts that shows recordings


def left_sides() -> dict[str, str]:
    """Places of the side that is not in use whose plots may show a recording, and the way out of each, in words."""
    services = services_of()
    found = {str(folder): f"has plots of runs; remove it: rm -r {folder}" for folder in _folders_with_plots()}
    if services is None:
        return found
    if services.use == "services" and _has_plots(ARTEFACTS):
        found[str(ARTEFACTS)] = f"has plots of runs, and services are in use; remove it: rm -r {ARTEFACTS} {DATABASE}"
    if services.use == "embedded" and (words := _words_of_store(services)):
        found[services.mlflow.artifacts] = words
    return found


def _folders_with_plots() -> list[Path]:
    return [folder for folder in sorted(LEFT.glob("*")) if _has_plots(folder)]


def _has_plots(folder: Path) -> bool:
    return any(path.is_dir() for path in folder.rglob(PLOTS))


def _words_of_store(services: Services) -> str | None:
    """What is to be done with the services' artefacts; None where nothing was ever moved there, or none is there."""
    import fsspec
    from dvc.config import Config

    if REMOTE not in Config(str(Path(".dvc").resolve()))["remote"]:
        return None
    for name, value in services.places.items():
        os.environ.setdefault(name, value)
    way_out = f"remove that folder in the store, and the database {services.mlflow.database} (dropdb)"
    try:
        store, root = fsspec.core.url_to_fs(services.mlflow.artifacts)
        if not any(f"/{PLOTS}/" in path for path in store.find(root)):
            return None
    except Exception as error:  # each kind of store has errors of its own
        return f"did not answer ({error}); start it, or say that it is gone: dvc remote remove {REMOTE}; else {way_out}"
    return f"has plots of runs, and the embedded side is in use; {way_out}"
