"""Sensor fault or process fault: which sensors of a batch are not to be believed, by what is usual for each.

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
from features.errors import ContractError
from models.learners.sensor_limits import FALSE_ALARM_SHARE, KIND_OF, Check, fit_check
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
        return np.array([[c.parameter == p for p in self.parameters] for c in self.checks]).reshape(
            len(self.checks), len(self.parameters)
        )

    def values(self, snapshots: pd.DataFrame) -> np.ndarray:
        """The checked columns, shape (n, checks).

        Raises:
            ContractError: A column is absent.
        """
        absent = [c.feature for c in self.checks if c.feature not in snapshots]
        if absent:
            raise ContractError(
                f"snapshots lack the feature {absent[0]!r}",
                expected="the features that the sensor checks were fitted on",
                remedy="Rebuild the features with the process definition of the model.",
            )
        columns = [snapshots[c.feature].to_numpy("float64") for c in self.checks]
        return np.column_stack(columns) if columns else np.empty((len(snapshots), 0))

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

    def findings(self, snapshots: pd.DataFrame) -> list[tuple[SensorFinding, ...]]:
        """What is found in each snapshot, at most one finding of a kind for a sensor.

        Args:
            snapshots: `checkpoint_h` and the checked columns.
        """
        return self.findings_at(self.values(snapshots), snapshots["checkpoint_h"].to_numpy("float64"))

    def findings_at(self, values: np.ndarray, elapsed_h: np.ndarray) -> list[tuple[SensorFinding, ...]]:
        """The same of the checked columns alone, shape (n, checks), at hours since start, shape (n,)."""
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

    def masked(self, snapshots: pd.DataFrame) -> pd.DataFrame:
        """The snapshots with all columns of a faulty sensor NaN; the frame that was given is left as it is."""
        return self._hide(snapshots, self._faulty_in(snapshots))

    def for_training(self, snapshots: pd.DataFrame, *, also_hidden_share: float = ALSO_HIDDEN_SHARE) -> pd.DataFrame:
        """The snapshots as trees should be trained on them: masked, and each sensor hidden in some more batches.

        LightGBM reads NaN as 0 in a column that was never NaN in training, and a pH of 0 is no missing pH. So every
        checked sensor has to be missing in batches of either outcome. Which batches depends on their id and the
        sensor alone: neither outcome nor order of rows plays a part.

        Args:
            snapshots: Snapshots of training batches.
            also_hidden_share: Share of the batches, per sensor.
        """
        ids, batch = np.unique(snapshots["batch_id"].to_numpy(str), return_inverse=True)
        drawn = np.array([[_draw(p, i) < also_hidden_share for p in self.parameters] for i in ids], dtype=bool)
        return self._hide(snapshots, self._faulty_in(snapshots) | drawn.reshape(len(ids), len(self.parameters))[batch])

    def _faulty_in(self, snapshots: pd.DataFrame) -> np.ndarray:
        return self.faulty(self.values(snapshots), snapshots["checkpoint_h"].to_numpy("float64"))

    def _hide(self, snapshots: pd.DataFrame, faulty: np.ndarray) -> pd.DataFrame:
        hidden = {}
        for i in np.flatnonzero(faulty.any(axis=0)):
            for name in self.columns[self.parameters[i]]:
                if name in snapshots:
                    hidden[name] = np.where(faulty[:, i], np.nan, snapshots[name].to_numpy("float64"))
        return snapshots.assign(**hidden)

    def hides(self, columns: Sequence[str]) -> np.ndarray:
        """Which columns of a matrix are hidden with which sensor, booleans of shape (parameters, columns).

        With it a matrix is masked without a frame: `X[faulty @ checks.hides(encoder.columns)] = nan`.
        """
        return np.array([[name in set(self.columns[p]) for name in columns] for p in self.parameters]).reshape(
            len(self.parameters), len(columns)
        )


def fit_sensor_checks(
    snapshots: pd.DataFrame,
    features: Sequence[Feature],
    succeeded: pd.Index,
    *,
    false_alarm_share: float = FALSE_ALARM_SHARE,
) -> SensorChecks:
    """Learn what is usual for every sensor.

    Some of the successful batches had a bad probe themselves. Two-sided limits are therefore median and median
    absolute deviation, with the normal quantile of `false_alarm_share`; the one-sided ones, whose distributions have
    most of their mass at 0, are quantiles (the largest value seen where there are fewer than 1 / share).

    Args:
        snapshots: `features.contracts.SNAPSHOT`; of batches other than `succeeded` nothing is read.
        features: Feature dictionary of the columns.
        succeeded: Successful batches of the training part.
        false_alarm_share: Share of sound sensors that may lie beyond a limit, per check and moment.
    """
    rows = snapshots[snapshots["batch_id"].isin(succeeded)]
    checks = [fit_check(rows, f, false_alarm_share) for s in KIND_OF for f in features if f.statistic == s]
    made = tuple(check for check in checks if check is not None)
    sensors = sorted({check.parameter for check in made})
    return SensorChecks(made, {p: tuple(f.name for f in features if f.parameter == p) for p in sensors})


def _draw(parameter: str, batch_id: str) -> float:
    """A number in [0, 1) that belongs to a batch and a sensor."""
    return int.from_bytes(hashlib.sha256(f"{parameter}\n{batch_id}".encode()).digest()[:6]) / 2**48
