"""Signs of a sensor at fault: worked by hand, right against a plain recomputation, the same bits in any order."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.process import ProcessDefinition
from features.runs import HistoryRuns, series_block
from features.sensors import SensorSigns
from features.summaries import OBSERVATION_COLUMNS, SUMMARIES, grid_of, summarise

START = pd.Timestamp("2025-03-01T06:00Z").as_unit("us")
PROCESS = ProcessDefinition.model_validate(
    {
        "process": {
            "id": "p",
            "name": "P",
            "version": "1",
            "planned_duration_h": 24,
            "bin_h": 1,
            "checkpoints_h": [2, 5, 9, 14, 24],
            "windows_h": [3, 6],
        },
        "parameter": [
            {"name": "glucose", "label": "Glucose", "unit": "mmol/L", "kind": "sensor", "checked_by": "glucose_lab"},
            {"name": "glucose_lab", "label": "Glucose, off line", "unit": "mol/L", "kind": "assay"},
            {"name": "flow", "label": "Flow", "unit": "1", "kind": "sensor", "range": [0, 100]},
        ],
    }
)
BATCHES = pd.DataFrame({"batch_id": ["a", "b"], "started_at": [START, START + pd.Timedelta("40min")]})
STARTED = BATCHES.set_index("batch_id")["started_at"]
Row = tuple[str, str, float, float, int, float, str]


def microseconds(hours: pd.Series) -> pd.Series:
    return pd.to_timedelta((hours.astype(float) * 3600e6).round().astype("int64"), unit="us")


def observations(rows: list[Row]) -> pd.DataFrame:
    """Rows of (batch, parameter, observed_h, delay_h, revision, value, quality)."""
    names = ["batch_id", "parameter", "observed_h", "delay_h", "revision", "value", "quality"]
    frame = pd.DataFrame(rows, columns=names)
    frame["observed_at"] = frame["batch_id"].map(STARTED) + microseconds(frame["observed_h"])
    frame["available_at"] = frame["observed_at"] + microseconds(frame["delay_h"])
    return frame.astype({"value": "float64", "batch_id": "str", "parameter": "str", "quality": "str"})


def readings(parameter: str, *at_and_value: tuple[float, float], delay_h: float = 0.0) -> list[Row]:
    return [("a", parameter, hour, delay_h, 0, value, "good") for hour, value in at_and_value]


def rows_at(hours=PROCESS.checkpoints_h) -> pd.DataFrame:
    rows = BATCHES.merge(pd.DataFrame({"checkpoint_h": hours}), how="cross")
    return rows.assign(as_of=rows["started_at"] + microseconds(rows["checkpoint_h"]))


def signs(frame: pd.DataFrame, pieces: int = 1, rows: pd.DataFrame | None = None) -> pd.DataFrame:
    ordered = frame.sort_values(["batch_id", "parameter", "observed_at", "revision"])
    table = pa.Table.from_pandas(ordered[list(OBSERVATION_COLUMNS)], preserve_index=False)
    grid, cuts = grid_of(BATCHES, PROCESS), np.linspace(0, len(table), pieces + 1).astype(int)
    made = summarise([lambda a=a, b=b: table.slice(a, b - a) for a, b in pairwise(cuts)], grid)
    return block_of(rows_at() if rows is None else rows, pa.Table.from_batches(made, SUMMARIES), PROCESS)


def block_of(rows: pd.DataFrame, summaries: pa.Table, process: ProcessDefinition) -> pd.DataFrame:
    runs = HistoryRuns.of(rows, summaries, grid_of(BATCHES, process))
    return series_block(SensorSigns.of(process), rows, runs).values


def sign_of_a(rows: list[Row], name: str) -> list[float]:
    """One column of batch `a`, at 2, 5, 9, 14 and 24 h."""
    return signs(observations(rows))[name].to_list()[:5]


def hourly(value: float, until_h: int = 24) -> list[tuple[float, float]]:
    return [(hour - 0.5, value) for hour in range(1, until_h + 1)]


def test_a_gap_is_the_mean_in_line_around_the_sample_less_the_result_in_the_sensors_unit() -> None:
    rows = readings("glucose", (0.5, 90.0), (2.5, 10.0), (3.5, 11.0), (4.5, 12.0), (5.5, 90.0))
    rows += readings("glucose_lab", (3.2, 0.008), delay_h=0.5)
    assert sign_of_a(rows, "glucose.now.gap")[1] == pytest.approx(11.0 - 8.0)


def test_a_gap_is_not_known_before_its_result_and_a_correction_counts_from_its_own_time() -> None:
    rows = readings("glucose", *hourly(10.0))
    rows += [("a", "glucose_lab", 1.5, 1.0, 0, 0.004, "good"), ("a", "glucose_lab", 1.5, 6.0, 1, 0.009, "good")]
    gap = sign_of_a(rows, "glucose.now.gap")
    assert np.isnan(gap[0])
    assert gap[1:3] == pytest.approx([6.0, 1.0])


def test_a_sample_without_readings_in_line_around_it_has_no_gap() -> None:
    rows = readings("glucose", (0.5, 10.0), (1.5, 10.0)) + readings("glucose_lab", (0.7, 0.009), (4.5, 0.004))
    assert sign_of_a(rows, "glucose.now.gap") == pytest.approx([1.0] * 5)


def test_a_batch_that_was_never_sampled_has_no_gap() -> None:
    assert np.isnan(sign_of_a(readings("glucose", *hourly(10.0)), "glucose.now.gap")).all()


def test_one_mistyped_result_moves_the_newest_gap_but_not_the_median_of_three() -> None:
    rows = readings("glucose", *hourly(10.0)) + readings("glucose_lab", (1.5, 0.009), (3.5, 0.09), (6.5, 0.009))
    assert sign_of_a(rows, "glucose.now.gap")[:2] == pytest.approx([1.0, -80.0])
    assert np.isnan(sign_of_a(rows, "glucose.now.gap_median")[:2]).all()
    assert sign_of_a(rows, "glucose.now.gap_median")[2] == pytest.approx(1.0)


def test_the_change_of_the_gap_compares_the_newest_three_samples_with_the_first_three() -> None:
    results = [0.010, 0.009, 0.010, 0.010, 0.007, 0.006, 0.005]  # gaps 0, 1, 0, 0, 3, 4, 5
    rows = readings("glucose", *hourly(10.0))
    rows += readings("glucose_lab", *((2.0 * i + 0.5, value) for i, value in enumerate(results)))
    change = sign_of_a(rows, "glucose.since_start.gap_change")
    assert np.isnan(change[:3]).all()  # five samples by 9 h
    assert change[3:] == pytest.approx([4.0, 4.0])


def test_a_signal_is_flat_for_as_long_as_its_newest_readings_are_one_value() -> None:
    rows = readings("flow", (0.5, 1.0), (1.2, 3.0), (1.8, 5.0), (3.5, 5.0), (4.5, 5.0), (8.5, 7.0), (9.5, 6.0))
    assert sign_of_a(rows, "flow.now.flat_h")[:3] == pytest.approx([0.0, 4.5 - 1.8, 0.0])


def test_a_gap_in_the_record_alone_is_no_flat_line() -> None:
    assert sign_of_a(readings("flow", (0.5, 1.0), (0.6, 2.0)), "flow.now.flat_h") == [0.0] * 5


def test_one_reading_says_nothing_of_change() -> None:
    assert np.isnan(sign_of_a(readings("flow", (0.5, 1.0)), "flow.now.flat_h")).all()


@pytest.mark.parametrize("end", [0.0, 100.0])
def test_a_signal_at_an_end_of_its_range_rests_and_is_not_stuck(end) -> None:
    assert np.isnan(sign_of_a(readings("flow", *hourly(end)), "flow.now.flat_h")).all()


def test_a_process_without_sensors_and_a_plant_without_readings_make_no_trouble() -> None:
    assay = {"name": "x", "label": "X", "unit": "1", "kind": "assay"}
    process = ProcessDefinition.model_validate(PROCESS.model_dump() | {"parameter": [assay]})
    nothing = pa.Table.from_batches([], SUMMARIES)
    assert block_of(rows_at(), nothing, process).shape == (10, 0)
    assert block_of(rows_at(), nothing, PROCESS).isna().all(axis=None)
    assert len(block_of(rows_at().iloc[:0], nothing, PROCESS)) == 0


def noisy(until_h: int = 9, *, more: dict[float, float] | None = None) -> list[Row]:
    """Readings every quarter of an hour that alternate between 50 and 51, with some of them replaced."""
    at = {i / 4: 50.0 + i % 2 for i in range(1, 4 * until_h + 1)} | (more or {})
    return readings("flow", *at.items())


def test_a_spike_is_one_bin_of_those_that_have_neighbours_on_both_sides() -> None:
    assert sign_of_a(noisy(), "flow.last_6h.spike_share")[2] == 0.0
    assert sign_of_a(noisy(more={6.5: 60.0}), "flow.last_6h.spike_share")[2] == 1 / 4
    assert sign_of_a(noisy(more={6.5: 40.0}), "flow.last_6h.spike_share")[2] == 1 / 4


def test_an_extreme_within_three_spreads_of_its_neighbours_is_no_spike() -> None:
    assert sign_of_a(noisy(more={6.5: 54.0}), "flow.last_6h.spike_share")[2] == 0.0
    assert sign_of_a(noisy(more={6.5: 54.1}), "flow.last_6h.spike_share")[2] == 1 / 4


@pytest.mark.parametrize("hours", [(5.25, 5.5, 5.75, 6.0), (5.75, 6.0, 6.25, 6.5)])
def test_an_excursion_that_fills_an_hour_is_no_spike(hours) -> None:
    assert sign_of_a(noisy(more=dict.fromkeys(hours, 90.0)), "flow.last_6h.spike_share")[2] == 0.0


def test_noise_that_the_end_of_the_range_cuts_off_is_no_spike() -> None:
    still = {hour: value - 50.0 if value < 51 else 0.02 for _, _, hour, _, _, value, _ in noisy()}
    assert np.isnan(sign_of_a(readings("flow", *(still | {6.5: 3.0}).items()), "flow.last_6h.spike_share")[2])


reading = st.tuples(
    st.sampled_from(["a", "b"]),
    st.sampled_from(["glucose", "glucose", "glucose_lab", "flow"]),
    st.integers(-2, 48).map(lambda q: q / 4),
    st.sampled_from([0, 0, 0, 0.2, 0.75, 3, 6]),
    st.just(0),
    st.sampled_from([0.0, 1.0, 1.5, 2.0, 7.25]),
    st.sampled_from(["good", "good", "good", "uncertain", "bad"]),
)


@st.composite
def histories(draw) -> pd.DataFrame:
    rows = {(r[0], r[1], r[2]): r for r in draw(st.lists(reading, min_size=1, max_size=80))}
    corrected = draw(st.lists(st.sampled_from(sorted(rows)), max_size=6))
    made = list(rows.values())
    for revision, key in enumerate(corrected, start=1):
        delay, value = draw(st.sampled_from([0, 0.5, 2, 5])), draw(st.sampled_from([1.0, 3.0]))
        made.append((*key, delay, revision, value, draw(st.sampled_from(["good", "bad"]))))
    return observations(made)


def known(frame: pd.DataFrame, row: pd.Series, parameter: str) -> pd.DataFrame:
    """Good readings that count at a row, with the bin of each."""
    mine = (frame["batch_id"] == row["batch_id"]) & (frame["parameter"] == parameter)
    seen = frame[mine & (frame["available_at"] <= row["as_of"])]
    seen = seen.sort_values("revision").drop_duplicates("observed_at", keep="last").sort_values("observed_at")
    seen = seen[seen["quality"] != "bad"]
    return seen.assign(bin=np.maximum(0, np.ceil(seen["observed_h"].astype(float))))


def plain_gaps(frame: pd.DataFrame, row: pd.Series) -> list[float]:
    inline, results, gaps = known(frame, row, "glucose"), known(frame, row, "glucose_lab"), []
    for number, sample in results.groupby("bin"):
        around = inline[(inline["bin"] - number).abs() <= 1]
        if len(around):
            gaps.append(around["value"].mean() - 1000 * sample["value"].mean())
    return gaps


@given(histories(), st.sampled_from(PROCESS.checkpoints_h))
@settings(max_examples=60, deadline=None)
def test_gaps_equal_a_plain_recomputation(frame, checkpoint_h) -> None:
    rows = rows_at([checkpoint_h])
    at = signs(frame, rows=rows)
    for i, row in rows.iterrows():
        gaps = plain_gaps(frame, row)
        median = np.median(gaps[-3:]) if len(gaps) >= 3 else np.nan
        change = median - np.median(gaps[:3]) if len(gaps) >= 6 else np.nan
        expected = [gaps[-1] if gaps else np.nan, median, change]
        names = ["glucose.now.gap", "glucose.now.gap_median", "glucose.since_start.gap_change"]
        assert at.loc[i, names].to_list() == pytest.approx(expected, rel=1e-9, abs=1e-9, nan_ok=True)


@given(histories(), st.integers(2, 9), st.randoms())
@settings(max_examples=60, deadline=None)
def test_pieces_and_order_do_not_change_a_bit(frame, pieces, random) -> None:
    shuffled = frame.sample(frac=1, random_state=random.randint(0, 10**6))
    pd.testing.assert_frame_equal(signs(frame), signs(shuffled, pieces), check_exact=True)


@given(histories(), histories(), st.sampled_from([2.0, 5.0, 9.0]))
@settings(max_examples=60, deadline=None)
def test_rows_available_after_the_checkpoint_never_change_a_bit_of_it(frame, more, checkpoint_h) -> None:
    def is_known(rows: pd.DataFrame) -> pd.Series:
        return rows["available_at"] <= rows["batch_id"].map(STARTED) + pd.Timedelta(hours=checkpoint_h)

    before, later = frame[is_known(frame)], more[~is_known(more)]
    key = ["batch_id", "parameter", "observed_at", "revision"]
    later = later[~later.set_index(key).index.isin(before.set_index(key).index)]
    rows, all_rows = rows_at([checkpoint_h]), pd.concat([before, later], ignore_index=True)
    pd.testing.assert_frame_equal(signs(before, rows=rows), signs(all_rows, rows=rows), check_exact=True)
