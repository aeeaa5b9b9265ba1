"""The table a predictor is trained on: rows that may count, and why the others do not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.process import ProcessDefinition
from models.cohort.encode import Encoder
from models.cohort.labels import labels_as_of


@dataclass(frozen=True)
class TrainingTable:
    """Rows of training batches in canonical order, so that the input's order never matters.

    Attributes:
        rows: `batch_id`, `checkpoint_h`, `as_of`, `weight` = 1 / (most rows of any batch); index 0..n-1.
        X: Encoded features, shape (n, k).
        categorical: Places of the categorical columns in X.
        encoder: What the columns are.
    """

    rows: pd.DataFrame
    X: np.ndarray
    categorical: tuple[int, ...]
    encoder: Encoder

    @property
    def rows_per_batch(self) -> float:
        """Mean number of rows of a batch."""
        return len(self.rows) / max(1, self.rows["batch_id"].nunique())

    def places(self, batch_ids: tuple[str, ...] | pd.Index) -> np.ndarray:
        """Row numbers of the given batches, ascending."""
        return np.flatnonzero(self.rows["batch_id"].isin(batch_ids))


def training_table(usable: pd.DataFrame, encoder: Encoder, weights: pd.Series | None = None) -> TrainingTable:
    """Order, weigh and encode usable snapshots.

    Args:
        usable: `features.contracts.SNAPSHOT`, of training batches only.
        encoder: Fitted on these or on other training rows.
        weights: Of batches, by batch_id; None: 1 each.
    """
    ordered = usable.sort_values(["started_at", "batch_id", "checkpoint_h"]).reset_index(drop=True)
    # the same for every row: a weight by a batch's own number of rows would reveal that its label came early
    weight = 1.0 / max(1, ordered.groupby("batch_id").size().max()) if len(ordered) else 1.0
    own = 1.0 if weights is None else ordered["batch_id"].map(weights).to_numpy(float)
    rows = ordered[["batch_id", "checkpoint_h", "as_of"]].assign(weight=weight * own)
    categorical = tuple(i for i, name in enumerate(encoder.columns) if name in encoder.categories)
    return TrainingTable(rows, encoder.encode(ordered), categorical, encoder)


def before_the_label(snapshots: pd.DataFrame, log: pd.DataFrame) -> pd.DataFrame:
    """Snapshots taken before their batch had any label: later ones could hold the outcome."""
    first = labels_as_of(log)["first_available_at"]
    known = snapshots["batch_id"].map(first)
    return snapshots[~(snapshots["as_of"] >= known)]


def between_checkpoints(checkpoint_h: pd.Series) -> float:
    """Hours between two checkpoints at most; 0 where there is one."""
    return float(np.diff(np.unique(checkpoint_h.to_numpy(float))).max(initial=0.0))


def end_of_batches(batches: pd.DataFrame, log: pd.DataFrame, process: ProcessDefinition) -> pd.DataFrame:
    """When each batch ended: at its planned end, or when its first label was known where that came earlier.

    Args:
        batches: `batch_id`, `started_at`, and `planned_end_at` where there is one.
        log: `features.contracts.LABELS`.
        process: Gives the planned duration where a batch has no planned end.

    Returns:
        `batch_id`, `end_at`.
    """
    recipe = batches["started_at"] + pd.Timedelta(hours=process.process.planned_duration_h)
    planned = batches["planned_end_at"].fillna(recipe) if "planned_end_at" in batches else recipe
    first = log.groupby("batch_id")["label_available_at"].min()
    known = pd.Series(first.reindex(batches["batch_id"]).array, index=batches.index)
    end = planned.mask(known < planned, known)
    return pd.DataFrame({"batch_id": batches["batch_id"], "end_at": end.astype("datetime64[us, UTC]")})


def exclusions(snapshots: pd.DataFrame, log: pd.DataFrame, used: dict[str, tuple[str, ...]]) -> pd.DataFrame:
    """Where every snapshot went; the rows sum to all snapshots given.

    Args:
        snapshots: All snapshots that were handed over.
        log: `features.contracts.LABELS`.
        used: Batch ids per purpose, for example `{"training": ..., "sealed test": ...}`.

    Returns:
        `reason`, `batches`, `rows`, `used` (whether these rows served a purpose).
    """
    labels = labels_as_of(log)
    purpose = {batch: name for name, batches in used.items() for batch in batches}
    reason = snapshots["batch_id"].map(purpose)
    late = ~snapshots.index.isin(before_the_label(snapshots, log).index)
    labelled = snapshots["batch_id"].isin(labels.index)
    censored = snapshots["batch_id"].isin(labels.index[labels["censored"]])
    reason = reason.mask(labelled & late, "taken when the outcome was already known")
    reason = reason.mask(censored, "censored outcome")
    reason = reason.mask(~labelled, "no outcome yet")
    reason = reason.fillna("outcome not known before the cut, or a group of the test")
    counted = snapshots.groupby(reason.rename("reason"))["batch_id"].agg(batches="nunique", rows="size").reset_index()
    unseen = len(labels.index.difference(pd.Index(snapshots["batch_id"], dtype="str")))
    if unseen:
        none = pd.DataFrame({"reason": ["an outcome but no snapshot"], "batches": [unseen], "rows": [0]})
        counted = pd.concat([counted, none], ignore_index=True)
    return counted.assign(used=counted["reason"].isin(used))
