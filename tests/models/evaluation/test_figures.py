import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from models.evaluation.figures import (
    auprc,
    auroc,
    brier,
    by_checkpoint,
    calibration_floor,
    expected_calibration_error,
    false_alarm_threshold,
    figures,
    last_checkpoint,
    lead_time_figures,
    lead_times,
    with_interval,
)
from tests.models.plant import utc

ONCE = np.ones((1, 4))


def scores(*rows: tuple[str, float, bool, float]) -> pd.DataFrame:
    """Rows of (batch_id, checkpoint_h, failed, probability); every label is known 100 h after the start."""
    frame = pd.DataFrame(rows, columns=["batch_id", "checkpoint_h", "failed", "failure_probability"])
    start = utc("2026-01-01")
    return frame.assign(
        as_of=start + pd.to_timedelta(frame["checkpoint_h"], unit="h"),
        label_available_at=start + pd.Timedelta(hours=100),
    )


def test_auroc_counts_pairs_in_order_and_ties_half():
    failed = np.array([False, True, False, True])
    # pairs (bad, good): (.5, .1) won, (.5, .5) tied, (.9, .1) won, (.9, .5) won
    assert auroc(failed, np.array([0.1, 0.5, 0.5, 0.9]), ONCE)[0] == pytest.approx(3.5 / 4)


def test_auprc_weighs_precision_by_the_failures_found():
    # highest first: bad (1/1), good, bad (2/3), good
    assert auprc(np.array([True, False, True, False]), np.array([0.9, 0.8, 0.7, 0.6]), ONCE)[0] == pytest.approx(
        (1 + 2 / 3) / 2
    )


def test_brier_is_the_mean_squared_distance():
    assert brier(np.array([True, False, False, False]), np.array([0.5, 0.5, 0.0, 0.0]), ONCE)[0] == pytest.approx(0.125)


def test_one_class_only_has_no_auroc():
    assert np.isnan(auroc(np.zeros(4, bool), np.arange(4.0), ONCE)[0])
    assert np.isnan(with_interval(auroc, np.zeros(4, bool), np.arange(4.0), np.arange(4)).value)


rows = st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.integers(0, 3)), min_size=4, max_size=25)


@given(rows)
@settings(max_examples=100, deadline=None)
def test_weighted_figures_equal_those_of_scikit_learn(drawn):
    failed, p, weight = (np.array(column) for column in zip(*drawn, strict=True))
    failed, p = failed.astype(bool), p / 5
    if weight[failed].sum() == 0 or weight[~failed].sum() == 0:
        return
    w = weight[None, :].astype(float)
    assert auroc(failed, p, w)[0] == pytest.approx(roc_auc_score(failed, p, sample_weight=weight))
    assert auprc(failed, p, w)[0] == pytest.approx(average_precision_score(failed, p, sample_weight=weight))
    assert brier(failed, p, w)[0] == pytest.approx(brier_score_loss(failed, p, sample_weight=weight))


def test_snapshots_of_one_batch_do_not_narrow_the_interval():
    rng = np.random.default_rng(0)
    failed, p = rng.random(60) < 0.3, rng.random(60)
    alone = with_interval(auroc, failed, p, np.arange(60))
    copied = with_interval(auroc, np.repeat(failed, 10), np.repeat(p, 10), np.repeat(np.arange(60), 10))
    assert copied.value == pytest.approx(alone.value)
    assert copied.high - copied.low == pytest.approx(alone.high - alone.low, rel=0.05)
    assert alone.low < alone.value < alone.high


def test_calibration_error_by_hand_and_its_floor():
    p = np.array([0.1, 0.1, 0.9, 0.9])
    # first bin: stated .1, seen .5; second: stated .9, seen 1
    assert expected_calibration_error(np.array([True, False, True, True]), p, bins=2) == pytest.approx((0.4 + 0.1) / 2)
    assert calibration_floor(np.full(10_000, 0.1), bins=1) < 0.01
    assert calibration_floor(np.full(20, 0.1), bins=2) > 0.05


def test_overall_figures_take_each_batch_at_its_last_checkpoint():
    table = scores(
        ("A", 0, True, 0.1), ("A", 12, True, 0.9), ("B", 0, False, 0.5), ("C", 0, False, 0.2), ("C", 12, False, 0.1)
    )
    last = last_checkpoint(table)
    assert sorted(last["failure_probability"]) == [0.1, 0.5, 0.9]
    found = figures(last)
    assert (found["n_batches"], found["n_failed"], found["auroc"]) == (3, 1, 1.0)
    assert found["base_rate"] == pytest.approx(1 / 3)


def test_every_checkpoint_has_its_own_count_of_failures():
    table = by_checkpoint(
        scores(("A", 0, True, 0.1), ("B", 0, False, 0.5), ("A", 12, True, 0.9), ("C", 12, False, 0.1))
    )
    assert table[["checkpoint_h", "n", "n_failed", "auroc"]].to_numpy().tolist() == [[0, 2, 1, 0], [12, 2, 1, 1]]


def test_lead_time_runs_from_the_first_score_above_the_threshold_to_the_label():
    table = scores(
        ("A", 0, True, 0.1), ("A", 12, True, 0.6), ("A", 24, True, 0.7), ("B", 0, False, 0.2), ("C", 0, True, 0.5)
    )
    leads = lead_times(table, 0.5)
    assert leads.loc["A", "lead_h"] == 88
    assert leads.loc[["B", "C"], "lead_h"].isna().all()


def test_the_threshold_comes_from_good_batches_of_the_training_folds():
    folds = scores(*[(f"G{i}", h, False, i / 10 - h / 1000) for i in range(11) for h in (0, 12)], ("F", 0, True, 1.0))
    assert false_alarm_threshold(folds, 0.1) == pytest.approx(0.9)
    found = lead_time_figures(
        scores(("A", 0, True, 0.95), ("B", 0, True, 0.9), ("C", 0, False, 1.0)), folds, (0.1,)
    ).iloc[0]
    assert (found["caught"], found["n_failed"], found["false_alarms"], found["median_lead_h"]) == (1, 2, 1, 100)
