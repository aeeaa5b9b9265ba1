import numpy as np
import pytest

from features.process import QualityAttribute
from models.learners.design import Design
from models.learners.forecasts import ErrorShape, Forecasts

WIDTH, ATTRIBUTES = 37, 3


@pytest.fixture(scope="module")
def forecasts() -> Forecasts:
    rng = np.random.default_rng(5)
    plain, shape = np.arange(WIDTH), (2, WIDTH)
    attributes = tuple(QualityAttribute(name=f"a{i}", parameter=f"p{i}", lower=0.0) for i in range(ATTRIBUTES))
    return Forecasts(
        attributes, {}, Design(plain, np.empty(0, int), ()), (12.0, 24.0), rng.normal(size=shape),
        rng.uniform(0.5, 2, shape), rng.normal(size=(2, WIDTH, ATTRIBUTES)), rng.normal(size=(2, ATTRIBUTES)),
        np.full((2, ATTRIBUTES), -1.0), np.ones((2, ATTRIBUTES)), np.ones((2, ATTRIBUTES)),
        ErrorShape(*(np.full((2, ATTRIBUTES), value) for value in (0.0, 1.0, 0.3, 0.1))),
    )  # fmt: skip


def test_a_row_alone_is_forecast_to_the_bit_as_in_company(forecasts) -> None:
    rng = np.random.default_rng(6)
    X, hours = rng.normal(size=(64, WIDTH)), rng.choice([6.0, 12.0, 15.5, 24.0, 30.0], 64)
    X[rng.random(X.shape) < 0.2] = np.nan
    together = forecasts.expected(X, hours)
    for i in range(len(X)):
        alone = forecasts.expected(X[i : i + 1], hours[i : i + 1])
        np.testing.assert_array_equal(alone.value[0], together.value[i])
        np.testing.assert_array_equal(alone.error[0], together.error[i])


def test_a_forecast_is_the_usual_one_and_what_its_columns_add(forecasts) -> None:
    X, hours = np.random.default_rng(7).normal(size=(5, WIDTH)), np.full(5, 12.0)
    added = forecasts.contributions(X, hours).sum(axis=1)
    np.testing.assert_allclose(forecasts.expected(X, hours).value, forecasts.usual[0] + added, rtol=1e-12)
