"""The versions of a replay in use, one after another, and the scores that they gave."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from features.errors import TrainingError
from models.backtest.fits import Fits, code_digest
from models.backtest.given import rows_between, subjects_of
from models.backtest.history import History, Known
from models.cohort.splits import seal_of
from models.evaluation.sealed_test import score_test
from models.predictor import Predictor

_LATER = pd.Timedelta(microseconds=1)


@dataclass(frozen=True, eq=False)
class _Serving:
    """A version in use, from when, and the patients and donors it has learnt from."""

    number: int
    begin: pd.Timestamp
    predictor: Predictor
    subjects: frozenset[str]


class Served:
    """Versions in the order of their use.

    Args:
        history: Everything.
        fits: Keeps scores.
    """

    def __init__(self, history: History, fits: Fits) -> None:
        self._history, self._fits = history, fits
        self._serving: list[_Serving] = []

    def add(self, number: int, begin: pd.Timestamp, predictor: Predictor, known: Known) -> None:
        """A version made of what was known, in use from a time not before that of the version added last."""
        self._serving.append(_Serving(number, begin, predictor, subjects_of(known)))

    @property
    def predictors(self) -> dict[int, Predictor]:
        """By number of the version."""
        return {each.number: each.predictor for each in self._serving}

    def scores(self, last: Known) -> pd.DataFrame:
        """Scores of every batch with an outcome by the version that served when it started.

        Args:
            last: What is known at the end of the replay.

        Returns:
            `models.evaluation.sealed_test.Scored.rows`, with the number of its `version`.

        Raises:
            TrainingError: No batch with an outcome started after a version served.
        """
        end_of_all = max(last.moment, self._history.scored["started_at"].max() + _LATER)
        ends = [*(each.begin for each in self._serving), end_of_all][1:]
        parts = []
        for each, end in zip(self._serving, ends, strict=True):
            rows = rows_between(self._history, each.begin, end, each.subjects)
            rows = rows[rows["batch_id"].isin(last.outcomes["batch_id"])]
            if len(rows):
                parts.append(self._scored(each, rows, last))
        if not parts:
            raise TrainingError(
                f"{self._history.process.id}: no batch with an outcome started after a model served",
                remedy="Give a longer --history.",
            )
        return pd.concat(parts, ignore_index=True)

    def _scored(self, serving: _Serving, rows: pd.DataFrame, last: Known) -> pd.DataFrame:
        history, predictor = self._history, serving.predictor

        def made() -> pd.DataFrame:
            seal = seal_of(history.process.id, rows["started_at"].min(), tuple(rows["batch_id"].unique()))
            return score_test(
                history.process, predictor, rows, history.features, history.batches, last.log, seal,
                observations=history.observations, contributions=False,
            ).rows  # fmt: skip

        tables = (history.batches, last.log, history.observations)
        read = [table[table["batch_id"].isin(rows["batch_id"])] for table in tables if table is not None]
        name = f"given-{predictor.sha256[:32]}-{code_digest()[:16]}"
        return self._fits.kept(name, [rows, *read], made).assign(version=serving.number)
