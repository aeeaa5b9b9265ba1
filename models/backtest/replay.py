"""The replay: models are made, tested, approved and used on the calendar, and every batch is scored as it would have been."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd

from features.errors import TrainingError
from models.backtest.calendar import Recalibration, Retraining, recalibrations, retrainings
from models.backtest.fits import Fit, Fits
from models.backtest.given import GivenScores
from models.backtest.history import History, Known, LookAheadError
from models.backtest.prequential import finished
from models.backtest.served import Served
from models.backtest.versions import LEAST, RECALIBRATED, REFUSED, SERVED, TOO_LITTLE, TRAINED, Version, reading
from models.policy import Policy
from models.predictor import Predictor

Progress = Callable[[str, int, int], None]


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
        progress: Called after every training.

    Raises:
        TrainingError: Too few outcomes of either kind are known, or left by a window or a sealed test, at every training.
    """
    if dates is None:
        dates = retrainings(history.first_outcomes, policy, least=LEAST, started=history.started, until=until)
    if not dates:
        raise too_short(history.process.id, history.outcomes)
    planned = tuple(dates)
    between = recalibrations(history.first_outcomes, policy, planned, started=history.started, until=until)
    books = _Books(history, policy, fits, until)
    for date in sorted((*planned, *between), key=lambda event: event.at):
        known = history.at(date.at)
        if isinstance(date, Recalibration):
            books.recalibrate(date, known)
            continue
        fit = fit_or_why_not(fits, known)
        if isinstance(fit, Fit):
            books.train(date, fit, known)
        elif date is planned[-1] and not books.any_made:
            raise fit
        else:
            books.pass_over(date, known)
        if progress:
            progress("models", date.number, len(planned))
    return books.replayed()


def fit_or_why_not(fits: Fits, known: Known) -> Fit | TrainingError:
    """The model of what was known; or why there is none: a window, a sealed test or corrected labels leave too little."""
    try:
        return fits.at(known)
    except LookAheadError:
        raise
    except TrainingError as error:
        return error


def too_short(process_id: str, outcomes: pd.DataFrame) -> TrainingError:
    """Why a history cannot be replayed; takes `models.backtest.history.outcomes_of`."""
    n_failed, n = int(outcomes["failed"].sum()), len(outcomes)
    return TrainingError(
        f"{process_id}: {n_failed} of {n} batches with an outcome failed, and no batch started after {LEAST} failures "
        f"and {LEAST} successes were known",
        expected="batches that start after that, to test a model on",
        remedy="Give 'batchguard run' a longer --history, or run again when more batches are decided.",
    )


class _Books:
    """Versions as they are made, and which of them serves from when."""

    def __init__(self, history: History, policy: Policy, fits: Fits, until: pd.Timestamp | None) -> None:
        self._history, self._policy, self._until = history, policy, until
        self._given, self._served = GivenScores(history), Served(history, fits)
        self._versions: list[Version] = []
        self._approved: tuple[int, Fit] | None = None  # the newest trained version that was not refused

    @property
    def any_made(self) -> bool:
        """Whether there is a model."""
        return self._given.any_model

    def train(self, date: Retraining, fit: Fit, known: Known) -> None:
        """Test the newest model, and let it serve if its test is good enough."""
        given, number = self._given.at(known), len(self._versions) + 1
        sealed = bool(fit.seal.batch_ids)
        predictor = fit.predictor if sealed else finished(fit, given, self._history.process, self._policy)
        test = reading(fit.test_scores(known) if sealed else given)
        refused = test[0] < self._policy.least_auroc
        self._given.add(fit, known)
        self._note(date, known, TRAINED, REFUSED if refused else SERVED, number, predictor, test)
        if not refused:
            self._approved = number, fit

    def recalibrate(self, date: Recalibration, known: Known) -> None:
        """Finish the newest trained version that was not refused with the scores known now; without one, do nothing.

        Approval takes as long as for a training, so at `serves_from` the version in use is that one, or was recalibrated
        from it. Trees decide the ranks: the reading is noted and refuses nothing.
        """
        if self._approved is not None:
            trees_of, fit = self._approved
            given = self._given.at(known)
            predictor = finished(fit, given, self._history.process, self._policy)
            self._note(date, known, RECALIBRATED, SERVED, trees_of, predictor, reading(given))

    def pass_over(self, date: Retraining, known: Known) -> None:
        """Note a training at which no model can be made: the version before goes on serving."""
        self._note(date, known, TRAINED, TOO_LITTLE, len(self._versions) + 1, None, (np.nan, 0, 0))

    def _note(
        self, date: Retraining | Recalibration, known: Known, kind: str, status: str, trees_of: int,
        predictor: Predictor | None, test: tuple[float, int, int],
    ) -> None:  # fmt: skip
        """Enter a version, and let it serve unless its status says otherwise."""
        number, n_failed = len(self._versions) + 1, int(known.outcomes["failed"].sum())
        begin = date.serves_from if status == SERVED else None
        digest = predictor.sha256 if predictor is not None else ""
        self._versions.append(
            Version(number, kind, trees_of, date.at, begin, status, digest, len(known.outcomes), n_failed, *test)
        )
        if begin is not None and predictor is not None:
            self._served.add(number, begin, predictor, known)

    def replayed(self) -> Replayed:
        """Score every batch with the version that served when it started.

        What became known at the end of the replay or later plays no part.
        """
        last = self._history.at(self._until or self._history.log["label_available_at"].max() + _LATER)
        scores = self._served.scores(last)
        versions = pd.DataFrame([asdict(version) for version in self._versions])
        return Replayed(versions, self._served.predictors, scores, self._given.at(last))


_LATER = pd.Timedelta(microseconds=1)
