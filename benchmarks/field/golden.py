"""Golden-batch MSPC on snapshot rows: at each checkpoint a principal-component model of the good batches.

The model is that of `benchmarks.baselines.mspc`, with checkpoints in the place of hours: newest values, means and
attributes of all parameters, in units of the good batches' spread, are one row a batch. How many components are kept is
fixed (80 % of the variance), and so is the clipping of deviations: nothing is chosen by failures.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks.baselines import mspc
from benchmarks.baselines.golden_limits import PARAMETERS
from benchmarks.baselines.reference import LEAST_VALUES
from benchmarks.baselines.signals import Signals
from features.contracts import SNAPSHOT

LEVELS = (".last", ".mean", ".value")  # of a parameter; slopes, ages and counts are no levels
CHOICE = mspc.Choice(PARAMETERS[1], clip=5.0, variance=0.8)
_LEAST_LIMIT = 1e-9


def over_limit(good: pd.DataFrame, others: pd.DataFrame, statistic: mspc.Statistic) -> np.ndarray:
    """Statistic of other rows over its 95th percentile among the good batches at the same checkpoint.

    Args:
        good: Snapshot rows of good batches.
        others: Rows to score, with the same columns.
        statistic: `t2` or `spe`.

    Returns:
        Shape (len(others),); 0 at a checkpoint that fewer than `LEAST_VALUES` good batches have.
    """
    hours, known = np.unique(good["checkpoint_h"], return_counts=True)
    hours, names = hours[known >= LEAST_VALUES], levels(good)
    score = np.zeros(len(others))
    at = np.flatnonzero(others["checkpoint_h"].isin(hours))
    if not len(hours) or not names or not len(at):
        return score
    data = _held(pd.concat([good, others.iloc[at]], keys=["good", "other"]), names, hours)
    is_good = data.batch_ids.str.startswith("good ")
    model = mspc.fit(data, np.flatnonzero(is_good), CHOICE)
    rows = np.flatnonzero(~is_good)
    squared = (mspc.model_input(model, data, rows, CHOICE.clip) @ model.vectors) ** 2
    ratio = mspc.statistics(model, squared)[statistic] / np.maximum(model.limits[statistic], _LEAST_LIMIT)[:, None]
    row = data.batch_ids[rows].get_indexer("other " + others["batch_id"].iloc[at].astype("str"))
    score[at] = ratio[np.searchsorted(hours, others["checkpoint_h"].to_numpy()[at]), row]
    return score


def levels(rows: pd.DataFrame) -> list[str]:
    """Numeric columns that hold a level of a parameter and differ; of plain columns without a dot every one."""
    numeric = [name for name in rows.select_dtypes("number").columns if name not in SNAPSHOT.names]
    held = [name for name in numeric if "." not in name or name.endswith(LEVELS)]
    return sorted(name for name in held if rows[name].min() < rows[name].max())


def _held(rows: pd.DataFrame, names: list[str], hours: np.ndarray) -> Signals:
    """Rows as held values, a step for each checkpoint; batches are called `good ID` and `other ID`."""
    rows = rows[rows["checkpoint_h"].isin(hours)]
    place, ids = pd.factorize(rows.index.get_level_values(0) + " " + rows["batch_id"].astype("str"), sort=True)
    values = np.full((len(ids), len(names), len(hours)), np.nan, np.float32)
    values[place, :, np.searchsorted(hours, rows["checkpoint_h"].to_numpy())] = rows[names].to_numpy(np.float32)
    group = pd.DataFrame({"process_version": "", "site_id": ""}, index=range(len(ids)))
    end_h = np.full(len(ids), hours[-1], dtype=float)
    ids = pd.Index(np.asarray(ids), dtype="str")
    return Signals(ids, tuple(names), np.zeros(len(names), bool), hours, values, end_h, group)
