"""Maturity bands: stretches of a batch's hours within which figures are pooled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pandas as pd

BANDS = 4


def equal_bands(checkpoint_h: pd.Series) -> np.ndarray:
    """Edges of bands of equal width over the checkpoints, ascending hours; one band where there is one checkpoint."""
    low, high = float(checkpoint_h.min()), float(checkpoint_h.max())
    return np.linspace(low, high, BANDS + 1) if low < high else np.array([low, high])


def banded(rows: pd.DataFrame) -> Iterator[tuple[dict, pd.DataFrame]]:
    """Rows of each of the `equal_bands`, early ones first; a band holds its lower edge, the last one both.

    Args:
        rows: `checkpoint_h` and others.

    Yields:
        `band` (for example "0-48 h": its first and last checkpoint), `from_h`, `to_h`, and the rows; a band without
        rows is left out.
    """
    if rows.empty:
        return
    hours, sides = rows["checkpoint_h"].to_numpy(float), equal_bands(rows["checkpoint_h"])
    place = np.clip(np.searchsorted(sides, hours, side="right") - 1, 0, len(sides) - 2)
    for at in np.unique(place):
        inside = hours[place == at]
        name = f"{inside.min():g}-{inside.max():g} h" if inside.min() < inside.max() else f"{inside.min():g} h"
        yield {"band": name, "from_h": float(sides[at]), "to_h": float(sides[at + 1])}, rows[place == at]


def all_and_banded(rows: pd.DataFrame) -> list[tuple[dict, pd.DataFrame]]:
    """All rows as the band "all", then `banded`; empty without rows."""
    parts = list(banded(rows))
    return (
        [({"band": "all", "from_h": parts[0][0]["from_h"], "to_h": parts[-1][0]["to_h"]}, rows), *parts]
        if parts
        else []
    )


def per_checkpoint(scores: pd.DataFrame, figures: Callable[[pd.DataFrame], Mapping[str, float]]) -> pd.DataFrame:
    """`checkpoint_h` and the figures of its rows, one row per checkpoint."""
    parts = scores.groupby("checkpoint_h")
    return pd.DataFrame([{"checkpoint_h": float(str(hours)), **figures(rows)} for hours, rows in parts])


def counts(rows: pd.DataFrame) -> dict[str, int]:
    """`n` (rows), `n_batches`, `n_failed` (batches)."""
    failed = rows["failed"].to_numpy(bool)
    return {
        "n": len(rows),
        "n_batches": rows["batch_id"].nunique(),
        "n_failed": rows.loc[failed, "batch_id"].nunique(),
    }
