"""How far a batch strays from the reference trajectory, in a few numbers that need hardly any failures to be learned.

With a few dozen failures trees cannot find which of hundreds of columns matters; that something is far from usual can be
seen without a single one. Each summary also names the parameters behind it, so that its contribution to a
probability can be handed on to them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from features.dictionary import Feature
from models.learners.reference import Reference, fit_reference, level_columns
from models.persistence import Persistent

PARAMETER = "deviations"
FAR = 4.0  # |z| from which a parameter counts as far from usual
_SUMMARIES = {
    "largest": ("1", "how far the parameter farthest from usual is, log(1 + |z|)"),
    "far_share": ("", f"share of the parameters farther than {FAR:g} spreads from usual"),
    "typical": ("1", "how far parameters are from usual on average, log(1 + |z|)"),
}
FEATURES = tuple(
    Feature(f"{PARAMETER}.now.{name}", PARAMETER, "Deviation from the usual course", unit, "now", name, meaning)
    for name, (unit, meaning) in _SUMMARIES.items()
)
LARGEST, FAR_SHARE, TYPICAL = (feature.name for feature in FEATURES)
_PARTS = 5  # in which training batches are scored by a trajectory fitted without them
_VIEWS = {("since_start", "last"), ("since_start", "mean")}


@dataclass(frozen=True, eq=False)
class Deviations(Persistent):
    """Makes the summaries from a snapshot.

    A parameter is seen in several ways where the snapshot has them: newest value, mean of every recent window, mean since
    the start (which remembers what has passed). The farthest of them counts.

    Attributes:
        reference: Trajectory of every view; its names are columns of the snapshot.
        owners: Parameter of each view.
    """

    reference: Reference
    owners: tuple[str, ...]

    def of(self, snapshots: pd.DataFrame, groups: Iterable[str | None] | str | None = None) -> pd.DataFrame:
        """The summaries of snapshots, one column each; NaN where nothing of a batch can be compared.

        Args:
            snapshots: `features.contracts.SNAPSHOT`.
            groups: Group of all, or of each row, as at the fit.
        """
        z = self.reference.z(self.reference.levels(snapshots), snapshots["checkpoint_h"].to_numpy(float), groups)
        return pd.DataFrame(summaries(self.farthest(z)[0]), index=snapshots.index, columns=[f.name for f in FEATURES])

    def farthest(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Largest |z| of each parameter's views, NaN where none is known, and which view it is (of equals the first).

        Args:
            z: Of every view, shape (n, views).

        Returns:
            Both of shape (n, parameters), parameters in alphabetical order.
        """
        order, first = self._by_parameter
        if not len(order):
            return np.empty((len(z), 0)), np.empty((len(z), 0), int)
        size = np.where(np.isnan(z), -1.0, np.abs(z))[:, order]
        distance = np.maximum.reduceat(size, first, axis=1)
        each = np.repeat(distance, np.diff(np.r_[first, len(order)]), axis=1)
        place = np.minimum.reduceat(np.where(size == each, np.arange(len(order)), len(order)), first, axis=1)
        return np.where(distance < 0, np.nan, distance), order[place]

    @cached_property
    def _by_parameter(self) -> tuple[np.ndarray, np.ndarray]:
        """Views in the order of their parameters, and where those of each parameter begin."""
        owners = np.array(self.owners)
        order = np.argsort(owners, kind="stable")
        return order, np.flatnonzero(np.r_[True, owners[order][1:] != owners[order][:-1]]) if len(owners) else order


def fit_deviations(
    snapshots: pd.DataFrame, features: Iterable[Feature], succeeded: pd.Index, *, groups: pd.Series | None = None
) -> Deviations:
    """Fit the trajectories of all views on successful training batches; arguments and errors of `fit_reference`."""
    features = tuple(features)
    rows = snapshots[snapshots["batch_id"].isin(succeeded)]
    owner = view_columns(features, rows)
    reference = fit_reference(rows, features, succeeded, groups=groups, columns={name: name for name in owner})
    return Deviations(reference, tuple(owner.values()))


