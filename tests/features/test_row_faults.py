"""Rows that went wrong in other people's exports: what each kind of fault comes to."""

import pandas as pd
import pyarrow as pa
import pytest

from features.checks import Checked, check_rows
from features.contracts import BATCHES, DISPOSITIONS, ENVIRONMENT, EVENTS, MATERIALS, OBSERVATIONS, RUN_HISTORY, Table
from features.errors import ProcessError
from features.parsing import to_arrow, type_column
from features.process import ProcessDefinition, load_process
from features.quality import quality_of
from features.units import UnitError, convert, describe

HEAD = {"id": "tiny", "name": "Tiny", "version": "1", "planned_duration_h": 24, "every_h": 6}
PARAMETERS = [
    {"name": "glucose", "label": "Glucose", "unit": "mmol/L", "kind": "assay", "aliases": ["GLC-101", "Glucose"]},
    {"name": "feed", "label": "Feed", "unit": "mL", "kind": "assay", "unit_aliases": {"ML": "mL", "nL": "nL"}},
    {"name": "donor_age", "label": "Age", "unit": "1", "kind": "attribute", "aliases": ["Donor Age"]},
]
PROCESS = ProcessDefinition.model_validate({"process": HEAD, "parameter": PARAMETERS})
BATCH = {"batch_id": "B1", "started_at": "2026-03-01T08:00:00Z", "origin": "real"}
READING = {"batch_id": "B1", "parameter": "glucose", "observed_at": "2026-03-02T08:00:00Z", "value": "5"}
STARTED = {"B1": 1_772_352_000_000_000}  # 2026-03-01T08:00Z


def check(table: Table, *rows: dict[str, str], **options) -> Checked:
    frame = pd.DataFrame(list(rows)).astype("str").fillna("")
    return check_rows(frame, table, PROCESS, source=f"{table.name}.csv", **options)


def codes(checked: Checked) -> list[tuple[int, str, bool]]:
    rows = checked.quarantined.sort_values("row")
    return list(zip(rows["row"], rows["code"], rows["benign"], strict=True))


@pytest.mark.parametrize(
    "spelled",
    [
        "2025-03-01 08:00:00 +01:00", "2025-03-01T07:00:00 UTC", "2025-03-01 07:00 GMT", "20250301T070000Z",
        "20250301T0800+0100", "2025-03-01T07:00:00,000Z", "2025-03-01T07Z", "2025/03/01 08:00:00+01:00",
        "Sat, 01 Mar 2025 08:00:00 +0100", "1 Mar 2025 07:00 GMT", "2025-03-01T08:00:00+01:00[Europe/Berlin]",
        "2025-03-01T06:00:00\u221201:00", "2025-03-01 08:00:00 GMT+1", "2025-03-01 08:00 UTC+01:00",
        " 2025-03-01t07:00:00z ",
    ],
)  # fmt: skip
def test_a_time_with_an_offset_is_read_in_every_usual_spelling(spelled) -> None:
    typed = type_column(to_arrow(pd.Series([spelled])), OBSERVATIONS["observed_at"])
    assert typed.column[0] == pd.Timestamp("2025-03-01T07:00Z")
    assert typed.faults == ()


@pytest.mark.parametrize(
    ("spelled", "code"),
    [
        ("01.03.2025 08:00 +01:00", "not_a_time"),  # day or month first: not said
        ("2025-03-01 08:00 CET", "not_a_time"),  # abbreviations name several zones
        ("2025/03/01 08:00", "naive_time"), ("20250301T080000", "naive_time"),
        ("0001-01-01T00:00:00Z", "implausible_year"), ("2925-03-01T08:00:00Z", "implausible_year"),
        ("1899-12-31T23:59:59Z", "implausible_year"),
    ],
)  # fmt: skip
def test_a_time_that_would_have_to_be_guessed_is_refused(spelled, code) -> None:
    assert [f.code for f in type_column(to_arrow(pd.Series([spelled])), OBSERVATIONS["observed_at"]).faults] == [code]


def test_a_typed_time_of_the_year_1_is_refused_and_not_stored() -> None:
    typed = type_column(
        pa.array([-62_135_596_800_000_000, 0], pa.timestamp("us", tz="UTC")), OBSERVATIONS["observed_at"]
    )
    assert typed.column.isna().tolist() == [True, False]
    assert [fault.code for fault in typed.faults] == ["implausible_year"]


@pytest.mark.parametrize(
    ("unit", "wanted"),
    [
        ("ML", "mL"),
        ("Mmol/L", "mmol/L"),
        ("Mm", "mm"),
        ("PA", "pA"),
        ("MPa", "mPa"),
        ("ng/mL", "mg/mL"),
        ("Mg", "mg"),
        ("kg", "mg"),
    ],
)
def test_units_that_a_slip_of_the_keyboard_explains_are_refused_without_a_rule(unit, wanted) -> None:
    with pytest.raises(UnitError, match=r"a factor of .*unit_aliases"):
        convert(1, unit, wanted)
    assert convert(1, unit, wanted, confirmed=True) > 0


