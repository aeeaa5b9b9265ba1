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
from models.evaluation.champion import Comparison
from models.evaluation.evaluate import Evaluation
from models.folder import add_manifest
from models.mirror import DIGEST
from models.run_metrics import curves, tables, top_metrics
from models.train import Trained

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Metric

FILES = "sha256."  # before the name of a folder: the tag with the digest of its manifest


@contextmanager
def quiet() -> Generator[None]:
    """Without warnings of MLflow about itself."""
    # mlflow 3.17.2 maps its tables as SQLAlchemy 2.1 no longer likes, compares columns as pandas 3.1 no longer likes, and
    # warns of type hints of its own
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The ``noload`` loader strategy")
        warnings.filterwarnings("ignore", "Operation with range is deprecated")
        warnings.filterwarnings("ignore", ".*Any type hint is inferred as AnyType")
        yield


def mlflow_module() -> ModuleType:
    """MLflow with telemetry and pickles off and its chatter down; importing it takes seconds."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["DO_NOT_TRACK"] = "true"
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    # by default the client tries for minutes where a server is silent
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    os.environ["MLFLOW_LOG_UV_FILES"] = "false"  # a plant's checkout is no part of a model
    import mlflow

    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # a traceback of what is raised as well
    return mlflow


@contextmanager
def started_run(experiment_id: str, name: str) -> Generator[str]:
    """A run that ends with the block, as failed where that raises; its id. MLflow points to the store already."""
    mlflow = mlflow_module()
    with mlflow.start_run(experiment_id=experiment_id, run_name=name) as run:
        yield run.info.run_id


def log_run(
    client: MlflowClient,
    run_id: str,
    process: ProcessDefinition,
    trained: Trained,
    evaluation: Evaluation,
    comparison: Comparison | None,
    more: Mapping[str, str],
) -> None:
    """Log how a predictor was made, from what, and how good it is.

    Args:
        client: Of the registry.
        run_id: The run.
        process: The process.
        trained: The predictor and how it came about.
        evaluation: Its figures.
        comparison: With the champion; None: there is none.
        more: Further parameters.
    """
    from mlflow.entities import Param, RunTag

    predictor = trained.predictor
    params = {
        "process_version": process.process.version,
        **{f"plan.{name}": value for name, value in asdict(trained.plan).items()},
        **{f"trees.{name}": value for name, value in asdict(trained.settings).items()},
        **{f"choice.{name}": value for name, value in (predictor.choice.to_json() if predictor.choice else {}).items()},
        **evaluation.counts,
        "features": len(predictor.features),
        "folds": len(trained.folds),
        "cut": trained.seal.cut.isoformat(),
        **more,
    }
    if comparison is not None:
        params |= {"champion": comparison.champion, "against_champion": comparison.verdict}
    tags = {DIGEST: predictor.sha256, "training_sha256": predictor.training_sha256, "test_sha256": trained.seal.sha256}
    tags |= {"mlflow.note.content": evaluation.note} if evaluation.note else {}
    client.log_batch(
        run_id,
        metrics=_metrics(evaluation, comparison),
        params=[Param(name, str(value)) for name, value in params.items()],
        tags=[RunTag(name, value) for name, value in tags.items()],
    )
    parts = (("training", predictor.training_sha256), ("test", trained.seal.sha256))
    client.log_inputs(run_id, [_dataset(name, sha256, evaluation.counts) for name, sha256 in parts])


def log_test(client: MlflowClient, run_id: str, evaluation: Evaluation, comparison: Comparison | None) -> None:
    """Log the figures of a test that was read after a predictor had been logged."""
    client.log_batch(run_id, metrics=_metrics(evaluation, comparison))


def _metrics(evaluation: Evaluation, comparison: Comparison | None) -> list[Metric]:
    """Figures as metrics; those of development stand apart, so that no version is compared by them."""
    from mlflow.entities import Metric

    now, before = int(pd.Timestamp.now(tz="UTC").timestamp() * 1000), "" if evaluation.read_test else "development/"
    metrics = [Metric(before + name, value, now, 0) for name, value in top_metrics(evaluation).items()]
    metrics += [Metric(before + name, value, now, step) for name, value, step in curves(evaluation)]
    if comparison is not None:
        metrics += [
            Metric(f"against_champion/{row['figure']}", row["difference"], now, 0)
            for row in comparison.table.to_dict("records")
            if not math.isnan(row["difference"])
        ]
    return metrics


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
    comparison: Comparison | None,
    card: str,
    pdf: bytes = b"",
    under: str = "",
) -> None:
    """Log predictor, evaluation, seal, report, model card, tables and pictures as files of a run."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not under:
            trained.predictor.save(folder / "predictor")
        evaluation.save(folder / "evaluation")
        trained.seal.save(folder / "evaluation" / "sealed_test.json")
        (folder / "report").mkdir()
        (folder / "report" / "report.html").write_text(report, encoding="utf-8")
        if pdf:
            (folder / "report" / "report.pdf").write_bytes(pdf)
        (folder / "report" / "model_card.md").write_text(card, encoding="utf-8")
        if comparison is not None:
            comparison.save(folder / "tables")
        (folder / "tables").mkdir(exist_ok=True)
        for file, table in tables(evaluation).items():
            table.to_csv(folder / "tables" / file, index=False)
        for file, content in images.items():
            path = folder / "plots" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        for part in sorted(folder.iterdir()):
            if part.is_dir() and part.name != "predictor":  # it has a manifest, and its digest is a tag of its own
                place = "/".join(filter(None, (under, part.name)))
                client.set_tag(run_id, f"{FILES}{place}", add_manifest(part))
        client.log_artifacts(run_id, str(folder), under or None)
