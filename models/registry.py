"""The model registry in MLflow: versions, their files and their aliases. Only this module and `models.tracking` import MLflow.

Training makes a challenger. The first model of a process is also its champion, marked as not reviewed; from then on
only a person changes the champion. Scoring never calls the registry: it reads a predictor's folder.
"""

from __future__ import annotations

import fcntl
import sqlite3
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from features.errors import StorageError
from features.process import ProcessDefinition
from models.artifact_locations import bring_home
from models.cohort.splits import Seal
from models.evaluation.evaluate import Evaluation
from models.folder import read_files
from models.predictor import Predictor
from models.tracking import (
    DIGEST,
    FILES,
    log_children,
    log_files,
    log_model,
    log_run,
    mlflow_module,
    quiet,
    started_run,
)
from models.train import Trained

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHALLENGER, CHAMPION = "challenger", "champion"
WAIT_S = 5.0  # for a database that somebody else holds
_REVIEW = "review"


@dataclass(frozen=True)
class RegisteredModel:
    """One version of a registered model.

    Attributes:
        name: Process it predicts for.
        version: Number of the version.
        run_id: MLflow run that made it.
        experiment_id: Experiment of that run.
        sha256: Digest of the predictor's folder.
        review: unreviewed or released.
        aliases: challenger, champion.
        is_new: Whether this call registered it.
    """

    name: str
    version: str
    run_id: str
    experiment_id: str
    sha256: str
    review: str
    aliases: tuple[str, ...]
    is_new: bool = False

    @property
    def page(self) -> str:
        """Where the MLflow UI shows the run, behind the server's address."""
        return f"/#/experiments/{self.experiment_id}/runs/{self.run_id}"


