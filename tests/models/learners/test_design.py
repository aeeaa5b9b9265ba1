import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.dictionary import Feature
from models.cohort.encode import Encoder
from models.learners.design import FARTHEST, Design, design_of, location_and_spread, standardised


def feature(name: str) -> Feature:
    subject, window, statistic = name.split(".")
    return Feature(name, subject, subject, "", window, statistic, "")


NAMES = (
    "line.before_start.value", "ph.last_24h.mean", "ph.last_6h.mean", "ph.now.age_h", "ph.since_start.last",
    "supplier.before_start.value", "temp.since_start.slope",
)  # fmt: skip
MANY = tuple(f"S{i}" for i in range(9))
ENCODER = Encoder(NAMES, {NAMES[0]: ("north", "south"), NAMES[5]: MANY})
X = np.array(
    [[0, 7.0, 7.1, 1.0, 7.2, 3, -0.5], [1, 6.0, 6.1, 2.0, np.nan, 0, 0.5], [np.nan, 5.0, 5.1, 3.0, 6.9, 1, 0.0]]
)


def test_levels_and_trends_enter_but_ages_the_shortest_window_and_long_lists_of_names_do_not() -> None:
    design = design_of(ENCODER, [feature(name) for name in NAMES], X)
    assert [NAMES[i] for i in design.plain] == ["ph.last_24h.mean", "ph.since_start.last", "temp.since_start.slope"]
    assert [NAMES[i] for i in design.logged] == ["ph.last_24h.mean", "ph.since_start.last"]
    assert design.named == ((0, 0), (0, 1))
    assert design.owners.tolist() == [1, 4, 6, 1, 4, 0, 0]


def test_columns_are_those_worked_by_hand_and_unknown_where_the_value_is() -> None:
    design = design_of(ENCODER, [feature(name) for name in NAMES], X)
    expected = [
        [7, 7.2, -0.5, np.log(7), np.log(7.2), 1, 0],
        [6, np.nan, 0.5, np.log(6), np.nan, 0, 1],
        [5, 6.9, 0, np.log(5), np.log(6.9), np.nan, np.nan],
    ]
    np.testing.assert_allclose(design.columns(X), expected)


def test_a_later_value_below_nothing_has_no_logarithm_and_raises_no_warning() -> None:
    design = Design(np.array([0]), np.array([0]), ())
    np.testing.assert_array_equal(design.columns(np.array([[-1.0], [0.0]])), [[-1, np.nan], [0, np.nan]])


def test_location_and_spread_are_median_and_half_the_middle_68_percent() -> None:
    location, spread = location_and_spread(np.arange(101.0)[:, None])
    assert location == pytest.approx([50])
    assert spread == pytest.approx([34])  # (84 - 16) / 2


def test_a_column_that_most_rows_do_not_know_or_that_never_moves_is_not_used() -> None:
    half = np.where(np.arange(100) < 49, np.arange(100.0), np.nan)
    jitter = 37.0 + np.arange(100) % 3 * 7e-15  # the last bits of a mean are no movement
    columns = np.column_stack([half, np.full(100, 0.1), jitter, np.full(100, np.nan)])
    location, spread = location_and_spread(columns)
    assert np.isnan(location).all()
    assert np.isnan(spread).all()


def test_where_most_stand_on_one_value_the_standard_deviation_is_the_spread() -> None:
    column = np.r_[np.zeros(90), np.ones(10)][:, None]
    location, spread = location_and_spread(column)
    assert location == [0]
    assert spread == pytest.approx([0.3])


@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_quantiles_are_those_of_the_known_values(seed, n) -> None:
    rng = np.random.default_rng(seed)
    columns = np.where(rng.random((n, 3)) < 0.2, np.nan, rng.normal(size=(n, 3)))
    location, _ = location_and_spread(columns)
    for i in np.flatnonzero(~np.isnan(location)):
        assert location[i] == pytest.approx(np.nanmedian(columns[:, i]))


def test_what_is_not_known_is_usual_and_what_is_odd_is_cut() -> None:
    z = standardised(np.array([[3.0, np.nan, 1e9, 5.0]]), np.array([1.0, 1, 1, np.nan]), np.array([2.0, 1, 1, np.nan]))
    assert z.tolist() == [[1.0, 0.0, FARTHEST, 0.0]]


def test_it_survives_json() -> None:
    design = design_of(ENCODER, [feature(name) for name in NAMES], X)
    back = Design.from_json(json.loads(json.dumps(design.to_json())))
    np.testing.assert_array_equal(back.columns(X), design.columns(X))
    assert back.named == design.named
