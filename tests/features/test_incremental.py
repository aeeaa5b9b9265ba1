"""Reading by reading or all at once: the same bits, at any moment."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.incremental import ACCEPTED, CONFLICT, DUPLICATE, BatchSeries, Readings, SeriesGrid
from features.series import SeriesPlan
from features.summaries import microseconds
from tests.features.test_series import BATCHES, PROCESS, START, histories, observations, rows_at, statistics

GRID, PLAN = SeriesGrid.of(PROCESS), SeriesPlan.of(PROCESS)
QUALITY = {"good": 0, "uncertain": 1, "bad": 2}
HOUR = 3_600_000_000
STARTED = START.value // 1000  # nanoseconds, whatever the unit


def readings(frame: pd.DataFrame) -> Readings:
    return Readings(
        microseconds(frame["observed_at"]),
        frame["revision"].to_numpy(np.int32),
        microseconds(frame["available_at"]),
        frame["value"].to_numpy(np.float64),
        frame["quality"].map(QUALITY).to_numpy(np.int32),
    ).ordered()


def at(state: BatchSeries, as_of_us: int) -> np.ndarray:
    out = np.full((1, len(PLAN.features)), np.nan)
    PLAN.fill(state.runs(as_of_us), out)
    return out[0]


def fed(frame: pd.DataFrame, batch: str = "a", chunk: int = 1) -> BatchSeries:
    """A batch that was told its readings in the frame's order, a few at a time."""
    own = frame[frame["batch_id"] == batch]
    state = BatchSeries(GRID, microseconds(BATCHES.set_index("batch_id")["started_at"])[list("ab").index(batch)])
    for first in range(0, len(own), chunk):
        for parameter, part in own.iloc[first : first + chunk].groupby("parameter"):
            state.add(str(parameter), readings(part))
    return state


def bulk(frame: pd.DataFrame, as_of_h: float, batch: str = "a") -> np.ndarray:
    rows = rows_at([as_of_h])
    rows = rows[rows["batch_id"] == batch]
    return statistics(frame[frame["available_at"] <= rows["as_of"].iloc[0]], rows=rows).to_numpy()[0]


@given(histories(), st.integers(0, 40), st.integers(1, 7), st.sampled_from("ab"), st.randoms())
@settings(max_examples=100, deadline=None)
def test_readings_in_any_order_twice_and_late_give_the_bits_of_the_bulk_pass_at_any_moment(
    frame, eighths, chunk, batch, random
) -> None:
    places = [*range(len(frame)), *(i for i in range(len(frame)) if random.random() < 0.3)]
    random.shuffle(places)
    as_of_h = eighths * 3 / 8  # 0 to 15 h, most of them inside a bin
    state = fed(frame.iloc[places], batch, chunk)
    started = state.started_us
    np.testing.assert_array_equal(at(state, started + round(as_of_h * HOUR)), bulk(frame, as_of_h, batch))


@given(histories(), st.integers(-3, 3))
@settings(max_examples=50, deadline=None)
def test_a_corrected_start_gives_the_bits_of_a_batch_that_started_then(frame, half_hours) -> None:
    state, moved = fed(frame), STARTED + half_hours * HOUR // 2
    state.restart(moved)
    again = BatchSeries(GRID, moved)
    for parameter in PROCESS.by_name:
        if len(state.readings(parameter)):
            again.add(parameter, state.readings(parameter))
    np.testing.assert_array_equal(at(state, moved + 9 * HOUR), at(again, moved + 9 * HOUR))


def test_a_reading_told_again_is_a_duplicate_and_another_value_under_its_key_a_conflict() -> None:
    first = observations([("a", "ph", 1.0, 0, 0, 7.0, "good"), ("a", "ph", 2.0, 0, 0, 7.1, "good")])
    state = fed(first)
    again = observations([("a", "ph", 1.0, 0, 0, 7.0, "good"), ("a", "ph", 2.0, 0, 0, 6.0, "good"),
                          ("a", "ph", 2.0, 0.5, 1, 6.0, "good")])  # fmt: skip
    assert state.add("ph", readings(again)).tolist() == [DUPLICATE, CONFLICT, ACCEPTED]
    assert state.held == 3
    assert state.readings("ph").value.tolist() == [7.0, 7.1, 6.0]


def test_of_readings_with_one_key_in_one_call_the_first_is_kept() -> None:
    rows = [("a", "ph", 1.0, 0, 0, v, "good") for v in (7.0, 7.0, 6.0, 7.0)] + [("a", "ph", 2.0, 0, 0, 5.0, "good")] * 2
    state = BatchSeries(GRID, STARTED)
    verdicts = state.add("ph", readings(observations(rows)))
    assert verdicts.tolist() == [ACCEPTED, DUPLICATE, CONFLICT, DUPLICATE, ACCEPTED, DUPLICATE]
    assert state.readings("ph").value.tolist() == [7.0, 5.0]


def test_a_parameter_that_is_no_feature_is_kept_and_changes_no_statistic() -> None:
    state = fed(observations([("a", "ph", 1.0, 0, 0, 7.0, "good")]))
    before = at(state, STARTED + 2 * HOUR)
    state.add("secret", readings(observations([("a", "secret", 1.0, 0, 0, 1.0, "good")])))
    assert len(state.readings("secret")) == 1
    np.testing.assert_array_equal(at(state, STARTED + 2 * HOUR), before)


def test_the_newest_value_worked_by_hand_moves_with_the_moment_inside_one_bin() -> None:
    rows = [("a", "ph", 0.25, 0, 0, 7.0, "good"), ("a", "ph", 0.75, 0, 0, 8.0, "good")]
    state = fed(observations(rows))
    last = [f.name for f in PLAN.features].index("ph.since_start.last")
    assert [at(state, STARTED + m * HOUR // 4)[last] for m in (1, 2, 3, 8)] == [7.0, 7.0, 8.0, 8.0]
    assert np.isnan(at(state, STARTED)[last])


@pytest.mark.parametrize("rows", [100, 10_000])
def test_no_reading_is_read_again_by_a_question_about_the_newest_moment(rows, monkeypatch) -> None:
    state = BatchSeries(GRID, STARTED)
    observed = STARTED + np.arange(rows, dtype=np.int64) * (10 * HOUR // rows)
    small = np.zeros(rows, np.int32)
    state.add("ph", Readings(observed, small, observed, np.ones(rows), small))
    monkeypatch.setattr(SeriesGrid, "summaries", lambda *_: pytest.fail("rows were read again"))
    assert np.isfinite(at(state, STARTED + 10 * HOUR)).any()
