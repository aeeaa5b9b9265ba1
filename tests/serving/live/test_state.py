"""The incremental state: whole simulated batches told row by row, shuffled, twice and late, equal the bulk features."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.checks import check_rows
from features.context import Vocabulary, vocabulary
from features.contracts import RUN_HISTORY
from features.errors import ContractError
from features.live import Columns
from features.process import ProcessDefinition, load_process
from features.snapshots import rows_as_of, snapshots
from features.summaries import SUMMARIES, grid_of, summarise
from models.cohort.labels import label_log
from pipelines.simulator import SimulationSettings, simulate
from pipelines.sources.policy import PlantDefinition
from serving.interfaces import RowVerdict, StoredRow, UnscorableError
from serving.live.rows import plain_rows
from serving.live.state import PlantState

PROCESS = load_process("processes/cart.toml", PlantDefinition)
TABLES = ("batches", "materials", "lot_results", "environment", "events", "dispositions", "observations")
REPLAYED = 2


@pytest.fixture(scope="module")
def history(tmp_path_factory) -> dict[str, pd.DataFrame]:
    settings = SimulationSettings(
        n_batches=8, n_in_progress=2, seed=3, since=datetime(2025, 9, 1, tzinfo=UTC), sensor_interval_min=30
    )
    folder = simulate(settings, tmp_path_factory.mktemp("plant") / "out").history
    tables = {name: pq.read_table(folder / f"{name}.parquet").to_pandas() for name in TABLES}
    tables["events"]["available_at"] = tables["events"]["available_at"].fillna(tables["events"]["started_at"])
    return {name: typed_frame(name, frame) for name, frame in tables.items()}


def typed_frame(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    kept = check_rows(frame, RUN_HISTORY[name], PROCESS, source=name).kept
    text = kept.select_dtypes("str").columns
    return kept.astype(dict.fromkeys(text, "str"))


def told(history, *, seed: int, only: set[str]) -> PlantState:
    """A plant that was told everything in any order, some of it twice; readings of a few batches only."""
    chance = np.random.default_rng(seed)
    state = PlantState(PROCESS, vocabulary(history, PROCESS))
    batches = plain_rows(history["batches"])
    for row in (batches[i] for i in chance.permutation(len(batches))):
        assert state.put_batch(row).verdict == "accepted"
    for name in TABLES[1:]:
        rows = history[name]
        if name == "observations":
            rows = rows[rows["batch_id"].isin(only)]
        tell(state, name, plain_rows(rows), chance)
    return state


def tell(state: PlantState, name: str, rows: list[dict], chance: np.random.Generator) -> None:
    by_batch: dict[str, list[dict]] = {}
    for row in rows:
        by_batch.setdefault(str(row.get("batch_id", "*")), []).append(row)
    for batch_id, own in by_batch.items():
        twice = chance.choice(len(own), len(own) // 5)
        order = chance.permutation(np.concatenate([np.arange(len(own)), twice]))
        for part in np.array_split(order, 1 if name != "observations" else 12):
            verdicts = state.add(batch_id, name, [own[i] for i in part])
            assert {v.verdict for v in verdicts} <= {"accepted", "duplicate"}, verdicts


def bulk(history, batch_id: str, as_of: pd.Timestamp) -> pd.DataFrame:
    rows = rows_as_of(history["batches"][history["batches"]["batch_id"] == batch_id], as_of)
    readings = history["observations"]
    own = readings[(readings["batch_id"] == batch_id) & (readings["available_at"] <= as_of)]
    own = own.sort_values(["batch_id", "parameter", "observed_at", "revision"])
    table = pa.Table.from_pandas(own, schema=RUN_HISTORY["observations"].arrow(), preserve_index=False)
    grid = grid_of(history["batches"][history["batches"]["batch_id"] == batch_id], PROCESS)
    made = pa.Table.from_batches(summarise([lambda: table], grid), SUMMARIES)
    labels = label_log(PROCESS, history["dispositions"])
    return snapshots(rows, made, history, labels, PROCESS, vocabulary(history, PROCESS))[0]


def assert_equal(state: PlantState, history, batch_id: str, as_of: pd.Timestamp) -> None:
    expected = bulk(history, batch_id, as_of)
    row = state.row(batch_id, as_of.value // 1000)
    names = [f.name for f in row.columns.features]
    assert sorted(names) == sorted(set(expected.columns) - {"batch_id", "checkpoint_h", "started_at", "as_of"})
    for place, name in enumerate(names):
        value, wanted = row.values[place], expected[name].iloc[0]
        if place in row.columns.categories:
            value = None if np.isnan(value) else row.columns.categories[place][int(value)]
            assert value == (None if pd.isna(wanted) else wanted), name
        else:
            assert value == wanted or (np.isnan(value) and np.isnan(wanted)), name


@pytest.fixture(scope="module")
def replayed(history) -> list[str]:
    """The batches with most corrections and late rows, and the one that started last."""
    rows = history["observations"]
    late = (rows["revision"] > 0) | (rows["available_at"] > rows["observed_at"] + pd.Timedelta("2h"))
    worst = late.groupby(rows["batch_id"]).sum().sort_values().index[-REPLAYED + 1 :]
    return [*worst, history["batches"].sort_values("started_at")["batch_id"].iloc[-1]]


@pytest.fixture(scope="module")
def state(history, replayed) -> PlantState:
    return told(history, seed=1, only=set(replayed))


def moments(history, batch_id: str, n: int, seed: int) -> list[pd.Timestamp]:
    start = history["batches"].set_index("batch_id")["started_at"][batch_id]
    hours = np.random.default_rng(seed).uniform(0, 240, n)
    inside = [start + pd.Timedelta(hours=h).round("us") for h in hours]
    return [moment.as_unit("us") for moment in (start, start + pd.Timedelta("24h"), *inside)]


def test_batches_told_in_any_order_twice_and_late_have_the_bulk_features_at_any_moment(
    state, history, replayed
) -> None:
    corrected = history["observations"]["revision"] > 0
    assert corrected.sum() > 0
    for batch_id in replayed:
        for as_of in moments(history, batch_id, 8, seed=len(batch_id)):
            assert_equal(state, history, batch_id, as_of)


def test_a_restart_from_the_stored_rows_gives_the_same_row_and_the_same_digest(state, history, replayed) -> None:
    stored = []
    for name in TABLES:
        frame = history[name]
        frame = frame[frame["batch_id"].isin(replayed)] if name == "observations" else frame
        stored += [StoredRow(0, str(row.get("batch_id", "")), name, row) for row in plain_rows(frame)]
    again = PlantState(PROCESS, vocabulary(history, PROCESS))
    again.rebuild(stored)
    for batch_id in replayed:
        moment = moments(history, batch_id, 1, seed=9)[-1].value // 1000
        one, other = state.row(batch_id, moment), again.row(batch_id, moment)
        np.testing.assert_array_equal(one.values, other.values)
        assert one.data_sha256 == other.data_sha256


def test_the_order_of_arrival_changes_no_bit(state, history, replayed) -> None:
    other = told(history, seed=2, only=set(replayed[-1:]))
    moment = moments(history, replayed[-1], 1, seed=2)[-1].value // 1000
    np.testing.assert_array_equal(state.row(replayed[-1], moment).values, other.row(replayed[-1], moment).values)


def test_a_batch_that_is_unknown_or_has_not_started_cannot_be_asked_about(state, history, replayed) -> None:
    start = history["batches"].set_index("batch_id")["started_at"][replayed[0]].value // 1000
    with pytest.raises(UnscorableError, match="had not started at"):
        state.row(replayed[0], start - 1)
    with pytest.raises(UnscorableError, match="'nobody' is not known"):
        state.row("nobody", start)


RULED = ProcessDefinition.model_validate(
    {
        "process": {"id": "r", "name": "R", "version": "1", "planned_duration_h": 12, "every_h": 6, "windows_h": [6]},
        "outcome": {"label_from": "rule", "label_rule": "yield_pct < 97"},
        "parameter": [
            {"name": "ph", "label": "pH", "unit": "1", "kind": "sensor"},
            {"name": "yield_pct", "label": "Yield", "unit": "%", "kind": "assay", "excluded": True},
        ],
    }
)


def ruled_batch(number: int, **more) -> dict:
    started = f"2026-01-0{number + 1}T00:00:00+00:00"
    return {"batch_id": f"R{number}", "started_at": started, "origin": "simulated", "site_id": "n"} | more


def result(number: int, hour: int, value: float, **more) -> dict:
    return {"parameter": "yield_pct", "observed_at": f"2026-01-0{number + 1}T{hour:02d}:00:00Z", "value": value} | more


def cell(state: PlantState, batch_id: str, moment: str, name: str) -> float:
    row = state.row(batch_id, pd.Timestamp(moment).value // 1000)
    return row.values[[f.name for f in row.columns.features].index(name)]


def test_results_that_decide_a_label_count_for_later_batches_from_when_they_are_known() -> None:
    state = PlantState(RULED, Vocabulary())
    for number in range(3):
        state.put_batch(ruled_batch(number))
    state.add("R0", "observations", [result(0, 12, 90.0)])
    state.add(
        "R1",
        "observations",
        [result(1, 12, 99.0), result(1, 12, 95.0, revision=1, available_at="2026-01-04T00:00:00Z")],
    )
    known, excess = "site.now.n_known", "site.now.failure_excess"
    assert [cell(state, "R2", f"2026-01-0{d}T01:00:00Z", known) for d in (3, 4)] == [2, 2]
    # both of the others known and one of them failed at first, then the correction fails the other one, too
    assert cell(state, "R1", "2026-01-02T01:00:00Z", known) == 1
    assert cell(state, "R1", "2026-01-02T01:00:00Z", excess) == 0.0
    bulk_of_state = PlantState(RULED, Vocabulary())
    bulk_of_state.rebuild(
        [StoredRow(0, r["batch_id"], n, r) for n, r in (
            *(("batches", ruled_batch(i)) for i in range(3)), ("observations", result(0, 12, 90.0, batch_id="R0")),
            ("observations", result(1, 12, 95.0, batch_id="R1", revision=1, available_at="2026-01-04T00:00:00Z")),
            ("observations", result(1, 12, 99.0, batch_id="R1")))]
    )  # fmt: skip
    for moment in ("2026-01-03T01:00:00Z", "2026-01-04T01:00:00Z"):
        at = pd.Timestamp(moment).value // 1000
        one, other = state.row("R2", at), bulk_of_state.row("R2", at)
        np.testing.assert_array_equal(one.values, other.values)
        assert one.data_sha256 == other.data_sha256


def test_a_plant_is_not_ready_before_what_was_prepared_again_has_taken_its_place(monkeypatch) -> None:
    """A question in another thread would else read the context of before the change."""
    state, ready = PlantState(RULED, Vocabulary()), []
    for number in range(2):
        state.put_batch(ruled_batch(number))
    assert cell(state, "R1", "2026-01-03T00:00:00Z", "site.now.n_known") == 0
    state.add("R0", "observations", [result(0, 12, 90.0)])

    def observed(*parts) -> Columns:
        ready.append(state.ready_site("R1"))
        return Columns(*parts)

    monkeypatch.setattr("serving.live.state.Columns", observed)
    assert cell(state, "R1", "2026-01-03T00:00:00Z", "site.now.n_known") == 1
    assert ready == [None]
    assert state.ready_site("R1") == "n"


def test_a_batch_put_again_is_as_if_only_the_last_row_had_been_told() -> None:
    wanted = {"started_at": "2026-01-02T03:00:00+00:00", "site_id": "s"}
    changed, fresh = PlantState(RULED, Vocabulary()), PlantState(RULED, Vocabulary())
    readings = [
        {"parameter": "ph", "observed_at": f"2026-01-02T{h:02d}:30:00Z", "value": 7.0 + h / 10} for h in range(9)
    ]
    for state, first in ((changed, ruled_batch(1)), (fresh, ruled_batch(1, **wanted))):
        for batch in (ruled_batch(0), first):
            assert state.put_batch(batch).verdict == "accepted"
        state.add("R1", "observations", readings)
    assert changed.put_batch(ruled_batch(1, **wanted)).verdict == "accepted"
    assert changed.put_batch(ruled_batch(1, **wanted)).verdict == "duplicate"
    at = pd.Timestamp("2026-01-02T08:00:00Z").value // 1000
    one, other = changed.row("R1", at), fresh.row("R1", at)
    np.testing.assert_array_equal(one.values, other.values)
    assert one.data_sha256 == other.data_sha256


def test_a_stored_row_that_no_longer_keeps_the_contract_stops_the_restart() -> None:
    state = PlantState(RULED, Vocabulary())
    stored = [StoredRow(0, "R0", "batches", ruled_batch(0)), StoredRow(1, "R0", "observations", result(0, 1, 1.0))]
    with pytest.raises(ContractError, match="a stored row is refused"):
        state.rebuild(stored)  # the row lacks its batch


def test_what_was_prepared_again_after_each_change_is_what_is_prepared_at_once(history) -> None:
    """Every kind of change, one by one, against a plant that was told everything before the first question."""
    state = PlantState(PROCESS, vocabulary(history, PROCESS))
    batch_id = history["dispositions"]["batch_id"].iloc[0]
    moment = history["batches"]["started_at"].max().value // 1000 + 24 * 3_600_000_000
    for row in plain_rows(history["batches"]):
        state.put_batch(row)
    for name in ("dispositions", "events", "environment", "lot_results", "materials"):
        state.row(batch_id, moment)  # a question between the changes
        for own in (plain_rows(part) for _, part in history[name].groupby(np.arange(len(history[name])) % 2)):
            by_batch: dict[str, list[dict]] = {}
            for row in own:
                by_batch.setdefault(str(row.get("batch_id", "*")), []).append(row)
            for which, rows in by_batch.items():
                state.add(which, name, rows)
    at_once = PlantState(PROCESS, vocabulary(history, PROCESS))
    at_once.rebuild(
        StoredRow(0, "", name, row) for name in TABLES if name != "observations" for row in plain_rows(history[name])
    )  # fmt: skip
    one, other = state.row(batch_id, moment), at_once.row(batch_id, moment)
    np.testing.assert_array_equal(one.values, other.values)
    assert one.data_sha256 == other.data_sha256


def verdicts_on(state: PlantState, name: str, rows: list[dict]) -> list[RowVerdict]:
    if name == "batches":
        return [state.put_batch(row) for row in rows]
    ids = sorted({row.get("batch_id", "") for row in rows})
    return [v for which in ids for v in state.add(which, name, [r for r in rows if r.get("batch_id", "") == which])]


def test_after_any_changes_in_any_order_a_question_reads_what_a_fresh_plant_would(history) -> None:
    """Batches come and are corrected between rows of all tables, and somebody asks now and then."""
    chance, words = np.random.default_rng(1), vocabulary(history, PROCESS)
    state, kept = PlantState(PROCESS, words), []
    batches = plain_rows(history["batches"])
    later = [("batches", [row]) for row in batches[3:]]
    later += [("batches", [row | {"equipment_id": "E-9", "site_id": "elsewhere"}]) for row in batches[2:4]]
    for name in ("dispositions", "events", "environment", "lot_results", "materials"):
        rows = plain_rows(history[name])
        later += [(name, [rows[i] for i in part]) for part in np.array_split(chance.permutation(len(rows)), 6)]
    told = [("batches", batches[:3]), *(later[i] for i in chance.permutation(len(later)))]
    for step, (name, rows) in enumerate(told):
        for verdict in verdicts_on(state, name, rows):
            if verdict.row is not None:
                kept.append(StoredRow(len(kept) + 1, "", name, verdict.row))
        if step % 5 == 4 or step + 1 == len(told):
            fresh = PlantState(PROCESS, words)
            fresh.rebuild(kept)
            for row in (batches[0], batches[2]):
                at = pd.Timestamp(str(row["started_at"])).value // 1000 + int(
                    chance.integers(0, 5 * 24 * 3_600_000_000)
                )
                one, other = (plant.row(str(row["batch_id"]), at) for plant in (state, fresh))
                assert one.columns.categories == other.columns.categories
                np.testing.assert_array_equal(one.values, other.values)
                assert one.data_sha256 == other.data_sha256


@pytest.mark.parametrize("table", ["environment", "lot_results"])
def test_rows_of_the_plant_that_name_no_batch_count_for_the_batches_they_concern(history, replayed, table) -> None:
    batch_id = replayed[-1]
    start = history["batches"].set_index("batch_id")["started_at"][batch_id]
    as_of = (start + pd.Timedelta("60h")).as_unit("us")
    without = history | {name: history[name].iloc[:0] for name in ("observations", table)}
    words = vocabulary(history, PROCESS)
    state = PlantState(PROCESS, words)
    for name in TABLES:
        assert {v.verdict for v in verdicts_on(state, name, plain_rows(without[name]))} <= {"accepted"}
    before = state.row(batch_id, as_of.value // 1000)
    rows = plain_rows(history[table])
    order = np.random.default_rng(5).permutation(len(rows))
    for part in np.array_split(order, 4):
        assert {v.verdict for v in state.add("", table, [rows[i] for i in part])} == {"accepted"}
        state.row(batch_id, as_of.value // 1000)
    assert {v.verdict for v in state.add("", table, rows)} == {"duplicate"}
    after = state.row(batch_id, as_of.value // 1000)
    assert not np.array_equal(before.values, after.values, equal_nan=True)
    assert before.data_sha256 != after.data_sha256
    assert_equal(state, history | {"observations": without["observations"]}, batch_id, as_of)
    wrong = state.add("", table, [rows[0] | {"batch_id": batch_id}])[0]
    assert (wrong.verdict, wrong.code) == ("rejected", "unknown_column")
