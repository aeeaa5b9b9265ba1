"""Scores of every batch over time as matrices: what alarms, lead times and costs are counted from."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.errors import ContractError

COLUMNS = ("batch_id", "checkpoint_h", "as_of", "failed", "end_at", "failure_probability")
_TOLERANCE_H = 1e-9  # a score exactly X hours ahead is X hours ahead, whatever the rounding


@dataclass(frozen=True)
class Trajectories:
    """One row per batch, one column per score in order of time; batches may have different numbers of scores.

    Attributes:
        batch_id: In ascending order, shape (n,).
        failed: Outcomes, shape (n,).
        running_max: The highest score so far, shape (n, m); -inf before the first score, and unchanged after the last.
        elapsed_h: Hours from the batch's start to each score, shape (n, m); NaN after the last.
        as_of: Time of each score, datetime64[us] in UTC, shape (n, m); NaT after the last.
        lead_h: Hours from each score to the batch's end, shape (n, m); NaN after the last.
    """

    batch_id: np.ndarray
    failed: np.ndarray
    running_max: np.ndarray
    elapsed_h: np.ndarray
    as_of: np.ndarray
    lead_h: np.ndarray

    @property
    def highest(self) -> np.ndarray:
        """The highest score of each batch, shape (n,): an alarm was ever raised where it exceeds the threshold."""
        return self.running_max[:, -1]

    def highest_until(self, ahead_h: float) -> np.ndarray:
        """The highest score at least so many hours before the end, shape (n,); -inf where there was none."""
        early = self.lead_h >= ahead_h - _TOLERANCE_H
        return np.where(early, self.running_max, -np.inf).max(axis=1, initial=-np.inf)

    def first_above(self, threshold: float) -> np.ndarray:
        """Column of the first score above the threshold, shape (n,); the number of columns where there is none."""
        return (self.running_max <= threshold).sum(axis=1)

    def of(self, keep: np.ndarray) -> Trajectories:
        """The batches of a mask, shape (n,)."""
        matrices = (self.running_max, self.elapsed_h, self.as_of, self.lead_h)
        return Trajectories(self.batch_id[keep], self.failed[keep], *(matrix[keep] for matrix in matrices))

    def counting(self, failures: Collection[str] | None) -> Trajectories:
        """All good batches, and of the failed ones only those named; None keeps every batch."""
        return self if failures is None else self.of(~self.failed | np.isin(self.batch_id, list(failures)))


def trajectories(scores: pd.DataFrame, *, on_delay: int = 1) -> Trajectories:
    """Arrange scores by batch and time.

    Args:
        scores: One row per (batch, checkpoint), at any grain: `batch_id`, `checkpoint_h`, `as_of`, `failed`, `end_at`,
            `failure_probability`. A NaN score never alarms. A score taken after the end of its batch warns of nothing
            and is ignored, for good batches and failed ones alike; a batch without any other score counts, unalarmed.
        on_delay: Scores in a row that must lie above a threshold before it counts as an alarm (ISA-18.2); the alarm
            is raised at the last of them. A NaN in between starts the count anew.

    Raises:
        ContractError: A column is missing, a batch has two outcomes or ends, or `on_delay` is less than 1.
    """
    require(scores, COLUMNS)
    if on_delay < 1:
        raise ContractError(f"on_delay is {on_delay}", expected="at least 1 score in a row")
    places, categories = pd.factorize(scores["batch_id"], sort=True)
    names = np.asarray(categories, dtype=str)
    as_of, end = (scores[name].dt.tz_convert(None).to_numpy("datetime64[us]") for name in ("as_of", "end_at"))
    order = np.lexsort((as_of, places))
    places, as_of, end = places[order], as_of[order], end[order]
    failed = scores["failed"].to_numpy(bool)[order]
    first = np.searchsorted(places, np.arange(len(names)))
    _one_per_batch(names, places, failed, failed[first], "outcome")
    _one_per_batch(names, places, end, end[first], "end_at")

    column = np.arange(len(places)) - first[places]
    shape = (len(names), int(column.max(initial=0)) + 1)

    def matrix(values: np.ndarray, empty: object) -> np.ndarray:
        out = np.full(shape, empty, dtype=values.dtype)
        out[places, column] = values
        return out

    p = scores["failure_probability"].to_numpy(float)[order]
    p = np.where(np.isnan(p) | (as_of > end), -np.inf, p)
    highest = np.maximum.accumulate(_lowest_in_a_row(matrix(p, -np.inf), on_delay), axis=1)
    elapsed_h = matrix(scores["checkpoint_h"].to_numpy(float)[order], np.nan)
    lead_h = matrix((end - as_of) / np.timedelta64(1, "h"), np.nan)
    return Trajectories(names, failed[first], highest, elapsed_h, matrix(as_of, np.datetime64("NaT")), lead_h)


def as_trajectories(scores: pd.DataFrame | Trajectories) -> Trajectories:
    """What already is arranged stays as it is."""
    return scores if isinstance(scores, Trajectories) else trajectories(scores)


def require(scores: pd.DataFrame, columns: Collection[str]) -> None:
    """Refuse a frame that lacks a column.

    Raises:
        ContractError: With the names that are missing.
    """
    missing = [name for name in columns if name not in scores.columns]
    if missing:
        raise ContractError(f"scores without {', '.join(missing)}", expected=f"the columns {', '.join(columns)}")


def _one_per_batch(names: np.ndarray, places: np.ndarray, values: np.ndarray, first: np.ndarray, what: str) -> None:
    other = np.flatnonzero(values != first[places])  # a time that is missing differs from itself
    if len(other):
        name = names[places[other[0]]]
        raise ContractError(f"batch {name}: its rows disagree on its {what}, or lack it", expected=f"one {what}")


def _lowest_in_a_row(p: np.ndarray, n: int) -> np.ndarray:
    """The lowest of the last n scores, shape of `p`; -inf where there are fewer than n."""
    out = p.copy()
    for back in range(1, n):
        out[:, back:] = np.minimum(out[:, back:], p[:, :-back])
        out[:, :back] = -np.inf
    return out
