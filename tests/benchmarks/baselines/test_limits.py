import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.baselines.folds import recall_at_budgets
from benchmarks.baselines.golden_limits import Choice, most_surprising, surprises
from benchmarks.baselines.reference import fit_reference
from benchmarks.baselines.tails import TAILS, surprise
from tests.benchmarks.baselines.small import held_values


def test_a_deviation_is_measured_in_the_spread_of_its_own_side() -> None:
    values = np.r_[np.linspace(-1, 0, 501), np.linspace(0, 10, 501)[1:]]  # median 0; 97.5 % at 9.5, 2.5 % at -0.95
    data = held_values(values[:, None, None], is_sensor=[True])
    z = fit_reference(data, np.arange(1001)).z(data, np.array([0, 500, 1000]))[:, 0, 0]
    assert z == pytest.approx([-1.96 / 0.95, 0.0, 1.96 / 0.95], abs=0.01)


def test_a_version_with_too_few_good_batches_is_compared_with_all() -> None:
    values = np.r_[np.linspace(-1, 1, 200), np.linspace(9, 11, 99)]
    data = held_values(values[:, None, None], is_sensor=[True], versions=["1"] * 200 + ["2"] * 99)
    by_version = fit_reference(data, np.arange(299), ("process_version",))
    assert set(by_version.usual) == {(), ("1",)}
    together = fit_reference(data, np.arange(299))
    assert by_version.z(data, np.array([250])) == pytest.approx(together.z(data, np.array([250])))


@pytest.mark.parametrize("kind", TAILS)
def test_up_to_the_last_twentieth_the_rank_among_good_batches_counts(kind) -> None:
    of = surprise(np.arange(1.0, 101.0)[:, None], kind)  # 11 of 100 reach 90: (1 + 11) / 101
    assert of(np.array([[90.0]]))[0, 0] == pytest.approx(-np.log(12 / 101))


def test_beyond_the_last_twentieth_the_mean_excess_decides() -> None:
    of = surprise(np.arange(1.0, 101.0)[:, None], "exponential")  # above 95: 96 ... 100, mean excess 3
    assert of(np.array([[101.0]]))[0, 0] == pytest.approx(-np.log(0.05) + 2.0)
    assert surprise(np.arange(1.0, 101.0)[:, None], "empirical")(np.array([[1e9]]))[0, 0] == pytest.approx(np.log(101))


@given(
    st.lists(st.floats(0.01, 1e6), min_size=20, max_size=60),
    st.sampled_from(TAILS),
    st.floats(-1e6, 1e6),
    st.floats(0, 1e6),
)
def test_going_further_never_surprises_less(usual, kind, value, more) -> None:
    of = surprise(np.array(usual)[:, None], kind)
    near, far = of(np.array([[value], [value + more]]))[:, 0]
    assert 0 <= near <= far * (1 + 1e-6)


def test_what_is_not_known_does_not_surprise() -> None:
    assert surprise(np.arange(30.0)[:, None], "pareto")(np.array([[np.nan]])).item() == 0


def test_the_worst_parameters_are_added() -> None:
    of_parameters = np.array([[1.0, 5.0, 3.0]])
    assert most_surprising(of_parameters, 1).item() == 5
    assert most_surprising(of_parameters, 2).item() == 8
    assert most_surprising(of_parameters, 100).item() == 9


def test_a_tie_with_the_threshold_is_no_alarm() -> None:
    score = np.r_[np.arange(100.0), 99.0, 200.0]
    failed = np.r_[np.zeros(100, bool), True, True]
    # thresholds are the 2nd to 6th highest good scores, 98 ... 94: both failures are above
    assert recall_at_budgets(score, failed) == 1.0
    assert recall_at_budgets(np.r_[np.full(100, 99.0), 99.0, 200.0], failed) == 0.5


def test_the_parameter_that_left_its_limits_is_the_surprising_one() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(300, 2, 24)).astype(np.float32)
    values[0, 1, 10:] = 30.0
    data = held_values(values, is_sensor=[True, True])
    choice = Choice("of the batch", (), False, "exponential")
    found = surprises(data, np.arange(1, 300), np.array([0]), choice)[0]
    assert found[1, 11] < 6 < found[1, 12]  # hours 11 to 13 in a row
    assert found[0, -1] < 6
    assert (np.diff(found, axis=1) >= 0).all()


def test_what_happens_later_changes_no_earlier_score() -> None:
    rng = np.random.default_rng(4)
    values = rng.normal(size=(200, 2, 12)).astype(np.float32)
    other = values.copy()
    other[0, :, 6:] = 50.0
    choice = Choice("of the batch", (), True, "pareto")
    before, after = (
        surprises(held_values(v, is_sensor=[True, False]), np.arange(1, 200), np.array([0]), choice)
        for v in (values, other)
    )
    assert (before[..., :6] == after[..., :6]).all()
    assert (before[..., -1] < after[..., -1]).all()
