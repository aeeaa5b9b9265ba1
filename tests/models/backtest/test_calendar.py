from collections.abc import Sequence

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from models.backtest.calendar import Recalibration, Retraining, recalibrations, retrainings
from models.policy import Policy
from tests.models.plant import utc

BEGIN, NEXT = utc("2026-03-01"), pd.Timedelta(microseconds=1)
DAY = pd.Timedelta(days=1)


def outcomes(n: int) -> tuple[pd.DataFrame, pd.Series]:
    """Batch i starts on day i and is known on day i + 2; every second one failed."""
    ids = [f"B{i:03d}" for i in range(n)]
    started = pd.Series(BEGIN + pd.to_timedelta(np.arange(n), unit="D"), index=ids)
    known = pd.DataFrame({"batch_id": ids, "failed": np.arange(n) % 2 == 1, "known_at": (started + 2 * DAY).to_numpy()})
    known["known_at"] = pd.to_datetime(known["known_at"], utc=True).astype("datetime64[us, UTC]")
    return known, started


def dates(n: int, *, least: int = 1, until: pd.Timestamp | None = None, **rules: object) -> tuple[Retraining, ...]:
    known, started = outcomes(n)
    return retrainings(known, Policy.model_validate(rules), least=least, started=started, until=until)


def in_days(span: pd.Timedelta) -> float:
    return span.total_seconds() / 86400


def days(found: Sequence[Retraining | Recalibration]) -> list[float]:
    return [in_days(date.at - BEGIN - NEXT) for date in found]  # ty: ignore[invalid-argument-type]


def test_dates_by_outcomes_follow_every_so_many_of_them() -> None:
    found = dates(20, retrain_every_outcomes=5)
    assert days(found) == [6, 11, 16]  # the twentieth is known after the last start
    assert [date.number for date in found] == [1, 2, 3]


def test_dates_by_days_are_counted_from_the_first_known_outcome() -> None:
    assert days(dates(20, retrain_every_days=7)) == [9, 16]
    assert days(dates(20, retrain_every_days=2.5)) == [4.5, 7, 9.5, 12, 14.5, 17]


def test_what_was_known_at_a_date_is_known_before_it() -> None:
    known, _ = outcomes(20)
    (first, *_) = dates(20, retrain_every_outcomes=5)
    assert (known["known_at"] < first.at).sum() == 5


def test_nothing_is_trained_before_enough_of_both_kinds_are_known() -> None:
    assert days(dates(20, least=4, retrain_every_outcomes=1))[:2] == [
        9,
        10,
    ]  # the eighth, on day 9, is the fourth failure
    assert dates(20, least=11, retrain_every_outcomes=1) == ()
    known, started = outcomes(20)
    assert retrainings(known.assign(failed=False), Policy(), least=1, started=started) == ()
    assert retrainings(known[:0], Policy(), least=1, started=started) == ()


def test_too_many_trainings_double_the_interval() -> None:
    assert days(dates(40, retrain_every_outcomes=5, most_retrainings=7)) == [6, 11, 16, 21, 26, 31, 36]
    assert days(dates(40, retrain_every_outcomes=5, most_retrainings=6)) == [11, 21, 31]
    assert days(dates(40, retrain_every_outcomes=5, most_retrainings=2)) == [21]
    assert days(dates(40, retrain_every_days=5, most_retrainings=3)) == [12, 22, 32]


def test_a_young_plant_halves_the_interval_until_a_batch_starts_after_a_training() -> None:
    assert days(dates(20, retrain_every_outcomes=24)) == [13]
    assert days(dates(20, retrain_every_days=40)) == [12]
    assert days(dates(9, retrain_every_outcomes=400)) == [7]  # the finest: six outcomes


def test_the_newest_start_ends_the_calendar() -> None:
    known, started = outcomes(20)
    assert days(retrainings(known, Policy(retrain_every_outcomes=8), least=1, started=started)) == [9, 17]
    earlier = started.where(started <= BEGIN + 17 * DAY, BEGIN)  # a moment before what is known on that day trains
    assert days(retrainings(known, Policy(retrain_every_outcomes=8), least=1, started=earlier)) == [9]


def test_what_is_known_from_a_moment_on_gives_no_date() -> None:
    assert days(dates(20, retrain_every_outcomes=5, until=utc("2026-03-17"))) == [6, 11]


def test_a_version_serves_after_its_approval() -> None:
    found = dates(20, retrain_every_outcomes=5, approval_delay_h=36)
    assert [in_days(date.serves_from - date.at) for date in found] == [1.5] * 3
    assert days(found) == [6, 11, 16]


