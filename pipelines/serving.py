"""From the registry to the endpoint: the model that speaks becomes files, and the endpoint needs no registry any more."""

from __future__ import annotations

from pathlib import Path

from models.registry import Registry
from pipelines.plant import Plant
from pipelines.scoring import speaking_model
from serving.released import publish
from serving.scorer import Release


def models_folder(plant: Plant) -> Path:
    """Where the endpoint finds its models."""
    return plant.settings.data_dir / "endpoint" / plant.process.id


def publish_speaking_model(plant: Plant) -> str:
    """Put the model whose scores count where the endpoint finds it.

    Returns:
        Its version.

    Raises:
        StorageError: There is no model yet, or it is damaged.
    """
    model = speaking_model(plant)
    predictor = Registry(plant.settings.data_dir).predictor(model)
    release = Release(model.name, model.version, "released" if model.review == "released" else "unreviewed")
    publish(models_folder(plant), predictor, release, plant.process)
    return model.version
