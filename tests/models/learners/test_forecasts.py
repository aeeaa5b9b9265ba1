import json
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from features.dictionary import Feature
from features.process import QualityAttribute
from models.cohort.encode import Encoder
from models.learners.design import Design
from models.learners.forecasts import Expected, Forecasts, _ridge, _time_blocks, final_results, fit_forecasts
from tests.models.plant import utc

DOSE = QualityAttribute(name="dose", parameter="dose_e8", lower=2.0, transform="log")
VCN = QualityAttribute(name="vcn", parameter="vcn", upper=5.0)
BOTH = QualityAttribute(name="ph", parameter="ph", lower=7.0, upper=7.4)
HOURS = (0.0, 12.0, 24.0)
WIDE = 40
ENCODER = Encoder(tuple(f"p{i:02d}.since_start.last" for i in range(WIDE)), {})
FEATURES = [Feature(n, n.split(".")[0], "P", "", "since_start", "last", "") for n in ENCODER.columns]


def made_up(n: int = 150, seed: int = 1) -> tuple[np.ndarray, pd.DataFrame, pd.DataFrame]:
    """Encoded rows, batch and hour of each, results: log dose = 1 + .3 p00, vcn = 3 - p01, both with some noise."""
    rng = np.random.default_rng(seed)
    level = rng.normal(size=(n, WIDE))
    ids = [f"B{i:03d}" for i in range(n)]
    rows = pd.DataFrame({"batch_id": np.repeat(ids, 3), "checkpoint_h": np.tile(HOURS, n)})
    X = np.repeat(level, 3, axis=0) + rng.normal(0, 0.2, (3 * n, WIDE))
    dose, vcn = np.exp(1 + 0.3 * level[:, 0] + rng.normal(0, 0.1, n)), 3 - level[:, 1] + rng.normal(0, 0.3, n)
    return X, rows, pd.DataFrame({"dose": dose, "vcn": vcn}, index=pd.Index(ids, name="batch_id"))


def fit(X, rows, results) -> tuple[Forecasts, Expected]:
    forecasts, expected = fit_forecasts((DOSE, VCN), ENCODER, FEATURES, X, rows, results)
    assert forecasts is not None
    assert expected is not None
    return forecasts, expected


def result(at: str, value: float, *, known: str | None = None, revision: int = 0, quality: str = "good") -> dict:
    return {
        "batch_id": "B1", "parameter": "vcn", "observed_at": utc(at), "available_at": utc(known or at),
        "revision": revision, "value": value, "quality": quality,
    }  # fmt: skip


def of_b1(*rows: dict, before: str | None = None) -> float:
    found = final_results((VCN,), pd.DataFrame(rows), before=None if before is None else utc(before))
    return float(found["vcn"].get("B1", np.nan))


def test_a_result_counts_from_the_moment_at_which_it_became_available() -> None:
    row = result("2026-01-01", 3.0, known="2026-01-05")
    assert np.isnan(of_b1(row, before="2026-01-05"))  # at the cut is not before it
    assert of_b1(row, before="2026-01-05 00:00:01") == 3.0


def test_the_newest_sample_counts_with_its_newest_revision_as_known_then() -> None:
    rows = (
        result("2026-01-01", 1.0),
        result("2026-01-02", 2.0),
        result("2026-01-02", 2.5, known="2026-01-09", revision=1),
        result("2026-01-01", 9.0, known="2026-01-10", revision=1),
    )
    assert of_b1(*rows) == 2.5
    assert of_b1(*rows, before="2026-01-05") == 2.0
    assert np.isnan(of_b1(*rows, result("2026-01-02", 2.5, revision=2, quality="bad")))


