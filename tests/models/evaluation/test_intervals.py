import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from models.evaluation.intervals import (
    RESAMPLES,
    batch_weights,
    clopper_pearson,
    mean_with_interval,
    percentiles,
    share_with_interval,
    weighted_sums,
    with_interval,
)
from models.evaluation.metrics import auroc, brier, weighted_calibration_error


def test_snapshots_of_one_batch_do_not_narrow_the_interval() -> None:
    rng = np.random.default_rng(0)
    failed, p = rng.random(60) < 0.3, rng.random(60)
    alone = with_interval(auroc, failed, p, np.arange(60))
    copied = with_interval(auroc, np.repeat(failed, 10), np.repeat(p, 10), np.repeat(np.arange(60), 10))
    assert copied.value == pytest.approx(alone.value)
    assert copied.high - copied.low == pytest.approx(alone.high - alone.low, rel=0.05)
    assert alone.low < alone.value < alone.high


def test_bounds_of_a_share_are_those_of_clopper_and_pearson() -> None:
    # 40 of 50 failures caught: the published 95 % interval is .66 to .90
    assert clopper_pearson(40, 50) == (pytest.approx(0.663, abs=1e-3), pytest.approx(0.900, abs=1e-3))
    assert clopper_pearson(0, 10) == (0, pytest.approx(1 - 0.025 ** (1 / 10)))
    assert clopper_pearson(10, 10) == (pytest.approx(0.025 ** (1 / 10)), 1)


def test_a_share_of_none_or_all_is_not_certain_and_counts_batches_not_rows() -> None:
    found = share_with_interval(np.ones(40, bool), np.repeat(np.arange(10), 4))
    assert (found.value, found.low, found.high) == (1, *clopper_pearson(10, 10))
    assert np.isnan(share_with_interval(np.zeros(0, bool), np.zeros(0)).value)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=30))
@settings(max_examples=60, deadline=None)
def test_a_share_lies_inside_its_bounds_and_they_inside_one(rows) -> None:
    batch, hit = (np.array(c) for c in zip(*rows, strict=True))
    found = share_with_interval(hit, batch)
    assert -1e-12 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1 + 1e-12


@given(st.integers(1, 5), st.integers(0, 6), st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_weighted_sums_are_a_matrix_product(r, n, t) -> None:
    rng = np.random.default_rng(r + 10 * n + 100 * t)
    weight, values = rng.integers(0, 4, (r, n)), rng.random((n, t))
    assert weighted_sums(weight, values) == pytest.approx(weight @ values)
    assert weighted_sums(weight, values[:, 0]) == pytest.approx(weight @ values[:, 0])


def test_the_number_of_threads_changes_no_bit() -> None:
    rng, found = np.random.default_rng(0), []
    weight, values = (
        rng.random((1, 100_000)),
        rng.normal(size=100_000),
    )  # a BLAS product of these differs in its last bits
    for threads in (1, 2):
        with threadpool_limits(threads):
            found.append(weighted_sums(weight, values)[0])
    assert found[0] == found[1]


def test_draws_are_the_same_whatever_the_chunks() -> None:
    whole = np.vstack(list(batch_weights(7, resamples=50)))
    parts = np.vstack(list(batch_weights(7, resamples=50, width=400_000)))
    assert np.array_equal(whole, parts)
    assert (whole.sum(axis=1) == 7).all()
    assert len(np.vstack(list(batch_weights(3)))) == RESAMPLES


def test_the_mean_of_squares_has_the_interval_of_the_brier_score() -> None:
    rng = np.random.default_rng(1)
    failed, p, batch = rng.random(90) < 0.3, rng.random(90), np.arange(90) // 3
    plain, metric = mean_with_interval((p - failed) ** 2, batch), with_interval(brier, failed, p, batch)
    assert (plain.value, plain.low, plain.high) == pytest.approx((metric.value, metric.low, metric.high))


def test_a_centred_interval_holds_an_error_that_resampling_raises() -> None:
    rng = np.random.default_rng(2)
    p = rng.random(60)
    failed = rng.random(60) < p
    plain = with_interval(weighted_calibration_error, failed, p, np.arange(60))
    moved = with_interval(weighted_calibration_error, failed, p, np.arange(60), centred=True)
    assert plain.low > moved.low  # resamples of a calibrated model look less calibrated than it
    assert moved.low < moved.value < moved.high


def test_too_few_resamples_with_a_value_have_no_bounds() -> None:
    assert np.isnan(percentiles(0.5, np.array([np.nan, np.nan, 0.5])).low)
    assert percentiles(0.5, np.array([np.nan, 0.4, 0.6])).low == pytest.approx(0.405)
