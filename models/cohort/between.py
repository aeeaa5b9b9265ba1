"""Times between the checkpoints at which batches are looked at as they are scored: at any hour, not at exact checkpoints.

The times are drawn from the batch id alone, so the same history gives the same times in whatever order it comes.
"""

from __future__ import annotations

import hashlib
import math
from itertools import pairwise

import numpy as np
import pandas as pd

from features.process import ProcessDefinition
from features.snapshots import ROW_COLUMNS
from features.summaries import US_PER_H
from models.cohort.labels import labels_as_of

MOST_TIMES = 6  # per batch: enough for every band of the applicability domain, and no second table of snapshots


def stretches(process: ProcessDefinition) -> list[tuple[float, float]]:
    """Hours between two checkpoints, and from the last one to the planned end; those in which no bin ends are left out."""
    hours, end, bin_h = process.checkpoints_h, process.process.planned_duration_h, process.process.bin_h
    # the planned end is no checkpoint, so it may be drawn: the stretch goes on to the end of the bin after it
    after = [(hours[-1], (math.floor(end / bin_h + 1e-9) + 1) * bin_h)] if end > hours[-1] else []
    return [(low, high) for low, high in [*pairwise(hours), *after] if _bins_inside(low, high, bin_h) > 0]


def between_rows(
    batches: pd.DataFrame, log: pd.DataFrame, process: ProcessDefinition, *, until: pd.Timestamp | None = None
) -> pd.DataFrame:
    """One time per batch and stretch between checkpoints, whole bins after its start and before its outcome was known.

    With more than `MOST_TIMES` stretches a batch has one time in each of that many groups of neighbouring ones.

    Args:
        batches: `batch_id`, `started_at`.
        log: `features.contracts.LABELS`; a time at or after a batch's first label has nothing to predict.
        process: Gives checkpoints, planned duration and bins.
        until: End of what is known; later times have not come. None: no end.

    Returns:
        `features.snapshots.ROW_COLUMNS`, in order of batch as given and of time; `checkpoint_h` is the time in hours.
    """
    found, bin_h = stretches(process), process.process.bin_h
    groups = [part for part in np.array_split(np.arange(len(found)), MOST_TIMES) if len(part)]
    drawn = [
        (batch_id, _time(batch_id, [found[i] for i in group], bin_h))
        for batch_id in batches["batch_id"]
        for group in groups
    ]
    rows = batches[["batch_id", "started_at"]].merge(pd.DataFrame(drawn, columns=["batch_id", "checkpoint_h"]))
    return known_rows(rows, log, until)


def known_rows(rows: pd.DataFrame, log: pd.DataFrame, until: pd.Timestamp | None) -> pd.DataFrame:
    """Rows with their moments, without those at or after the first label of their batch or after `until`.

    Args:
        rows: `batch_id`, `started_at`, `checkpoint_h` (hours since the start).
        log: `features.contracts.LABELS`.
        until: End of what is known; None: no end.

    Returns:
        `features.snapshots.ROW_COLUMNS`, in the order given.
    """
    after = pd.to_timedelta(np.round(rows["checkpoint_h"].to_numpy(float) * US_PER_H).astype("int64"), unit="us")
    rows = rows.assign(as_of=(rows["started_at"] + after).astype(rows["started_at"].dtype))
    keep = ~(rows["as_of"] >= rows["batch_id"].map(labels_as_of(log)["first_available_at"]))
    if until is not None:
        keep &= rows["as_of"] <= until
    return rows.loc[keep, ROW_COLUMNS].astype({"batch_id": "str", "checkpoint_h": "float64"}).reset_index(drop=True)


def _time(batch_id: str, group: list[tuple[float, float]], bin_h: float) -> float:
    """One of the whole bins inside the stretches of a group, all alike likely."""
    bins = [_bins_inside(low, high, bin_h) for low, high in group]
    seed = hashlib.sha256(f"{group[0][0]:g} h of {batch_id}".encode()).digest()
    place = int.from_bytes(seed[:8]) % sum(bins)
    for (low, _), n in zip(group, bins, strict=True):
        if place < n:
            return low + (place + 1) * bin_h
        place -= n
    raise AssertionError("a place lies in one of the stretches")


def _bins_inside(low: float, high: float, bin_h: float) -> int:
    """Ends of bins strictly between two times; the first of them is a whole number of bins after the start."""
    return max(math.ceil((high - low) / bin_h - 1e-9) - 1, 0)
