"""Which database and store a plant's MLflow, Prefect and DVC use: embedded ones, or services (conf/services.yaml).

Passwords are in no setting: libpq, asyncpg and botocore read them from the environment or from files of their own,
which this module demands to be readable by their owner alone.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlsplit

import yaml

from flows.checkout import checkout_of
from lineact.errors import ConfigError
from lineact.secret_file import refuse_readable
from lineact.settings import from_mapping

SERVICES_FILE = Path("conf/services.yaml")
QUERY = frozenset(
    {"sslmode", "sslrootcert", "sslcert", "sslkey", "ssl", "connect_timeout"}
)  # of an address; no secrets
Use = Literal["embedded", "services"]


@dataclass(frozen=True)
class MlflowService:
    """Attributes:
    database: SQLAlchemy's address, by psycopg2.
    artifacts: s3://BUCKET/FOLDER.
    """

    database: str
    artifacts: str


@dataclass(frozen=True)
class PrefectService:
    """Attributes:
    database: SQLAlchemy's address, by asyncpg.
    """

    database: str


@dataclass(frozen=True)
class DvcService:
    """Attributes:
    remote: s3://BUCKET/FOLDER.
    """

    remote: str


@dataclass(frozen=True)
class S3Service:
    """Attributes:
    endpoint: the store's address; "" for Amazon's own.
    region: where it is.
    """

    endpoint: str
    region: str


@dataclass(frozen=True)
class SecretFiles:
    """Attributes:
    postgres: libpq's password file.
    s3: a file with keys in Amazon's format.
    """

    postgres: str
    s3: str


@dataclass(frozen=True)
class Services:
    """conf/services.yaml.

    Attributes:
        use: which side counts.
        mlflow: of the services' side.
        prefect: likewise.
        dvc: likewise.
        s3: likewise.
        secrets: where passwords and keys are read from.
    """

    use: Use
    mlflow: MlflowService
    prefect: PrefectService
    dvc: DvcService
    s3: S3Service
    secrets: SecretFiles

    def __post_init__(self) -> None:
        for name, address, scheme in (
            ("mlflow.database", self.mlflow.database, "postgresql+psycopg2"),
            ("prefect.database", self.prefect.database, "postgresql+asyncpg"),
            ("mlflow.artifacts", self.mlflow.artifacts, "s3"),
            ("dvc.remote", self.dvc.remote, "s3"),
        ):
            parts = urlsplit(address)
            if parts.scheme != scheme or not parts.netloc:
                raise ValueError(f"{name}: expected {scheme}://..., found {_shown(address)}")
            if parts.password is not None:
                raise ValueError(f"{name}: expected no password, found one; put it into {self.secrets.postgres}")
            if strange := sorted(set(parse_qs(parts.query, keep_blank_values=True)) - QUERY):
                told = ", ".join(sorted(QUERY))
                raise ValueError(f"{name}: expected no more than {told} behind the ?, found {', '.join(strange)}")
        if self.s3.endpoint and urlsplit(self.s3.endpoint).scheme not in ("http", "https"):
            raise ValueError(f"s3.endpoint: expected http://... or https://..., found {_shown(self.s3.endpoint)}")
        if urlsplit(self.s3.endpoint).username is not None:
            raise ValueError(f"s3.endpoint: expected no user, found one; put keys into {self.secrets.s3}")

    @property
    def places(self) -> dict[str, str]:
        """Environment variables that lead to the store and to the files with secrets, and hold none."""
        found = {
            "MLFLOW_S3_ENDPOINT_URL": self.s3.endpoint,
            "AWS_ENDPOINT_URL_S3": self.s3.endpoint,
            "AWS_DEFAULT_REGION": self.s3.region,
        }
        for name, path in (("PGPASSFILE", self.secrets.postgres), ("AWS_SHARED_CREDENTIALS_FILE", self.secrets.s3)):
            if Path(path).expanduser().is_file():
                found[name] = str(Path(path).expanduser())
        return {name: value for name, value in found.items() if value}

    @property
    def environment(self) -> dict[str, str]:
        """`places`, and what points MLflow and Prefect at the services."""
        return self.places | {
            "MLFLOW_TRACKING_URI": self.mlflow.database,
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": self.prefect.database,
        }


def services_of(path: Path | None = None) -> Services | None:
    """The plant's services; None where the project has no such file, so that the embedded ones count.

    Args:
        path: None for the checkout's: a scheduled run's worktree has what was committed.

    Raises:
        ConfigError: where the file cannot be read, or a setting is wrong.
    """
    if path is None:
        path = Path(os.path.relpath(checkout_of(Path.cwd()) / SERVICES_FILE))
    if not path.is_file():
        return None
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{path}: expected settings of services, found no YAML ({error})") from error
    if not isinstance(content, Mapping):
        raise ConfigError(f"{path}: expected settings of services, found {type(content).__name__}")
    return from_mapping(Services, content, str(path))


def environment_of(path: Path | None = None) -> dict[str, str]:
    """What flows set in the environment: nothing where the embedded side counts, or the file is wrong.

    Whoever opens a database asks `refuse_unsafe` first, which tells what is wrong.
    """
    try:
        services = services_of(path)
    except ConfigError:
        return {}
    return services.environment if services is not None and services.use == "services" else {}


def refuse_unsafe() -> None:
    """Lets pass where the settings are right and, with services, passwords and keys are their owner's alone.

    Raises:
        ConfigError: where a setting is wrong.
        InputError: where others can read a file with secrets.
    """
    services = services_of()
    if services is not None and services.use == "services":
        refuse_readable_secrets(os.environ)


def refuse_readable_secrets(environment: Mapping[str, str]) -> None:
    """Lets pass where the files that these variables name are their owner's alone.

    Raises:
        InputError: where others can read one.
    """
    for name in ("PGPASSFILE", "AWS_SHARED_CREDENTIALS_FILE"):
        path = Path(environment.get(name, ""))
        if path.is_file():
            refuse_readable(path)


def artifacts_of(experiment: str) -> str | None:
    """Where a new experiment's artefacts go; None for MLflow's own choice, a folder of this checkout."""
    services = services_of()
    if services is None or os.environ.get("MLFLOW_TRACKING_URI") != services.mlflow.database:
        return None
    return f"{services.mlflow.artifacts.rstrip('/')}/{experiment}"


def _shown(address: str) -> str:
    """An address without what stands before the host."""
    scheme, separator, rest = address.partition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
