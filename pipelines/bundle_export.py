"""A version of the registry as a signed bundle, in the folder from which the endpoint loads it."""

from __future__ import annotations

import time
from pathlib import Path

from features.context import vocabulary
from features.errors import StorageError
from models.registry import CHAMPION, Registry
from models.scoring.score import Release
from pipelines.plant import Plant
from pipelines.settings import Settings
from serving.bundle.bundle import Bundle
from serving.bundle.manifest import private_key
from serving.bundle.store import BundleStore

KEYS, LOCAL_KEY = "keys", "bundle.pem"


def bundles_of(settings: Settings, process_id: str) -> BundleStore:
    """The bundles of a process under a data directory."""
    return BundleStore(settings.data_dir / "bundles" / process_id)


def export(settings: Settings, version: str, key: Path | None = None) -> Bundle:
    """Sign a version as a bundle and set the endpoint's pointer to it.

    Args:
        settings: Names the process and the data directory.
        version: Number in the registry, or `champion`.
        key: Private key; None takes the local one under the data directory, whose public half the endpoint trusts.

    Raises:
        StorageError: There is no such version, its files were changed, or the key cannot be used.
    """
    plant = Plant(settings)
    registry = Registry(settings.data_dir)
    champion = registry.by_alias(plant.process.id, CHAMPION) if version == CHAMPION else None
    if version == CHAMPION and champion is None:
        raise StorageError(f"{plant.process.id!r} has no champion", remedy="Run 'batchguard run', or name a version.")
    model = champion or registry.by_version(plant.process.id, version)
    registry.predictor(model)  # the digest that was registered, before the bundle vouches for the files
    release = Release(model.name, model.version, "released" if model.review == "released" else "unreviewed")
    words = vocabulary(plant.context_tables(), plant.process)
    return bundles_of(settings, plant.process.id).export(
        registry.predictor_folder(model), release, plant.process, words,
        private_key(key or settings.data_dir / KEYS / LOCAL_KEY), released_us=time.time_ns() // 1000,
    )  # fmt: skip
