"""The reference trajectory (golden batch): what each parameter usually is at each hour of a batch that succeeds.

Location and spread are the median and the scaled median absolute deviation (Hampel, 1974), so the failures that are
not known yet, and a few odd batches, hardly move them. Fitted on successful training batches only.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
import pandas as pd
from pydantic import PlainSerializer, PlainValidator

from features.dictionary import Feature
from features.errors import ContractError, TrainingError
from models.cohort.encode import is_category
from models.learners.robust import HIGH, LOCATION, LOW, SPREAD, STATISTICS, N, column_statistics, smallest_step
from models.persistence import Persistent, nested_lists

OVERALL = ""  # the group of all batches
LEAST_BATCHES = 10  # a cell from fewer batches stays empty
_NOT_THE_BATCH = ("environment.",)  # rooms are mostly at a count of 0, from which any count is far
_AVERAGED = ".mean"  # a mean over a window has no step of its own
_WINDOW = re.compile(r"^last_(\d+(?:\.\d+)?)h$")


_Cells = Annotated[
    np.ndarray,
    PlainValidator(lambda stored: np.stack([np.array(stored[name], float) for name in STATISTICS], axis=-1)),
    PlainSerializer(lambda cells: {name: nested_lists(cells[..., i]) for i, name in enumerate(STATISTICS)}),
]


@dataclass(frozen=True)
class Usual:
    """What a parameter usually is at an hour: 5 %, 50 % and 95 % of `n` successful batches, in its own unit."""

    low: float
    median: float
    high: float
    n: int


@dataclass(frozen=True, eq=False)
class Reference(Persistent):
    """The trajectory of every parameter, overall and by group.

    Attributes:
        parameters: Names, in the order of every array here.
        columns: Snapshot column that holds each parameter's level.
        checkpoints_h: Hours since start at which it was fitted, increasing.
        groups: Labels; the first is `OVERALL`.
        cells: Location, spread, 5 %, 95 % and n; shape (groups, checkpoints, parameters, 5). NaN where not known; a
            group that has too few batches somewhere stands there with the numbers of all.
        version: Of the stored form.
    """

    parameters: tuple[str, ...]
    columns: tuple[str, ...]
    checkpoints_h: tuple[float, ...]
    groups: tuple[str, ...]
    cells: _Cells
    version: Literal[1] = 1

    def usual(self, parameter: str, checkpoint_h: float, group: str | None = None) -> Usual | None:
        """What is usual at an hour; None where the parameter is not known, or was never measured by then or later.

        Args:
            parameter: One of `parameters`, or any other.
            checkpoint_h: Hours since the start; between checkpoints along a straight line, outside constant.
            group: Label as at the fit; None or one without a trajectory of its own takes all batches.
        """
        place = self._place.get(parameter)
        if place is None:
            return None
        cell = self._at(checkpoint_h, group)[place]
        if np.isnan(cell[LOCATION]):
            return None
        return Usual(float(cell[LOW]), float(cell[LOCATION]), float(cell[HIGH]), int(cell[N]))

    def z(self, values: np.ndarray, checkpoint_h: np.ndarray, groups: Iterable[str | None] | str | None) -> np.ndarray:
        """Robust z of rows: how many spreads each level lies above its usual one.

        Args:
            values: Levels in the order of `columns`, shape (n, parameters); NaN where not known.
            checkpoint_h: Hours since the start, shape (n,).
            groups: As in `usual`: one label for all, or one per row.

        Returns:
            (value - location) / spread, shape (n, parameters); NaN where either is not known.
        """
        hours = np.asarray(self.checkpoints_h)
        place = np.searchsorted(hours, checkpoint_h, side="right")
        before, after = np.maximum(place - 1, 0), np.minimum(place, len(hours) - 1)
        share = _share(np.asarray(checkpoint_h, float), hours[before], hours[after])[:, None, None]
        group = self._group_places(groups, len(values))
        low, high = self._filled[group, before, :, :LOW], self._filled[group, after, :, :LOW]
        cells = low + share * (high - low)
        return (values - cells[:, :, LOCATION]) / cells[:, :, SPREAD]

    def levels(self, snapshots: pd.DataFrame) -> np.ndarray:
        """The parameters' levels, shape (n, parameters).

        Raises:
            ContractError: The snapshots lack a column.
        """
        absent = [name for name in self.columns if name not in snapshots]
        if absent:
            raise ContractError(
                f"snapshots lack {absent[0]!r} ({len(absent)} in all), which the reference trajectory was fitted on",
                remedy="Rebuild the features with the process definition of the model.",
            )
        return snapshots[list(self.columns)].to_numpy(dtype="float64", na_value=np.nan)

    @cached_property
    def _place(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.parameters)}

    @cached_property
    def _group_place(self) -> dict[str | None, int]:
        return {name: i for i, name in enumerate(self.groups)}

    @cached_property
    def _filled(self) -> np.ndarray:
        """The cells with every gap between, before and after known checkpoints filled along straight lines."""
        hours, filled = np.asarray(self.checkpoints_h), self.cells.copy()
        for group, parameter in np.ndindex(len(self.groups), len(self.parameters)):
            known = ~np.isnan(self.cells[group, :, parameter, LOCATION])
            if known.any() and not known.all():
                for i in range(len(STATISTICS)):
                    filled[group, :, parameter, i] = np.interp(
                        hours, hours[known], self.cells[group, known, parameter, i]
                    )
        return filled

    def _at(self, checkpoint_h: float, group: str | None) -> np.ndarray:
        """Cells at an hour, shape (parameters, 5)."""
        hours, cells = self.checkpoints_h, self._filled[self._group_place.get(group, 0)]
        after = bisect_right(hours, checkpoint_h)
        if after in (0, len(hours)):
            return cells[min(after, len(hours) - 1)]
        share = (checkpoint_h - hours[after - 1]) / (hours[after] - hours[after - 1])
        return cells[after - 1] + share * (cells[after] - cells[after - 1])

    def _group_places(self, groups: Iterable[str | None] | str | None, n: int) -> np.ndarray:
        if groups is None or isinstance(groups, str):
            return np.full(n, self._group_place.get(groups, 0))
        return np.fromiter((self._group_place.get(group, 0) for group in groups), dtype=np.intp, count=n)


def fit_reference(
    snapshots: pd.DataFrame,
    features: Iterable[Feature],
    succeeded: pd.Index,
    *,
    groups: pd.Series | None = None,
    min_batches: int = 30,
    columns: dict[str, str] | None = None,
) -> Reference:
    """Fit the trajectory on successful training batches.

    Args:
        snapshots: `features.contracts.SNAPSHOT`; rows of other batches are left aside.
        features: Feature dictionary of the snapshots' columns.
        succeeded: Ids of the training batches that succeeded.
        groups: Label (site, process version, ...) by batch_id; None: no groups.
        min_batches: Batches with a value that a group needs for numbers of its own.
        columns: Numeric column by name; None takes each parameter's level (`level_columns`).

    Raises:
        TrainingError: None of these batches has a snapshot.
    """
    rows = snapshots[snapshots["batch_id"].isin(succeeded)]
    if rows.empty:
        raise TrainingError(
            "no successful training batch has a snapshot", remedy="Add history: there is no usual trajectory yet."
        )
    of_parameter = level_columns(features, rows) if columns is None else columns
    values = rows[list(of_parameter.values())].to_numpy(dtype="float64", na_value=np.nan)
    step = np.where([name.endswith(_AVERAGED) for name in of_parameter.values()], np.nan, smallest_step(values))
    hours = rows["checkpoint_h"].to_numpy(float)
    checkpoints_h = tuple(float(h) for h in np.unique(hours))
    label = pd.Series(OVERALL, index=rows.index) if groups is None else rows["batch_id"].map(groups)
    counts = rows["batch_id"].groupby(label).nunique()
    named = (OVERALL, *sorted(str(g) for g in counts.index[counts >= min_batches] if g != OVERALL))
    cells = np.full((len(named), len(checkpoints_h), len(of_parameter), len(STATISTICS)), np.nan)
    for i, group in enumerate(named):
        of_group = np.ones(len(rows), bool) if group == OVERALL else (label == group).to_numpy(bool)
        for j, checkpoint in enumerate(checkpoints_h):
            own = column_statistics(values[of_group & (hours == checkpoint)], step)
            enough = own[:, N] >= (LEAST_BATCHES if group == OVERALL else min_batches)
            cells[i, j] = np.where(enough[:, None], own, cells[0, j])
    return Reference(tuple(of_parameter), tuple(of_parameter.values()), checkpoints_h, named, cells)


def level_columns(features: Iterable[Feature], snapshots: pd.DataFrame) -> dict[str, str]:
    """The column of each parameter's level, by parameter in alphabetical order.

    A sensor's is the mean over its shortest recent window, without windows its newest value; an assay's the newest
    value, of a lot the lot's; an attribute's its value, unless it is a category. Rooms have none.
    """
    found: dict[str, tuple[float, str]] = {}
    for feature in features:
        rank = None if feature.parameter.startswith(_NOT_THE_BATCH) else _rank(feature)
        if rank is None or feature.name not in snapshots or is_category(snapshots[feature.name]):
            continue
        best = found.get(feature.parameter)
        if best is None or rank < best[0]:
            found[feature.parameter] = (rank, feature.name)
    return {name: found[name][1] for name in sorted(found)}


def _rank(feature: Feature) -> float | None:
    """Place of a feature among those that could be a parameter's level, best first; None for others."""
    window = _WINDOW.match(feature.window)
    if window and feature.statistic == "mean":
        return float(window[1])
    order = {("lot", "value"): 1e6, ("since_start", "last"): 2e6, ("before_start", "value"): 3e6}
    return order.get((feature.window, feature.statistic))


def _share(at: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """How far along from before to after; 0 where the two are one."""
    return np.divide(at - before, after - before, out=np.zeros(len(at)), where=after > before)
