"""The engine says of a batch told row by row what the bulk scorer says of its history, to the last bit."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from features.canonical import canonical
from features.checks import check_rows
from features.context import Vocabulary, vocabulary
from features.contracts import RUN_HISTORY
from features.dictionary import Feature
from features.process import ProcessDefinition, load_process
from features.snapshots import checkpoint_rows, rows_as_of, snapshots
from features.summaries import SUMMARIES, grid_of, summarise
from models.cohort.labels import label_log
from models.predictor import Predictor
from models.scoring.score import Model, Score
from models.scoring.snapshots import SnapshotScorer, score_snapshots
from models.train import train
from serving.bundle.bundle import Bundle
from serving.bundle.loader import ServingModel, load_predictor
from serving.bundle.store import BundleStore, Version
from serving.engine import LiveEngine
from serving.ids import microseconds
from serving.interfaces import StoredRow, UnscorableError
from serving.live.rows import plain_rows
from tests.models.plant import QUICK
from tests.pipelines.small_plant import PROCESS, history

HOUR = 3_600_000_000


@dataclass(frozen=True)
class Place:
    """A small plant, a predictor trained on it, and a folder of bundles."""

    process: ProcessDefinition
    tables: dict[str, pd.DataFrame]
    words: Vocabulary
    predictor: Predictor
    bundle: Bundle

    def engine(self) -> LiveEngine:
        return LiveEngine(ServingModel(self.bundle, load_predictor(self.bundle)))

    def full(self, only: set[str] | None = None) -> LiveEngine:
        """An engine that was told the whole history."""
        engine = self.engine()
        engine.rebuild(self.stored(only))
        return engine

    def stored(self, only: set[str] | None = None) -> list[StoredRow]:
        rows = [(name, row) for name, frame in self.tables.items() for row in plain_rows(frame)]
        kept = [(n, r) for n, r in rows if only is None or n != "observations" or r["batch_id"] in only]
        return [StoredRow(i, str(row.get("batch_id", "")), name, row) for i, (name, row) in enumerate(kept)]

    def snapshot(
        self, rows: pd.DataFrame, known_by: pd.Timestamp | None = None
    ) -> tuple[pd.DataFrame, tuple[Feature, ...]]:
        batches, readings = self.tables["batches"], self.tables["observations"]
        own = readings[readings["batch_id"].isin(rows["batch_id"])]
        own = own if known_by is None else own[own["available_at"] <= known_by]
        own = own.sort_values(["batch_id", "parameter", "observed_at", "revision"])
        table = pa.Table.from_pandas(own, schema=RUN_HISTORY["observations"].arrow(), preserve_index=False)
        made = pa.Table.from_batches(
            summarise([lambda: table], grid_of(batches[batches["batch_id"].isin(rows["batch_id"])], self.process)),
            SUMMARIES,
        )
        labels = label_log(self.process, self.tables["dispositions"])
        return snapshots(rows, made, self.tables, labels, self.process, self.words)

    def live(self, batch_id: str, as_of: pd.Timestamp) -> tuple[pd.DataFrame, tuple[Feature, ...]]:
        batches = self.tables["batches"]
        return self.snapshot(rows_as_of(batches[batches["batch_id"] == batch_id], as_of), as_of)

    def bulk(self, batch_id: str, as_of: pd.Timestamp, model: Model) -> Score:
        frame, features = self.live(batch_id, as_of)
        return score_snapshots(SnapshotScorer(self.predictor, self.process, model, features), frame, data_sha256="d")[0]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Place:
    folder = tmp_path_factory.mktemp("small")
    (folder / "small.toml").write_text(PROCESS, encoding="utf-8")
    process = load_process(folder / "small.toml")
    raw, tables = history(), {}
    for name in ("batches", "materials", "dispositions", "observations"):
        tables[name] = check_rows(raw[name], RUN_HISTORY[name], process, source=name).kept
    words = vocabulary(tables, process)
    untrained = Place(process, tables, words, cast("Predictor", None), cast("Bundle", None))
    labels = label_log(process, tables["dispositions"])
    rows, features = untrained.snapshot(checkpoint_rows(tables["batches"], labels, process))
    predictor = train(process, rows, features, tables["batches"], labels, plan=QUICK).predictor
    predictor.save(folder / "predictor")
    bundle = BundleStore(folder / "bundles").write(folder / "predictor", Version("small", "4"), process, words)
    return Place(process, tables, words, predictor, replace(bundle, released_by="two persons"))


@pytest.fixture(scope="module")
def engine(place) -> LiveEngine:
    return place.full()


@pytest.mark.parametrize("batch_id", ["B003", "B060", "B119"])
@pytest.mark.parametrize("hours", [0.0, 5.75, 11.8, 30.0])
def test_a_score_is_that_of_the_bulk_scorer(place, engine, batch_id, hours) -> None:
    start = place.tables["batches"].set_index("batch_id")["started_at"][batch_id]
    as_of = (start + pd.Timedelta(hours=hours)).as_unit("us")
    expected, found = place.bulk(batch_id, as_of, engine.model()), engine.score(batch_id, as_of.value // 1000)
    of_the_endpoint = ("what_if", "assays_pending", "data_sha256")
    assert canonical({k: v for k, v in found.to_json().items() if k not in of_the_endpoint}) == canonical(
        {k: v for k, v in expected.to_json().items() if k not in of_the_endpoint}
    )
    assert (found.model.version, found.model.review, found.model.sha256) == ("4", "released", place.predictor.sha256)
    assert (found.model.release_id, found.model.released_by) == (place.bundle.sha256, "two persons")


def test_the_predictor_tells_warm_batches_apart(place, engine) -> None:
    start = place.tables["batches"].set_index("batch_id")["started_at"]
    risks = [engine.score(b, start[b].value // 1000 + 24 * HOUR).failure_probability for b in start.index[:60]]
    assert max(risks) > 0.5 > 0.2 > min(risks)


def test_inline_history_scores_as_the_same_rows_kept_and_leaves_nothing_behind(place, engine) -> None:
    batch_id = "B119"
    inline = {
        name: [r for r in plain_rows(frame) if r.get("batch_id") == batch_id] for name, frame in place.tables.items()
    }
    moment = pd.Timestamp(str(inline["batches"][0]["started_at"])).value // 1000 + 6 * HOUR
    alone = place.engine()
    before = engine.score(batch_id, moment)
    found = engine.score_inline(inline, batch_id, moment)
    alone.rebuild([StoredRow(0, batch_id, n, r) for n, rows in inline.items() for r in rows])
    assert found == alone.score(batch_id, moment)
    assert engine.score(batch_id, moment) == before
    broken = inline | {"observations": [inline["observations"][0] | {"value": 900.0}]}
    with pytest.raises(UnscorableError, match="physically impossible"):
        engine.score_inline(broken, batch_id, moment)


def test_a_reading_changes_the_digest_and_a_repetition_does_not(place) -> None:
    engine = place.full({"B119"})
    start = place.tables["batches"].set_index("batch_id")["started_at"]["B119"]
    moment = start.value // 1000 + 8 * HOUR
    before = engine.score("B119", moment)
    row = {"parameter": "temperature_c", "observed_at": (start + pd.Timedelta("7.9h")).isoformat(), "value": 41.0}
    assert engine.add("B119", "observations", [row])[0].verdict == "accepted"
    after = engine.score("B119", moment)
    assert after.data_sha256 != before.data_sha256
    assert after.failure_probability != before.failure_probability
    assert engine.add("B119", "observations", [row])[0].verdict == "duplicate"
    assert engine.score("B119", moment) == after


def test_scores_in_many_threads_are_equal_to_the_bit_while_rows_of_others_come_in(place) -> None:
    engine = place.full({"B118", "B119"})
    start = place.tables["batches"].set_index("batch_id")["started_at"]["B119"]
    moment, found, failures = start.value // 1000 + 8 * HOUR, set(), []

    def score() -> None:
        try:
            for _ in range(30):
                found.add(canonical(engine.score("B119", moment).to_json() | {"data_sha256": ""}))
        except Exception as error:  # noqa: BLE001 - a thread's error is looked at below
            failures.append(error)

    threads = [threading.Thread(target=score) for _ in range(4)]
    for thread in threads:
        thread.start()
    for minute in range(20):
        row = {
            "parameter": "glucose_mm",
            "observed_at": (start + pd.Timedelta(minutes=minute)).isoformat(),
            "value": 9.0,
        }
        engine.add("B118", "observations", [row])
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(found) == 1


def test_rows_are_judged_one_by_one_and_in_any_grouping_alike(place) -> None:
    start = place.tables["batches"].set_index("batch_id")["started_at"]["B119"]

    def reading(hours: float, value: object, **more) -> dict:
        at = (start + pd.Timedelta(hours=hours)).isoformat()
        return {"parameter": "glucose_mm", "observed_at": at, "value": value} | more

    rows = [
        reading(1, 9.0), reading(1, 9.0), reading(1, 8.0), reading(1, 8.0, revision=1), reading(2, "9.5"),
        reading(3, 900), reading(4, 9.0, unit="mg/L"), reading(5, 9.0) | {"observed_at": "2025-01-01T00:00:00"},
        reading(6, 9.0, parameter="glucose"), reading(7, 9.0, colour="red"), {"parameter": "glucose_mm"},
        reading(8, True), reading(9, 9.0, batch_id="B001"), reading(10, float("nan")),
    ]  # fmt: skip
    wanted = [
        ("accepted", ""), ("duplicate", ""), ("rejected", "duplicate_key"), ("accepted", ""), ("accepted", ""),
        ("rejected", "out_of_range"), ("rejected", "unit_mismatch"), ("rejected", "naive_time"),
        ("rejected", "unknown_parameter"), ("rejected", "unknown_column"), ("rejected", "absent_value"),
        ("rejected", "not_a_number"), ("rejected", "other_batch"), ("rejected", "absent_value"),
    ]  # fmt: skip
    together, apart = place.full({"B000"}), place.full({"B000"})
    found = together.add("B119", "observations", rows)
    assert [(v.verdict, v.code) for v in found] == wanted
    assert [(v.verdict, v.code) for row in rows for v in apart.add("B119", "observations", [row])] == wanted
    moment = start.value // 1000 + 8 * HOUR
    assert together.score("B119", moment) == apart.score("B119", moment)
    assert found[4].row["value"] == 9.5
    assert found[4].row["observed_at"].endswith("+00:00")


def test_rows_of_an_unknown_batch_are_rejected(place) -> None:
    engine = place.engine()
    row = {"parameter": "glucose_mm", "observed_at": "2025-01-01T00:00:00Z", "value": 9.0}
    for table, one in (("observations", row), ("events", {"kind": "phase", "started_at": "2025-01-01T00:00:00Z"})):
        assert [v.code for v in engine.add("nobody", table, [one])] == ["unknown_batch"]
    with pytest.raises(UnscorableError, match="not known"):
        engine.score("nobody", 0)


def test_the_end_of_an_event_may_be_told_later_and_nothing_else_of_it(place) -> None:
    engine = place.full({"B119"})
    batch_events = {"kind": "deviation", "code": "D1", "started_at": "2025-06-01T00:00:00Z"}
    ended = batch_events | {"ended_at": "2025-06-01T02:00:00Z"}
    told = [
        batch_events,
        ended,
        ended,
        batch_events | {"ended_at": "2025-06-01T03:00:00Z"},
        ended | {"severity": "major"},
    ]
    verdicts = [engine.add("B119", "events", [row])[0] for row in told]
    assert [v.verdict for v in verdicts] == ["accepted", "accepted", "duplicate", "rejected", "rejected"]
    assert verdicts[3].code == "duplicate_key"


def test_an_infinite_feature_gives_no_score(place, engine, monkeypatch) -> None:
    def row(columns, *_) -> np.ndarray:
        name = place.predictor.encoder.columns[0]
        return np.array([np.inf if f.name == name else np.nan for f in columns.features])

    monkeypatch.setattr("features.live.Columns.row", row)
    start = place.tables["batches"].set_index("batch_id")["started_at"]["B119"]
    with pytest.raises(UnscorableError, match="is infinite"):
        engine.score("B119", start.value // 1000)


def test_a_release_by_demo_keys_scores_simulated_batches_and_no_real_one(place) -> None:
    engine = LiveEngine(ServingModel(replace(place.bundle, released_by="demo keys"), load_predictor(place.bundle)))
    batch = {"site_id": "north", "started_at": "2026-03-01T00:00:00Z"}
    for origin in ("real", "simulated"):
        assert engine.put_batch({**batch, "batch_id": f"A-{origin}", "origin": origin}).verdict == "accepted"
    at = microseconds("2026-03-01T05:00:00Z")
    assert engine.score("A-simulated", at).model.released_by == "demo keys"
    with pytest.raises(UnscorableError, match="batch A-real is real, and the serving model was released by demo keys"):
        engine.score("A-real", at)
