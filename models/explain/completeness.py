"""What a model would have liked to know of a batch and does not, or knows only as it was a while ago."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from features.dictionary import Feature
from models.predictor import AGE, Predictor

NOT_A_VALUE = frozenset({"n", AGE, "n_missing", "n_bad"})  # known even where nothing was measured
NOT_MEASURED = ("lot.", "event.")  # subjects whose age is not that of a value: a lot in use, a deviation
ROUNDING_H = 1e-6  # an age is this much above the usual one before it is stale


def missing(predictor: Predictor, snapshots: pd.DataFrame) -> list[list[str]]:
    """Parameters that the model uses and of which a snapshot knows no value, by name."""
    places = by_parameter(predictor.features)
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


def by_parameter(features: tuple[Feature, ...]) -> dict[str, list[Feature]]:
    """The features of each parameter, in the order of the dictionary."""
    out: dict[str, list[Feature]] = {}
    for feature in features:
        out.setdefault(feature.parameter, []).append(feature)
    return out
