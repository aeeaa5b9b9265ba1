"""Reasons in the process's own words, from fixed templates: no text is generated, every number is the model's.

"Compression force, mean since the start: 7.9 kN (normal 4 to 6), newest 8.2; +12.0 points"
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from features.dictionary import Feature
from features.process import Interval, ProcessDefinition
from models.predictor import AGE, Predictor

_LEVELS = frozenset({"value", "first", "last", "mean", "min", "max", "median"})  # comparable with the normal range
_NEWEST = ("last", "value")  # statistics that are the newest value itself
NOT_A_VALUE = frozenset({"n", AGE, "n_missing", "n_bad"})  # known even where nothing was measured
_SHARES = ("_share", "_rate")  # endings of statistics between 0 and 1, said in percent
_PURE = frozenset({"", "1", "category"})  # units that are not said
NOT_MEASURED = ("lot.", "event.")  # subjects whose age is not that of a value: a lot in use, a deviation
ROUNDING_H = 1e-6  # an age is this much above the usual one before it is stale
SMALLEST = 0.05  # percentage points: what would read as 0.0 is no reason


@dataclass(frozen=True)
class Reason:
    """Why a probability is not the base probability: one parameter.

    Attributes:
        parameter: Parameter of the process, or a subject such as a lot.
        label: In the process's words.
        feature: The feature with the largest contribution; the sentence speaks of it.
        value: Its value, a number or a category; None where not known.
        unit: Unit of the value.
        normal: Normal operating range of the parameter; None on a side that is open.
        points: Percentage points that the parameter adds to the probability, all its features together.
        newest: Newest value of the parameter, in its own unit, where the snapshot has it; None otherwise.
        sentence: All of it, to read.
    """

    parameter: str
    label: str
    feature: str
    value: float | str | None
    unit: str
    normal: Interval
    points: float
    newest: float | None
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; the contribution is rounded to a hundredth of a point."""
        return vars(self) | {"normal": list(self.normal), "points": round(self.points, 2)}


def reasons(
    predictor: Predictor, snapshots: pd.DataFrame, process: ProcessDefinition, *, top: int = 5
) -> list[tuple[Reason, ...]]:
    """The parameters that move each snapshot's probability most, largest first.

    Args:
        predictor: Frozen.
        snapshots: `features.contracts.SNAPSHOT`.
        process: For labels' normal ranges.
        top: Reasons per snapshot at most.

    Returns:
        One tuple per snapshot, in its order; parameters that add nothing are not named.
    """
    points = predictor.percentage_points(predictor.contributions(snapshots))
    sums = predictor.by_parameter(points)
    places = _features_by_parameter(predictor.features)
    out = []
    for (_, row), (_, total), (_, snapshot) in zip(
        points.iterrows(), sums.iterrows(), snapshots.iterrows(), strict=True
    ):
        order = total.abs().sort_values(ascending=False, kind="stable").index[:top]
        named = [str(name) for name in order if abs(total[name]) >= SMALLEST]
        out.append(tuple(reason_of(name, places[name], float(total[name]), row, snapshot, process) for name in named))
    return out


def missing(predictor: Predictor, snapshots: pd.DataFrame) -> list[list[str]]:
    """Parameters that the model uses and of which a snapshot knows no value, by name."""
    places = _features_by_parameter(predictor.features)
    valued = {p: [f.name for f in fs if f.statistic not in NOT_A_VALUE] for p, fs in places.items()}
    absent = pd.DataFrame(
        {p: snapshots[names].isna().all(axis=1) for p, names in valued.items() if names}, index=snapshots.index
    )
    return [[str(p) for p in absent.columns[row]] for row in absent.to_numpy(bool)]


def stale(predictor: Predictor, snapshots: pd.DataFrame, features: tuple[Feature, ...]) -> list[dict[str, float]]:
    """Parameters whose newest value is older than it usually is at that checkpoint, with its age in hours.

    Args:
        predictor: Knows the usual ages.
        snapshots: `features.contracts.SNAPSHOT`.
        features: Dictionary of all their columns: an age need not be a feature of the model.
    """
    ages = {
        f.parameter: f.name
        for f in features
        if f.statistic == AGE
        and f.name in snapshots
        and f.parameter in predictor.usual_ages
        and not f.parameter.startswith(NOT_MEASURED)
    }
    out: list[dict[str, float]] = [{} for _ in range(len(snapshots))]
    for parameter, column in ages.items():
        usual = predictor.usual_ages[parameter]
        limit = snapshots["checkpoint_h"].map(lambda hours, usual=usual: usual_age(usual, hours)).to_numpy(float)
        age = snapshots[column].to_numpy(float)
        for row in np.flatnonzero(age > limit + ROUNDING_H):
            out[row][parameter] = float(age[row])
    return out


