"""What is usual: good training batches by parameter and hour, where there are enough by process version and site."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.baselines.signals import Signals

LEAST_BATCHES = 100  # good training batches that a group needs for usual values of its own
LEAST_VALUES = 20  # of an hour, below which nothing is usual there
_QUANTILE = 0.975  # its distance from the median is the spread: the bulk says little of how far good batches go
_NORMAL_DEVIATE = 1.959964  # of that quantile
_LEAST_SPREAD = 0.2  # of the parameter's median spread: an hour at which all batches agree is no reason for z = 1000


@dataclass(frozen=True)
class Usual:
    """Location and one-sided spreads of a group, each of shape (parameters, H); NaN where too little is known."""

    location: np.ndarray
    above: np.ndarray
    below: np.ndarray


@dataclass(frozen=True)
class Reference:
    """What is usual.

    Attributes:
        by: Columns of `Signals.group` that split the batches, coarse to fine; empty: none.
        usual: By group; () holds all batches.
    """

    by: tuple[str, ...]
    usual: dict[tuple[str, ...], Usual]

    def z(self, data: Signals, rows: np.ndarray) -> np.ndarray:
        """Deviation from the median in units of the spread on its side, about that of a standard normal deviate.

        A batch of a group without usual values is compared with the coarser group, at last with all batches.

        Returns:
            float32, shape (len(rows), parameters, H); NaN where the value or what is usual is unknown.
        """
        out = np.empty((len(rows), *data.values.shape[1:]), np.float32)
        keys = _keys(data.group.iloc[rows], self.by)
        for key in set(keys):
            own = np.array([k == key for k in keys])
            near = self.usual[next(key[:n] for n in range(len(key), -1, -1) if key[:n] in self.usual)]
            gap = data.values[rows[own]] - near.location
            out[own] = np.where(gap > 0, gap / near.above, gap / near.below)
        return out


def fit_reference(data: Signals, good: np.ndarray, by: tuple[str, ...] = ()) -> Reference:
    """Learn what is usual.

    Args:
        data: Held values.
        good: Places of good training batches.
        by: Columns of `Signals.group`, coarse to fine; groups of fewer than `LEAST_BATCHES` have no values of their own.
    """
    usual = {}
    keys = _keys(data.group.iloc[good], by)
    for depth in range(len(by) + 1):
        cut = [key[:depth] for key in keys]
        for key in sorted(set(cut)):
            members = good[np.array([k == key for k in cut])]
            if depth == 0 or len(members) >= LEAST_BATCHES:
                usual[key] = _usual(data.values[members])
    return Reference(by, usual)


def _keys(group: pd.DataFrame, by: tuple[str, ...]) -> list[tuple[str, ...]]:
    return list(zip(*(group[name] for name in by), strict=True)) if by else [()] * len(group)


def _usual(values: np.ndarray) -> Usual:
    ordered = np.sort(values, axis=0)  # NaN last
    known = (~np.isnan(ordered)).sum(axis=0)

    def quantile(share: float) -> np.ndarray:
        place = np.round(share * np.maximum(known - 1, 0)).astype(int)
        return np.where(known >= LEAST_VALUES, np.take_along_axis(ordered, place[None], axis=0)[0], np.nan)

    median = quantile(0.5)
    above, below = quantile(_QUANTILE) - median, median - quantile(1 - _QUANTILE)
    return Usual(median, _floored(above / _NORMAL_DEVIATE), _floored(below / _NORMAL_DEVIATE))


def _floored(spread: np.ndarray) -> np.ndarray:
    spread = np.where(spread > 0, spread, np.nan)
    ordered = np.sort(spread, axis=1)
    known = np.maximum((~np.isnan(ordered)).sum(axis=1), 1)
    return np.fmax(spread, _LEAST_SPREAD * ordered[np.arange(len(ordered)), (known - 1) // 2][:, None])
