"""The replay: models are made, tested, approved and used on the calendar, and every batch is scored as it would have been."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from features.errors import TrainingError
from models.backtest.calendar import Retraining, retrainings
from models.backtest.fits import Fit, Fits
from models.backtest.history import History, Known
from models.backtest.prequential import finished
from models.cohort.splits import seal_of
from models.cohort.table import end_of_batches
from models.evaluation.figures import last_checkpoint
from models.evaluation.metrics import auroc
from models.evaluation.sealed_test import score_test
from models.policy import Policy
from models.predictor import Predictor

Progress = Callable[[str, int, int], None]
LEAST = 5  # batches of each outcome before anything is trained, or before a test is read


@dataclass(frozen=True)
class Version:
    """One version of the model, as it came to be used or not.

    Attributes:
        number: From 1.
        made_at: What became known before it trained.
        serves_from: When it came into use; None where it never did.
        status: `served`, or `refused`.
        sha256: Digest of the predictor.
        n_known: Batches with a known outcome then.
        n_failed: How many of them failed.
        test_auroc: Of the batches that tested it, each at its last checkpoint; NaN where too few were known.
        test_batches: How many tested it.
        test_failed: How many of these failed.
    """

    number: int
    made_at: pd.Timestamp
    serves_from: pd.Timestamp | None
    status: str
    sha256: str
    n_known: int
    n_failed: int
    test_auroc: float
    test_batches: int
    test_failed: int


@dataclass(frozen=True, eq=False)
class Replayed:
    """What a replay gave.

    Attributes:
        versions: One row per `Version`.
        predictors: By number, those that served.
        scores: Every score as it was given: `models.evaluation.sealed_test.Scored.rows`, at checkpoints and between them,
            with the number of its `version`.
        given: Prequential scores of the models before their correction, for the next version.
    """

    versions: pd.DataFrame
    predictors: dict[int, Predictor]
    scores: pd.DataFrame
    given: pd.DataFrame


def replay(
    history: History,
    policy: Policy,
    fits: Fits,
    *,
    until: pd.Timestamp | None = None,
    dates: Sequence[Retraining] | None = None,
    progress: Progress | None = None,
) -> Replayed:
    """Replay a history.

    Args:
        history: Everything; each step reads what was known at its moment (`History.at`).
        policy: The rules.
        fits: Makes models or finds them.
        until: End of the replay; None: the history's.
        dates: Of the trainings; None: those of the policy.
        progress: Called after every model.

    Raises:
        TrainingError: Too few outcomes of either kind are known at any time before the end.
    """
    if dates is None:
        dates = retrainings(
            history.outcomes, policy, least=LEAST, started=history.started, until=until, log=history.log
        )
    if not dates:
        raise too_short(history)
    planned = tuple(dates)
    books = _Books(history, fits, until)
    for date in planned:
        known = history.at(date.at)
        fit = fits.at(known)
        books.add(date, fit, known, policy)
        if progress:
            progress("models", date.number, len(planned))
    return books.replayed()


def too_short(history: History) -> TrainingError:
    """Why a history cannot be replayed."""
    n_failed, n = int(history.outcomes["failed"].sum()), len(history.outcomes)
    return TrainingError(
        f"{history.process.id}: {n_failed} of {n} batches with an outcome failed, and no batch started after {LEAST} failures "
        f"and {LEAST} successes were known",
        expected="batches that start after that, to test a model on",
        remedy="Give 'batchguard run' a longer --history, or run again when more batches are decided.",
    )


class _Books:
    """Versions and prequential scores as they grow."""

    def __init__(self, history: History, fits: Fits, until: pd.Timestamp | None) -> None:
        self._history, self._until = history, until
        self._fits = fits
        self._closed: dict[int, pd.DataFrame] = {}  # raw scores of a version's block, once the next version is made
        self._versions: list[Version] = []
        self._serving: list[tuple[int, pd.Timestamp, Predictor]] = []
        self._models: list[tuple[Retraining, Fit]] = []
        self._subjects: dict[int, frozenset[str]] = {}
        self._subject_of = history.batches.set_index("batch_id")["subject_key"]
        self._end = end_of_batches(history.batches, history.log, history.process).set_index("batch_id")["end_at"]

    def add(self, date: Retraining, fit: Fit, known: Known, policy: Policy) -> None:
        """Test the newest model, and let it serve if its test is good enough."""
        given = self.given(known)
        predictor = fit.predictor if fit.seal.batch_ids else finished(fit, given, self._history.process, policy)
        test = fit.test_scores(known) if fit.seal.batch_ids else given
        reading, n, n_failed = _reading(test)
        refused = reading < policy.least_auroc
        self._versions.append(
            Version(
                date.number, date.at, None if refused else date.serves_from, "refused" if refused else "served",
                predictor.sha256, len(known.outcomes), int(known.outcomes["failed"].sum()), reading, n, n_failed,
            )
        )  # fmt: skip
        self._models.append((date, fit))
        self._subjects[date.number] = _subjects(known)
        if not refused:
            self._serving.append((date.number, date.serves_from, predictor))

    def given(self, known: Known) -> pd.DataFrame:
        """Prequential scores of the batches whose outcome is known: each by the newest model made before it started."""
        ends = [*(date.at for date, _ in self._models), known.moment][1:]
        parts = [self._raw(date, fit, end) for (date, fit), end in zip(self._models, ends, strict=True)]
        outcomes = known.outcomes.set_index("batch_id")
        none = self._history.scored.iloc[:0][["batch_id", "checkpoint_h", "as_of"]].assign(log_odds=0.0)
        rows = pd.concat(parts, ignore_index=True) if parts else none
        rows = rows[rows["batch_id"].isin(outcomes.index)]
        known.require(rows["as_of"], "a score")
        return rows.assign(
            failed=rows["batch_id"].map(outcomes["failed"]).astype(bool),
            known_at=rows["batch_id"].map(outcomes["known_at"]),
            end_at=rows["batch_id"].map(self._end),
        )

    def _raw(self, date: Retraining, fit: Fit, end: pd.Timestamp) -> pd.DataFrame:
        """A version's own scores of the batches that started before the end of its block."""
        if date.number in self._closed:
            return self._closed[date.number]
        found = fit.raw(self._rows(date.at, end, date.number), self._history.features)
        if date is not self._models[-1][0]:
            self._closed[date.number] = found
        return found

    def replayed(self) -> Replayed:
        """Score every batch with the version that served when it started."""
        ends = [begin for _, begin, _ in self._serving[1:]]
        ends.append(max(self._moment, self._history.scored["started_at"].max() + _LATER))
        parts, predictors = [], {}
        decided = self._history.at(self._moment).outcomes["batch_id"]
        for (number, begin, predictor), end in zip(self._serving, ends, strict=True):
            rows = self._rows(begin, end, number)
            rows = rows[rows["batch_id"].isin(decided)]
            predictors[number] = predictor
            if len(rows):
                parts.append(self._scored(number, predictor, rows))
        if not parts:
            raise TrainingError(
                f"{self._history.process.id}: no batch with an outcome started after a model served",
                remedy="Give a longer --history.",
            )
        given = self.given(self._history.at(self._moment))
        versions = pd.DataFrame([asdict(version) for version in self._versions])
        return Replayed(versions, predictors, pd.concat(parts, ignore_index=True), given)

    @property
    def _moment(self) -> pd.Timestamp:
        """What became known at it or later plays no part."""
        return self._until or self._history.outcomes["known_at"].max() + _LATER

    def _rows(self, begin: pd.Timestamp, end: pd.Timestamp, version: int) -> pd.DataFrame:
        """Rows to be scored of batches that started in a stretch of time and whose subject the version does not know."""
        rows = self._history.scored
        own = rows[(rows["started_at"] >= begin) & (rows["started_at"] < end)]
        return own[~own["batch_id"].map(self._subject_of).isin(self._subjects[version])]

    def _scored(self, number: int, predictor: Predictor, rows: pd.DataFrame) -> pd.DataFrame:
        history = self._history

        def made() -> pd.DataFrame:
            seal = seal_of(history.process.id, rows["started_at"].min(), tuple(rows["batch_id"].unique()))
            return score_test(
                history.process, predictor, rows, history.features, history.batches, history.log, seal,
                observations=history.observations, contributions=False,
            ).rows  # fmt: skip

        labels = history.log[history.log["batch_id"].isin(rows["batch_id"])]
        return self._fits.kept(f"given-{predictor.sha256[:32]}", [rows, labels], made).assign(version=number)


_LATER = pd.Timedelta(microseconds=1)


def _reading(scores: pd.DataFrame) -> tuple[float, int, int]:
    """AUROC of each batch at its last score, batches, failures; NaN where a class has fewer than `LEAST`."""
    if scores.empty:
        return np.nan, 0, 0
    last = last_checkpoint(scores)
    n, n_failed = len(last), int(last["failed"].sum())
    if min(n_failed, n - n_failed) < LEAST:
        return np.nan, n, n_failed
    values = last["failed"].to_numpy(bool), last["log_odds"].to_numpy(float), np.ones((1, n), dtype=np.int64)
    return float(auroc(*values)[0]), n, n_failed


def _subjects(known: Known) -> frozenset[str]:
    """Patients and donors of the batches that train."""
    rows = known.batches[known.batches["batch_id"].isin(known.outcomes["batch_id"])]
    return frozenset(rows["subject_key"]) - {""}