def usual_age(usual: dict[str, float], checkpoint_h: float) -> float:
    """Usual age at a time after the start, along a straight line between the checkpoints of training.

    Past the last checkpoint the age grows by the hours since then. So what is measured once, at the start, is as old as
    the batch and never stale.

    Args:
        usual: Age in hours by checkpoint (as text).
        checkpoint_h: Hours since the start.

    Returns:
        Hours; NaN (never stale) before the first checkpoint at which the parameter had a value.
    """
    known = sorted((float(hours), age) for hours, age in usual.items())
    if not known or checkpoint_h < known[0][0]:
        return math.nan
    hours, ages = zip(*known, strict=True)
    return float(np.interp(checkpoint_h, hours, ages)) + max(0.0, checkpoint_h - hours[-1])


def number(value: float) -> str:
    """A number as people write it: three significant digits, whole ones from 1000 on, no trailing zeros."""
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.3g}"
    return f"{float(f'{value:.3g}'):g}" if abs(value) < 1e3 else f"{value:.0f}"


def _features_by_parameter(features: tuple[Feature, ...]) -> dict[str, list[Feature]]:
    out: dict[str, list[Feature]] = {}
    for feature in features:
        out.setdefault(feature.parameter, []).append(feature)
    return out


def reason_of(
    parameter: str,
    features: Sequence[Feature],
    points: float,
    row: Mapping[str, float] | pd.Series,
    snapshot: Mapping[str, float | str | None] | pd.Series,
    process: ProcessDefinition,
) -> Reason:
    """The reason that one parameter is.

    Args:
        parameter: Its name.
        features: Its features in the model.
        points: Percentage points of all of them together.
        row: Percentage points by feature.
        snapshot: Values by feature.
        process: For the normal range.
    """
    # the feature that pulls hardest in the direction of the sum
    spoken = max(features, key=lambda feature: (row[feature.name] * np.sign(points), feature.name))
    value = _plain(snapshot[spoken.name])
    known = process.by_name.get(parameter)
    normal = known.normal if known else (None, None)
    last = _plain(next((snapshot[f.name] for f in features if f.statistic in _NEWEST), None))
    newest = None if isinstance(last, str) else last
    return Reason(
        parameter=parameter,
        label=spoken.label,
        feature=spoken.name,
        value=value,
        unit=spoken.unit,
        normal=normal,
        points=points,
        newest=newest,
        sentence=_sentence(spoken, value, normal, newest, points),
    )


def _sentence(
    feature: Feature, value: float | str | None, normal: Interval, newest: float | None, points: float
) -> str:
    said = _said(feature, value)
    if value is not None and not isinstance(value, str) and feature.statistic in _LEVELS:
        said += _normal(normal)
    if newest is not None and feature.statistic not in _NEWEST:
        said += f", newest {number(newest)}"
    return f"{in_words(feature)}: {said}; {points:+.1f} points"


def in_words(feature: Feature) -> str:
    """The feature's meaning, led by the parameter where it names it: "lowest value of pH" is "pH, lowest value"."""
    before, of_label, after = feature.meaning.partition(f" of {feature.label}")
    if of_label and (not after or after.startswith(" ")):
        return f"{feature.label}, {before}{after}"
    words = feature.meaning or feature.label
    return words if words.startswith(feature.label) else words[:1].upper() + words[1:]


def _said(feature: Feature, value: float | str | None) -> str:
    if value is None:
        return "not recorded" if feature.window == "before_start" else "no value yet"
    if isinstance(value, str):
        return value
    if feature.statistic.endswith(_SHARES):
        return f"{number(100 * value)} %"
    return _with_unit(number(value), feature.unit)


def _with_unit(text: str, unit: str) -> str:
    """A number and its unit; `1e6 cells/mL` follows as `0.5e6 cells/mL`."""
    if unit in _PURE:
        return text
    power = unit.startswith("1e") and "e" not in text
    return f"{text}{unit[1:]}" if power else f"{text} {unit}"


def _normal(normal: Interval) -> str:
    low, high = normal
    if low is not None and high is not None:
        return f" (normal {low:g} to {high:g})"
    if low is not None:
        return f" (normal from {low:g})"
    return f" (normal up to {high:g})" if high is not None else ""


def _plain(value: Any) -> float | str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)) or value is pd.NA:
        return None
    return value if isinstance(value, str) else float(value)
