"""Partial pooling: how much more, or less, often the batches of a small site, product or recipe version fail than stated.

A subgroup with few batches has an offset of its own, held near 0 by how much subgroups differ at all: the fewer batches, the
nearer, and where subgroups do not differ beyond chance none has any (the variance between subgroups by the method of
moments; DerSimonian and Laird, 1986). What large subgroups are like the trees have learnt.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from models.cohort.encode import Encoder
from models.learners.applicability.columns import SUBGROUPS
from models.persistence import Persistent

_NO_BATCH = 1e-12  # information below it is what rounding leaves of a subgroup without its only batch


@dataclass(frozen=True)
class SubgroupOffsets(Persistent):
    """Offsets of the calibrated log-odds.

    Attributes:
        offsets: By feature that names subgroups, and by name; a name that is absent has none.
    """

    offsets: dict[str, dict[str, float]] = field(default_factory=dict)

    def of(self, X: np.ndarray, encoder: Encoder) -> tuple[np.ndarray, np.ndarray]:
        """Offsets of encoded rows.

        Args:
            X: Shape (n, k).
            encoder: Of the matrix.

        Returns:
            Places in the matrix of the features that have offsets, shape (m,), and the offsets, shape (n, m).
        """
        names = [name for name in subgroup_features(encoder) if name in self.offsets]
        places = np.array([encoder.columns.index(name) for name in names], int)
        columns = [np.zeros((len(X), 0))]
        for name, place in zip(names, places, strict=True):
            table = np.array([self.offsets[name].get(each, 0.0) for each in encoder.categories[name]] + [0.0])
            columns.append(table[_codes(X[:, place], len(table) - 1)][:, None])
        return places, np.concatenate(columns, axis=1)


def subgroup_features(encoder: Encoder) -> list[str]:
    """Features of the matrix that name a subgroup."""
    names = [f"{parameter}.before_start.value" for parameter in SUBGROUPS]
    return [name for name in names if name in encoder.categories]


def subgroup_names(X: np.ndarray, encoder: Encoder) -> dict[str, np.ndarray]:
    """Names of the subgroups of encoded rows, by feature; empty where training did not know one."""
    out = {}
    for name in subgroup_features(encoder):
        known = np.array([*encoder.categories[name], ""])
        out[name] = known[_codes(X[:, encoder.columns.index(name)], len(known) - 1)]
    return out


def fit_offsets(
    subgroups: Mapping[str, np.ndarray],
    stated: np.ndarray,
    failed: np.ndarray,
    weight: np.ndarray,
    *,
    few: Mapping[str, Collection[str]],
) -> tuple[SubgroupOffsets, np.ndarray]:
    """Fit on batches that the scoring model had not seen.

    Args:
        subgroups: Names by feature, one per batch, shape (n,); "" belongs to none.
        stated: Stated probability of each batch, shape (n,).
        failed: Outcomes, shape (n,).
        weight: Of each batch, at most 1, shape (n,).
        few: By feature, the subgroups with few batches, which have an offset; what others are like the trees have learnt.

    Returns:
        The offsets, and the sum of offsets of each batch as its subgroups would have them without the batch itself, shape
        (n,): what is set by these batches must not be set by offsets that know their outcomes.
    """
    offsets, without = {}, np.zeros(len(stated))
    for feature, names in subgroups.items():
        found, others = _offsets(names, stated, failed.astype(float), weight)
        found = {name: value for name, value in found.items() if name in few.get(feature, ())}
        without += np.where(np.isin(names, list(found)), others, 0.0)
        if found:
            offsets[feature] = found
    return SubgroupOffsets(offsets), without


def _offsets(
    names: np.ndarray, stated: np.ndarray, failed: np.ndarray, weight: np.ndarray
) -> tuple[dict[str, float], np.ndarray]:
    known, group = np.unique(names, return_inverse=True)
    own = np.stack([weight * (failed - stated), weight**2 * stated * (1 - stated), weight * stated * (1 - stated)])
    sums = np.stack([np.bincount(group, values, len(known)) for values in own])
    excess, variance, information = sums
    named = (known != "") & (information > 0)
    differ = float((excess[named] ** 2 - variance[named]).sum()) if named.sum() > 1 else 0.0
    if differ <= 0:
        return {}, np.zeros(len(names))
    between = differ / float((information[named] ** 2).sum())
    values = _shrunk(sums, between)
    others = np.where(named[group], _shrunk(sums[:, group] - own, between), 0.0)
    return dict(zip(known[named].tolist(), values[named].tolist(), strict=True)), others


def _shrunk(sums: np.ndarray, between: float) -> np.ndarray:
    """Best linear prediction of offsets from excess, its variance and the information, shape (3, n); 0 without batches."""
    excess, variance, information = sums
    safe = np.where(information > _NO_BATCH, information, 1.0)
    shrunk = between / (between + variance / safe**2) * excess / safe
    return np.where(information > _NO_BATCH, shrunk, 0.0)


def _codes(column: np.ndarray, unknown: int) -> np.ndarray:
    return np.where(np.isnan(column), unknown, column).astype(int)
