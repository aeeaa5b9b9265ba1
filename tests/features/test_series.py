"""Series statistics: right against a plain recomputation, and the same bits whichever way the rows came."""

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
from features.series import SeriesPlan
from features.summaries import OBSERVATION_COLUMNS, SUMMARIES, grid_of, summarise

START = pd.Timestamp("2025-03-01T06:00Z").as_unit("us")
PROCESS = ProcessDefinition.model_validate(
    {
        "process": {
            "id": "p",
            "name": "P",
            "version": "1",
            "planned_duration_h": 12,
            "bin_h": 1,
            "checkpoints_h": [0, 2, 5, 9, 12],
            "windows_h": [3],
        },
        "parameter": [
            {"name": "do_pct", "label": "DO", "unit": "%", "kind": "sensor", "normal": [30, 80]},
            {"name": "ph", "label": "pH", "unit": "1", "kind": "sensor"},
            {"name": "cells", "label": "Cells", "unit": "1", "kind": "assay"},
            {"name": "secret", "label": "Secret", "unit": "1", "kind": "sensor", "excluded": True},
        ],
    }
)
BATCHES = pd.DataFrame({"batch_id": ["a", "b"], "started_at": [START, START + pd.Timedelta("40min")]})


def observations(rows: list[tuple]) -> pd.DataFrame:
    """Rows of (batch, parameter, observed_h, delay_h, revision, value, quality)."""
    frame = pd.DataFrame(
        rows, columns=["batch_id", "parameter", "observed_h", "delay_h", "revision", "value", "quality"]
    )
    start = frame["batch_id"].map(BATCHES.set_index("batch_id")["started_at"])
    frame["observed_at"] = start + pd.to_timedelta(
        (frame["observed_h"].astype(float) * 3600e6).round().astype("int64"), unit="us"
    )
    frame["available_at"] = frame["observed_at"] + pd.to_timedelta(
        (frame["delay_h"].astype(float) * 3600e6).round().astype("int64"), unit="us"
    )
    return frame.astype({"value": "float64", "batch_id": "str", "parameter": "str", "quality": "str"})


def stored(frame: pd.DataFrame) -> pa.Table:
    ordered = frame.sort_values(["batch_id", "parameter", "observed_at", "revision"])
    return pa.Table.from_pandas(ordered[list(OBSERVATION_COLUMNS)], preserve_index=False)


def rows_at(hours=PROCESS.checkpoints_h) -> pd.DataFrame:
    rows = BATCHES.merge(pd.DataFrame({"checkpoint_h": hours}), how="cross")
    rows["as_of"] = rows["started_at"] + pd.to_timedelta((rows["checkpoint_h"] * 3600e6).astype("int64"), unit="us")
    return rows


def statistics(frame: pd.DataFrame, pieces: int = 1, rows: pd.DataFrame | None = None) -> pd.DataFrame:
    table, grid = stored(frame), grid_of(BATCHES, PROCESS)
    cuts = np.linspace(0, len(table), pieces + 1).astype(int)
    parts = [lambda a=a, b=b: table.slice(a, b - a) for a, b in pairwise(cuts)]
    made = pa.Table.from_batches(summarise(parts, grid), SUMMARIES)
    rows = rows_at() if rows is None else rows
    return series_block(SeriesPlan.of(PROCESS), rows, HistoryRuns.of(rows, made, grid)).values


def plainly(frame: pd.DataFrame, row: pd.Series, parameter: str, window_h: float | None) -> pd.DataFrame:
    """The readings that count at a row, worked out without bins."""
    seen = frame[
        (frame["batch_id"] == row["batch_id"])
        & (frame["parameter"] == parameter)
        & (frame["available_at"] <= row["as_of"])
    ]
    seen = seen.sort_values("revision").drop_duplicates("observed_at", keep="last").sort_values("observed_at")
    if window_h is not None:
        seen = seen[
            (seen["observed_at"] > row["as_of"] - pd.Timedelta(hours=window_h))
            | ((row["checkpoint_h"] < window_h) & (seen["observed_at"] <= row["started_at"]))
        ]
    return seen