@dataclass(frozen=True)
class Registry:
    """MLflow's SQLite store and artifacts under a data directory.

    Every method that reads raises StorageError where the database cannot be read, or files of a version are missing or
    were changed.
    """

    data_dir: Path

    @property
    def tracking_uri(self) -> str:
        """For `mlflow ui --backend-store-uri`."""
        return f"sqlite:///{(self.data_dir / 'mlflow.db').resolve()}"

    @property
    def artifacts(self) -> Path:
        """Folder of the runs' files."""
        return (self.data_dir / "mlartifacts").resolve()

    def find(self, name: str, *, sha256: str) -> RegisteredModel | None:
        """The version whose predictor has this digest, if it was registered before."""
        versions = self._versions(name)
        return next((self._model(v) for v in versions if v.tags.get(DIGEST) == sha256), None)

    def by_alias(self, name: str, alias: str) -> RegisteredModel | None:
        """The version that an alias points to, if any."""
        versions = self._versions(name)
        return next((self._model(v) for v in versions if alias in v.aliases), None)

    def all(self, name: str) -> list[RegisteredModel]:
        """Every version, the first one first."""
        return [self._model(v) for v in sorted(self._versions(name), key=lambda version: int(version.version))]

    def by_version(self, name: str, version: str) -> RegisteredModel:
        """A version by its number.

        Raises:
            StorageError: There is none of that number.
        """
        versions = {str(v.version): v for v in self._versions(name)}
        if version not in versions:
            known = ", ".join(sorted(versions, key=int)) or "no version at all"
            raise StorageError(f"model {name!r} has no version {version!r}", expected=known)
        return self._model(versions[version])

    def predictor_folder(self, model: RegisteredModel) -> Path:
        """Folder of a version's predictor as it was logged; `Predictor.load` checks it."""
        return self._folder(model, "predictor")

    def predictor(self, model: RegisteredModel) -> Predictor:
        """The predictor of a version, checked against its registered digest."""
        return Predictor.load(self.predictor_folder(model), sha256=model.sha256)

    def evaluation(self, model: RegisteredModel) -> Evaluation:
        """The figures of a version as they were computed, once, on its sealed test."""
        return Evaluation.load(self._folder(model, "evaluation"))

    def seal(self, model: RegisteredModel) -> Seal:
        """The sealed test set of a version; training used outcomes known before the seal's cut."""
        return Seal.load(self._folder(model, "evaluation") / "sealed_test.json")

    def params(self, model: RegisteredModel) -> dict[str, str]:
        """How a version was made: the parameters of its run."""
        with _as_storage_errors(self.data_dir / "mlflow.db"):
            return dict(self._client().get_run(model.run_id).data.params)

    def report(self, model: RegisteredModel) -> str:
        """The HTML report of a version."""
        return (self._folder(model, "report") / "report.html").read_text(encoding="utf-8")

    def check_files(self, model: RegisteredModel) -> None:
        """Compare every file that was logged with a version with the digests that were logged with it.

        A version that was registered by 0.2.0 or earlier has digests of its predictor alone.
        """
        with _as_storage_errors(self.data_dir / "mlflow.db"):
            tags = self._client().get_run(model.run_id).data.tags
        for name, sha256 in sorted(tags.items()):
            if name.startswith(FILES):
                part = name.removeprefix(FILES)
                read_files(self._folder(model, part), sha256, f"{part} of model {model.name} version {model.version}:")
        self.predictor(model)

    def register(
        self,
        process: ProcessDefinition,
        trained: Trained,
        evaluation: Evaluation,
        *,
        report: str,
        images: Mapping[str, bytes],
        more: Mapping[str, str] | None = None,
    ) -> RegisteredModel:
        """Log a run with everything about a predictor and register it as the challenger.

        A predictor that is registered already is returned as it stands: nothing is logged twice.

        Args:
            process: The process; its id names experiment and model.
            trained: The predictor and how it came about.
            evaluation: Its figures.
            report: The HTML report.
            images: PNG by file name.
            more: Further parameters of the run, for example digests of the history.
        """
        with self._locked(), quiet():
            existing = self.find(process.id, sha256=trained.predictor.sha256)
            if existing is not None:
                return existing
            client = self._client()
            experiment_id = self._experiment(client, process.id)
            with started_run(
                self.tracking_uri, experiment_id, f"{process.id} {trained.predictor.sha256[:12]}"
            ) as run_id:
                log_run(client, run_id, process, trained, evaluation, more or {})
                log_children(client, experiment_id, run_id, trained)
                log_files(client, run_id, trained, evaluation, report, images)
                version = log_model(process.id, trained.predictor)
            client.set_model_version_tag(process.id, version, DIGEST, trained.predictor.sha256)
            client.set_model_version_tag(process.id, version, _REVIEW, "unreviewed")
            if self.by_alias(process.id, CHAMPION) is None:
                client.set_registered_model_alias(process.id, CHAMPION, version)
            client.set_registered_model_alias(process.id, CHALLENGER, version)
            found = self.find(process.id, sha256=trained.predictor.sha256)
        if found is None:
            raise StorageError(f"model {process.id!r} version {version} is not in the registry after it was registered")
        return replace(found, is_new=True)

    def as_challenger(self, model: RegisteredModel) -> RegisteredModel:
        """Make a version the challenger again, when training gave the same predictor; the champion stays as it is."""
        if CHALLENGER in model.aliases:
            return model
        with self._locked():
            self._client().set_registered_model_alias(model.name, CHALLENGER, model.version)
        return replace(model, aliases=tuple(sorted({*model.aliases, CHALLENGER})))

    def log_replay(self, name: str, params: Mapping[str, object], figures: Mapping[str, object], folder: Path) -> str:
        """Log a field replay as a run of its own, with the files of a folder; where the MLflow UI shows it.

        Args:
            name: The process.
            params: The rules of the replay.
            figures: Numbers become metrics; what is no number is left to the files.
            folder: Its files.
        """
        from mlflow.entities import Metric, Param

        with self._locked(), _as_storage_errors(self.data_dir / "mlflow.db"), quiet():
            client = self._client()
            experiment_id = self._experiment(client, name)
            with started_run(self.tracking_uri, experiment_id, "field replay") as run_id:
                now = int(pd.Timestamp.now(tz="UTC").timestamp() * 1000)
                numbers = {key: float(value) for key, value in figures.items() if isinstance(value, int | float)}
                metrics = [Metric(key, value, now, 0) for key, value in numbers.items()]
                client.log_batch(run_id, metrics=metrics, params=[Param(k, str(v)) for k, v in params.items()])
                client.log_artifacts(run_id, str(folder), "backtest")
        return f"/#/experiments/{experiment_id}/runs/{run_id}"

    def bring_artifacts_home(self) -> None:
        """Let a registry in a copied data directory name the artifacts of the copy, not those of the original.

        Raises:
            StorageError: The registry cannot be read.
        """
        database = self.data_dir / "mlflow.db"
        if database.is_file():
            with _as_storage_errors(database):
                _probe(database)
                bring_home(database, self.artifacts)

    def _client(self) -> MlflowClient:
        self.artifacts.mkdir(parents=True, exist_ok=True)
        with quiet():
            mlflow = mlflow_module()
            mlflow.set_tracking_uri(self.tracking_uri)
            mlflow.set_registry_uri(self.tracking_uri)
            return mlflow.MlflowClient(self.tracking_uri, self.tracking_uri)

    def _experiment(self, client: MlflowClient, name: str) -> str:
        found = client.get_experiment_by_name(name)
        return found.experiment_id if found else client.create_experiment(name, (self.artifacts / name).as_uri())

    def _versions(self, name: str) -> list[ModelVersion]:
        database = self.data_dir / "mlflow.db"
        if not database.is_file():
            return []  # to look must not make a database
        with _as_storage_errors(database):
            _probe(database)
            client = self._client()
            found = client.search_model_versions(f"name = '{name}'")
            return [client.get_model_version(name, version.version) for version in found]  # a search leaves out aliases

    def _model(self, version: ModelVersion) -> RegisteredModel:
        with _as_storage_errors(self.data_dir / "mlflow.db"):
            run = self._client().get_run(str(version.run_id))
        return RegisteredModel(
            name=version.name,
            version=str(version.version),
            run_id=run.info.run_id,
            experiment_id=run.info.experiment_id,
            sha256=version.tags[DIGEST],
            review=version.tags.get(_REVIEW, "unreviewed"),
            aliases=tuple(sorted(version.aliases)),
        )

    def _folder(self, model: RegisteredModel, name: str) -> Path:
        folder = self.artifacts / model.name / model.run_id / "artifacts" / name
        if not folder.is_dir():
            raise StorageError(
                f"model {model.name} version {model.version}: its {name} is missing",
                remedy="Restore the data directory.",
            )
        return folder

    @contextmanager
    def _locked(self) -> Generator[None]:
        # an alias has no compare-and-set: two trainings must not both find no champion
        self.data_dir.mkdir(parents=True, exist_ok=True)
        with (self.data_dir / "mlflow.lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _probe(database: Path) -> None:
    """Whether a database can be read at all: MLflow tries for two minutes what fails at once."""
    connection = sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True, timeout=WAIT_S)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    finally:
        connection.close()


@contextmanager
def _as_storage_errors(database: Path) -> Generator[None]:
    """Errors of MLflow and of its database as one of ours: what is wrong with which file."""
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    try:
        yield
    except (sqlite3.Error, SQLAlchemyError, mlflow_module().MlflowException) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        first = (str(cause).splitlines() or [type(cause).__name__])[0][:200]
        raise StorageError(
            f"{database}: the registry cannot be read: {first}",
            remedy="Wait for whoever holds it, or restore the data directory; released bundles go on serving.",
        ) from error
