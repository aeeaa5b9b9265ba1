"""Maturity bands: stretches of a batch's hours within which figures are pooled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from features.errors import ContractError

BANDS = 4


def equal_bands(checkpoint_h: pd.Series, n: int = BANDS) -> np.ndarray:
    """Edges of n bands of equal width over the checkpoints, shape (n + 1,); one band where there is one checkpoint."""
    low, high = float(checkpoint_h.min()), float(checkpoint_h.max())
    return np.linspace(low, high, n + 1) if low < high else np.array([low, high])


def banded(
    rows: pd.DataFrame, edges: Sequence[float] | np.ndarray | None = None
) -> Iterator[tuple[dict, pd.DataFrame]]:
    """Rows of each maturity band, early ones first.

    Args:
        rows: `checkpoint_h` and others.
        edges: Ascending hours; a band holds its lower edge, the last one both. None takes `equal_bands`.

    Yields:
        `band` (for example "0-48 h": its first and last checkpoint), `from_h`, `to_h`, and the rows; a band without
        rows is left out.

    Raises:
        ContractError: The edges do not ascend, or a checkpoint lies outside them.
    """
    if rows.empty:
        return
    hours = rows["checkpoint_h"].to_numpy(float)
    sides = equal_bands(rows["checkpoint_h"]) if edges is None else np.asarray(edges, dtype=float)
    if len(sides) < 2 or (len(sides) > 2 and (np.diff(sides) <= 0).any()) or sides[-1] < sides[0]:
        raise ContractError(f"band edges {sides.tolist()}", expected="at least two ascending hours")
    outside = hours[~((hours >= sides[0]) & (hours <= sides[-1]))]
    if len(outside):
        raise ContractError(f"checkpoint {outside[0]:g} h lies in no band", expected=f"{sides[0]:g} to {sides[-1]:g} h")
    place = np.clip(np.searchsorted(sides, hours, side="right") - 1, 0, len(sides) - 2)
    for at in np.unique(place):
        inside = hours[place == at]
        name = f"{inside.min():g}-{inside.max():g} h" if inside.min() < inside.max() else f"{inside.min():g} h"
        yield {"band": name, "from_h": float(sides[at]), "to_h": float(sides[at + 1])}, rows[place == at]


def counts(rows: pd.DataFrame) -> dict[str, int]:
    """`n` (rows), `n_batches`, `n_failed` (batches)."""
    failed = rows["failed"].to_numpy(bool)
    return {
        "n": len(rows),
        "n_batches": rows["batch_id"].nunique(),
        "n_failed": rows.loc[failed, "batch_id"].nunique(),
    }
