from dataclasses import replace
from pathlib import Path
from typing import Never

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.contracts import RUN_HISTORY
from features.errors import SourceError
from features.process import load_process
from pipelines.simulator import simulate, write
from pipelines.simulator.outcome import SPECIFICATION
from pipelines.simulator.settings import Stream, stream
from pipelines.simulator.signals import LOT_TESTS, OBSERVED, RELEASE
from pipelines.simulator.tables import ATTRIBUTES
from pipelines.simulator.write import write_groups
from pipelines.sources.policy import PlantDefinition

CART = load_process(Path(__file__).parents[3] / "processes/cart.toml", PlantDefinition)


def read(history: Path, name: str) -> pd.DataFrame:
    frame = pq.read_table(history / f"{name}.parquet").to_pandas()
    return frame.drop_duplicates(ignore_index=True) if name == "observations" else frame  # delivered twice


@pytest.mark.parametrize("name", RUN_HISTORY)
def test_every_table_keeps_its_contract(history, name) -> None:
    frame = read(history, name)
    assert len(frame)
    RUN_HISTORY[name].pandera().validate(frame)


def test_the_history_folder_holds_nothing_but_the_seven_tables(report) -> None:
    assert {p.name for p in report.history.iterdir()} == {f"{name}.parquet" for name in RUN_HISTORY}
    assert {p.name for p in report.out.iterdir()} == {"history", "truth.parquet", "simulation.json"}


def test_nothing_is_written_that_became_available_later(history, small) -> None:
    until = pd.Timestamp(small.until)
    for name, column in (("observations", "available_at"), ("events", "available_at"), ("environment", "available_at"),
                         ("dispositions", "decided_at"), ("materials", "consumed_at"), ("lot_results", "available_at")):  # fmt: skip
        assert read(history, name)[column].max() <= until
    assert read(history, "events")["ended_at"].max() <= until


def test_batches_in_progress_have_no_disposition_and_all_others_one(history, report, small) -> None:
    decided = set(read(history, "dispositions")["batch_id"])
    batches = set(read(history, "batches")["batch_id"])
    assert decided < batches
    assert len(batches - decided) == small.n_in_progress == report.n_in_progress
    assert report.rows["batches"] == len(batches)


def test_nothing_is_observed_after_a_batch_stopped(history) -> None:
    terminated = read(history, "dispositions").query("outcome in ('terminated', 'cancelled')")
    rows = read(history, "observations").merge(terminated[["batch_id", "decided_at"]])
    sensors = rows[rows["parameter"] == "ph"]
    last = sensors.groupby("batch_id")["observed_at"].max()
    assert (last <= terminated.set_index("batch_id")["decided_at"].loc[last.index] + pd.Timedelta(minutes=3)).all()


def test_units_and_ranges_are_those_of_the_process_definition(history) -> None:
    rows = read(history, "observations")
    for name, group in rows.groupby("parameter"):
        low, high = CART[str(name)].range
        assert group["value"].between(low, high).all(), name
        assert set(group["unit"]) == {CART[str(name)].unit}


def test_the_process_definition_names_all_that_is_recorded() -> None:
    assert {p.name for p in CART.parameter} == {s.name for s in (*OBSERVED, *LOT_TESTS)} | set(ATTRIBUTES)
    for signal in (*OBSERVED, *LOT_TESTS):
        assert (CART[signal.name].unit, CART[signal.name].range) == (signal.unit, (signal.low, signal.high))
    for name, kind in ATTRIBUTES.items():
        assert CART[str(name)].is_category == (kind == pa.string())
    assert all(CART[s.name].excluded for s in RELEASE)
    assert {q.parameter: (q.lower, q.upper) for q in CART.quality_attribute} == SPECIFICATION


def test_no_attribute_is_missing_for_some_batches_only(history) -> None:
    batches = read(history, "batches")
    assert batches.notna().all().all()
    assert set(batches["origin"]) == {"simulated"}


def test_the_bytes_do_not_depend_on_the_size_of_the_tasks(report, small, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(write, "BATCHES_PER_TASK", 7)
    assert digests(simulate(small, tmp_path / "again").out) == digests(report.out)


def test_the_bytes_do_not_depend_on_the_number_of_workers(report, small, tmp_path) -> None:
    assert digests(simulate(small, tmp_path / "again", workers=2).out) == digests(report.out)


def test_another_seed_makes_another_plant(report, small, tmp_path) -> None:
    other = simulate(replace(small, seed=6), tmp_path / "other").out
    assert all(digests(other)[name] != digest for name, digest in digests(report.out).items())


def digests(out: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


def test_row_groups_have_a_fixed_size_however_rows_come_in(tmp_path) -> None:
    table = pa.table({"value": np.arange(10.0)})
    for name, cuts in (("one", [10]), ("many", [1, 5, 4])):
        parts = [table.slice(sum(cuts[:i]), size) for i, size in enumerate(cuts)]
        assert write_groups(tmp_path / name, table.schema, parts, rows_per_group=4) == 10
    assert (tmp_path / "one").read_bytes() == (tmp_path / "many").read_bytes()
    meta = pq.read_metadata(tmp_path / "one")
    assert [meta.row_group(i).num_rows for i in range(meta.num_row_groups)] == [4, 4, 2]


def test_a_folder_that_is_not_empty_is_refused_and_left_alone(small, tmp_path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(SourceError, match="is not an empty folder"):
        simulate(small, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_a_failed_run_leaves_no_folder_behind(small, tmp_path, monkeypatch) -> None:
    def broken(*_) -> Never:
        raise RuntimeError("disk full")

    monkeypatch.setattr(write, "truth_table", broken)
    with pytest.raises(RuntimeError, match="disk full"):
        simulate(small, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_stream_is_the_child_that_spawning_gives() -> None:
    child = np.random.SeedSequence(5).spawn(Stream.BATCH + 1)[Stream.BATCH].spawn(4)[3]
    assert stream(5, Stream.BATCH, 3).random() == np.random.default_rng(child).random()
