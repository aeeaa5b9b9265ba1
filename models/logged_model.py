"""The predictor as a model that MLflow's clients load, serve and evaluate: its code, files, signature and requirements."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from features.dictionary import Feature
from features.process import ProcessDefinition
from models.mirror import DIGEST
from models.predictor import Predictor
from models.scoring.registered import COLUMNS, NUMBERS, categories_of, load_scorer, save_scorer
from models.scoring.snapshots import SnapshotScorer
from models.tracking import mlflow_module

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

_REQUIRED = ("batchguard", "mlflow", "numpy", "pandas", "scipy", "numba")


def log_model(
    process: ProcessDefinition,
    predictor: Predictor,
    features: tuple[Feature, ...],
    example: pd.DataFrame,
    tags: Mapping[str, str],
) -> tuple[str, str]:
    """Log the predictor as a model that MLflow's clients can call.

    The model is code that MLflow stores by its path (`models.pyfunc_model`) and the folder of `models.scoring.registered`.

    Args:
        process: Its id names the registered model.
        predictor: Frozen.
        features: Dictionary of the snapshots' columns.
        example: One snapshot or a few, `features.contracts.SNAPSHOT`.
        tags: Of the logged model.

    Returns:
        Its address, `models:/<id>`, and its id.
    """
    mlflow = mlflow_module()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "scorer"
        save_scorer(folder, predictor, process, features)
        scorer = load_scorer(folder, sha256=predictor.sha256)
        info = mlflow.pyfunc.log_model(
            name="predictor",
            python_model=str(Path(__file__).with_name("pyfunc_model.py")),
            artifacts={"scorer": str(folder)},
            signature=signature_of(scorer, example),
            input_example=_plain(example),
            pip_requirements=requirements(),
            metadata={DIGEST: predictor.sha256, "process_version": process.process.version},
            tags=dict(tags),
        )
    return info.model_uri, str(info.model_id)


def signature_of(scorer: SnapshotScorer, example: pd.DataFrame) -> ModelSignature:
    """Columns of the model: the ids are required, every feature is optional.

    Times have no type in the signature: MLflow's own refuses a time with an offset, and stored snapshots have one.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec
    from mlflow.types.schema import AnyType

    text = categories_of(scorer, example)
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.string, "batch_id"),
        ColSpec(DataType.double, "checkpoint_h"),
    ]
    inputs += [ColSpec(AnyType(), "as_of"), ColSpec(AnyType(), "started_at", required=False)]
    inputs += [
        ColSpec(DataType.string if feature.name in text else DataType.double, feature.name, required=False)
        for feature in scorer.features
    ]
    outputs: list[ColSpec | TensorSpec] = [
        ColSpec(DataType.double if name in NUMBERS else DataType.string, name) for name in COLUMNS
    ]
    return ModelSignature(Schema(inputs), Schema(outputs))


def requirements() -> list[str]:
    """The package, and what its numbers rest on, in the versions that are installed."""
    return [f"{name}=={version(name)}" for name in _REQUIRED]


def _plain(example: pd.DataFrame) -> pd.DataFrame:
    """Times as text: MLflow stores an example as JSON."""
    times = {name: example[name].map(pd.Timestamp.isoformat) for name in ("started_at", "as_of") if name in example}
    return example.assign(**times).reset_index(drop=True)
