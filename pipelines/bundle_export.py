"""A version of the registry as the bundle that a release seals and the endpoint loads."""

from __future__ import annotations

from features.context import vocabulary
from models.registry import RegisteredModel, Registry
from pipelines.plant import Plant
from pipelines.settings import Settings
from serving.bundle.bundle import Bundle
from serving.bundle.store import BundleStore, Version


def bundles_of(settings: Settings, process_id: str) -> BundleStore:
    """The bundles of a process under a data directory."""
    return BundleStore(settings.data_dir / "bundles" / process_id)


def export(plant: Plant, model: RegisteredModel, submission: int) -> Bundle:
    """Write the bundle of a version; it serves only once it is released.

    Args:
        plant: Names the data directory.
        model: The version.
        submission: How often it was submitted before.

    Raises:
        StorageError: Its files were changed, or the bundle cannot be written.
    """
    registry = Registry(plant.settings.data_dir)
    registry.predictor(model)  # the digest that was registered, before the bundle vouches for the files
    words = vocabulary(plant.context_tables(), plant.process)
    version = Version(model.name, model.version, submission)
    store = bundles_of(plant.settings, plant.process.id)
    return store.write(registry.predictor_folder(model), version, plant.process, words)
