import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.cohort.follow_up import FollowUp, follow_up_weights
from tests.models.plant import utc

CUT = utc("2026-05-01")


def weights(*rows: tuple[float, bool, float], how: FollowUp) -> dict[str, float]:
    """Batches as (days before the cut that it started, failed, days from its start to its outcome)."""
    ids = [f"B{i}" for i in range(len(rows))]
    started = pd.Series([CUT - pd.Timedelta(days=age) for age, _, _ in rows], index=ids, dtype="datetime64[us, UTC]")
    known = [start + pd.Timedelta(days=delay) for start, (_, _, delay) in zip(started, rows, strict=True)]
    outcomes = pd.DataFrame({"batch_id": ids, "failed": [failed for _, failed, _ in rows], "known_at": known})
    outcomes = outcomes.astype({"batch_id": "str", "failed": "bool", "known_at": "datetime64[us, UTC]"})
    running = pd.Series([CUT], index=["running"])  # a batch without an outcome
    found = follow_up_weights(outcomes, pd.concat([started, running]), CUT, how)
    assert list(found.index) == [batch for batch in ids if batch in set(found.index)]
    return found.to_dict()


OLD = [(90, True, 2), (89, True, 4), (88, True, 6), (87, True, 8), *((80 - i, False, 10) for i in range(4))]
# of failures a quarter each is known after 2, 4, 6 and 8 days; of successes all after 10


def test_to_ignore_the_follow_up_weighs_all_alike() -> None:
    assert set(weights(*OLD, (3, True, 1), how="ignore").values()) == {1.0}


def test_a_batch_weighs_one_over_the_chance_that_its_outcome_is_known_worked_by_hand() -> None:
    young = [(12, False, 10), (11, True, 8), (10, True, 6)]  # at ages from 10 days on everything is known
    assert set(weights(*OLD, *young, how="weight").values()) == {1.0}


def test_failures_known_early_stand_for_those_still_to_come_where_successes_can_be_known_too() -> None:
    early = [(90 - i, False, delay) for i, delay in enumerate((3, 3, 9, 9))]  # half of the successes are known on day 3
    old = [*OLD[:4], *early]
    found = weights(*old, (5, True, 1), (7, True, 1), (3.5, False, 3), how="weight")
    assert found["B8"] == 4 / 2  # after 5 days 2 of 4 failures are known
    assert found["B9"] == pytest.approx(4 / 3)  # after 7 days 3 of 4
    assert found["B10"] == 4 / 2  # after 3.5 days 2 of 4 successes
    assert {found[f"B{i}"] for i in range(8)} == {1.0}


def test_a_kind_of_which_hardly_any_outcome_can_be_known_yet_does_not_train() -> None:
    found = weights(*OLD, (9, True, 1), (1, True, 1), how="weight")
    assert set(found) == {f"B{i}" for i in range(8)}  # after 9 days no success is known: failures alone would train


def test_young_batches_are_left_out_worked_by_hand() -> None:
    old = [(90 - i, bool(i % 2), 10.0) for i in range(20)]
    found = weights(*old, (11, True, 1), (10, False, 9), (9, True, 1), how="leave_out")
    assert set(found) == {f"B{i}" for i in range(22)}  # the usual outcome takes 10 days
    assert set(found.values()) == {1.0}


@pytest.mark.parametrize("how", ["ignore", "leave_out", "weight"])
def test_no_outcomes_have_no_weights(how) -> None:
    assert weights(how=how) == {}


ROWS = st.lists(
    st.tuples(st.floats(1, 100), st.booleans(), st.floats(0.1, 40)).filter(lambda row: row[2] < row[0]), max_size=30
)


@given(ROWS)
def test_a_known_batch_stands_for_itself_and_at_most_for_four_others(rows) -> None:
    assert all(1 <= weight <= 5 for weight in weights(*rows, how="weight").values())


@given(ROWS)
def test_to_leave_out_changes_no_weight(rows) -> None:
    assert set(weights(*rows, how="leave_out").values()) <= {1.0}
