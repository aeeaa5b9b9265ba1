"""What training, tests and replays read of a stored plant."""

from __future__ import annotations

from functools import lru_cache

import pandas as pd

from models.backtest.history import History
from pipelines.between_checkpoints import snapshots_between
from pipelines.course_levels import levels_every_few_hours
from pipelines.feature_tables import read_dictionary
from pipelines.plant import Plant
from pipelines.settings import Settings


def history_of(plant: Plant) -> History:
    """Snapshots at checkpoints and between them, labels, results of the release attributes, and dispositions.

    The newest history is kept while its data stay as they are: several steps of a run read the same one.
    """
    versions = tuple(store.digest(name) for store, name in (
        (plant.features, "snapshot_features"), (plant.features, "batch_summaries")
    ))  # fmt: skip
    return _read(plant.settings, plant.process.model_dump_json(), plant.data_version(), *versions)


@lru_cache(maxsize=1)
def _read(settings: Settings, *_: str) -> History:
    plant = Plant(settings)
    labels = plant.labels()
    return History(
        process=plant.process,
        snapshots=plant.features.read("snapshot_features").to_pandas(),
        between=snapshots_between(plant, pd.Index(labels["batch_id"].unique())),
        features=read_dictionary(plant),
        batches=plant.table("batches"),
        log=labels,
        observations=plant.observations_of(q.parameter for q in plant.process.quality_attribute),
        dispositions=plant.table("dispositions"),
        course=levels_every_few_hours(plant, pd.Index(labels["batch_id"].unique())),
    )
