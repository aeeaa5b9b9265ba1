"""The search for the smallest move inside the normal range that brings one snapshot below a threshold."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from models.explain.changeable import Movable
from models.explain.counterfactual import brought_to

Predict = Callable[[pd.DataFrame], np.ndarray]

_GRID = 25  # values per parameter alone
_PAIRS_TAKE = 4  # every so many of them in a pair: what does not do alone cannot come back as half a pair
_ROUNDING = 1e-6  # of a step
_IN_PAIRS = 6  # parameters that are tried in pairs: those that lower the risk most alone


@dataclass(frozen=True)
class Move:
    """One parameter brought from its newest value to another one inside its normal range.

    Attributes:
        parameter: Its name.
        label: In the process's words.
        unit: Unit of both values.
        now: Its newest value.
        to: The value that it is brought to.
        share_of_normal: Size of the move as a share of the width of the normal range.
        now_is: `below normal`, `above normal` or `normal`: bringing back what has strayed is another thing than moving
            what is in order, which the model may only know as a companion of failure.
    """

    parameter: str
    label: str
    unit: str
    now: float
    to: float
    share_of_normal: float
    now_is: str


@dataclass(frozen=True)
class Change:
    """Moves that together bring the risk below the threshold, and the risk then."""

    moves: tuple[Move, ...]
    probability: float

    @property
    def size(self) -> float:
        """Shares of the normal ranges, summed."""
        return sum(move.share_of_normal for move in self.moves)


@dataclass(frozen=True)
class Search:
    """The search for one snapshot, a frame of one row.

    A point is a row of whole steps (`Movable.value`), one column per movable parameter, NaN where it is not moved.
    """

    predict: Predict
    row: pd.DataFrame
    movable: tuple[Movable, ...]
    threshold: float
    horizon_h: float

    def changes(self) -> tuple[Change, ...]:
        """All single changes that do, smallest first; else the smallest pair; else none."""
        if not self.movable:
            return ()
        grids = [_grid(m) for m in self.movable]
        points = self._points([{j: step} for j, grid in enumerate(grids) for step in grid])
        risks = self.risks(points)
        found = self._best_alone(points, risks)
        if len(found):
            column = np.flatnonzero(~np.isnan(found).all(axis=0))
            near = [_nearer(self.movable[j], int(found[i, j]), grids[j]) for i, j in enumerate(column)]
            found = self._shrunk(found, column, np.asarray(near))
        else:
            found = self._best_pair(points, risks)
        made = [self._change(*both) for both in zip(found, self.risks(found), strict=True)]
        return tuple(sorted(made, key=lambda change: (change.size, change.moves[0].parameter)))

    def risks(self, points: np.ndarray) -> np.ndarray:
        """Risk at each point, in one call."""
        if not len(points):
            return np.empty(0)
        candidates = self.row.loc[self.row.index.repeat(len(points))].reset_index(drop=True)
        for m, steps in zip(self.movable, points.T, strict=True):
            if not np.isnan(steps).all():
                candidates = brought_to(candidates, m.level, _values(m, steps), horizon_h=self.horizon_h)
        return np.asarray(self.predict(candidates), float)

    def _points(self, moves: list[dict[int, int]]) -> np.ndarray:
        points = np.full((len(moves), len(self.movable)), np.nan)
        for i, move in enumerate(moves):
            points[i, list(move)] = list(move.values())
        return points

    def _sizes(self, points: np.ndarray) -> np.ndarray:
        each = [m.relative(_values(m, steps)) for m, steps in zip(self.movable, points.T, strict=True)]
        return np.sum(each, axis=0)

    def _best_alone(self, points: np.ndarray, risks: np.ndarray) -> np.ndarray:
        """For each parameter that does alone, its smallest point of the grid that does, in the parameters' order."""
        sizes = np.where(risks < self.threshold, self._sizes(points), np.inf)
        of_each = [np.where(np.isnan(points[:, j]), np.inf, sizes) for j in range(len(self.movable))]
        return points[[int(np.argmin(size)) for size in of_each if np.isfinite(size).any()]]

    def _best_pair(self, alone: np.ndarray, risks: np.ndarray) -> np.ndarray:
        """The smallest pair that does, each of its moves made as small as it can be beside the other; or no row."""
        lowest = [np.where(np.isnan(alone[:, j]), np.inf, risks).min() for j in range(len(self.movable))]
        tried = sorted(np.argsort(lowest, kind="stable")[:_IN_PAIRS].tolist())
        grids = {j: _grid(self.movable[j])[::_PAIRS_TAKE] for j in tried}
        moves = [{a: s, b: t} for a, b in combinations(tried, 2) for s in grids[a] for t in grids[b]]
        points = self._points(moves)
        sizes = np.where(self.risks(points) < self.threshold, self._sizes(points), np.inf)
        if not np.isfinite(sizes).any():
            return points[:0]
        best = points[[int(np.argmin(sizes))]]
        for j in np.flatnonzero(~np.isnan(best[0])):
            start = _start(self.movable[j], int(best[0, j]))
            best = self._shrunk(best, np.asarray([j]), np.asarray([start]))
        return best

    def _shrunk(self, points: np.ndarray, column: np.ndarray, near: np.ndarray) -> np.ndarray:
        """Points that do, each moved in one column towards steps that do not (never taken) by bisection."""
        rows, near, far = np.arange(len(points)), near.astype(int), points[np.arange(len(points)), column].astype(int)
        while (np.abs(far - near) > 1).any():
            middle = np.where(np.abs(far - near) > 1, (near + far) // 2, far)
            tried = points.copy()
            tried[rows, column] = middle
            does = self.risks(tried) < self.threshold
            near, far = np.where(does, near, middle), np.where(does, middle, far)
        points = points.copy()
        points[rows, column] = far
        return points

    def _change(self, point: np.ndarray, risk: float) -> Change:
        moves = []
        for m, step in zip(self.movable, point, strict=True):
            if not np.isnan(step):
                to = float(m.value(int(step)))
                name = m.level.parameter
                moves.append(Move(name, m.label, m.unit, m.now, to, float(m.relative(to)), m.now_is))
        return Change(tuple(moves), float(risk))


def _values(movable: Movable, steps: np.ndarray) -> np.ndarray:
    """The values at steps; the newest value where there is no move."""
    return np.where(np.isnan(steps), movable.now, movable.value(np.nan_to_num(steps).astype(int)))


def _grid(movable: Movable) -> list[int]:
    first, last = movable.steps
    return np.unique(np.round(np.linspace(first, last, _GRID)).astype(int)).tolist()


def _start(movable: Movable, step: int) -> int:
    """The step that a move to `step` sets out from and never ends at: at the newest value, or just outside normal."""
    first, last = movable.steps
    here = movable.now * 10.0**movable.decimals  # to rounding: a whole number of steps where the newest value is one
    up = movable.value(step) > movable.now
    return max(math.floor(here + _ROUNDING), first - 1) if up else min(math.ceil(here - _ROUNDING), last + 1)


def _nearer(movable: Movable, step: int, grid: list[int]) -> int:
    """The point of the grid next to `step` on the way from the newest value, or where that way begins."""
    start = _start(movable, step)
    between = [s for s in grid if min(start, step) < s < max(start, step)]
    return min(between, key=lambda s: abs(s - step), default=start)