def out_of_fold(
    snapshots: pd.DataFrame, features: Iterable[Feature], failed: pd.Series, *, groups: pd.Series | None = None
) -> pd.DataFrame:
    """Summaries of training batches, each by trajectories that it had no part in.

    A batch lies closer to a median it belongs to than a new batch does: with a few dozen batches that is enough to make
    every new one look odd.

    Args:
        snapshots: `features.contracts.SNAPSHOT` of the training batches.
        features: Their feature dictionary.
        failed: Outcome by batch_id, in order of start: every fifth batch is scored together.
        groups: Label by batch_id.

    Returns:
        Index of the snapshots; one column per summary, NaN for batches without an outcome, and where no other batch
        succeeded.
    """
    features = tuple(features)
    out = pd.DataFrame(np.nan, index=snapshots.index, columns=[f.name for f in FEATURES])
    part = pd.Series(np.arange(len(failed)) % min(_PARTS, len(failed)), index=failed.index)
    of_row = snapshots["batch_id"].map(part)
    for number in sorted(set(part)):
        others = failed.index[(part != number) & ~failed.astype(bool)]
        if others.empty:  # all successes stand in this part: nothing says what is usual
            continue
        fitted = fit_deviations(snapshots, features, others, groups=groups)
        rows = snapshots[of_row == number]
        label = None if groups is None else rows["batch_id"].map(groups)
        out.loc[rows.index] = fitted.of(rows, label)
    return out


def view_columns(features: Iterable[Feature], snapshots: pd.DataFrame) -> dict[str, str]:
    """Columns with a present or past level of a parameter, and the parameter of each, in alphabetical order."""
    features = tuple(features)
    level = level_columns(features, snapshots)
    views = {
        f.name: f.parameter
        for f in features
        if f.parameter in level
        and f.name in snapshots
        and ((f.window, f.statistic) in _VIEWS or (f.window.startswith("last_") and f.statistic == "mean"))
    }
    return dict(sorted((views | {name: parameter for parameter, name in level.items()}).items()))


def summaries(distance: np.ndarray) -> np.ndarray:
    """The summaries, in the order of `FEATURES`.

    Args:
        distance: |z|, shape (n, parameters); NaN where not known.

    Returns:
        Shape (n, 3); NaN where nothing is known.
    """
    known = ~np.isnan(distance)
    n = known.sum(axis=1)
    height = np.where(known, np.log1p(np.where(known, distance, 0.0)), 0.0)
    far = (np.where(known, distance, 0.0) > FAR).sum(axis=1)
    made = np.column_stack(
        [height.max(axis=1, initial=0.0), far / np.maximum(n, 1), height.sum(axis=1) / np.maximum(n, 1)]
    )
    return np.where(n[:, None] > 0, made, np.nan)


def behind(distance: np.ndarray) -> dict[str, np.ndarray]:
    """How much of each summary stands on each parameter, shape (n, parameters), rows that sum to 1.

    `largest`: the parameter farthest from usual. `far_share`: those that are far, in equal parts. `typical`: in proportion
    to their part of the sum. Where nothing is far (or known, or strays), all parameters known (or all) in equal parts.
    """
    known = ~np.isnan(distance)
    size = np.where(known, distance, 0.0)
    alike = _rows_to_one(known.astype(float), np.ones_like(size))
    largest = (size == size.max(axis=1, keepdims=True, initial=0.0)) & known
    parts = (largest, size > FAR, np.log1p(size))
    return {
        feature.name: _rows_to_one(part.astype(float), alike) for feature, part in zip(FEATURES, parts, strict=True)
    }


def _rows_to_one(part: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """Rows divided by their sum; rows of nothing take the other's."""
    part = np.where(part.sum(axis=1, keepdims=True) > 0, part, otherwise)
    return part / part.sum(axis=1, keepdims=True)
