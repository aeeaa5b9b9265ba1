"""A snapshot as it would be had one parameter been brought to another level over the last hours, history left alone.

The rule, for a parameter whose newest value is u, brought to v over the last `horizon_h` hours. With d = v - u, each of
the readings in that time moves by d but never past v, and readings already beyond v stay:

    g(x) = max(x, min(x + d, v)) for d > 0,  min(x, max(x + d, v)) for d < 0

- the newest value becomes v, and the change from first to newest value follows: the first one is history, unless the
  whole batch lies within the horizon;
- in every window that lies within the horizon (the window since the start too, in a batch that is no older): lowest,
  highest and mean value become g of themselves, for the lowest and highest exactly, for the mean as if it were such
  a reading. Standard deviation and slope shrink as the distance from lowest to highest does. A share of readings
  outside normal becomes 0 where the lowest (highest) value is now inside; else it stays, which is at most too much;
- in every longer window only the lowest and highest value move, and only outwards, so that v lies between them;
- a level of some hours ago moves as a mean does, where all that it averages lies within the horizon;
- all else stays: ages, an assay's slope, slopes and means over longer times, everything known before the start, all other parameters.

So v = u changes nothing, g never widens a window, and lowest <= mean <= highest, lowest <= newest <= highest hold
afterwards where they held before. What other parameters would have done in answer is not known, and not guessed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from features.course import is_course, reaches_back_h
from features.dictionary import Feature
from features.process import Interval

SINCE_START = "since_start"
_RECENT = re.compile(r"^last_(\d+(?:\.\d+)?)h$")
_SPREADS = ("sd", "slope")


@dataclass(frozen=True)
class Level:
    """Where the level of one parameter stands in a snapshot.

    Attributes:
        parameter: Its name.
        newest: Column of its newest value.
        delta: Column of its change from first to newest value, where there is one.
        windows: Columns by window and statistic.
        normal: Normal range of the parameter, for the shares outside.
        lagged: Columns of its levels of some hours ago, and the hours to the oldest reading in each.
    """

    parameter: str
    newest: str
    delta: str | None
    windows: dict[str, dict[str, str]]
    normal: Interval
    lagged: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, parameter: str, features: tuple[Feature, ...], normal: Interval) -> Level | None:
        """From the dictionary; None for a parameter without a newest value of its own in the batch."""
        windows: dict[str, dict[str, str]] = {}
        for feature in features:
            if feature.parameter == parameter and (feature.window == SINCE_START or _RECENT.match(feature.window)):
                windows.setdefault(feature.window, {})[feature.statistic] = feature.name
        whole = windows.get(SINCE_START, {})
        if "last" not in whole:
            return None
        lagged = {f.name: reaches_back_h(f) for f in features if f.parameter == parameter and is_course(f)}
        return cls(parameter, whole["last"], whole.get("delta"), windows, normal, lagged)


def brought_to(candidates: pd.DataFrame, level: Level, values: np.ndarray, *, horizon_h: float) -> pd.DataFrame:
    """Copies of snapshots with one parameter brought to a value each, by the rule of this module.

    Args:
        candidates: `features.contracts.SNAPSHOT`, one row per value.
        level: Where the parameter stands; columns that the snapshots lack are passed over.
        values: The new values, shape (n,).
        horizon_h: How far back readings move.

    Returns:
        A new frame with the same columns; NaN stays NaN.
    """
    now = candidates[level.newest].to_numpy(float)
    values = np.where(np.isnan(now), now, values)
    elapsed_h = candidates["checkpoint_h"].to_numpy(float)
    changed = {level.newest: values}
    if level.delta is not None and level.delta in candidates:
        delta = candidates[level.delta].to_numpy(float)
        first = np.where(elapsed_h <= horizon_h, _moved(now - delta, now, values), now - delta)
        changed[level.delta] = np.where(values == now, delta, values - first)
    for window, columns in level.windows.items():
        old = {s: candidates[name].to_numpy(float) for s, name in columns.items() if name in candidates}
        recent = np.minimum(_length_h(window), elapsed_h) <= horizon_h
        moved, kept = _recent(old, now, values, level.normal), _longer(old, values)
        for statistic in moved.keys() | kept.keys():
            new = np.where(recent, moved.get(statistic, old[statistic]), kept.get(statistic, old[statistic]))
            changed[columns[statistic]] = new
    for name, back_h in level.lagged.items():
        if name in candidates:
            old = candidates[name].to_numpy(float)
            changed[name] = np.where(np.minimum(back_h, elapsed_h) <= horizon_h, _moved(old, now, values), old)
    return candidates.assign(**changed)


def _length_h(window: str) -> float:
    found = _RECENT.match(window)
    return float(found[1]) if found else np.inf


def _recent(old: dict[str, np.ndarray], now: np.ndarray, values: np.ndarray, normal: Interval) -> dict[str, np.ndarray]:
    new = {s: _moved(old[s], now, values) for s in ("min", "max", "mean") if s in old}
    if "min" not in new or "max" not in new:
        return new
    width = old["max"] - old["min"]
    shrunk = np.minimum(np.divide(new["max"] - new["min"], width, out=np.ones_like(width), where=width > 0), 1.0)
    new |= {s: old[s] * shrunk for s in _SPREADS if s in old}
    low, high = normal
    for share, inside in (
        ("below_normal_share", new["min"] >= (-np.inf if low is None else low)),
        ("above_normal_share", new["max"] <= (np.inf if high is None else high)),
    ):
        if share in old:
            new[share] = np.where(inside, 0.0, old[share])
    return new


def _longer(old: dict[str, np.ndarray], values: np.ndarray) -> dict[str, np.ndarray]:
    outer = {"min": np.minimum, "max": np.maximum}
    return {s: widen(old[s], values) for s, widen in outer.items() if s in old}


def _moved(x: np.ndarray, now: np.ndarray, to: np.ndarray) -> np.ndarray:
    """The rule's g; NaN where x is. Written so that what equals `now` becomes `to` to the last bit."""
    with_the_rest = x + (to - now)
    up = np.where(x >= now, np.maximum(x, to), np.minimum(with_the_rest, to))
    down = np.where(x <= now, np.minimum(x, to), np.maximum(with_the_rest, to))
    return np.where(to > now, up, np.where(to < now, down, x))
