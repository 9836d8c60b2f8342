"""What MLflow has of a recording: pictures among runs' artefacts, which go, and releases, which stay and are named."""

import tempfile
from dataclasses import dataclass

from flows.champion import champion_of, download_bundle
from flows.forgotten_objects import Objects
from flows.tracking import client, experiment_id
from flows.versions import model_name, versions_of
from lineact.errors import InputError
from lineact.forget import Recording
from lineact.forget.trained import Files, stored_pictures, use_of

SHOWING = ("ingest", "detect", "match", "evaluate_localizer")  # stages whose plots show or name single recordings


@dataclass(frozen=True)
class Release:
    """A registered version of a line, and what it has of the recording.

    Attributes:
        model: in the registry.
        version: likewise.
        is_champion: whether the alias `champion` stands on it.
        bundle_sha256: of its bundle.
        use: in words, what of the recording it was made and measured with; None where its data set is gone.
        pictures: files of its bundle that show the recording; None likewise.
    """

    model: str
    version: str
    is_champion: bool
    bundle_sha256: str
    use: str | None
    pictures: list[str] | None

    def words(self) -> str:
        """In a line."""
        name = f"{self.model} version {self.version}{' (champion)' if self.is_champion else ''}"
        if self.use is None or self.pictures is None:
            return f"{name}: its data set or files are gone; take it as trained on the recording. It stays"
        shown = f", and its bundle shows it in {', '.join(self.pictures)}" if self.pictures else ""
        return f"{name}: made with {self.use}{shown}. It stays"


def releases_of(line: str, recording: Recording, objects: Objects) -> list[Release]:
    """All registered versions of the line, the first first."""
    champion = champion_of(line)
    found = []
    for version in sorted(versions_of(line), key=lambda version: int(version.version)):
        number, sha256 = str(version.version), version.tags.get("bundle_sha256", "")
        data_set = objects.files_of(version.tags.get("data_hash", ""))
        use, pictures = _seen(line, number, data_set, recording)
        is_champion = champion is not None and champion.version == number
        found.append(Release(model_name(line), number, is_champion, sha256, use, pictures))
    return found


def _seen(line: str, version: str, data_set: Files, recording: Recording) -> tuple[str | None, list[str] | None]:
    if not data_set:
        return None, None
    try:
        use = use_of(data_set, recording).words()
        with tempfile.TemporaryDirectory() as scratch:
            bundle = download_bundle(line, version, scratch)
            return use, None if bundle is None else stored_pictures(bundle, data_set, recording)
    except InputError:  # of a version that this program does not read any more
        return None, None


def forget_artefacts(line: str) -> int:
    """Removes plots that show or name single recordings from the line's runs; MLflow does not tell whose they are.

    Returns:
        How many runs had some.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    store, count = client(), 0
    for stage in SHOWING:
        token = None
        while True:
            page = store.search_runs([experiment_id(line)], f"tags.`lineact.stage` = '{stage}'", page_token=token)
            for run in page:
                if store.list_artifacts(run.info.run_id, "plots"):
                    get_artifact_repository(run.info.artifact_uri).delete_artifacts("plots")
                    count += 1
            token = page.token
            if not token:
                break
    return count