@settings(max_examples=40)
@given(st.integers(5, 150), st.integers(1, 80), st.integers(1, 12), st.integers(1, 6), st.booleans(), st.integers(1, 8))
def test_the_dates_of_a_longer_history_are_among_those_of_a_shorter_one(n, more, every, most, by_days, least) -> None:
    rules = {("retrain_every_days" if by_days else "retrain_every_outcomes"): every, "most_retrainings": most}
    short, long = (dates(count, least=least, **rules) for count in (n, n + more))
    assert len(long) <= most
    grid = [
        BEGIN + NEXT + DAY * day for day in (range(2 + every, 999, every) if by_days else range(1 + every, 999, every))
    ]
    if {date.at for date in short} <= set(grid):  # it was not halved
        last = BEGIN + DAY * (n - 1)
        assert {date.at for date in long if date.at <= last} <= {date.at for date in short} or not short


@settings(max_examples=40)
@given(st.integers(1, 100), st.integers(1, 40), st.integers(1, 10))
def test_dates_ascend_have_enough_before_them_and_a_start_after_them(n, every, least) -> None:
    known, started = outcomes(n)
    for i, date in enumerate(found := dates(n, least=least, retrain_every_outcomes=every)):
        before = known.loc[known["known_at"] < date.at, "failed"]
        assert min(before.sum(), (~before).sum()) >= least
        assert date.at <= started.max()
        assert i == 0 or found[i - 1].at < date.at


def recalibrated(n: int, *, until: pd.Timestamp | None = None, **rules: object) -> list[float]:
    """Days of the recalibrations beside trainings every ten outcomes, on days 11, 21, 31, ..."""
    known, started = outcomes(n)
    policy = Policy.model_validate({"retrain_every_outcomes": 10} | rules)
    trainings = retrainings(known, policy, least=1, started=started, until=until)
    found = recalibrations(known, policy, trainings, started=started, until=until)
    assert [in_days(date.serves_from - date.at) for date in found] == [policy.approval_delay_h / 24] * len(found)
    return days(found)


def test_recalibrations_are_counted_from_each_training_and_end_with_the_newest_start() -> None:
    assert recalibrated(40, recalibrate_every_outcomes=4) == [
        15,
        19,
        25,
        29,
        35,
    ]  # the next, on day 39, is after all starts
    assert recalibrated(40, recalibrate_every_outcomes=9, approval_delay_h=36) == [20, 30]
    assert recalibrated(40, recalibrate_every_outcomes=10) == []  # the next training comes then
    assert recalibrated(40) == []


def test_no_recalibration_comes_before_the_first_training_or_from_the_end_of_the_replay_on() -> None:
    assert recalibrated(9, recalibrate_every_outcomes=1, retrain_every_days=400, retrain_every_outcomes=None) == []
    # what is known before day 28 is of batches that started by day 25, just before the recalibration of that day
    assert recalibrated(40, recalibrate_every_outcomes=4, until=utc("2026-03-26")) == [15, 19]
    assert recalibrated(40, recalibrate_every_outcomes=4, until=utc("2026-03-29")) == [15, 19]
    assert recalibrated(40, recalibrate_every_outcomes=4, until=utc("2026-03-30")) == [15, 19, 25]


def test_outcomes_known_at_one_moment_give_one_recalibration() -> None:
    known, started = outcomes(40)
    together = known.assign(known_at=known["known_at"].where(known.index % 2 == 0, known["known_at"] - DAY))
    policy = Policy(retrain_every_outcomes=20, recalibrate_every_outcomes=1)
    trainings = retrainings(together, policy, least=1, started=started)
    found = recalibrations(together, policy, trainings, started=started)
    # pairs are known on days 2, 4, ..., 40; the training is that of the twentieth outcome, on day 20
    assert days(found) == [22, 24, 26, 28, 30, 32, 34, 36, 38]


@settings(max_examples=40)
@given(st.integers(5, 120), st.integers(1, 60), st.integers(1, 12))
def test_the_recalibrations_of_a_longer_history_begin_with_those_of_a_shorter_one(n, more, every) -> None:
    short, long = (
        recalibrated(count, recalibrate_every_outcomes=every, most_retrainings=99) for count in (n, n + more)
    )
    if n >= 13:  # in a younger plant no batch starts after ten outcomes: the interval of its trainings is halved
        assert long[: len(short)] == short
