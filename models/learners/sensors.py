"""Sensor fault or process fault: which sensors of a batch are at fault, by the usual signs of each.

A probe that drifts from its off-line results, a signal that no longer changes, or one that spikes is named and taken
out of the score: its features become NaN, and the trees take the path of a missing value. A process fault that the
off-line result confirms leaves no gap, so it stays. Limits come from the successful batches of the training part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import pandas as pd

from features.dictionary import Feature
from models.learners.sensor_limits import KIND_OF, Check, fit_check
from models.learners.sensor_words import SensorFinding, finding
from models.persistence import Persistent

ALSO_HIDDEN_SHARE = 0.25  # of the training batches: enough for trees to find what stands in for the sensor


@dataclass(frozen=True)
class SensorChecks(Persistent):
    """All checks of a process, frozen.

    Attributes:
        checks: One for each sensor and sign with enough batches; those of one sensor and kind in order of precedence.
        columns: Feature columns of each checked sensor: what is hidden where it is found faulty.
        version: Of the stored form.
    """

    checks: tuple[Check, ...]
    columns: dict[str, tuple[str, ...]]
    version: Literal[1] = 1

    @cached_property
    def parameters(self) -> tuple[str, ...]:
        """The checked sensors."""
        return tuple(self.columns)

    @cached_property
    def _of_parameter(self) -> np.ndarray:
        """Which check (row) is of which sensor (column)."""
        of_check = [[c.parameter == p for p in self.parameters] for c in self.checks]
        return np.array(of_check, bool).reshape(len(self.checks), len(self.parameters))

    def exceeded(self, values: np.ndarray, elapsed_h: np.ndarray) -> np.ndarray:
        """Which values lie beyond what is usual; a value that is not known (NaN) never does.

        Args:
            values: Shape (n, checks), in the order of `checks`.
            elapsed_h: Hours since start, shape (n,).

        Returns:
            Booleans of shape (n, checks).
        """
        found = np.zeros(values.shape, dtype=bool)
        if not len(values):
            return found
        for i, check in enumerate(self.checks):
            low, high = check.limits(elapsed_h)
            found[:, i] = (values[:, i] < low) | (values[:, i] > high)
        return found

    def faulty(self, values: np.ndarray, elapsed_h: np.ndarray) -> np.ndarray:
        """Which sensors are found faulty, booleans of shape (n, parameters)."""
        return self.exceeded(values, elapsed_h) @ self._of_parameter

    def findings_at(self, values: np.ndarray, elapsed_h: np.ndarray) -> list[tuple[SensorFinding, ...]]:
        """What is found in each row, at most one finding of a kind for a sensor; arguments as in `exceeded`."""
        found = self.exceeded(values, elapsed_h)
        made: list[tuple[SensorFinding, ...]] = [()] * len(values)
        for row in np.flatnonzero(found.any(axis=1)):
            made[row] = self._findings_of(found[row], values[row], elapsed_h[row : row + 1])
        return made

    def _findings_of(self, found: np.ndarray, values: np.ndarray, elapsed_h: np.ndarray) -> tuple[SensorFinding, ...]:
        first: dict[tuple[str, str], SensorFinding] = {}
        for i in np.flatnonzero(found):
            check, value = self.checks[i], float(values[i])
            low, high = (float(limit[0]) for limit in check.limits(elapsed_h))
            first.setdefault((check.parameter, check.kind), finding(check, value, low, high))
        return tuple(first.values())

    def also_hidden(self, batch_ids: np.ndarray, *, share: float = ALSO_HIDDEN_SHARE) -> np.ndarray:
        """Sensors to hide in training although no fault was found, booleans of shape (n, parameters).

        LightGBM reads NaN as 0 in a column that was never NaN in training, and a pH of 0 is no missing pH. So every
        checked sensor has to be missing in batches of either outcome. Which batches depends on their id and the
        sensor alone: neither outcome nor order of rows plays a part.

        Args:
            batch_ids: Batch of each row, shape (n,).
            share: Share of the batches, per sensor.
        """
        ids, batch = np.unique(batch_ids.astype(str), return_inverse=True)
        drawn = np.array([[_draw(p, i) < share for p in self.parameters] for i in ids], dtype=bool)
        return drawn.reshape(len(ids), len(self.parameters))[batch]

    def hides(self, columns: Sequence[str]) -> np.ndarray:
        """Which columns of a matrix are hidden with which sensor, booleans of shape (parameters, columns).

        A matrix is masked by `X[faulty @ checks.hides(encoder.columns)] = nan`.
        """
        hidden = [np.isin(columns, self.columns[p]) for p in self.parameters]
        return np.array(hidden, bool).reshape(len(self.parameters), len(columns))


def fit_sensor_checks(snapshots: pd.DataFrame, features: Sequence[Feature], succeeded: pd.Index) -> SensorChecks:
    """Learn what is usual for every sensor.

    Some of the successful batches had a bad probe themselves. Two-sided limits are therefore median and median
    absolute deviation, with the normal quantile of `FALSE_ALARM_SHARE`; the one-sided ones, whose distributions have
    most of their mass at 0, are quantiles (the largest value seen where there are fewer than 1 / share).

    Args:
        snapshots: `features.contracts.SNAPSHOT`; of batches other than `succeeded` nothing is read.
        features: Feature dictionary of the columns.
        succeeded: Successful batches of the training part.
    """
    rows = snapshots[snapshots["batch_id"].isin(succeeded)]
    checks = [fit_check(rows, f) for s in KIND_OF for f in features if f.statistic == s]
    made = tuple(check for check in checks if check is not None)
    sensors = sorted({check.parameter for check in made})
    return SensorChecks(made, {p: tuple(f.name for f in features if f.parameter == p) for p in sensors})


def _draw(parameter: str, batch_id: str) -> float:
    """A number in [0, 1) that belongs to a batch and a sensor."""
    return int.from_bytes(hashlib.sha256(f"{parameter}\n{batch_id}".encode()).digest()[:6]) / 2**48
