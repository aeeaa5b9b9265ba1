import json

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings

from features.checks import Checked, check_columns, check_rows
from features.contracts import BATCHES, DISPOSITIONS, EVENTS, OBSERVATIONS
from features.errors import SourceError
from features.process import ProcessDefinition

PROCESS = ProcessDefinition.model_validate(
    {
        "process": {"id": "tiny", "name": "Tiny", "version": "1", "planned_duration_h": 24, "every_h": 6},
        "parameter": [
            {"name": "glucose_mm", "label": "Glucose", "unit": "mmol/L", "kind": "assay", "range": [0, 60]},
            {"name": "disease", "label": "Disease", "unit": "category", "kind": "attribute"},
            {"name": "age_years", "label": "Age", "unit": "year", "kind": "attribute", "range": [0, 120]},
        ],
    }
)
GOOD = {"batch_id": "B1", "parameter": "glucose_mm", "observed_at": "2025-01-01T00:00:00Z", "value": "5"}


def observations(*changes) -> pd.DataFrame:
    return pd.DataFrame([GOOD | change for change in changes]).astype("str").fillna("")


def check(*changes, **options) -> Checked:
    return check_rows(observations(*changes), OBSERVATIONS, PROCESS, source="observations.csv", **options)


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        ({"parameter": "glucos_mm"}, "unknown_parameter", "did you mean 'glucose_mm'"),
        ({"parameter": "disease"}, "category_parameter", "column of batches"),
        ({"observed_at": "2025-01-01T00:00:00"}, "naive_time", "has no offset"),
        ({"observed_at": "2025-01-01"}, "naive_time", "has no offset"),
        ({"observed_at": "2025-02-30T00:00:00Z"}, "not_a_time", "is no time"),
        ({"observed_at": "1735689600"}, "not_a_time", "is no time"),
        ({"observed_at": "9999-12-31T23:59:59-14:00"}, "implausible_year", "outside the years 1900 to 2199"),
        ({"observed_at": "0001-01-01T00:00:00Z"}, "implausible_year", "outside the years 1900 to 2199"),
        ({"value": "7,5"}, "not_a_number", "decimal point"),
        ({"value": "1e999"}, "not_finite", "not finite"),
        ({"value": "nan"}, "not_a_number", "is not a number"),
        ({"value": ""}, "absent_value", "value is absent"),
        ({"batch_id": ""}, "absent_value", "batch_id is absent"),
        ({"revision": "1.5"}, "not_an_integer", "no whole number"),
        ({"revision": "-1"}, "out_of_range", "at least 0"),
        ({"quality": "godo"}, "not_allowed", "did you mean 'good'"),
        ({"value": "61"}, "out_of_range", "0 to 60 mmol/L"),
        ({"value": "90", "unit": "g/L"}, "unit_mismatch", "does not convert"),
        ({"available_at": "2024-12-31T23:59:59Z"}, "available_at_before_observed_at", "lies before"),
        ({"batch_id": "B9"}, "unknown_batch", "'B9' is not a kept row"),
    ],
)
def test_a_row_that_breaks_a_rule_is_set_aside_with_one_line(change, code, says) -> None:
    checked = check({}, change | {"observed_at": change.get("observed_at", "2025-01-02T00:00:00Z")}, batches={"B1"})
    assert len(checked.kept) == 1
    row = checked.quarantined.iloc[0]
    assert (row["code"], row["row"], row["benign"], row["source"]) == (code, 2, False, "observations.csv")
    assert says in row["reason"]
    assert row["reason"].startswith("observations.csv row 2 (") and "\n" not in row["reason"]
    assert json.loads(row["content"]).items() <= (GOOD | {"observed_at": "2025-01-02T00:00:00Z"} | change).items()


def test_defaults_and_units_are_applied_and_conversions_counted() -> None:
    checked = check({"value": "5000", "unit": "umol/L"}, {"observed_at": "2025-01-01 01:30+01"})
    assert checked.kept["value"].tolist() == [5.0, 5.0]
    assert checked.kept["unit"].tolist() == ["mmol/L", "mmol/L"]
    assert checked.kept["available_at"].tolist() == checked.kept["observed_at"].tolist()
    assert checked.kept["observed_at"][1] == pd.Timestamp("2025-01-01T00:30Z")
    assert checked.kept["quality"].tolist() == ["good", "good"]
    assert dict(checked.converted) == {("glucose_mm", "umol/L"): 1}


def test_a_value_flagged_bad_by_its_source_is_kept_though_impossible() -> None:
    assert len(check({"value": "-999", "quality": "bad"}).kept) == 1


def test_repetitions_are_benign_and_contradictions_all_go() -> None:
    later = {"observed_at": "2025-01-02T00:00:00Z"}
    checked = check({}, {}, later, later | {"value": "6"}, later)
    assert checked.kept["observed_at"].tolist() == [pd.Timestamp("2025-01-01T00:00Z")]
    assert checked.quarantined[["row", "code", "benign"]].values.tolist() == [
        [2, "repeated", True],
        [3, "duplicate_key", False],
        [4, "duplicate_key", False],
        [5, "duplicate_key", False],
    ]


