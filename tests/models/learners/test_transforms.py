import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.process import QualityAttribute
from models.learners.transforms import from_scale, limits_on_scale, to_scale


def attribute(transform: str, **limits: float) -> QualityAttribute:
    limits = limits or {"lower": 20}
    return QualityAttribute.model_validate({"name": "a", "parameter": "a", "transform": transform, **limits})


@pytest.mark.parametrize(
    ("transform", "value", "scaled"),
    [("none", 7.0, 7.0), ("log", 10.0, np.log(10)), ("logit", 80.0, np.log(4)), ("logit", 50.0, 0.0)],
)
def test_scales_are_those_worked_by_hand(transform, value, scaled) -> None:
    assert to_scale(attribute(transform), np.array([value])) == pytest.approx([scaled])


@given(st.sampled_from(["none", "log", "logit"]), st.floats(1, 99))
def test_a_value_comes_back_from_its_scale(transform, value) -> None:
    a = attribute(transform, lower=20)
    assert from_scale(a, to_scale(a, np.array([value]))) == pytest.approx([value])


@given(st.sampled_from(["none", "log", "logit"]), st.floats(0, 100), st.floats(0, 100))
def test_scales_never_turn_the_order(transform, one, other) -> None:
    low, high = to_scale(attribute(transform, lower=20), np.sort([one, other]))
    assert low <= high


@pytest.mark.parametrize("transform", ["none", "log", "logit"])
def test_what_is_not_known_stays_unknown(transform) -> None:
    assert np.isnan(to_scale(attribute(transform, lower=20), np.array([np.nan]))).all()


def test_an_odd_result_of_nothing_is_cut_and_does_not_rule_a_fit() -> None:
    assert to_scale(attribute("log", lower=2, upper=50), np.array([0.0, -3.0])) == pytest.approx([np.log(0.002)] * 2)
    assert to_scale(attribute("logit", lower=80), np.array([100.0, 0.0])) == pytest.approx([np.log(199), -np.log(199)])


def test_open_limits_are_infinite() -> None:
    assert limits_on_scale(attribute("log", lower=2)) == (pytest.approx(np.log(2)), np.inf)
    assert limits_on_scale(attribute("none", upper=5)) == (-np.inf, 5)


@pytest.mark.parametrize(("lower", "upper"), [(None, 0.1), (99.8, None)])
def test_a_percentage_with_a_limit_near_the_end_of_the_scale_can_still_miss_it(lower, upper) -> None:
    a = attribute("logit", lower=lower, upper=upper)
    limit = lower or upper
    kept, missed = to_scale(a, np.array([limit + 0.05, limit - 0.05] if lower else [limit - 0.05, limit + 0.05]))
    low, high = limits_on_scale(a)
    assert low < kept < high
    assert missed < low or missed > high