def test_a_series_worked_by_hand() -> None:
    frame = observations(
        [
            ("a", "do_pct", 0.5, 0, 0, 50, "good"),
            ("a", "do_pct", 1.0, 0, 0, 60, "good"),
            ("a", "do_pct", 1.5, 0, 0, 90, "good"),
            ("a", "do_pct", 1.75, 0, 0, -4, "bad"),
            ("a", "do_pct", 4.5, 0, 0, 20, "good"),
        ]
    )
    at = statistics(frame)
    two, five = at.iloc[1], at.iloc[2]
    assert two["do_pct.since_start.mean"] == pytest.approx(200 / 3)
    assert two["do_pct.since_start.sd"] == pytest.approx(np.sqrt((16.6667**2 + 6.6667**2 + 23.3333**2) / 2), rel=1e-5)
    assert two["do_pct.since_start.slope"] == pytest.approx(40.0)  # 50, 60, 90 at 0.5, 1.0, 1.5 h
    assert two["do_pct.since_start.above_normal_share"] == pytest.approx(1 / 3)
    assert two["do_pct.since_start.bad_share"] == 0.25
    assert two["do_pct.since_start.age_h"] == 0.5
    assert five["do_pct.since_start.last"] == 20
    assert five["do_pct.last_3h.max"] == 20  # 2 h < t <= 5 h
    assert five["do_pct.last_3h.below_normal_share"] == 1
    assert np.isnan(five["do_pct.last_3h.slope"])
    assert np.isnan(at.iloc[0]["do_pct.since_start.mean"])


def test_a_result_is_invisible_before_it_is_available() -> None:
    frame = observations([("a", "ph", 1.0, 4.0, 0, 7.0, "good")])
    newest = statistics(frame)["ph.since_start.last"]
    assert newest[:2].isna().all()
    assert newest[2] == 7.0  # available at exactly 5 h


def test_a_reading_available_exactly_at_the_checkpoint_counts() -> None:
    newest = statistics(observations([("a", "ph", 2.0, 0, 0, 7.0, "good")]))["ph.since_start.last"]
    assert newest[1] == 7.0


def test_a_correction_counts_from_its_own_time_and_the_first_report_until_then() -> None:
    frame = observations(
        [
            ("a", "ph", 1.0, 0, 0, 7.0, "good"),
            ("a", "ph", 1.0, 3.5, 1, 6.0, "good"),
            ("a", "ph", 1.5, 0, 0, 8.0, "good"),
        ]
    )
    mean = statistics(frame)["ph.since_start.mean"]
    assert mean[1] == 7.5
    assert mean[2] == 7.0


def test_a_reading_withdrawn_as_bad_no_longer_counts() -> None:
    frame = observations([("a", "ph", 1.0, 0, 0, 7.0, "good"), ("a", "ph", 1.0, 3.5, 1, 7.0, "bad")])
    at = statistics(frame)
    assert at["ph.since_start.last"][1] == 7.0
    assert np.isnan(at["ph.since_start.last"][2])
    assert at["ph.since_start.bad_share"][2] == 1.0


def test_an_excluded_parameter_makes_no_feature() -> None:
    assert not [c for c in statistics(observations([("a", "secret", 1, 0, 0, 1, "good")])).columns if "secret" in c]


def test_the_value_before_the_newest_is_that_of_the_sample_before() -> None:
    frame = observations(
        [
            ("a", "cells", 0.5, 0, 0, 1.0, "good"),
            ("a", "cells", 1.5, 0, 0, 2.0, "good"),
            ("a", "cells", 4.2, 0, 0, 3.0, "good"),
            ("a", "cells", 4.6, 0, 0, 4.0, "good"),  # the same sample once more: in the bin that ends at 5 h
            ("a", "cells", 7.5, 1.5, 0, 5.0, "good"),  # known at 9 h
            ("a", "cells", 10.5, 0, 0, 6.0, "bad"),
        ]
    )
    before = statistics(frame)["cells.since_start.previous"]
    assert before[:5].tolist() == pytest.approx([np.nan, 1.0, 2.0, 4.0, 4.0], nan_ok=True)


def test_only_an_assay_has_a_value_before_the_newest() -> None:
    names = {feature.name for feature in SeriesPlan.of(PROCESS).features if feature.statistic == "previous"}
    assert names == {"cells.since_start.previous"}


def test_moments_do_not_cancel_on_a_sensor_with_a_large_offset() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 1e-3, 3000)
    rows = [("a", "ph", 12 * i / 3000, 0, 0, 1e9 + noise[i], "good") for i in range(1, 3000)]
    sd = statistics(observations(rows))["ph.since_start.sd"][4]
    kept = np.asarray([r[5] for r in rows]) - 1e9
    assert sd == pytest.approx(kept.std(ddof=1), rel=1e-5)  # a naive sum of squares is off by 1e5