def test_one_ridge_is_that_worked_by_hand() -> None:
    # one column, five parts of one row twice; intercept free: w = sum z (y - mean) / (sum z^2 + 10), z centred
    z = np.tile([-1.0, 1.0], 10)[:, None]
    y = 4 + 3 * z
    usual, weights, _ = _ridge(z, y, np.ones(20, bool), np.arange(20) // 4)
    assert usual == pytest.approx([4], abs=1e-6)
    assert weights == pytest.approx(np.array([[60 / (20 + 10)]]), rel=1e-6)  # the weakest penalty of the list fits best


def test_out_of_fold_a_row_is_predicted_by_the_other_parts_alone() -> None:
    z = np.tile([-1.0, 1.0], 10)[:, None]
    y = np.where(np.arange(20)[:, None] < 4, 100.0, 4 + 3 * z)  # the first part is odd
    _, _, held_out = _ridge(z, y, np.ones(20, bool), np.arange(20) // 4)
    w = 48 / (16 + 10)  # of the weakest penalty
    assert held_out[:4, 0] == pytest.approx(4 + w * z[:4, 0], rel=1e-6)


@given(st.integers(0, 149), st.floats(0.5, 9))
@settings(deadline=None, max_examples=10)
def test_at_one_penalty_a_batchs_own_result_does_not_move_its_out_of_fold_forecast(place, vcn) -> None:
    X, rows, results = made_up()
    changed = results.copy()
    changed.iloc[place, 1] = vcn
    with patch("models.learners.forecasts._PENALTIES", (100.0,)):  # the choice among several is made on all results
        _, before = fit(X, rows, results)
        _, after = fit(X, rows, changed)
    own = (rows["batch_id"] == results.index[place]).to_numpy()
    np.testing.assert_allclose(after.value[own, 1], before.value[own, 1], rtol=1e-9)
    assert not np.allclose(after.value[~own, 1], before.value[~own, 1], rtol=1e-12)


def test_blocks_hold_as_many_results_each_and_follow_time() -> None:
    assert _time_blocks(np.ones(10, bool)).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    late = np.arange(20) >= 10
    assert _time_blocks(late).tolist() == [0] * 10 + [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_forecasts_find_what_rules_each_attribute_and_cover_later_batches() -> None:
    forecasts, _ = fit(*made_up(400))
    X, rows, results = made_up(400, seed=2)
    found = forecasts.expected(X, rows["checkpoint_h"].to_numpy())
    value, low, high = found.in_units
    truth = rows[["batch_id"]].join(results, on="batch_id")[["dose", "vcn"]].to_numpy()
    assert np.corrcoef(np.log(value[:, 0]), np.log(truth[:, 0]))[0, 1] > 0.8
    inside = ((truth >= low) & (truth <= high)).mean(axis=0)
    assert (np.abs(inside - 0.9) < 0.06).all()


def test_an_attribute_measured_on_few_batches_leaves_the_others_their_own() -> None:
    X, rows, results = made_up()
    few = results.copy()
    few.iloc[:85, 1] = np.nan  # vcn was introduced late: 65 results
    alone, _ = fit(X, rows, results)
    beside, expected = fit(X, rows, few)
    np.testing.assert_allclose(beside.weights[:, :, 0], alone.weights[:, :, 0])
    new = rows["batch_id"].isin(results.index[85:]).to_numpy()
    error = expected.value[new, 1] - rows.loc[new, "batch_id"].map(results["vcn"]).to_numpy()
    assert np.abs(error).mean() < 1.0  # out of fold by others of the new ones, not by nothing


def test_attributes_without_enough_different_results_are_counted_not_forecast() -> None:
    X, rows, results = made_up()
    few = results.assign(vcn=results["vcn"].where(np.arange(150) < 59))
    forecasts, _ = fit(X, rows, few)
    assert [a.name for a in forecasts.attributes] == ["dose"]
    assert forecasts.not_enough == {"vcn": 59}
    yes_or_no = results.assign(vcn=(results["vcn"] > 3).astype(float))
    assert fit(X, rows, yes_or_no)[0].not_enough == {"vcn": 150}
    assert fit_forecasts((DOSE, VCN), ENCODER, FEATURES, X, rows, results[:59]) == (None, None)


def test_attributes_that_share_no_checkpoint_with_enough_results_are_not_forecast() -> None:
    X, rows, results = made_up()
    early = (rows["batch_id"] < "B075") == (rows["checkpoint_h"] == 0)  # old batches at 0 h, new ones later
    few = results.assign(
        dose=results["dose"].where(results.index < "B075"), vcn=results["vcn"].where(results.index >= "B075")
    )
    kept = rows[early].reset_index(drop=True)
    assert fit_forecasts((DOSE, VCN), ENCODER, FEATURES, X[early], kept, few) == (None, None)


def test_contributions_add_up_to_the_forecast_on_between_and_beyond_checkpoints() -> None:
    forecasts, _ = fit(*made_up())
    X = np.where(np.random.default_rng(3).random((7, WIDE)) < 0.3, np.nan, 2.0)
    hours = np.array([-5.0, 0.0, 3.0, 12.0, 20.0, 24.0, 99.0])
    expected, parts = forecasts.expected(X, hours), forecasts.contributions(X, hours)
    usual = np.column_stack([np.interp(hours, HOURS, forecasts.usual[:, i]) for i in range(2)])
    np.testing.assert_allclose(usual + parts.sum(axis=1), expected.value, atol=1e-9)


def test_a_forecast_between_checkpoints_lies_on_the_line_between_them() -> None:
    forecasts, _ = fit(*made_up())
    X = np.full((1, WIDE), 0.7)
    zero, twelve, three = (forecasts.expected(X, np.array([h])) for h in (0.0, 12.0, 3.0))
    np.testing.assert_allclose(three.value, 0.75 * zero.value + 0.25 * twelve.value)
    np.testing.assert_allclose(
        three.error, 0.75 * zero.error + 0.25 * twelve.error, rtol=0.01
    )  # its shape has a line too
    np.testing.assert_allclose(
        three.high - three.value, 0.75 * (zero.high - zero.value) + 0.25 * (twelve.high - twelve.value), rtol=0.01
    )


def test_an_error_that_grows_with_the_forecast_gets_an_interval_that_grows_with_it() -> None:
    rng = np.random.default_rng(9)
    X, rows, results = made_up(n=600, seed=9)
    level = np.log(results["dose"].to_numpy())
    u = (level - level.mean()) / level.std()
    noisy = results.assign(dose=np.exp(level + rng.normal(size=600) * 0.2 * np.exp(0.5 * u)))
    forecasts, _ = fit(X, rows, noisy)
    low, high = np.zeros((1, WIDE)), np.zeros((1, WIDE))
    low[0, 0], high[0, 0] = -1.0, 1.0  # one standard deviation of the forecast either way
    errors = [float(forecasts.expected(x, np.array([12.0])).error[0, 0]) for x in (low, high)]
    # sqrt(.1^2 + .2^2 e) over sqrt(.1^2 + .2^2 / e): the noise that is there anyhow and the one that grows
    assert errors[1] / errors[0] == pytest.approx(2.2, rel=0.3)


def test_errors_of_one_size_get_intervals_of_nearly_one_size() -> None:
    forecasts, _ = fit(*made_up(n=600, seed=10))
    assert forecasts.shape is not None
    assert np.abs(forecasts.shape.tilt).max() < 0.2
    assert np.abs(forecasts.shape.curve).max() < 0.2


@given(st.permutations(range(60)))
@settings(deadline=None, max_examples=20)
def test_a_forecast_does_not_know_its_company_to_the_last_bit(order) -> None:
    forecasts, (X, rows, _) = FITTED
    hours = rows["checkpoint_h"].to_numpy()[:60]
    together = forecasts.expected(X[:60], hours).value
    np.testing.assert_array_equal(forecasts.expected(X[order], hours[order]).value, together[order])
    for size in (1, 2, 3, 17):
        np.testing.assert_array_equal(forecasts.expected(X[:size], hours[:size]).value, together[:size])


def test_margins_and_chances_are_those_worked_by_hand() -> None:
    made = Expected(
        (DOSE, VCN, BOTH), *(np.array([row]) for row in ([np.log(4), 6.0, 7.3], [0.0] * 3, [9.0] * 3, [0.5, 2.0, 0.1]))
    )
    assert made.margins[0] == pytest.approx([np.log(2) / 0.5, -0.5, 1.0])
    assert made.miss_probability[0] == pytest.approx(
        [norm.cdf(-np.log(2) / 0.5), norm.cdf(0.5), norm.cdf(-1) + norm.cdf(-3)]
    )


def test_it_survives_json_to_the_bit() -> None:
    forecasts, (X, rows, _) = FITTED
    back = Forecasts.from_json(json.loads(json.dumps(forecasts.to_json(), allow_nan=False)))
    hours = rows["checkpoint_h"].to_numpy() + 1.0
    for name in ("value", "low", "high", "error"):
        np.testing.assert_array_equal(
            getattr(back.expected(X, hours), name), getattr(forecasts.expected(X, hours), name)
        )
    nothing = replace(forecasts, design=Design(np.array([], int), np.array([], int), ()))
    assert Forecasts.from_json(json.loads(json.dumps(nothing.to_json()))).design.width == 0


FITTED = (fit(*made_up())[0], made_up())
