"""Which parameters of a batch in progress can still be moved, and why the others cannot."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.dictionary import Feature
from features.process import Parameter, ProcessDefinition
from models.explain.counterfactual import Level
from models.explain.words import duration
from models.predictor import AGE

GRAIN = 100.0  # a move is said in steps of the power of ten next below this share of the normal range


@dataclass(frozen=True)
class Movable:
    """A parameter that can be moved from its newest value.

    Attributes:
        label: In the process's words.
        unit: Unit of the values.
        level: Where it stands in the snapshot.
        now: Its newest value.
        low: Lower normal limit.
        high: Upper normal limit.
    """

    label: str
    unit: str
    level: Level
    now: float
    low: float
    high: float

    @property
    def now_is(self) -> str:
        """Where its newest value lies."""
        return "below normal" if self.now < self.low else "above normal" if self.now > self.high else "normal"

    @property
    def decimals(self) -> int:
        """Decimals in which its values are said: steps of a hundredth to a thousandth of the normal range."""
        return -math.floor(math.log10((self.high - self.low) / GRAIN))

    def value(self, step: np.ndarray | int) -> np.ndarray:
        """The values at whole numbers of steps, as they are said."""
        return np.round(np.asarray(step) * 10.0**-self.decimals, self.decimals)

    @property
    def steps(self) -> tuple[int, int]:
        """The lowest and highest whole number of steps whose value lies inside the normal range."""
        first, last = (math.floor(limit * 10.0**self.decimals) for limit in (self.low, self.high))
        inside = [s for s in (first, first + 1) if self.value(s) >= self.low]
        until = [s for s in (last, last + 1) if self.value(s) <= self.high]
        return min(inside), max(until)

    def relative(self, value: np.ndarray | float) -> np.ndarray:
        """Size of a change to a value, as a share of the width of the normal range."""
        return np.abs(np.asarray(value) - self.now) / (self.high - self.low)


@dataclass(frozen=True)
class LeftOut:
    """A controllable parameter that is not moved, and why."""

    parameter: str
    label: str
    why: str


def changeable(
    snapshot: pd.Series, process: ProcessDefinition, features: tuple[Feature, ...], *, horizon_h: float
) -> tuple[tuple[Movable, ...], tuple[LeftOut, ...]]:
    """The controllable parameters of one snapshot, in order of name.

    A sensor can be moved, and an assay of which there are results from at least two different times: what was
    recorded once lies in the past. Either needs a newest value from the last `horizon_h` hours, for only those move, and
    a normal range closed on both sides, for the search stays inside.

    Args:
        snapshot: One row of `features.contracts.SNAPSHOT`.
        process: Says what is controllable and normal.
        features: Dictionary of the snapshot's columns.
        horizon_h: How far back readings move.
    """
    movable, left_out = [], []
    for parameter in process.parameter:
        if not parameter.controllable:
            continue
        level = Level.of(parameter.name, features, parameter.normal)
        why, (low, high) = _why_not(parameter, level, snapshot, horizon_h), parameter.normal
        if why or level is None or low is None or high is None:
            left_out.append(LeftOut(parameter.name, parameter.label, why))
        else:
            now = float(snapshot[level.newest])
            movable.append(Movable(parameter.label, parameter.unit, level, now, low, high))
    movable.sort(key=lambda m: m.level.parameter)
    left_out.sort(key=lambda left: left.parameter)
    return tuple(movable), tuple(left_out)


def _why_not(parameter: Parameter, level: Level | None, snapshot: pd.Series, horizon_h: float) -> str:
    """Why a parameter cannot be moved; empty where it can."""
    if parameter.kind == "attribute":
        return "fixed before the start"
    if parameter.excluded or level is None or level.newest not in snapshot:
        return "no feature of the batch"
    if None in parameter.normal:
        return "its normal range is open on a side"
    if np.isnan(snapshot[level.newest]):
        return "no value yet"
    if parameter.kind == "assay" and not _is_repeated(level, snapshot):
        return "recorded once, in the past"
    age = level.windows["since_start"].get(AGE)
    age_h = float(snapshot[age]) if age in snapshot else 0.0
    return f"its newest value is {duration(age_h)} old, from before what may move" if age_h > horizon_h else ""


def _is_repeated(level: Level, snapshot: pd.Series) -> bool:
    """Whether there are results from two different times: only then is there a slope."""
    slope = level.windows["since_start"].get("slope")
    return slope in snapshot and bool(~np.isnan(snapshot[slope]))
