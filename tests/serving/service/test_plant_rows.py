"""Results of lots and samples of rooms: judged, kept, rebuilt, replayed, and told only by those whose they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import select

from features.canonical import canonical
from features.checks import check_rows
from features.context import Vocabulary, vocabulary
from features.contracts import RUN_HISTORY
from features.process import load_process
from features.snapshots import rows_as_of, snapshots
from features.summaries import SUMMARIES, grid_of, summarise
from models.cohort.labels import label_log
from models.scoring.newest import utc
from models.scoring.score import Model, Score
from pipelines.simulator import SimulationSettings, simulate
from pipelines.sources.policy import PlantDefinition
from serving.audit import chain, verification
from serving.interfaces import Engine
from serving.live.rows import plain_rows
from serving.live.state import PlantState
from serving.records.store import Records
from serving.records.tables import quarantine, rows
from serving.service import intake, score_requests
from serving.service.engine_cache import EngineCache
from serving.service.intake import add_plant_rows
from serving.service.scoring_service import ScoringService
from tests.serving.conftest import sqlite_url
from tests.serving.services import BATCH, MES, NORTH, SOUTH, call, make_service

CART = load_process("processes/cart.toml", PlantDefinition)
TABLES = ("batches", "materials", "lot_results", "environment", "dispositions")
LOT = {
    "lot_id": "L1",
    "material": "broth",
    "parameter": "purity_pct",
    "observed_at": "2026-02-01T00:00:00Z",
    "value": 97.0,
}
AIR = {
    "site_id": "north",
    "area_id": "suite",
    "metric": "viable_air_cfu_m3",
    "observed_at": "2026-02-28T00:00:00Z",
    "value": 3.0,
}


@pytest.fixture
def service(records, tmp_path) -> ScoringService:
    found = make_service(records, tmp_path)
    for batch_id, site_id, lot in (
        ("N1", "north", "L1"),
        ("S1", "south", "L2"),
        ("N2", "north", "L3"),
        ("S2", "south", "L3"),
    ):
        intake.put_batch(found, call(request_id=f"p{batch_id}"), batch_id, BATCH | {"site_id": site_id}, "")
        told = {"materials": [{"material": "broth", "lot_id": lot}]}
        intake.add_rows(found, call(request_id=f"m{batch_id}"), batch_id, told)
    return found


def tell(service, table, *told, principal=MES, **more) -> dict:
    return orjson.loads(add_plant_rows(service, call(principal, **more), table, told).body)


@pytest.mark.parametrize(("table", "row"), [("lot_results", LOT), ("environment", AIR)])
def test_a_row_is_accepted_once_and_another_of_its_key_is_rejected_with_the_reason(
    service, records, table, row
) -> None:
    other = row | (
        {"value": 4.0} if table == "lot_results" else {"grade": "A"}
    )  # two values of one room are two samples
    said = tell(service, table, row, row, other, row | {"observed_at": "2026-02-30T00:00:00Z"})
    assert (said["accepted"], said["duplicates"], said["rejected"]) == (1, 1, 2)
    assert [r["code"] for r in said["rejections"]] == ["duplicate_key", "not_a_time"]
    assert tell(service, table, row, request_id="r2")["duplicates"] == 1
    with records.read() as connection:
        kept = connection.execute(select(rows).where(rows.c.table_name == table)).one()
        assert len(connection.execute(select(quarantine)).all()) == 2
    assert (kept.batch_id, kept.site_id) == ("", {"lot_results": "*", "environment": "north"}[table])
    assert verification.verify(records, None).problems == ()


def test_a_retest_is_a_row_of_a_higher_revision_and_the_future_is_refused(service) -> None:
    late = LOT | {"revision": 2, "available_at": "2026-03-03T12:00:00Z"}
    said = tell(service, "lot_results", LOT, LOT | {"revision": 1, "value": 91.0}, late)
    assert (said["accepted"], said["rejections"][0]["code"]) == (2, "from_the_future")


def test_the_same_key_gives_the_stored_answer(service) -> None:
    first, again = (add_plant_rows(service, call(key="k", body="1"), "environment", [AIR]) for _ in range(2))
    assert (again.body, again.replayed) == (first.body, True)


def test_a_restart_knows_them_and_the_trail_tells_of_them(service, records, tmp_path) -> None:
    tell(service, "lot_results", LOT)
    tell(service, "environment", AIR, AIR | {"site_id": "south"}, request_id="r2")
    again = make_service(records, tmp_path)
    assert tell(again, "lot_results", LOT, request_id="r3")["duplicates"] == 1
    assert tell(again, "environment", AIR, request_id="r4")["duplicates"] == 1
    with records.read() as connection:
        said = [e for e in chain.entries(connection) if e.object.startswith("plant:")]
    assert [(e.object, e.action, orjson.loads(e.new or "")["n"]) for e in said] == [
        ("plant:lot_results", "rows", 1), ("plant:environment", "rows", 2),
    ]  # fmt: skip
    assert verification.verify(records, None).problems == ()


def test_a_site_tells_of_its_own_rooms_only(service) -> None:
    said = tell(service, "environment", AIR, AIR | {"site_id": "south"}, principal=SOUTH)
    assert (said["accepted"], [r["code"] for r in said["rejections"]]) == (1, ["other_site"])


def test_a_site_tells_of_lots_that_its_own_batches_were_the_first_to_use(service) -> None:
    told = [LOT | {"lot_id": lot} for lot in ("L1", "L2", "L3", "L4")]
    for principal, own in ((NORTH, {0, 2}), (SOUTH, {1})):
        said = tell(service, "lot_results", *told, principal=principal, request_id=principal.id)
        assert said["accepted"] == len(own)
        assert {r["index"]: r["code"] for r in said["rejections"]} == dict.fromkeys({0, 1, 2, 3} - own, "lot_of_others")
    assert tell(service, "lot_results", *told, principal=MES, request_id="a")["accepted"] == 1


def test_no_site_takes_a_lot_away_by_saying_that_it_used_it(service) -> None:
    materials = {"materials": [{"material": "broth", "lot_id": "L1"}]}
    intake.add_rows(service, call(SOUTH, request_id="claim"), "S1", materials)
    assert tell(service, "lot_results", LOT, principal=SOUTH, request_id="s")["accepted"] == 0
    assert tell(service, "lot_results", LOT, principal=NORTH, request_id="n")["accepted"] == 1


def test_a_verdict_tells_another_site_nothing_of_what_is_held(service) -> None:
    """Known, contradicted or never told: to a principal whose lot it is not, every row looks the same."""
    tell(service, "lot_results", LOT)
    told = [LOT, LOT | {"value": 1.0}, LOT | {"lot_id": "never"}]
    said = tell(service, "lot_results", *told, principal=SOUTH, request_id="r2")
    assert len({(r["code"], r["reason"]) for r in said["rejections"]}) == 1
    assert said["rejected"] == 3


class StateEngine:
    """Gives all features in the place of the modes, so that they can be compared with those of the bulk pass."""

    def __init__(self, words: Vocabulary) -> None:
        self._state = PlantState(CART, words)
        self.put_batch, self.add, self.rebuild = self._state.put_batch, self._state.add, self._state.rebuild
        self.ready_site, self.evict = self._state.ready_site, self._state.evict
        self.validate_batch = self._state.validate_batch

    def model(self) -> Model:
        return Model("state", "1", "0" * 64, "unreviewed", "cart", "0" * 64, "0" * 64)

    def score(self, batch_id: str, as_of_us: int, *, reasons: bool = True) -> Score:
        row = self._state.row(batch_id, as_of_us)
        each = zip(row.columns.features, row.values.tolist(), strict=True)
        return Score(
            version=2, batch_id=batch_id, as_of=utc(as_of_us), elapsed_h=row.elapsed_h, failure_probability=0.5, base_probability=0.5,
            interval=[0.5, 0.5], call="low", support="sufficient", decision="low", cause=None, possible=[], attributes=[], reasons=[] if reasons else None,
            modes={f.name: v for f, v in each if not np.isnan(v)}, missing=[], stale={}, sensors=[], domain=[],
            data_sha256=row.data_sha256, process_version="1", model=self.model(),
        )  # fmt: skip


@pytest.fixture(scope="module")
def history(tmp_path_factory) -> dict[str, pd.DataFrame]:
    settings = SimulationSettings(
        n_batches=8, n_in_progress=2, seed=3, since=datetime(2025, 9, 1, tzinfo=UTC), sensor_interval_min=60
    )
    folder = simulate(settings, tmp_path_factory.mktemp("plant") / "out").history
    made = {}
    for name in TABLES:
        kept = check_rows(
            pq.read_table(folder / f"{name}.parquet").to_pandas(), RUN_HISTORY[name], CART, source=name
        ).kept
        made[name] = kept.astype(dict.fromkeys(kept.select_dtypes("str").columns, "str"))
    return made


def bulk(history: Mapping[str, pd.DataFrame], words: Vocabulary, batch_id: str, as_of: pd.Timestamp) -> dict:
    own = history["batches"][history["batches"]["batch_id"] == batch_id]
    none = RUN_HISTORY["observations"].arrow().empty_table()
    made = pa.Table.from_batches(summarise([lambda: none], grid_of(own, CART)), SUMMARIES)
    tables = {**history, "events": RUN_HISTORY["events"].arrow().empty_table().to_pandas()}
    frame, _ = snapshots(rows_as_of(own, as_of), made, tables, label_log(CART, history["dispositions"]), CART, words)
    return frame.iloc[0].to_dict()


def differing(score: Mapping, expected: Mapping) -> list[str]:
    numbers = {name: value for name, value in expected.items() if "." in name and not isinstance(value, str)}
    assert len(numbers) > 100
    wanted = {name: None if pd.isna(value) else float(value) for name, value in numbers.items()}
    return [name for name, value in wanted.items() if score["modes"].get(name) != value and value is not None]


def test_the_score_of_a_batch_that_used_the_lot_changes_as_the_bulk_features_do(
    history, sqlite_shape, tmp_path
) -> None:
    words, records = (
        vocabulary({**history, "events": pd.DataFrame({"kind": [], "code": []}, dtype="str")}, CART),
        Records(sqlite_url(sqlite_shape, tmp_path)),
    )
    service = make_service(records, tmp_path, make=lambda _: cast("Engine", StateEngine(words)), now_us=2**51)
    for row in plain_rows(history["batches"]):
        batch_id = str(row["batch_id"])
        intake.put_batch(service, call(request_id=batch_id), batch_id, row, "")
    for batch_id, own in history["materials"].groupby("batch_id"):
        intake.add_rows(service, call(request_id=f"m{batch_id}"), str(batch_id), {"materials": plain_rows(own)})
    last = history["batches"].sort_values("started_at").iloc[-1]
    as_of = (last["started_at"] + pd.Timedelta("60h")).as_unit("us")
    ask = call(request_id="ask")
    recent = history["environment"]["observed_at"] > as_of - pd.Timedelta("72h")
    history = {**history, "environment": history["environment"][recent]}

    def score() -> dict:
        return orjson.loads(score_requests.score(service, ask, last["batch_id"], as_of.value // 1000).body)

    none = {name: history[name].iloc[:0] for name in ("lot_results", "environment", "dispositions")}
    empty, before = {**history, **none}, score()
    assert differing(before, bulk(empty, words, last["batch_id"], as_of)) == []
    for table in ("lot_results", "environment"):
        told = plain_rows(history[table])
        said = orjson.loads(add_plant_rows(service, call(request_id=table), table, told).body)
        assert (said["accepted"], said["rejected"]) == (len(told), 0)
        empty = {**empty, table: history[table]}
        assert differing(score(), bulk(empty, words, last["batch_id"], as_of)) == []
    after = score()
    changed = {name for name, value in after["modes"].items() if value != before["modes"].get(name)}
    assert {name.split(".")[0] for name in changed} >= {"vector_titre_tu_ml", "environment"}
    again = replace(service, engine_cache=EngineCache(records, lambda _: cast("Engine", StateEngine(words))))
    assert canonical(
        orjson.loads(score_requests.score(again, ask, last["batch_id"], as_of.value // 1000).body)["modes"]
    ) == canonical(after["modes"])
    assert [score_requests.replay(service, made["score_id"]).is_equal for made in (before, after)] == [True, True]
    records.close()
