import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from models.evaluation.intervals import with_interval
from models.evaluation.metrics import (
    auprc,
    auroc,
    auroc_with_interval,
    brier,
    calibration_floor,
    expected_calibration_error,
)

ONCE = np.ones((1, 4))


def test_auroc_counts_pairs_in_order_and_ties_half() -> None:
    failed = np.array([False, True, False, True])
    # pairs (bad, good): (.5, .1) won, (.5, .5) tied, (.9, .1) won, (.9, .5) won
    assert auroc(failed, np.array([0.1, 0.5, 0.5, 0.9]), ONCE)[0] == pytest.approx(3.5 / 4)


def test_auprc_weighs_precision_by_the_failures_found() -> None:
    # highest first: bad (1/1), good, bad (2/3), good
    assert auprc(np.array([True, False, True, False]), np.array([0.9, 0.8, 0.7, 0.6]), ONCE)[0] == pytest.approx(
        (1 + 2 / 3) / 2
    )


def test_brier_is_the_mean_squared_distance() -> None:
    assert brier(np.array([True, False, False, False]), np.array([0.5, 0.5, 0.0, 0.0]), ONCE)[0] == pytest.approx(0.125)


def test_one_class_only_has_no_auroc() -> None:
    assert np.isnan(auroc(np.zeros(4, bool), np.arange(4.0), ONCE)[0])
    assert np.isnan(with_interval(auroc, np.zeros(4, bool), np.arange(4.0), np.arange(4)).value)


rows = st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 3)), min_size=4, max_size=25)


@given(rows)
@settings(max_examples=100, deadline=None)
def test_weighted_figures_equal_those_of_scikit_learn(drawn) -> None:
    failed, p, weight = (np.array(column) for column in zip(*drawn, strict=True))
    failed, p = failed.astype(bool), p / 5
    if weight[failed].sum() == 0 or weight[~failed].sum() == 0:
        return
    w = weight[None, :].astype(float)
    assert auroc(failed, p, w)[0] == pytest.approx(roc_auc_score(failed, p, sample_weight=weight))
    assert auprc(failed, p, w)[0] == pytest.approx(average_precision_score(failed, p, sample_weight=weight))
    assert brier(failed, p, w)[0] == pytest.approx(brier_score_loss(failed, p, sample_weight=weight))


def test_calibration_error_by_hand_and_its_floor() -> None:
    p = np.array([0.1, 0.1, 0.9, 0.9])
    # first bin: stated .1, seen .5; second: stated .9, seen 1
    assert expected_calibration_error(np.array([True, False, True, True]), p, bins=2) == pytest.approx((0.4 + 0.1) / 2)
    assert calibration_floor(np.full(10_000, 0.1), bins=1) < 0.01
    assert calibration_floor(np.full(20, 0.1), bins=2) > 0.05


def test_where_all_failures_rank_above_all_good_batches_the_interval_does_not_claim_certainty() -> None:
    failed = np.r_[np.ones(5, bool), np.zeros(30, bool)]
    batch = np.array([f"B{i}" for i in range(35)])
    found = auroc_with_interval(failed, np.where(failed, 0.9, 0.1), batch)
    # Clopper and Pearson's bound for 5 of 5: 0.025 ** (1 / 5)
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.025**0.2)
    wrong = auroc_with_interval(failed, np.where(failed, 0.1, 0.9), batch)
    assert (wrong.value, wrong.low, wrong.high) == (0.0, 0.0, pytest.approx(1 - 0.025**0.2))
