"""Prequential scores as a replay goes on: each batch by the newest model made before it started."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from models.backtest.fits import Fit
from models.backtest.history import History, Known
from models.cohort.table import end_of_batches


@dataclass(frozen=True, eq=False)
class _Made:
    """A model, when it was made, and the patients and donors it has learnt from."""

    at: pd.Timestamp
    fit: Fit
    subjects: frozenset[str]


class GivenScores:
    """The models made so far and their own scores, before thresholds and calibration are set by them.

    Args:
        history: Everything; what of it counts at a moment is asked for with `at`.
    """

    def __init__(self, history: History) -> None:
        self._history = history
        self._made: list[_Made] = []
        self._closed: list[pd.DataFrame] = []  # of the blocks of all models but the newest
        self._end = end_of_batches(history.batches, history.log, history.process).set_index("batch_id")["end_at"]

    def add(self, fit: Fit, known: Known) -> None:
        """A model made of what was known: from that moment on batches are scored by it."""
        if self._made:
            self._closed.append(self._raw(self._made[-1], known.moment))
        self._made.append(_Made(known.moment, fit, subjects_of(known)))

    @property
    def any_model(self) -> bool:
        """Whether a model was added."""
        return bool(self._made)

    def at(self, known: Known) -> pd.DataFrame:
        """Scores of the batches whose outcome is known.

        Returns:
            `batch_id`, `checkpoint_h`, `as_of`, `log_odds`, ratios and groups (`models.backtest.fits.raw_scores`),
            `failed` as known then, `known_at`, `end_at`; empty before the first model.

        Raises:
            LookAheadError: A score was given at that moment or later.
        """
        parts = [*self._closed, *(self._raw(model, known.moment) for model in self._made[-1:])]
        outcomes = known.outcomes.set_index("batch_id")
        rows = pd.concat(parts, ignore_index=True) if parts else self._none
        rows = rows[rows["batch_id"].isin(outcomes.index)]
        known.require(rows["as_of"], "a score")
        return rows.assign(
            failed=rows["batch_id"].map(outcomes["failed"]).astype(bool),
            known_at=rows["batch_id"].map(outcomes["known_at"]),
            end_at=rows["batch_id"].map(self._end),
        )

    def _raw(self, model: _Made, end: pd.Timestamp) -> pd.DataFrame:
        """A model's own scores of the batches that started from when it was made to a moment."""
        rows = rows_between(self._history, model.at, end, model.subjects)
        return model.fit.raw(rows, self._history.features) if len(rows) else self._none

    @property
    def _none(self) -> pd.DataFrame:
        return self._history.scored.iloc[:0][["batch_id", "checkpoint_h", "as_of"]].assign(log_odds=0.0)


def rows_between(history: History, begin: pd.Timestamp, end: pd.Timestamp, subjects: frozenset[str]) -> pd.DataFrame:
    """Rows to be scored of batches that started in a stretch of time (`end` is no part of it), without those of subjects."""
    rows = history.scored
    own = rows[(rows["started_at"] >= begin) & (rows["started_at"] < end)]
    subject_of = history.batches.set_index("batch_id")["subject_key"]
    return own[~own["batch_id"].map(subject_of).isin(subjects)]


def subjects_of(known: Known) -> frozenset[str]:
    """Patients and donors of the batches whose outcome is known."""
    rows = known.batches[known.batches["batch_id"].isin(known.outcomes["batch_id"])]
    return frozenset(rows["subject_key"]) - {""}
