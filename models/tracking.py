"""A training as an MLflow run with parameters, figures and files, and the model that it registers."""

from __future__ import annotations

import logging
import math
import os
import tempfile
import warnings
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pandas as pd

from features.process import ProcessDefinition
from models.evaluation.evaluate import Evaluation
from models.predictor import Predictor
from models.train import Trained

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput

DIGEST = "predictor_sha256"  # the tag of runs and versions
_REQUIREMENTS = ["lightgbm>=4.7,<5", "numpy>=2.3,<3", "pandas>=3.0,<4"]


@contextmanager
def quiet() -> Generator[None]:
    """Without warnings of MLflow about itself."""
    # mlflow 3.17.2 maps its tables as SQLAlchemy 2.1 no longer likes, and warns of type hints of its own
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The ``noload`` loader strategy")
        warnings.filterwarnings("ignore", ".*Any type hint is inferred as AnyType")
        yield


def mlflow_module() -> ModuleType:
    """MLflow with telemetry and pickles off and its chatter down; importing it takes seconds."""
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
def started_run(tracking_uri: str, experiment_id: str, name: str) -> Generator[str]:
    """A run that ends with the block, as failed where that raises; its id."""
    mlflow = mlflow_module()
    mlflow.set_tracking_uri(tracking_uri)
    with mlflow.start_run(experiment_id=experiment_id, run_name=name) as run:
        yield run.info.run_id


def log_run(
    client: MlflowClient,
    run_id: str,
    process: ProcessDefinition,
    trained: Trained,
    evaluation: Evaluation,
    more: Mapping[str, str],
) -> None:
    """Log how a predictor was made, from what, and how good it is.

    Args:
        client: Of the registry.
        run_id: The run.
        process: The process.
        trained: The predictor and how it came about.
        evaluation: Its figures.
        more: Further parameters.
    """
    from mlflow.entities import Metric, Param, RunTag

    predictor = trained.predictor
    params = {
        "process_version": process.process.version,
        **{f"plan.{name}": value for name, value in asdict(trained.plan).items()},
        **{f"trees.{name}": value for name, value in asdict(trained.settings).items()},
        **{f"calibration.{name}": value for name, value in asdict(predictor.calibration).items()},
        **{f"choice.{name}": value for name, value in (predictor.choice.to_json() if predictor.choice else {}).items()},
        **evaluation.counts,
        "features": len(predictor.features),
        "folds": len(trained.folds),
        "cut": trained.seal.cut.isoformat(),
        **more,
    }
    now = int(pd.Timestamp.now(tz="UTC").timestamp() * 1000)
    metrics = [Metric(name, value, now, 0) for name, value in _test_metrics(evaluation).items()]
    tags = {DIGEST: predictor.sha256, "training_sha256": predictor.training_sha256, "test_sha256": trained.seal.sha256}
    tags |= {"mlflow.note.content": evaluation.note} if evaluation.note else {}
    client.log_batch(
        run_id,
        metrics=metrics,
        params=[Param(name, str(value)) for name, value in params.items()],
        tags=[RunTag(name, value) for name, value in tags.items()],
    )
    parts = (("training", predictor.training_sha256), ("test", trained.seal.sha256))
    client.log_inputs(run_id, [_dataset(name, sha256, evaluation.counts) for name, sha256 in parts])


def _test_metrics(evaluation: Evaluation) -> dict[str, float]:
    """Figures under the names they have in MLflow: `test.auroc`, `test.auroc_low`, `test.12h.n_failed`, ..."""
    out = {f"test.{name}": value for name, value in evaluation.overall.items()}
    for row in evaluation.checkpoints.to_dict("records"):
        hours = row["checkpoint_h"]
        out |= {f"test.{hours:g}h.{name}": value for name, value in row.items() if name != "checkpoint_h"}
    return {name: float(value) for name, value in out.items() if not math.isnan(value)}


def _dataset(part: str, sha256: str, counts: Mapping[str, int]) -> DatasetInput:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    profile = f'{{"batches": {counts[f"{part}_batches"]}, "failed": {counts[f"{part}_failed"]}}}'
    # MLflow keeps 36 characters of a digest; the whole one is a tag of the run
    data = Dataset(
        name=part, digest=sha256[:36], source_type="local", source=f'{{"sha256": "{sha256}"}}', profile=profile
    )
    return DatasetInput(data, tags=[InputTag("mlflow.data.context", part)])


def log_children(client: MlflowClient, experiment_id: str, run_id: str, trained: Trained) -> None:
    """Log folds as runs below a run."""
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


def log_files(
    client: MlflowClient,
    run_id: str,
    trained: Trained,
    evaluation: Evaluation,
    report: str,
    images: Mapping[str, bytes],
) -> None:
    """Log predictor, evaluation, seal, report and pictures as files of a run."""
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


def log_model(name: str, predictor: Predictor) -> str:
    """Log the first member of the bag as LightGBM text and register it; the whole predictor lies beside it in the run.

    Returns:
        The version's number.
    """
    mlflow_module()
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
        metadata={DIGEST: predictor.sha256},
    )
    return str(info.registered_model_version)
