"""The model registry: what was trained, from what, how good it is, and which version speaks. The only door to MLflow.

Training makes a challenger. The first model of a process is also its champion, marked as not reviewed; from then on
only a person changes the champion. Scoring never calls the registry: it reads a predictor's folder.
"""

from __future__ import annotations

import fcntl
import logging
import math
import os
import sqlite3
import tempfile
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from features.errors import StorageError
from features.process import ProcessDefinition
from models.cohort.splits import Seal
from models.evaluation.evaluate import Evaluation
from models.predictor import Predictor
from models.train import Trained

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHALLENGER, CHAMPION = "challenger", "champion"
WAIT_S = 5.0  # for a database that somebody else holds
_DIGEST, _REVIEW = "predictor_sha256", "review"
_REQUIREMENTS = ["lightgbm>=4.7,<5", "numpy>=2.3,<3", "pandas>=3.0,<4"]


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
    """MLflow's SQLite store and artifacts under a data directory."""

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
        return next((self._model(v) for v in versions if v.tags.get(_DIGEST) == sha256), None)

    def by_alias(self, name: str, alias: str) -> RegisteredModel | None:
        """The version that an alias points to, if any."""
        versions = self._versions(name)
        return next((self._model(v) for v in versions if alias in v.aliases), None)

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
        """Folder of a version's predictor, as it was logged: whoever loads it checks it.

        Raises:
            StorageError: It is missing.
        """
        return self._folder(model, "predictor")

    def predictor(self, model: RegisteredModel) -> Predictor:
        """The predictor of a version, checked against its registered digest.

        Raises:
            StorageError: Its files are missing or were changed.
        """
        return Predictor.load(self.predictor_folder(model), sha256=model.sha256)

    def evaluation(self, model: RegisteredModel) -> Evaluation:
        """The figures of a version as they were computed, once, on its sealed test.

        Raises:
            StorageError: Its files are missing.
        """
        return Evaluation.load(self._folder(model, "evaluation"))

    def seal(self, model: RegisteredModel) -> Seal:
        """The test set a version stayed away from; it learned from outcomes known before the seal's cut.

        Raises:
            StorageError: Its files are missing.
        """
        return Seal.load(self._folder(model, "evaluation") / "sealed_test.json")

    def report(self, model: RegisteredModel) -> str:
        """The HTML report of a version.

        Raises:
            StorageError: Its files are missing.
        """
        return (self._folder(model, "report") / "report.html").read_text(encoding="utf-8")

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
        with self._locked(), _quiet():
            existing = self.find(process.id, sha256=trained.predictor.sha256)
            if existing is not None:
                return existing
            client = self._client()
            experiment_id = self._experiment(client, process.id)
            with _run(self.tracking_uri, experiment_id, f"{process.id} {trained.predictor.sha256[:12]}") as run_id:
                _log_run(client, run_id, process, trained, evaluation, more or {})
                _log_children(client, experiment_id, run_id, trained)
                _log_files(client, run_id, trained, evaluation, report, images)
                version = _log_model(process.id, trained.predictor)
            client.set_model_version_tag(process.id, version, _DIGEST, trained.predictor.sha256)
            client.set_model_version_tag(process.id, version, _REVIEW, "unreviewed")
            if self.by_alias(process.id, CHAMPION) is None:
                client.set_registered_model_alias(process.id, CHAMPION, version)
            client.set_registered_model_alias(process.id, CHALLENGER, version)
            found = self.find(process.id, sha256=trained.predictor.sha256)
        if found is None:
            raise StorageError(f"model {process.id!r} version {version} is not in the registry after it was registered")
        return replace(found, is_new=True)

    def as_challenger(self, model: RegisteredModel) -> RegisteredModel:
        """Let a version that training came back to be the challenger again; the champion stays as it is."""
        if CHALLENGER in model.aliases:
            return model
        with self._locked():
            self._client().set_registered_model_alias(model.name, CHALLENGER, model.version)
        return replace(model, aliases=tuple(sorted({*model.aliases, CHALLENGER})))

    def _client(self) -> MlflowClient:
        self.artifacts.mkdir(parents=True, exist_ok=True)
        with _quiet():
            mlflow = _mlflow()
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
        with _told_as_storage(database):
            _probe(database)
            client = self._client()
            found = client.search_model_versions(f"name = '{name}'")
            return [client.get_model_version(name, version.version) for version in found]  # a search leaves out aliases

    def _model(self, version: ModelVersion) -> RegisteredModel:
        with _told_as_storage(self.data_dir / "mlflow.db"):
            run = self._client().get_run(str(version.run_id))
        return RegisteredModel(
            name=version.name,
            version=str(version.version),
            run_id=run.info.run_id,
            experiment_id=run.info.experiment_id,
            sha256=version.tags[_DIGEST],
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
def _told_as_storage(database: Path) -> Generator[None]:
    """Errors of MLflow and of its database as one of ours: what is wrong with which file."""
    from sqlalchemy.exc import DBAPIError, SQLAlchemyError

    try:
        yield
    except (sqlite3.Error, SQLAlchemyError, _mlflow().MlflowException) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        first = (str(cause).splitlines() or [type(cause).__name__])[0][:200]
        raise StorageError(
            f"{database}: the registry cannot be read: {first}",
            remedy="Wait for whoever holds it, or restore the data directory; what was released speaks on.",
        ) from error


@contextmanager
def _quiet() -> Generator[None]:
    # mlflow 3.17.2 maps its tables as SQLAlchemy 2.1 no longer likes, and warns of type hints of its own
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The ``noload`` loader strategy")
        warnings.filterwarnings("ignore", ".*Any type hint is inferred as AnyType")
        yield


def _mlflow() -> Any:
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["DO_NOT_TRACK"] = "true"
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    os.environ["MLFLOW_LOG_UV_FILES"] = "false"  # a plant's checkout is no part of a model
    import mlflow

    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # a traceback of what is raised as well
    return mlflow


@contextmanager
def _run(tracking_uri: str, experiment_id: str, name: str) -> Generator[str]:
    mlflow = _mlflow()
    mlflow.set_tracking_uri(tracking_uri)
    with mlflow.start_run(experiment_id=experiment_id, run_name=name) as run:
        yield run.info.run_id


def _log_run(
    client: MlflowClient,
    run_id: str,
    process: ProcessDefinition,
    trained: Trained,
    evaluation: Evaluation,
    more: Mapping[str, str],
) -> None:
    from mlflow.entities import Metric, Param, RunTag

    predictor = trained.predictor
    params = {
        "process_version": process.process.version,
        **{f"plan.{name}": value for name, value in asdict(trained.plan).items()},
        **{f"trees.{name}": value for name, value in asdict(trained.tuned.settings).items()},
        **{f"calibration.{name}": value for name, value in asdict(predictor.calibration).items()},
        **evaluation.counts,
        "features": len(predictor.features),
        "folds": len(trained.folds),
        "cut": trained.seal.cut.isoformat(),
        **more,
    }
    now = int(pd.Timestamp.now(tz="UTC").timestamp() * 1000)
    metrics = [Metric(name, value, now, 0) for name, value in test_metrics(evaluation).items()]
    tags = {_DIGEST: predictor.sha256, "training_sha256": predictor.training_sha256, "test_sha256": trained.seal.sha256}
    tags |= {"mlflow.note.content": evaluation.note} if evaluation.note else {}
    client.log_batch(
        run_id,
        metrics=metrics,
        params=[Param(name, str(value)) for name, value in params.items()],
        tags=[RunTag(name, value) for name, value in tags.items()],
    )
    client.log_inputs(
        run_id,
        [
            _dataset(
                "training",
                predictor.training_sha256,
                evaluation.counts["training_batches"],
                evaluation.counts["training_failed"],
            ),
            _dataset("test", trained.seal.sha256, evaluation.counts["test_batches"], evaluation.counts["test_failed"]),
        ],
    )


def test_metrics(evaluation: Evaluation) -> dict[str, float]:
    """Figures under the names they have in MLflow: `test.auroc`, `test.auroc_low`, `test.12h.n_failed`, ..."""
    out = {f"test.{name}": value for name, value in evaluation.overall.items()}
    for row in evaluation.checkpoints.to_dict("records"):
        hours = row["checkpoint_h"]
        out |= {f"test.{hours:g}h.{name}": value for name, value in row.items() if name != "checkpoint_h"}
    return {name: float(value) for name, value in out.items() if not math.isnan(value)}


def _dataset(context: str, sha256: str, n: int, n_failed: int) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    profile = f'{{"batches": {n}, "failed": {n_failed}}}'
    # MLflow keeps 36 characters of a digest; the whole one is a tag of the run
    data = Dataset(
        name=context, digest=sha256[:36], source_type="local", source=f'{{"sha256": "{sha256}"}}', profile=profile
    )
    return DatasetInput(data, tags=[InputTag("mlflow.data.context", context)])


def _log_children(client: MlflowClient, experiment_id: str, run_id: str, trained: Trained) -> None:
    for number, row in enumerate(trained.tuned.trials.to_dict("records")):
        loss = row.pop("log_loss")
        _child(client, experiment_id, run_id, f"trial {number:02d}", row, {"folds.log_loss": loss})
    for fold in trained.folds:
        rows = trained.out_of_fold[trained.out_of_fold["fold"] == fold.name]
        facts = {
            "cut": fold.cut.isoformat(),
            "training_batches": len(fold.train),
            "validation_batches": len(fold.validation),
        }
        found = {"validation_failed": float(rows.loc[rows["failed"], "batch_id"].nunique())}
        _child(client, experiment_id, run_id, fold.name, facts, found)


def _child(
    client: MlflowClient, experiment_id: str, parent: str, name: str, params: dict, metrics: dict[str, float]
) -> None:
    from mlflow.entities import Metric, Param

    run = client.create_run(experiment_id, run_name=name, tags={"mlflow.parentRunId": parent})
    values = [Metric(key, value, run.info.start_time, 0) for key, value in metrics.items()]
    client.log_batch(run.info.run_id, metrics=values, params=[Param(key, str(value)) for key, value in params.items()])
    client.set_terminated(run.info.run_id)


def _log_files(
    client: MlflowClient,
    run_id: str,
    trained: Trained,
    evaluation: Evaluation,
    report: str,
    images: Mapping[str, bytes],
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trained.predictor.save(folder / "predictor")
        evaluation.save(folder / "evaluation")
        trained.seal.save(folder / "evaluation" / "sealed_test.json")
        (folder / "report").mkdir()
        (folder / "report" / "report.html").write_text(report, encoding="utf-8")
        for file, content in images.items():
            path = folder / "plots" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        client.log_artifacts(run_id, str(folder))


def _log_model(name: str, predictor: Predictor) -> str:
    """Log the first member of the bag as LightGBM text and register it; the whole predictor lies beside it in the run.

    Returns:
        The version's number.
    """
    _mlflow()
    import lightgbm as lgb
    import mlflow.lightgbm
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    inputs = Schema([ColSpec(DataType.double, name, required=False) for name in predictor.inputs])
    outputs = Schema([ColSpec(DataType.double, "uncalibrated_probability")])
    info = mlflow.lightgbm.log_model(
        lgb.Booster(model_str=predictor.model_texts[0]),
        name="trees",
        registered_model_name=name,
        signature=ModelSignature(inputs, outputs),
        pip_requirements=_REQUIREMENTS,
        metadata={_DIGEST: predictor.sha256},
    )
    return str(info.registered_model_version)
