"""Any mixture and order of outcomes trains, or is refused at once with one line that says why."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.errors import TrainingError
from models.backtest.fits import Fits
from models.backtest.history import History
from models.backtest.prequential import finished
from models.policy import Policy
from models.scoring.assessment import assess_frame
from tests.models.mixtures import ORDERS, N, history_of_outcomes, outcomes_in_order

LEARNERS, TESTS = ("layers", "trees"), ("prequential", "newest_quarter", "newest_failures")


def risks(history: History, policy: Policy, folder: Path) -> np.ndarray:
    """Risks of all snapshots, by a model of all that is known at the end with thresholds of its own forward folds."""
    known = history.at(history.log["label_available_at"].max() + pd.Timedelta(hours=1))
    fit = Fits(folder, policy).at(known)
    nothing_given = fit.out_of_fold.iloc[:0].assign(known_at=pd.NaT)
    predictor = finished(fit, nothing_given, history.process, policy)
    (found,) = assess_frame(predictor, history.snapshots, history.features, contributions=False)
    assert 0 <= predictor.thresholds.elevated <= predictor.thresholds.high <= 1
    return found.assessment.probability


def trains_or_is_refused(history: History, policy: Policy, folder: Path) -> bool:
    """Whether it trains; a refusal has to be one line and quick, of processor time."""
    begun = time.process_time()
    try:
        found = risks(history, policy, folder)
    except TrainingError as error:
        assert time.process_time() - begun < 10
        assert "\n" not in str(error)
        assert error.remedy
        return False
    assert np.isfinite(found).all()
    assert ((found > 0) & (found < 1)).all()
    return True


@pytest.mark.parametrize("learner", LEARNERS)
@pytest.mark.parametrize("n_failed", [5, 30, 55])
def test_outcomes_that_alternate_train_from_five_failures_to_five_successes(n_failed, learner, tmp_path) -> None:
    history = history_of_outcomes(outcomes_in_order(n_failed, "alternating"), release=learner == "layers")
    assert trains_or_is_refused(history, Policy(learner=learner), tmp_path)


@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(5, N - 5), st.sampled_from(ORDERS), st.booleans(), st.sampled_from(LEARNERS), st.sampled_from(TESTS))
def test_any_mixture_and_order_trains_or_is_refused(tmp_path, n_failed, order, release, learner, test) -> None:
    history = history_of_outcomes(outcomes_in_order(n_failed, order), release=release)
    trains_or_is_refused(history, Policy(learner=learner, test=test, test_failures=5), tmp_path)


@pytest.mark.parametrize("order", ["failures first", "failures last"])
def test_outcomes_that_no_moment_divides_are_refused_with_when_they_were(order, tmp_path) -> None:
    history = history_of_outcomes(outcomes_in_order(5, order), release=False)
    with pytest.raises(TrainingError, match="5 of 60 training batches failed, started 2026-01"):
        risks(history, Policy(), tmp_path)


@pytest.mark.parametrize(
    ("n_failed", "what"), [(4, "only 4 of 60 batches failed"), (56, "only 4 of 60 batches succeeded")]
)
def test_fewer_than_five_of_an_outcome_are_refused_with_their_number(n_failed, what, tmp_path) -> None:
    history = history_of_outcomes(outcomes_in_order(n_failed, "alternating"), release=False)
    with pytest.raises(TrainingError, match=what):
        risks(history, Policy(), tmp_path)


def test_a_test_that_takes_every_batch_says_so(tmp_path) -> None:
    history = history_of_outcomes(outcomes_in_order(5, "alternating"), release=False)
    with pytest.raises(TrainingError, match="no batch has an outcome that was known before the test began"):
        risks(history, Policy(test="newest_failures", test_failures=5), tmp_path)
