"""What training, tests and replays read of a stored plant."""

from __future__ import annotations

from functools import lru_cache

import pandas as pd

from models.backtest.history import History
from pipelines.between_checkpoints import snapshots_between
from pipelines.course_levels import levels_every_few_hours
from pipelines.feature_tables import read_dictionary
from pipelines.plant import Plant


def history_of(plant: Plant) -> History:
    """Snapshots at checkpoints and between them, labels, results of the release attributes, and dispositions.

    The newest history is kept while its tables keep their versions: several steps of a run read the same one.
    """
    fixed = plant.fixed()
    return _read(fixed, fixed.process.model_dump_json())


@lru_cache(maxsize=1)
def _read(plant: Plant, _: str) -> History:
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
