"""The score record and its stored form have one declaration."""

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from models.explain.changes import Changes, ParameterChange
from models.explain.modes import TopMode
from models.explain.what_if import WhatIf
from models.learners.applicability.domain import Finding
from models.learners.sensor_words import SensorFinding
from models.scoring.newest import utc
from models.scoring.parquet import from_table, schema, to_table
from models.scoring.reasons import Reason
from models.scoring.score import Model, Score, scores_of

AT = utc(1_772_366_400_000_000)
MODEL = Model("soup", "3", "ab" * 32, "released", "soup", "cd" * 32, "ef" * 32)
REASON = Reason(
    "force_kn", "Force", "force_kn.since_start.last", 7.5, "kN", (4.0, None), (4.5, 5.5), 12.5, {"boil": 12.5}, 7.5, AT, "",
    "Force, newest value: 7.5 kN; +12.5 points",
)  # fmt: skip
FULL = Score(
    version=2, batch_id="B1", as_of=AT, elapsed_h=6.0, failure_probability=0.4, base_probability=0.1, interval=[0.3, 0.5],
    call="none yet", call_cause="both outcomes possible", support="limited", support_causes=["stale data"],
    decision="undecided", cause="stale data; both outcomes possible", possible=["failed"], modes={"low dose": 0.3},
    likeliest_mode=TopMode("low dose", 0.3, {"sterility": 2}, "Most like: low dose (30 %)"), attributes=[],
    reasons=[REASON, replace(REASON, parameter="site", value="north", newest=None, newest_at=None, usual=None)],
    missing=["purity"], stale={"force_kn": 9.5}, sensors=[SensorFinding("ph", "flat-lined", 9.0, None, 2.0, "pH is stuck")],
    domain=[Finding("outside the applicability domain", "category", ("line",), "z", None, None, "line 'z' was never seen")],
    domain_ratios={"range": 0.5}, assays_pending=None,
    changes=Changes(6.0, 0.2, 0.4, (ParameterChange("site", "Site", "category", 20.0, "north", None, None, "Site"),), "Risk"),
    what_if=WhatIf(0.4, 0.3, 6.0, (), (), "No such change"), data_sha256="d", process_version="1", model=MODEL,
)  # fmt: skip
BARE = FULL.model_copy(
    update={
        "call": "high",
        "call_cause": None,
        "support": "sufficient",
        "support_causes": [],
        "reasons": None,
        "changes": None,
        "what_if": None,
        "likeliest_mode": None,
        "modes": {},
        "cause": None,
    }
)


def test_scores_come_back_from_a_parquet_file_as_they_were(tmp_path) -> None:
    pq.write_table(to_table([FULL, BARE]), tmp_path / "scores.parquet")
    assert from_table(pq.read_table(tmp_path / "scores.parquet")) == [FULL, BARE]


def test_a_score_of_version_1_has_neither_call_nor_support() -> None:
    new = ("call", "call_cause", "support", "support_causes")
    former = to_table([FULL.model_copy(update={"version": 1})]).drop_columns(list(new))
    (read,) = from_table(former)
    assert (read.version, read.decision, read.cause) == (1, FULL.decision, FULL.cause)
    assert [getattr(read, name) for name in new] == [None] * 4


def test_the_schema_has_a_column_per_field_and_no_text_that_holds_json() -> None:
    assert schema().names == list(Score.model_fields)
    assert pa.types.is_struct(schema().field("model").type)
    assert pa.types.is_list(schema().field("reasons").type)
    assert pa.types.is_struct(schema().field("reasons").type.value_type)
    assert pa.types.is_map(schema().field("stale").type)
    required = [name for name in schema().names if not schema().field(name).nullable]
    assert {"failure_probability", "decision", "model", "reasons"} - set(required) == {"reasons"}


def test_no_scores_make_an_empty_table_of_the_schema() -> None:
    assert to_table([]).schema == schema()
    assert from_table(to_table([])) == []


@pytest.mark.parametrize(
    "wrong", [{"failure_probability": 1.2}, {"interval": [0.1]}, {"decision": "maybe"}, {"call": "maybe"}]
)
def test_a_row_that_is_no_score_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        scores_of([FULL.model_dump() | wrong])


def test_as_json_times_carry_their_offset_and_numbers_are_kept() -> None:
    plain = FULL.to_json()
    assert plain["as_of"] == "2026-03-01T12:00:00.000000Z"
    reasons: Any = plain["reasons"]
    assert reasons[0]["newest_at"] == "2026-03-01T12:00:00+00:00"
    assert reasons[0]["normal"] == [4.0, None]
    assert scores_of([plain]) == [FULL]
