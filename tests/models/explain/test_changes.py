import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import ContractError
from models.explain.changes import BASE, ScoreParts, changes
from models.scoring.newest import Newest

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BEFORE = NOON - timedelta(hours=12)


def scored(as_of: datetime, base: float, contributions: dict[str, float], **newest: Newest) -> ScoreParts:
    risk = 1 / (1 + math.exp(-(base + sum(contributions.values()))))
    return ScoreParts(as_of, risk, base, contributions, newest)


def glucose(value: float | None, at: datetime | None) -> Newest:
    return Newest("Glucose", "mmol/L", value, at, False)


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def test_a_change_is_said_with_the_newest_values_and_the_hours_between() -> None:
    last = scored(BEFORE, logit(0.12), {"glucose_mm": 0.0}, glucose_mm=glucose(6.4, BEFORE))
    now = scored(NOON, logit(0.12), {"glucose_mm": logit(0.31) - logit(0.12)}, glucose_mm=glucose(2.1, NOON))
    found = changes(last, now)
    assert found.sentence == "Risk 12 % -> 31 % since 12 h ago: Glucose +19.0 points (newest 2.1 mmol/L, was 6.4)"
    assert found.rows[0].points == pytest.approx(19.0)
    assert (found.rows[0].value, found.rows[0].before, found.rows[0].measured_at) == (2.1, 6.4, NOON)


def test_each_parameter_takes_its_share_of_the_line_between_the_two_scores() -> None:
    last = scored(BEFORE, -2.0, {"a": 0.0, "b": 1.0, "c": 0.5})
    now = scored(NOON, -2.0, {"a": 1.5, "b": 0.5, "c": 0.5})
    points = {row.parameter: row.points for row in changes(last, now).rows}
    change = 100 * (now.probability - last.probability)
    assert points["a"] == pytest.approx(1.5 * change)  # 1.5 and -0.5 of a line of length 1
    assert points["b"] == pytest.approx(-0.5 * change)
    assert points["c"] == 0


def test_a_result_that_arrived_is_said_as_such() -> None:
    car = Newest("CAR+ on day 5", "%", 12.0, NOON, False)
    last = scored(BEFORE, -2.0, {"car_pct_d5": 0.0}, car_pct_d5=replace(car, value=None, at=None))
    now = scored(NOON, -2.0, {"car_pct_d5": 1.0}, car_pct_d5=car)
    assert "result of CAR+ on day 5 arrived (12 %): +15.0 points" in changes(last, now).sentence


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (glucose(6.4, BEFORE), glucose(6.4, BEFORE + timedelta(milliseconds=2)), "(still 6.4 mmol/L)"),
        (glucose(6.4, BEFORE), glucose(6.4, NOON), "(newest again 6.4 mmol/L)"),
        (glucose(6.4, BEFORE), glucose(None, None), "(no value any more, was 6.4 mmol/L)"),
        (glucose(None, None), glucose(None, None), "(no value yet)"),
        (Newest("Phase", "category", "boil", None, False), Newest("Phase", "category", "cool", None, False), "(newest cool, was boil)"),
        (Newest("Donor", "1", None, None, True), Newest("Donor", "1", 3.0, None, True), "(newest 3, was nothing)"),
    ],
)  # fmt: skip
def test_values_old_and_new_are_said_as_they_are(old, new, says) -> None:
    found = changes(scored(BEFORE, -2.0, {"x": 0.0}, x=old), scored(NOON, -2.0, {"x": 1.0}, x=new))
    assert found.sentence.endswith(f"{new.label} +15.0 points {says}")


def test_what_is_not_named_is_summed_and_a_subject_without_a_value_is_named_by_its_label() -> None:
    last = scored(BEFORE, -2.0, {})
    now = scored(NOON, -2.0, {"lot.vector": 1.0, "b": 0.02, "c": 0.03})
    found = changes(last, now, labels={"lot.vector": "Lot of vector"}, top=1)
    assert found.sentence == "Risk 12 % -> 28 % since 12 h ago: Lot of vector +15.2 points, all others +0.8 points"
    assert [row.parameter for row in found.rows] == ["lot.vector", "c", "b"]


def test_a_risk_that_stayed_says_so() -> None:
    last = scored(BEFORE, -2.0, {"a": 0.5})
    assert changes(last, replace(last, as_of=NOON)).sentence == "Risk 18 % as 12 h ago"


def test_another_model_has_a_row_of_its_own() -> None:
    last, now = scored(BEFORE, -2.0, {"a": 0.5}), scored(NOON, -1.5, {"a": 0.5})
    found = changes(last, now)
    assert found.rows[0].parameter == BASE
    assert found.rows[0].points == pytest.approx(100 * (now.probability - last.probability))
    assert "another model" in found.sentence


def test_contributions_that_do_not_give_the_probability_are_refused() -> None:
    last = scored(BEFORE, -2.0, {"a": 0.5})
    with pytest.raises(ContractError, match="base and contributions give"):
        changes(last, replace(last, as_of=NOON, probability=0.5))
    with pytest.raises(ContractError, match="base and contributions give"):
        changes(replace(last, contributions={"a": math.nan}), replace(last, as_of=NOON))


def test_scores_in_the_wrong_order_are_refused() -> None:
    last = scored(BEFORE, -2.0, {"a": 0.5})
    with pytest.raises(ContractError, match="order of time"):
        changes(replace(last, as_of=NOON), last)


log_odds = st.floats(-3, 3)
rows = st.dictionaries(st.sampled_from("abcdef"), log_odds, max_size=6)


@settings(max_examples=50, deadline=None)
@given(log_odds, log_odds, rows, rows, st.randoms())
def test_points_sum_to_the_change_of_the_risk_in_whatever_order_parameters_come(
    base, other_base, before, after, random
) -> None:
    last, now = scored(BEFORE, base, before), scored(NOON, other_base, after)
    found = changes(last, now)
    assert sum(r.points for r in found.rows) == pytest.approx(100 * (now.probability - last.probability), abs=1e-8)
    shuffled = list(after.items())
    random.shuffle(shuffled)
    again = changes(last, replace(now, contributions=dict(shuffled)))
    assert again == found


@settings(max_examples=50, deadline=None)
@given(rows, rows)
def test_the_way_back_is_the_same_change_with_the_other_sign(before, after) -> None:
    there = changes(scored(BEFORE, -2.0, before), scored(NOON, -2.0, after))
    back = changes(scored(BEFORE, -2.0, after), scored(NOON, -2.0, before))
    points = {row.parameter: -row.points for row in back.rows}
    assert {row.parameter: row.points for row in there.rows} == pytest.approx(points, abs=1e-9)


def test_rounded_changes_leave_out_what_reads_as_zero() -> None:
    last, now = scored(BEFORE, -2.0, {"a": 0.0, "b": 0.0}), scored(NOON, -2.0, {"a": 1.0, "b": 1e-6})
    found = changes(last, now)
    assert [row.parameter for row in found.rows] == ["a", "b"]
    assert [(row.parameter, row.points) for row in found.rounded().rows] == [("a", round(found.rows[0].points, 2))]