reading = st.tuples(
    st.sampled_from(["a", "b"]),
    st.sampled_from(["do_pct", "ph", "cells"]),
    st.integers(-2, 48).map(lambda q: q / 4),
    st.sampled_from([0, 0, 0, 0.2, 0.75, 3, 6]),
    st.just(0),
    st.floats(-1e6, 1e6).map(lambda v: round(v, 3)),
    st.sampled_from(["good", "good", "uncertain", "bad"]),
)


@st.composite
def histories(draw) -> pd.DataFrame:
    rows = {(r[0], r[1], r[2]): r for r in draw(st.lists(reading, min_size=1, max_size=60))}
    corrected = draw(st.lists(st.sampled_from(sorted(rows)), max_size=6))
    made = list(rows.values())
    for revision, key in enumerate(corrected, start=1):
        made.append(
            (
                *key,
                draw(st.sampled_from([0, 0.5, 2, 5])),
                revision,
                draw(st.floats(-100, 100)),
                draw(st.sampled_from(["good", "bad"])),
            )
        )
    return observations(made)


@given(histories())
@settings(max_examples=150, deadline=None)
def test_statistics_equal_a_plain_recomputation(frame) -> None:
    at, rows = statistics(frame), rows_at()
    for i, row in rows.iterrows():
        for parameter in ("do_pct", "ph"):
            for name, window_h in (("since_start", None), ("last_3h", 3.0)):
                seen = plainly(frame, row, parameter, window_h)
                good = seen[seen["quality"] != "bad"]
                mean = at.loc[i, f"{parameter}.{name}.mean"]
                if good.empty:
                    assert np.isnan(mean)
                    continue
                scale = 1e-9 * max(1.0, good["value"].abs().max())
                assert mean == pytest.approx(good["value"].mean(), abs=scale)
                assert at.loc[i, f"{parameter}.{name}.max"] == good["value"].max()
                if name == "since_start":
                    assert at.loc[i, f"{parameter}.{name}.last"] == good["value"].iloc[-1]
                if len(good) > 1:
                    assert at.loc[i, f"{parameter}.{name}.sd"] == pytest.approx(
                        good["value"].std(), rel=1e-6, abs=scale
                    )
                    hours = (good["observed_at"] - row["started_at"]).dt.total_seconds() / 3600
                    slope = np.polyfit(hours, good["value"], 1)[0]
                    assert at.loc[i, f"{parameter}.{name}.slope"] == pytest.approx(slope, rel=1e-5, abs=1e3 * scale)


@given(histories())
@settings(max_examples=100, deadline=None)
def test_the_value_before_the_newest_equals_a_plain_search(frame) -> None:
    at, rows = statistics(frame)["cells.since_start.previous"], rows_at()
    for i, row in rows.iterrows():
        seen = plainly(frame, row, "cells", None)
        good = seen[seen["quality"] != "bad"]
        hours = (good["observed_at"] - row["started_at"]).dt.total_seconds() / 3600
        earlier = good["value"][np.maximum(np.ceil(hours), 0) < max(np.ceil(hours.max()), 0)]
        assert at[i] == pytest.approx(np.nan if earlier.empty else earlier.iloc[-1], abs=0, rel=0, nan_ok=True)


@given(histories(), st.integers(2, 9), st.randoms())
@settings(max_examples=100, deadline=None)
def test_pieces_and_order_do_not_change_a_bit(frame, pieces, random) -> None:
    shuffled = frame.sample(frac=1, random_state=random.randint(0, 10**6))
    pd.testing.assert_frame_equal(statistics(frame), statistics(shuffled, pieces), check_exact=True)


@given(histories(), histories(), st.sampled_from([2.0, 5.0, 9.0]))
@settings(max_examples=150, deadline=None)
def test_rows_available_after_the_checkpoint_never_change_a_bit_of_it(frame, more, checkpoint_h) -> None:
    as_of = frame["batch_id"].map(BATCHES.set_index("batch_id")["started_at"]) + pd.Timedelta(hours=checkpoint_h)
    known = frame[frame["available_at"] <= as_of]
    later = more[
        more["available_at"]
        > more["batch_id"].map(BATCHES.set_index("batch_id")["started_at"]) + pd.Timedelta(hours=checkpoint_h)
    ]
    key = ["batch_id", "parameter", "observed_at", "revision"]
    later = later[~later.set_index(key).index.isin(known.set_index(key).index)]
    rows = rows_at([checkpoint_h])
    pd.testing.assert_frame_equal(
        statistics(known, rows=rows),
        statistics(pd.concat([known, later], ignore_index=True), rows=rows),
        check_exact=True,
    )
