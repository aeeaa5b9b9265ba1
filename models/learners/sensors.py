"""Sensor fault or process fault: which sensors of a batch are not to be believed, by what is usual for each.

A probe that drifts from its off-line results, a signal that no longer changes, or one that spikes is named and taken
out of the score: its features become NaN, and the trees take the path of a missing value. A process fault that the
off-line result confirms leaves no gap, so it stays. Limits come from the successful batches of the training part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

from features.dictionary import Feature
from features.errors import ContractError

VERSION = 1
FALSE_ALARM_SHARE = 1e-4  # of sound sensors, per check and moment, that may lie beyond a limit
LEAST_BATCHES = 50  # values at a stage, below which nothing is said of what is usual there
ALSO_HIDDEN_SHARE = 0.25  # of the training batches: enough for trees to find what stands in for the sensor
LEAST = {"flat_h": 2.0, "spike_share": 0.05}  # limits are never lower: a historian's quiet gap, a single spike
_TO_SIGMA = 1.4826  # median absolute deviation to standard deviation of a normal distribution (Hampel 1974)
KIND_OF = {"gap_median": "drifting", "gap_change": "drifting", "flat_h": "flat-lined", "spike_share": "spiking"}


@dataclass(frozen=True)
class Check:
    """What is usual for one sign of a fault of one sensor, by hours since the batch's start.

    Attributes:
        feature: Column of the snapshots.
        parameter: The sensor.
        label: The sensor in the process's words.
        unit: Unit of the column.
        statistic: `gap_median`, `gap_change`, `flat_h` or `spike_share`.
        hours: Stages, increasing; between them limits are interpolated, beyond them the outer ones hold.
        low: Lower limits at those hours; -inf where only too much is a sign.
        high: Upper limits.
    """

    feature: str
    parameter: str
    label: str
    unit: str
    statistic: str
    hours: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]

    @property
    def kind(self) -> str:
        """Of the finding: `drifting`, `flat-lined` or `spiking`."""
        return KIND_OF[self.statistic]

    def limits(self, elapsed_h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper limit at some hours since start, each of shape (n,)."""
        hours, low, high = self._arrays
        below = np.full(len(elapsed_h), -np.inf) if np.isneginf(low[0]) else np.interp(elapsed_h, hours, low)
        return below, np.interp(elapsed_h, hours, high)

    @cached_property
    def _arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return np.array(self.hours), np.array(self.low), np.array(self.high)


@dataclass(frozen=True)
class SensorFinding:
    """One sensor of one batch that is not to be believed.

    Attributes:
        parameter: The sensor.
        kind: `drifting`, `flat-lined` or `spiking`.
        value: What was seen, in the unit of the check.
        usual_low: Lower end of what is usual at that hour, -inf where there is none.
        usual_high: Upper end.
        text: One sentence.
    """

    parameter: str
    kind: str
    value: float
    usual_low: float
    usual_high: float
    text: str


@dataclass(frozen=True)
class SensorChecks:
    """All checks of a process, frozen.

    Attributes:
        checks: One for each sensor and sign with enough batches; those of one sensor and kind in order of precedence.
        columns: Feature columns of each checked sensor: what is hidden where it is found faulty.
    """

    checks: tuple[Check, ...]
    columns: dict[str, tuple[str, ...]]

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
        values, elapsed_h = self.values(snapshots), snapshots["checkpoint_h"].to_numpy("float64")
        found = self.exceeded(values, elapsed_h)
        made: list[tuple[SensorFinding, ...]] = [()] * len(snapshots)
        for row in np.flatnonzero(found.any(axis=1)):
            made[row] = self._findings_of(found[row], values[row], elapsed_h[row : row + 1])
        return made

    def _findings_of(self, found: np.ndarray, values: np.ndarray, elapsed_h: np.ndarray) -> tuple[SensorFinding, ...]:
        first: dict[tuple[str, str], SensorFinding] = {}
        for i in np.flatnonzero(found):
            check, value = self.checks[i], float(values[i])
            low, high = (float(limit[0]) for limit in check.limits(elapsed_h))
            text = _SENTENCE[check.statistic](check, value, low, high)
            finding = SensorFinding(check.parameter, check.kind, value, low, high, text)
            first.setdefault((check.parameter, check.kind), finding)
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
        return self._hide(snapshots, self._faulty_in(snapshots) | drawn.reshape(len(ids), -1)[batch])

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

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; an open lower limit is null."""
        checks = [
            asdict(c)
            | {"hours": list(c.hours), "low": None if np.isneginf(c.low[0]) else list(c.low), "high": list(c.high)}
            for c in self.checks
        ]
        return {"version": VERSION, "checks": checks, "columns": {p: list(names) for p, names in self.columns.items()}}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> SensorChecks:
        """Back from `to_json`.

        Raises:
            ContractError: It was written by another version of the checks.
        """
        if data["version"] != VERSION:
            raise ContractError(f"sensor checks version {data['version']}", expected=f"version {VERSION}")
        checks = []
        for check in data["checks"]:
            hours, high = tuple(check["hours"]), tuple(check["high"])
            low = (-np.inf,) * len(hours) if check["low"] is None else tuple(check["low"])
            checks.append(Check(**check | {"hours": hours, "low": low, "high": high}))
        return cls(tuple(checks), {p: tuple(names) for p, names in data["columns"].items()})


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
    most of their mass at 0, are quantiles.

    Args:
        snapshots: `features.contracts.SNAPSHOT`; of batches other than `succeeded` nothing is read.
        features: Feature dictionary of the columns.
        succeeded: Successful batches of the training part.
        false_alarm_share: Share of sound sensors that may lie beyond a limit, per check and moment.
    """
    rows = snapshots[snapshots["batch_id"].isin(succeeded)]
    checks = [_check(rows, f, false_alarm_share) for s in KIND_OF for f in features if f.statistic == s]
    made = tuple(check for check in checks if check is not None)
    sensors = sorted({check.parameter for check in made})
    return SensorChecks(made, {p: tuple(f.name for f in features if f.parameter == p) for p in sensors})


