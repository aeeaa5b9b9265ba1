"""Usual limits of a sensor's signs of a fault, by stage: limits from successful batches, a few of them with bad probes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from statistics import NormalDist

import numpy as np
import pandas as pd

from features.dictionary import Feature

FALSE_ALARM_SHARE = 1e-4  # of sound sensors, per check and moment, that may lie beyond a limit
LEAST_BATCHES = 50  # values at a stage without which it has no limits
LEAST = {"flat_h": 2.0, "spike_share": 0.05}  # limits are never lower: a historian's quiet gap, a single spike
_TO_SIGMA = 1.4826  # median absolute deviation to standard deviation of a normal distribution (Hampel 1974)
KIND_OF = {"gap_median": "drifting", "gap_change": "drifting", "flat_h": "flat-lined", "spike_share": "spiking"}


@dataclass(frozen=True)
class Check:
    """Usual limits of one sign of a fault of one sensor, by hours since the batch's start.

    Attributes:
        feature: Column of the snapshots.
        parameter: The sensor.
        label: The sensor's name in the process definition.
        unit: Unit of the column.
        statistic: `gap_median`, `gap_change`, `flat_h` or `spike_share`.
        hours: Stages, increasing; between them limits are interpolated, beyond them the outer ones hold.
        low: Lower limits at those hours; None where only too much is a sign.
        high: Upper limits.
    """

    feature: str
    parameter: str
    label: str
    unit: str
    statistic: str
    hours: tuple[float, ...]
    low: tuple[float, ...] | None
    high: tuple[float, ...]

    @property
    def kind(self) -> str:
        """Of the finding: `drifting`, `flat-lined` or `spiking`."""
        return KIND_OF[self.statistic]

    def limits(self, elapsed_h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper limit at some hours since start, each of shape (n,)."""
        hours, low, high = self._arrays
        below = np.full(len(elapsed_h), -np.inf) if self.low is None else np.interp(elapsed_h, hours, low)
        return below, np.interp(elapsed_h, hours, high)

    @cached_property
    def _arrays(self) -> tuple[np.ndarray, ...]:
        return tuple(np.array(values or (), float) for values in (self.hours, self.low, self.high))


def fit_check(rows: pd.DataFrame, feature: Feature) -> Check | None:
    """The check of one column; None where no stage has enough values that differ."""
    hour, value = rows["checkpoint_h"].to_numpy("float64"), rows[feature.name].to_numpy("float64")
    hour, value = hour[~np.isnan(value)], value[~np.isnan(value)]
    stages = np.unique(hour)
    limits = []
    for i, stage in enumerate(stages):
        near = stages[max(0, i - 1) : i + 2]  # a stage with the ones beside it: limits rest on more values
        if np.count_nonzero(hour == stage) >= LEAST_BATCHES:
            low, high = _usual(value[(hour >= near[0]) & (hour <= near[-1])], feature.statistic)
            if low < high:
                limits.append((float(stage), low, high))
    if not limits:
        return None
    hours, low, high = zip(*limits, strict=True)
    return Check(
        feature=feature.name,
        parameter=feature.parameter,
        label=feature.label,
        unit=feature.unit,
        statistic=feature.statistic,
        hours=hours,
        low=None if feature.statistic in LEAST else low,
        high=high,
    )


def _usual(values: np.ndarray, statistic: str) -> tuple[float, float]:
    """Limits of one sign at one stage."""
    if statistic in LEAST:
        return -np.inf, max(LEAST[statistic], float(np.quantile(values, 1 - FALSE_ALARM_SHARE, method="higher")))
    middle = float(np.median(values))
    spread = _TO_SIGMA * float(np.median(np.abs(values - middle)))
    reach = NormalDist().inv_cdf(1 - FALSE_ALARM_SHARE / 2) * spread
    return middle - reach, middle + reach
