from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models.backtest.calendar import Retraining, retrainings
from models.backtest.fits import Fits
from models.backtest.history import History
from models.backtest.newest import newest, prequential_seal
from models.backtest.replay import replay
from models.backtest.versions import LEAST
from models.cohort.splits import Seal
from models.train import Trained
from tests.models.backtest.lived import CENSORED, POLICY, UNDECIDED
from tests.models.plant import utc

MOMENT = utc("2026-02-20")


def sealed(history: History, dates: tuple[Retraining, ...], moment: pd.Timestamp) -> Seal:
    return prequential_seal(history.process.id, history.batches, history.log, dates[0].at, moment)


@pytest.fixture(scope="module")
def dates(history) -> tuple[Retraining, ...]:
    return retrainings(history.first_outcomes, POLICY, least=LEAST, started=history.started, until=MOMENT)


@pytest.fixture(scope="module")
def trained(history, kept, dates) -> Trained:
    fits = Fits(kept, POLICY)
    found = replay(history, POLICY, fits, until=MOMENT)
    return newest(history, POLICY, fits, found, sealed(history, dates, MOMENT))


def test_the_test_is_every_batch_known_at_the_moment_that_started_after_the_first_training(history, dates) -> None:
    seal = sealed(history, dates, MOMENT)
    known = history.log.groupby("batch_id")["label_available_at"].min()
    ids = known.index[(known < MOMENT) & (history.started[known.index] >= dates[0].at)]
    assert set(seal.batch_ids) == set(ids) - {CENSORED, UNDECIDED}
    assert list(seal.batch_ids) == sorted(seal.batch_ids)  # ids are in order of start
    assert seal.cut == MOMENT
    assert sealed(history, dates, utc("2026-02-21")).sha256 != seal.sha256


def test_the_newest_predictor_learns_from_all_that_is_known_its_test_too(trained, history) -> None:
    known = history.at(MOMENT).outcomes.set_index("batch_id")["failed"]
    assert set(trained.failed.index) == set(known.index)
    assert (trained.failed == known[trained.failed.index]).all()
    assert trained.prequential
    assert set(trained.seal.batch_ids) < set(trained.failed.index)
    assert trained.predictor.test_sha256 == trained.seal.sha256


def test_what_sets_its_thresholds_are_the_scores_that_were_given(trained, history, kept, dates) -> None:
    fits = Fits(kept, POLICY)
    found = replay(history, POLICY, fits, until=MOMENT)
    seal = sealed(history, dates, MOMENT)
    louder = replace(found, given=found.given.assign(log_odds=found.given["log_odds"] * 2))
    other = newest(history, POLICY, fits, louder, seal).predictor
    assert other.model_texts == trained.predictor.model_texts
    assert other.thresholds != trained.predictor.thresholds
    assert other.calibration != trained.predictor.calibration
    assert newest(history, POLICY, fits, found, seal).predictor.sha256 == trained.predictor.sha256


def test_what_became_known_later_moves_nothing_of_it(trained, history, kept, dates) -> None:
    late = history.log["label_available_at"] >= MOMENT
    turned = replace(history, log=history.log.assign(failed=history.log["failed"] ^ (late & ~history.log["censored"])))
    fits = Fits(kept, POLICY)
    found = replay(turned, POLICY, fits, until=MOMENT)
    again = newest(turned, POLICY, fits, found, sealed(turned, dates, MOMENT))
    assert again.predictor.sha256 == trained.predictor.sha256


def test_trees_alone_see_the_features_and_nothing_else(trained) -> None:
    predictor = trained.predictor
    assert set(predictor.inputs) <= set(predictor.encoder.columns)
    assert len(predictor.model_texts) == 5 * len(predictor.from_h)
    assert np.isfinite(predictor.thresholds.high)
