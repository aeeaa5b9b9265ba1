"""Where MLflow keeps runs and versions: a database under the data directory, or the server that a plant has already.

`MLFLOW_TRACKING_URI` and `MLFLOW_REGISTRY_URI` are obeyed. Without them there is an SQLite database and a folder of
artifacts under the data directory. Of another store, files of a version are downloaded once, into a folder under the
digest of its predictor.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from features.errors import StorageError
from models.tracking import mlflow_module, quiet

if TYPE_CHECKING:
    from mlflow import MlflowClient

TRACKING, REGISTRY = "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"
LOCAL_UI = "http://127.0.0.1:5000"  # where `batchguard dev` shows the store of a data directory
WAIT_S = 5.0  # for a database that somebody else holds
_LOGIN = re.compile(r"//[^/@\s]+@")


@dataclass(frozen=True)
class MlflowStore:
    """MLflow's tracking store and registry, with the folder of a plant's data.

    Attributes:
        data_dir: The data directory.
        tracking_uri: Of runs and their files.
        registry_uri: Of registered models.
    """

    data_dir: Path
    tracking_uri: str
    registry_uri: str

    @classmethod
    def of(cls, data_dir: Path, environment: Mapping[str, str] = os.environ) -> MlflowStore:
        """The store that MLflow's variables name, or else the one of the data directory."""
        tracking = environment.get(TRACKING) or f"sqlite:///{(data_dir / 'mlflow.db').resolve()}"
        return cls(data_dir, tracking, environment.get(REGISTRY) or tracking)

    @property
    def database(self) -> Path:
        """The database of a data directory, whether it is used or not."""
        return self.data_dir / "mlflow.db"

    @property
    def artifacts(self) -> Path:
        """Folder of the runs' files in a data directory."""
        return (self.data_dir / "mlartifacts").resolve()

    @property
    def embedded(self) -> bool:
        """Whether it is the one of the data directory."""
        return {self.tracking_uri, self.registry_uri} == {f"sqlite:///{self.database.resolve()}"}

    @property
    def is_server(self) -> bool:
        """Whether a server keeps the runs, and decides where their files lie."""
        return self.tracking_uri.startswith(("http:", "https:"))

    @property
    def exists(self) -> bool:
        """Whether there may be anything in it: to look must not make a database."""
        return not self.embedded or self.database.is_file()

    @property
    def shown(self) -> str:
        """Its address for messages, without a password."""
        return str(self.database) if self.embedded else _LOGIN.sub("//", self.tracking_uri)

    @property
    def pages(self) -> str:
        """Address of its web pages."""
        return _LOGIN.sub("//", self.tracking_uri).rstrip("/") if self.is_server else LOCAL_UI

    def client(self) -> MlflowClient:
        """A client, with MLflow's own functions pointed to the store as well."""
        if self.embedded:
            self.artifacts.mkdir(parents=True, exist_ok=True)
        with quiet():
            mlflow = mlflow_module()
            if self.embedded and not self.database.exists():
                self._make_database()
            with _variables_kept():
                mlflow.set_tracking_uri(self.tracking_uri)
                mlflow.set_registry_uri(self.registry_uri)
            return mlflow.MlflowClient(self.tracking_uri, self.registry_uri)

    def _make_database(self) -> None:
        """Make the database beside its place and move it there: MLflow cannot go on with one that it made half."""
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        with tempfile.TemporaryDirectory(dir=self.data_dir, prefix=".mlflow-") as folder:
            beside = Path(folder) / self.database.name
            SqlAlchemyStore(f"sqlite:///{beside.resolve()}", self.artifacts.as_uri()).engine.dispose()
            if not self.database.exists():
                beside.rename(self.database)

    def experiment(self, client: MlflowClient, name: str) -> str:
        """Id of an experiment, made where there is none; a server decides by itself where its files lie."""
        found = client.get_experiment_by_name(name)
        if found:
            return found.experiment_id
        return client.create_experiment(name, None if self.is_server else (self.artifacts / name).as_uri())

    def folder(self, run_id: str, experiment: str, name: str, *, sha256: str) -> Path | None:
        """A folder of a run's files on this machine; None where the run has none.

        Args:
            run_id: The run.
            experiment: Name of its experiment.
            name: The folder among the run's files.
            sha256: Digest of the predictor that the run made: a downloaded copy is kept under it.
        """
        if self.embedded:
            folder = self.artifacts / experiment / run_id / "artifacts" / name
            return folder if folder.is_dir() else None
        kept = self.data_dir / "mlflow_cache" / sha256 / name
        if not kept.is_dir():
            with self.errors():
                self._download(run_id, name, kept)
        return kept if kept.is_dir() else None

    def forget(self, sha256: str) -> None:
        """Remove the downloaded files of a version, so that they are downloaded again."""
        shutil.rmtree(self.data_dir / "mlflow_cache" / sha256, ignore_errors=True)

    def _download(self, run_id: str, name: str, kept: Path) -> None:
        client = self.client()
        if name not in {file.path for file in client.list_artifacts(run_id, name.rpartition("/")[0] or None)}:
            return
        kept.parent.mkdir(parents=True, exist_ok=True)
        # beside its place, and moved there when it is whole
        with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
            made = Path(client.download_artifacts(run_id, name, folder))
            if not kept.is_dir():
                made.rename(kept)

    @contextmanager
    def errors(self) -> Generator[None]:
        """Errors of MLflow, of its database and of the way to its server as one of ours, in one line."""
        from requests.exceptions import RequestException
        from sqlalchemy.exc import DBAPIError, SQLAlchemyError

        try:
            yield
        except (sqlite3.Error, SQLAlchemyError, RequestException, mlflow_module().MlflowException) as error:
            cause = error.orig if isinstance(error, DBAPIError) else error
            first = _LOGIN.sub("//", (str(cause).splitlines() or [type(cause).__name__])[0])[:200]
            raise StorageError(
                f"{self.shown}: the registry cannot be read: {first}", remedy=_LOCAL if self.embedded else _ELSEWHERE
            ) from error

    def probe(self) -> None:
        """Whether the database of a data directory can be read at all: MLflow tries for two minutes what fails at once."""
        if not self.embedded:
            return
        connection = sqlite3.connect(f"{self.database.resolve().as_uri()}?mode=ro", uri=True, timeout=WAIT_S)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        finally:
            connection.close()


_SERVES_ON = "released bundles go on serving."
_LOCAL = f"Wait for whoever holds it, or restore the data directory; {_SERVES_ON}"
_ELSEWHERE = (
    f"Check {TRACKING}, MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or wait for the server; {_SERVES_ON}"
)


@contextmanager
def _variables_kept() -> Generator[None]:
    """MLflow writes an address that it is pointed to into the variables that name the plant's own server."""
    before = {name: os.environ.get(name) for name in (TRACKING, REGISTRY)}
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
