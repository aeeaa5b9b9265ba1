"""tsfresh's minimal features of each series up to the checkpoint, with LightGBM at the predictor's default settings.

The package runs in an environment of its own. It sees hourly held values of sensors and of assays measured again and
again; the ten statistics of `MinimalFCParameters` of each are taken since the start.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks.baselines import plain_lightgbm, snapshots
from benchmarks.baselines.environments import python_of, run_script, workspace
from benchmarks.baselines.signals import Signals, comes_in_series, signals
from pipelines.plant import Plant

WORKERS = 2


def scores(plant: Plant, train: pd.Series, test: tuple[str, ...]) -> pd.DataFrame:
    """Log-odds of test batches at their checkpoints: `batch_id, checkpoint_h, score`."""
    rows = pd.concat([snapshots.of(plant, train.index), snapshots.of(plant, test)])
    rows = rows[["batch_id", "checkpoint_h", "started_at", "as_of"]].assign(elapsed_h=rows["checkpoint_h"])
    data = signals(plant)
    used = comes_in_series(data, data.rows(train.index[~train]))
    found = features_of(plant, data, used, pd.Index(rows["batch_id"].unique()))
    table = rows.merge(found, how="left", on=["batch_id", "checkpoint_h"])
    mine, theirs = (table[table["batch_id"].isin(set(ids))].reset_index(drop=True) for ids in (train.index, test))
    return plain_lightgbm.fit_and_score(mine, theirs, train)


def features_of(plant: Plant, data: Signals, used: np.ndarray, ids: pd.Index) -> pd.DataFrame:
    """`batch_id`, `checkpoint_h` and the statistics of the used series, for batches that reached the checkpoint."""
    python = python_of(plant, "tsfresh")
    checkpoints = ",".join(f"{hour:g}" for hour in plant.process.checkpoints_h)
    with workspace(plant) as folder:
        arguments = []
        for part in range(WORKERS):
            source, out = folder / f"values{part}.parquet", folder / f"features{part}.parquet"
            _held(data, used, data.rows(ids[part::WORKERS])).to_parquet(source)
            arguments.append([str(source), checkpoints, str(out)])
        run_script(python, "tsfresh", arguments)
        return pd.concat([pd.read_parquet(given[2]) for given in arguments], ignore_index=True)


def _held(data: Signals, used: np.ndarray, rows: np.ndarray) -> pd.DataFrame:
    """`batch_id`, `hour` up to each batch's end, a column per parameter."""
    row, hour = np.nonzero(data.hours[None, :] <= data.end_h[rows][:, None])
    values = data.values[rows[row][:, None], np.flatnonzero(used)[None, :], hour[:, None]]
    names = [name for name, wanted in zip(data.parameters, used, strict=True) if wanted]
    frame = pd.DataFrame(values.astype("float64"), columns=names)
    return frame.assign(batch_id=data.batch_ids[rows[row]].to_numpy(), hour=data.hours[hour])