def _check(rows: pd.DataFrame, feature: Feature, share: float) -> Check | None:
    """The check of one column; None where no stage has enough values that differ."""
    hour, value = rows["checkpoint_h"].to_numpy("float64"), rows[feature.name].to_numpy("float64")
    hour, value = hour[~np.isnan(value)], value[~np.isnan(value)]
    stages = np.unique(hour)
    limits = []
    for i, stage in enumerate(stages):
        near = stages[max(0, i - 1) : i + 2]  # a stage with the ones beside it: limits rest on more values
        if np.count_nonzero(hour == stage) >= LEAST_BATCHES:
            low, high = _usual(value[(hour >= near[0]) & (hour <= near[-1])], feature.statistic, share)
            if low < high:
                limits.append((float(stage), low, high))
    if not limits:
        return None
    hours, low, high = zip(*limits, strict=True)
    return Check(feature.name, feature.parameter, feature.label, feature.unit, feature.statistic, hours, low, high)


def _usual(values: np.ndarray, statistic: str, share: float) -> tuple[float, float]:
    """Limits of one sign at one stage."""
    if statistic in LEAST:
        return -np.inf, max(LEAST[statistic], float(np.quantile(values, 1 - share, method="higher")))
    middle = float(np.median(values))
    spread = _TO_SIGMA * float(np.median(np.abs(values - middle)))
    reach = NormalDist().inv_cdf(1 - share / 2) * spread
    return middle - reach, middle + reach


def _draw(parameter: str, batch_id: str) -> float:
    """A number in [0, 1) that belongs to a batch and a sensor."""
    return int.from_bytes(hashlib.sha256(f"{parameter}\n{batch_id}".encode()).digest()[:6]) / 2**48


def _number(value: float, unit: str) -> str:
    text = f"{value:.0f}" if value >= 10 else f"{value:.2g}"
    return text + (f" {unit}" if unit not in ("", "1") else "")


def _drifts(check: Check, value: float, low: float, high: float) -> str:
    side = "above" if value > 0 else "below"
    within = _number(max(abs(low), abs(high)), check.unit)
    return (
        f"{check.label}: the signal in line reads {_number(abs(value), check.unit)} {side} the off-line result "
        f"(usual within {within}): the probe drifts"
    )


def _moved(check: Check, value: float, low: float, high: float) -> str:
    way = "up" if value > 0 else "down"
    within = _number(max(abs(low), abs(high)), check.unit)
    return (
        f"{check.label}: the signal in line has moved {_number(abs(value), check.unit)} {way} against the off-line result "
        f"since the first samples (usual within {within}): the probe drifts"
    )


def _stands(check: Check, value: float, low: float, high: float) -> str:
    return (
        f"{check.label} has not changed for {_number(value, 'h')} (usual at most {_number(high, 'h')}): "
        "the signal is stuck"
    )


def _spikes(check: Check, value: float, low: float, high: float) -> str:
    return (
        f"{check.label} spikes in {_number(100 * value, '%')} of the hours (usual at most {_number(100 * high, '%')}): "
        "the signal is disturbed"
    )


_SENTENCE: dict[str, Callable[[Check, float, float, float], str]] = {
    "gap_median": _drifts, "gap_change": _moved, "flat_h": _stands, "spike_share": _spikes,
}  # fmt: skip