def test_usual_conversions_stay_and_are_described() -> None:
    assert convert(5, "L", "mL") == 5000
    assert convert(1.5, "1e6 cells/mL", "cells/mL") == 1.5e6  # a stated scale is no slip
    assert convert(7, "l", "L") == 7
    assert (describe("L", "mL"), describe("degF", "degC")) == ("x 1000", "x 0.5556 - 17.78")


def test_a_plants_rule_says_what_a_unit_means() -> None:
    feed = READING | {"parameter": "feed"}
    later = [{"observed_at": f"2026-03-02T0{hour}:00:00Z"} for hour in (1, 2, 3)]
    checked = check(
        OBSERVATIONS, feed | later[0] | {"unit": "ML"}, feed | later[1] | {"unit": "nL"},
        READING | later[2] | {"unit": "Mmol/L"},
    )  # fmt: skip
    assert checked.kept["value"].tolist() == [5, pytest.approx(5e-6)]  # a rule for nL to itself confirms the factor
    assert codes(checked) == [(3, "unit_mismatch", False)]


@pytest.mark.parametrize(
    ("spelled", "codes_are", "quality"),
    [
        ("Good", "opc_da", "good"), ("BadSensorFailure", "opc_da", "bad"), ("UNCERTAIN", "opc_da", "uncertain"),
        ("Good, clamped", "opc_da", "good"), ("bad (no data)", "opc_da", "bad"), ("questionable", "opc_da", "uncertain"),
        ("192", "opc_da", "good"), ("216", "opc_da", "good"), ("64", "opc_da", "uncertain"), ("0", "opc_da", "bad"),
        ("24", "opc_da", "bad"), ("128", "opc_da", None), ("0", "opc_ua", "good"), ("2147483648", "opc_ua", "bad"),
        ("0x40920000", "opc_ua", "uncertain"), ("0x80000000", "opc_da", None), ("godo", "opc_da", None),
        ("goodish", "opc_da", None),
    ],
)  # fmt: skip
def test_quality_flags_of_historians_are_read_by_rule(spelled, codes_are, quality) -> None:
    assert quality_of(spelled, codes_are) == quality


@pytest.mark.parametrize(
    "change",
    [{"value": "", "quality": "bad"}, {"value": "", "quality": "BadNoCommunication"}, {"value": "", "quality": "0"},
     {"value": "I/O Timeout"}, {"value": "Bad Input", "quality": "good"}, {"value": "-999", "quality": "24"}],
)  # fmt: skip
def test_a_bad_reading_without_a_number_is_kept_and_counts_as_bad(change) -> None:
    checked = check(OBSERVATIONS, READING | {"quality": ""} | change)
    assert checked.kept["quality"].tolist() == ["bad"]
    assert checked.kept["value"].isna().tolist() == [change["value"] != "-999"]


def test_a_good_reading_needs_a_number() -> None:
    assert codes(check(OBSERVATIONS, READING | {"value": "", "quality": "good"})) == [(1, "absent_value", False)]
    assert codes(check(OBSERVATIONS, READING | {"value": "low"})) == [(1, "not_a_number", False)]


def test_numeric_qualities_in_a_typed_column_are_read_too() -> None:
    frame = pd.DataFrame([READING]).assign(value=5.0, quality=192)
    assert check_rows(frame, OBSERVATIONS, PROCESS, source="o").kept["quality"].tolist() == ["good"]


def test_names_of_the_source_are_read_as_aliases() -> None:
    later = {"observed_at": "2026-03-02T09:00:00Z"}
    checked = check(OBSERVATIONS, READING | {"parameter": "GLC-101"}, READING | later | {"parameter": "Glucose"})
    assert checked.kept["parameter"].tolist() == ["glucose", "glucose"]
    assert check(BATCHES, BATCH | {"Donor Age": "61"}).kept["donor_age"].tolist() == [61]


def test_one_alias_of_two_parameters_is_an_error(tmp_path) -> None:
    path = tmp_path / "p.toml"
    head = '[process]\nid = "a"\nname = "A"\nversion = "1"\nplanned_duration_h = 24\nevery_h = 6\n'
    one = '[[parameter]]\nname = "{}"\nlabel = "x"\nunit = "1"\nkind = "assay"\naliases = ["X"]\n'
    path.write_text(head + one.format("a") + one.format("b"))
    with pytest.raises(ProcessError, match="'X' is a name or an alias of two parameters"):
        load_process(path)