def test_the_same_reading_in_another_unit_and_offset_is_a_repetition() -> None:
    checked = check({}, {"value": "5000", "unit": "umol/L", "observed_at": "2025-01-01T01:00:00+01:00"})
    assert checked.quarantined["code"].tolist() == ["repeated"]


def test_typed_columns_are_taken_as_they_are_and_naive_ones_refused() -> None:
    frame = observations({}, {"observed_at": "2025-01-01T00:01:00Z"})
    times = pd.to_datetime(frame["observed_at"])
    typed = frame.assign(observed_at=times.dt.tz_convert("Europe/Ljubljana"), value=np.array([0.5, np.inf], np.float32))
    checked = check_rows(typed, OBSERVATIONS, PROCESS, source="o.parquet")
    assert checked.kept["value"].tolist() == [0.5]
    assert checked.quarantined["code"].tolist() == ["not_finite"]
    naive = check_rows(typed.assign(observed_at=times.dt.tz_convert(None)), OBSERVATIONS, PROCESS, source="o.parquet")
    assert naive.quarantined["code"].tolist() == ["naive_time", "naive_time"]


def test_types_that_would_have_to_be_bent_are_refused() -> None:
    frame = observations({})
    for change, code in (
        ({"value": [True]}, "not_a_number"),
        ({"batch_id": [1.5]}, "not_text"),
        ({"observed_at": [1735689600]}, "not_a_time"),
        ({"value": [2**53 + 1]}, "not_a_number"),
    ):
        checked = check_rows(frame.assign(**change), OBSERVATIONS, PROCESS, source="o")
        assert checked.quarantined["code"].tolist() == [code]
    assert check_rows(frame.assign(batch_id=[17]), OBSERVATIONS, PROCESS, source="o").kept["batch_id"].tolist() == [
        "17"
    ]


def test_attributes_are_checked_by_the_process_definition() -> None:
    rows = pd.DataFrame(
        {
            "batch_id": ["B1", "B2", "B3"],
            "started_at": "2025-01-01T00:00Z",
            "origin": "real",
            "disease": ["ALL", "", "MCL"],
            "age_years": ["5", "", "130"],
        }
    )
    checked = check_rows(rows, BATCHES, PROCESS, source="batches.csv")
    assert checked.kept["age_years"].isna().tolist() == [False, True]
    assert checked.kept["disease"].isna().tolist() == [False, True]
    assert "0 to 120 year" in checked.quarantined["reason"][0]


def test_an_outcome_outside_the_five_and_an_end_before_its_begin_are_set_aside() -> None:
    rows = pd.DataFrame({"batch_id": ["B1"], "outcome": ["failed"], "decided_at": "2025-01-01T00:00Z"})
    checked = check_rows(rows, DISPOSITIONS, PROCESS, source="dispositions.csv")
    assert (
        "outcome 'failed' is not allowed; expected one of 'released', 'released_oos'"
        in checked.quarantined["reason"][0]
    )
    event = pd.DataFrame({"batch_id": ["B1"], "kind": ["phase"], "code": ["x"], "started_at": "2025-01-02T00:00Z"})
    ended = check_rows(event.assign(ended_at="2025-01-01T00:00Z"), EVENTS, PROCESS, source="events.csv")
    assert ended.quarantined["code"].tolist() == ["ended_at_before_started_at"]
    assert check_rows(event, EVENTS, PROCESS, source="events.csv").kept["ended_at"].isna().all()


def test_missing_and_unknown_columns_name_the_nearest() -> None:
    with pytest.raises(SourceError, match="'origin' is missing; nearest present 'orign'"):
        check_columns(["batch_id", "started_at", "orign"], BATCHES, PROCESS, source="batches.csv")
    with pytest.raises(SourceError, match="'age_yers' is unknown; did you mean 'age_years'"):
        check_columns(["batch_id", "started_at", "origin", "age_yers"], BATCHES, PROCESS, source="batches.csv")
    with pytest.raises(SourceError, match="'unti' is unknown; did you mean 'unit'"):
        check_columns([*OBSERVATIONS.must_have, "unti"], OBSERVATIONS, PROCESS, source="observations.csv")


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "batch_id": st.sampled_from(["B1", "B2", ""]),
                "parameter": st.sampled_from(["glucose_mm", "disease", "x"]),
                "observed_at": st.sampled_from(["2025-01-01T00:00Z", "2025-01-01", "2025-01-01T01:00+01:00", "no"]),
                "value": st.sampled_from(["5", "6", "-1", "", "x"]),
                "unit": st.sampled_from(["", "mmol/L", "umol/L", "g/L"]),
                "quality": st.sampled_from(["", "good", "bad", "??"]),
            }
        ),
        max_size=12,
    )
)
def test_rows_in_are_rows_kept_plus_rows_set_aside(rows) -> None:
    frame = pd.DataFrame(
        rows, columns=["batch_id", "parameter", "observed_at", "value", "unit", "quality"], dtype="str"
    )
    checked = check_rows(frame, OBSERVATIONS, PROCESS, source="o", batches={"B1"})
    assert len(frame) == len(checked.kept) + len(checked.quarantined)
    assert sorted([*checked.rows, *checked.quarantined["row"]]) == list(range(1, len(frame) + 1))
    assert not checked.kept.duplicated(list(OBSERVATIONS.key)).any()
