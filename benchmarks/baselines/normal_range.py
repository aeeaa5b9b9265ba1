"""Alarm limits at the normal operating ranges of the process definition, with an on-delay: what plants have today.

A sensor alarms when it stays outside its range for three hours, an assay with a single result outside. The score is
how far outside (or, below 0, inside) the worst parameter is, in units of the spread of good training batches, so that
a share of false alarms can be asked for; the plain alarms are the scores above `PLAIN_THRESHOLD`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks.baselines.golden_limits import ON_DELAY_H
from benchmarks.baselines.signals import Signals, held, running_maximum, signals
from features.process import ProcessDefinition
from pipelines.plant import Plant

PLAIN_THRESHOLD = 0.0
_QUARTILES_TO_SD = 1.349


def scores(plant: Plant, train: pd.Series, test: tuple[str, ...]) -> pd.DataFrame:
    """Hourly scores of test batches: `batch_id, checkpoint_h, score`; from `train` only the spreads come."""
    data = signals(plant)
    rows, spread = data.rows(test), _spread(data.values[data.rows(train.index[~train])])
    low, high = _limits(plant.process, data)
    values, single = data.values[rows], np.zeros(len(data.parameters), bool)
    worst = np.full((len(rows), len(data.hours)), np.nan, np.float32)
    for gap in (values - high[:, None], low[:, None] - values):
        outside = held(gap / spread[:, None], data, rows, hours=ON_DELAY_H, two_results=single)
        worst = np.fmax(worst, np.fmax.reduce(outside, axis=1))
    return data.frame(rows, running_maximum(worst))


def _limits(process: ProcessDefinition, data: Signals) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper limits; NaN where open."""
    normal = [process[name].normal for name in data.parameters]
    low, high = (np.array([np.nan if pair[i] is None else pair[i] for pair in normal], np.float32) for i in (0, 1))
    return low, high


def _spread(good: np.ndarray) -> np.ndarray:
    """Robust standard deviation of each parameter over batches and hours; NaN where it never varies."""
    known = [parameter[~np.isnan(parameter)] for parameter in np.moveaxis(good, 1, 0)]
    quartiles = [np.quantile(values, [0.25, 0.75]) if len(values) else (0.0, 0.0) for values in known]
    spread = np.array([(high - low) / _QUARTILES_TO_SD for low, high in quartiles])
    return np.where(spread > 0, spread, np.nan).astype(np.float32)