def test_a_lot_added_twice_is_two_rows_and_without_times_a_contradiction_with_a_remedy() -> None:
    use = {"batch_id": "B1", "material": "feed", "lot_id": "L1", "quantity": "5", "unit": "L"}
    first, second = use | {"consumed_at": "2026-03-02T10:00Z"}, use | {"consumed_at": "2026-03-04T10:00Z"}
    assert len(check(MATERIALS, first, second).kept) == 2
    assert codes(check(MATERIALS, first, first)) == [(2, "repeated", True)]
    both = check(MATERIALS, use, use | {"quantity": "3"})
    assert codes(both) == [(1, "duplicate_key", False), (2, "duplicate_key", False)]
    assert (
        "Give each addition of the lot its own consumed_at, or keep one row with the total"
        in both.quarantined["reason"][0]
    )


def test_an_event_that_is_exported_open_and_then_closed_is_its_closed_row() -> None:
    event = {"batch_id": "B1", "kind": "deviation", "code": "D1", "started_at": "2026-03-02T10:00Z"}
    checked = check(EVENTS, event, event | {"ended_at": "2026-03-02T12:00Z"}, event)
    assert checked.kept["ended_at"].tolist() == [pd.Timestamp("2026-03-02T12:00Z")]
    assert codes(checked) == [(1, "completed", True), (3, "completed", True)]
    twice = check(EVENTS, event | {"ended_at": "2026-03-02T12:00Z"}, event | {"ended_at": "2026-03-02T13:00Z"}, event)
    assert [code for _, code, _ in codes(twice)] == ["duplicate_key", "duplicate_key", "completed"]


def test_two_plates_at_one_time_are_two_samples() -> None:
    plate = {"site_id": "S", "area_id": "A", "metric": "settle_cfu", "observed_at": "2026-03-02T10:00Z", "value": "0"}
    assert check(ENVIRONMENT, plate, plate | {"value": "3"}).kept["value"].tolist() == [0, 3]
    assert codes(check(ENVIRONMENT, plate, plate)) == [(2, "repeated", True)]


def test_every_remedy_for_rows_of_one_key_is_possible_in_its_table() -> None:
    for table in RUN_HISTORY.values():
        assert ("revision" in table.remedy) == ("revision" in table.names)
        for name in ("consumed_at", "area_id", "ended"):
            assert name not in table.remedy or any(column.startswith(name) for column in table.names)


def test_times_that_no_row_of_the_batch_can_have_are_refused() -> None:
    def code(table: Table, row: dict[str, str]) -> list[str]:
        return [c for _, c, _ in codes(check(table, row, batches=STARTED))]

    assert code(OBSERVATIONS, READING | {"observed_at": "2062-03-02T08:00:00Z"}) == ["far_from_its_batch"]
    assert code(OBSERVATIONS, READING | {"observed_at": "2026-02-20T08:00:00Z"}) == []  # a screening before the start
    event = {"batch_id": "B1", "kind": "phase", "started_at": "2024-03-02T10:00Z"}
    assert code(EVENTS, event) == ["far_from_its_batch"]
    decided = {"batch_id": "B1", "outcome": "released", "decided_at": "2026-02-28T10:00Z"}
    assert code(DISPOSITIONS, decided) == ["before_its_batch"]
    assert code(BATCHES, BATCH | {"planned_end_at": "2026-02-10T08:00Z"}) == ["planned_end_at_before_started_at"]


def test_an_id_with_blanks_or_other_capitals_is_named_with_the_one_it_resembles() -> None:
    padded = check(BATCHES, BATCH, BATCH | {"batch_id": "B2 "}, BATCH | {"batch_id": "b1"}, BATCH | {"batch_id": "B 1"})
    assert padded.kept["batch_id"].tolist() == ["B1"]
    assert [c for _, c, _ in codes(padded)] == ["blanks_around_id", "id_differs_by_case", "id_differs_by_case"]
    assert "differs from 'B1' only by capitals or blanks" in padded.quarantined["reason"].tolist()[-1]
    unknown = check(OBSERVATIONS, READING | {"batch_id": "b1"}, batches=STARTED)
    assert "(did you mean 'B1'?)" in unknown.quarantined["reason"][0]


def test_rows_known_after_now_wait_and_planned_starts_are_right() -> None:
    now = pd.Timestamp("2026-03-02T00:00Z")
    late = check(OBSERVATIONS, READING, READING | {"observed_at": "2026-03-02T00:04:00Z"}, now=now)
    assert codes(late) == [(1, "from_the_future", False)]  # five minutes are the clocks' own
    starts = [BATCH | {"batch_id": f"B{i}", "started_at": f"{start}T06:00:00Z"} for i, start in
              enumerate(("2026-03-01", "2026-03-09", "2028-01-01"))]  # fmt: skip
    assert codes(check(BATCHES, *starts, now=now)) == [(2, "not_yet_started", True), (3, "from_the_future", False)]
    sample = {"site_id": "S", "metric": "cfu", "observed_at": "2026-03-03T10:00Z", "value": "0"}
    assert codes(check(ENVIRONMENT, sample, now=now)) == [(1, "from_the_future", False)]
