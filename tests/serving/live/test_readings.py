"""A row that passes at a glance is what the rules of the ingest make of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.contracts import OBSERVATIONS
from features.process import ProcessDefinition
from serving.live.readings import _plainly_spelled, parse_readings
from serving.live.rows import typed

PROCESS = ProcessDefinition.model_validate(
    {
        "process": {"id": "p", "name": "P", "version": "1", "planned_duration_h": 12, "every_h": 6},
        "parameter": [
            {"name": "ph", "label": "pH", "unit": "1", "kind": "sensor", "range": [0, 14]},
            {"name": "flow", "label": "Flow", "unit": "mL/min", "kind": "assay", "range": [0, float("nan")]},
            {"name": "score", "label": "Score", "unit": "", "kind": "assay"},
            {"name": "sex", "label": "Sex", "unit": "category", "kind": "attribute"},
        ],
    }
)
KNOWN = {p.name: p for p in PROCESS.parameter if not p.is_category}
times = st.datetimes().map(str) | st.sampled_from(
    ["2025-03-01T08:00:00Z", "2025-03-01T08:00:00.5+01:00", "2025-03-01T08:00:00.123456-05:30", "2025-02-30T08:00:00Z",
     "2025-03-01T08:00:00", "2025-03-01 08:00:00Z", "2025-03-01T08:00Z", "20250301T080000Z", "2025-03-01T24:00:00Z",
     "2025-03-01T08:00:00+25:00", "2025-03-01T08:00:60Z", "1850-01-01T00:00:00Z", "1900-01-01T00:00:00+14:00",
     "2199-12-31T23:59:59.999999Z", "2025-03-01T08:00:00.1234567Z", "", None, 5]
)  # fmt: skip
rows = st.fixed_dictionaries(
    {"batch_id": st.sampled_from(["b", "b", "b", "other", "", 7]), "observed_at": times,
     "parameter": st.sampled_from(["ph", "flow", "score", "sex", "pH", None]),
     "value": st.floats() | st.integers(-5, 20) | st.sampled_from([7.0, 2**53, 2**60, True, "7", None])},
    optional={"available_at": times, "revision": st.sampled_from([0, 1, 2**31 - 1, 2**31, -1, 1.0, True, "1", None]),
              "unit": st.sampled_from(["1", "mL/min", "L/h", "", None, 3]), "colour": st.just(1),
              "quality": st.sampled_from(["good", "uncertain", "bad", "", None, "fine"])},
)  # fmt: skip


@given(rows)
@settings(max_examples=300, deadline=None)
def test_what_passes_at_a_glance_passes_the_rules_and_is_spelled_alike(row) -> None:
    if _plainly_spelled(0, row, KNOWN, ["b"], 1e18) is None:
        return
    checked, sent = typed(OBSERVATIONS, [row], PROCESS, ["b"]), parse_readings([row], PROCESS, ["b"])
    assert checked.rejected == sent.rejected == {}
    assert checked.plain == sent.plain
    assert list(checked.plain[0]) == list(sent.plain[0])
    assert [type(v) for v in checked.plain[0].values()] == [type(v) for v in sent.plain[0].values()]
    assert sent.readings.observed[0] == checked.frame["observed_at"].iloc[0].value // 1000


@given(st.lists(rows, max_size=12))
@settings(max_examples=40, deadline=None)
def test_plain_and_other_rows_of_one_call_keep_their_order_and_each_has_its_verdict(several) -> None:
    sent = parse_readings(several, PROCESS, ["b"])
    assert sorted([*sent.places.tolist(), *sent.rejected]) == list(range(len(several)))
    assert (np.diff(sent.places) > 0).all()
    one_by_one = [parse_readings([row], PROCESS, ["b"]) for row in several]
    assert sent.plain == [row for one in one_by_one for row in one.plain]
    assert [sent.rejected[i].code for i in sorted(sent.rejected)] == [
        v.code for one in one_by_one for v in one.rejected.values()
    ]


@pytest.mark.parametrize(
    ("row", "at_a_glance"),
    [
        ({}, True), ({"unit": "1", "quality": "bad", "value": 99.0}, True), ({"revision": 3}, True),
        ({"available_at": "2025-03-01T09:00:00Z"}, True), ({"available_at": "2025-03-01T07:00:00Z"}, False),
        ({"value": 15.0}, False), ({"value": True}, False), ({"value": float("inf")}, False), ({"value": "7"}, False),
        ({"unit": "mL/min"}, False), ({"batch_id": "other"}, False), ({"colour": "red"}, False), ({"revision": True}, False),
    ],
)  # fmt: skip
def test_only_a_row_that_is_plain_in_every_way_passes_at_a_glance(row, at_a_glance) -> None:
    plain = {"batch_id": "b", "parameter": "ph", "observed_at": "2025-03-01T08:00:00Z", "value": 7}
    assert (_plainly_spelled(0, plain | row, KNOWN, ["b"], 1e18) is not None) == at_a_glance


def test_a_whole_number_for_a_unit_is_refused_alike_alone_and_in_company() -> None:
    plain = {"batch_id": "b", "parameter": "ph", "observed_at": "2025-03-01T08:00:00Z", "value": 7.0}
    company = [plain | {"unit": 3}, plain | {"observed_at": "2025-03-01 08:00:00"}, plain | {"unit": 2.5}]
    together = parse_readings(company, PROCESS, ["b"]).rejected
    alone = [parse_readings([row], PROCESS, ["b"]).rejected[0].code for row in company]
    assert [together[i].code for i in range(3)] == alone == ["unit_mismatch", "naive_time", "not_text"]


def test_a_flag_is_no_number_whatever_stands_beside_it() -> None:
    plain = {"batch_id": "b", "parameter": "ph", "observed_at": "2025-03-01T08:00:00Z"}
    company = [plain | {"value": 99.0}, plain | {"value": True}, plain | {"value": 2**60}, plain | {"value": "7"}]
    codes = {place: verdict.code for place, verdict in parse_readings(company, PROCESS, ["b"]).rejected.items()}
    assert codes == {0: "out_of_range", 1: "not_a_number", 2: "not_a_number"}
