import hashlib
from collections.abc import Iterator
from multiprocessing import get_context

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from features.errors import StorageError
from pipelines.storage import Store
from pipelines.storage.files import ROW_GROUP_ROWS

SCHEMA = pa.schema([pa.field("batch_id", pa.string(), nullable=False), pa.field("value", pa.float64())])


def rows(*values: float, name: str = "B1") -> pa.Table:
    return pa.table({"batch_id": [name] * len(values), "value": [float(v) for v in values]}, schema=SCHEMA)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


def test_what_is_written_is_read_month_after_month(store) -> None:
    store.write("t", "2025-02", rows(3, 4), SCHEMA)
    store.write("t", "2025-01", rows(1, 2), SCHEMA)
    assert store.read("t")["value"].to_pylist() == [1, 2, 3, 4]
    assert store.read("t", months=["2025-02"], columns=["value"]).to_pydict() == {"value": [3, 4]}
    assert store.read("t", filters=pc.field("value") > 3)["value"].to_pylist() == [4]
    assert pa.types.is_dictionary(store.read("t", dictionary=["batch_id"]).schema.field("batch_id").type)
    assert (store.months("t"), store.rows("t"), store.rows("t", ["2025-01"])) == (["2025-01", "2025-02"], 4, 2)
    assert [path.parent.name for path in store.files("t")] == ["month=2025-01", "month=2025-02"]


def test_a_month_is_replaced_in_one_version_and_the_former_one_stays_readable(store) -> None:
    first = store.write("t", "2025-01", rows(1), SCHEMA)
    second = store.write("t", "2025-01", rows(2), SCHEMA)
    assert second.version == first.version + 1
    assert store.read("t")["value"].to_pylist() == [2]
    assert store.read("t", version=first.version)["value"].to_pylist() == [1]
    with pytest.raises(StorageError, match="no version 99; expected 0 to"):
        store.read("t", version=99)


def test_several_months_change_and_go_in_one_version(store) -> None:
    store.write("t", "2025-01", rows(1), SCHEMA)
    before = store.version("t")
    staged = [store.stage("t", month, rows(2), SCHEMA) for month in ("2025-02", "2025-03")]
    store.commit("t", staged, drop_months=["2025-01"])
    assert (store.version("t"), store.months("t")) == (before + 1, ["2025-02", "2025-03"])


def test_unchanged_inputs_are_no_work_and_the_rows_are_not_read(store) -> None:
    def never() -> Iterator[pa.RecordBatch]:
        raise AssertionError("the rows were read")
        yield

    first = store.write("t", "2025-01", rows(1), SCHEMA, inputs_digest=digest("a"))
    again = store.write("t", "2025-01", never(), SCHEMA, inputs_digest=digest("a"))
    assert (len(first.files), again.files, again.version) == (1, (), first.version)
    assert store.inputs_digest("t", "2025-01") == digest("a")
    assert store.inputs_digest("t", "2025-02") is None


def test_equal_rows_from_other_inputs_keep_the_content_digest(store) -> None:
    first = store.write("t", "2025-01", rows(1), SCHEMA, inputs_digest=digest("a"))
    content = store.digest("t")
    other = store.write("t", "2025-01", rows(1), SCHEMA, inputs_digest=digest("b"))
    assert (store.digest("t"), other.version) == (content, first.version + 1)
    assert store.inputs_digest("t", "2025-01") == digest("b")


def test_without_inputs_the_rows_decide(store) -> None:
    first = store.write("t", None, rows(1, 2), SCHEMA)
    pieces = [*rows(1).to_batches(), *rows(2).to_batches()]
    assert store.write("t", None, pieces, SCHEMA).version == first.version


def test_an_old_content_may_come_back(store) -> None:
    for value in (1, 2, 1):
        store.write("t", "2025-01", rows(value), SCHEMA)
    assert store.read("t")["value"].to_pylist() == [1]
    assert store.verify() == []


def test_an_empty_month_keeps_its_inputs(store) -> None:
    store.write("t", "2025-01", rows(), SCHEMA, inputs_digest=digest("a"))
    assert (store.read("t").num_rows, store.inputs_digest("t", "2025-01")) == (0, digest("a"))


def test_a_new_column_is_null_in_the_months_before(store) -> None:
    store.write("t", "2025-01", rows(1), SCHEMA)
    wide = SCHEMA.append(pa.field("age", pa.float64()))
    store.write("t", "2025-02", rows(2).append_column("age", [[7.0]]).cast(wide), wide)
    assert store.read("t")["age"].to_pylist() == [None, 7.0]


def test_row_groups_and_page_checksums_do_not_depend_on_how_rows_arrive(store) -> None:
    table = rows(*range(ROW_GROUP_ROWS + 5))
    store.write("t", "2025-01", table.to_batches(max_chunksize=1000), SCHEMA)
    store.write("u", "2025-01", table, SCHEMA)
    assert store.digest("t") == store.digest("u")
    meta = pq.read_metadata(store.files("t")[0])
    assert [meta.row_group(i).num_rows for i in range(meta.num_row_groups)] == [ROW_GROUP_ROWS, 5]


def test_appending_adds_each_key_once(store) -> None:
    first = store.append("scores", None, rows(1, 1, name="B1"), key=["batch_id"])
    assert pq.read_metadata(first.files[0]).num_rows == 1
    both = pa.concat_tables([rows(9, name="B1"), rows(2, name="B2")])
    assert pq.read_metadata(store.append("scores", None, both, key=["batch_id"]).files[0]).num_rows == 1
    assert store.append("scores", None, both, key=["batch_id"]).files == ()
    assert sorted(store.read("scores")["value"].to_pylist()) == [1, 2]


def test_a_table_that_is_not_there_is_an_error(store) -> None:
    assert (store.exists("t"), store.months("t"), store.files("t")) == (False, [], [])
    with pytest.raises(StorageError, match="no such table"):
        store.read("t")


def test_other_delta_readers_see_the_same_rows(store) -> None:
    from deltalake import DeltaTable

    store.write("t", "2025-01", rows(1), SCHEMA)
    store.write("t", "2025-02", rows(2), SCHEMA)
    seen = DeltaTable(store.root / "t").to_pyarrow_table(columns=["value", "month"]).sort_by("value")
    assert seen.to_pydict() == {"value": [1, 2], "month": ["2025-01", "2025-02"]}


def test_of_two_writers_of_one_month_the_slower_gets_an_error_and_the_faster_stays(store) -> None:
    store.write("t", "2025-01", rows(0), SCHEMA)
    slow = store.stage("t", "2025-01", rows(1), SCHEMA)
    Store(store.root).write("t", "2025-01", rows(2), SCHEMA)
    with pytest.raises(StorageError, match="t 2025-01: another writer replaced these rows meanwhile"):
        store.commit("t", [slow])
    assert store.read("t")["value"].to_pylist() == [2]
    assert store.verify() == []


def test_writers_of_different_months_do_not_disturb_each_other(store) -> None:
    one = store.stage("t", "2025-01", rows(1), SCHEMA)
    Store(store.root).write("t", "2025-02", rows(2), SCHEMA)
    store.commit("t", [one])
    assert store.read("t")["value"].to_pylist() == [1, 2]


def _write_months(root, first) -> None:
    for month in range(first, 13, 2):
        Store(root).write("t", f"2025-{month:02d}", rows(month), SCHEMA)


def test_two_processes_writing_at_once_lose_nothing(tmp_path) -> None:
    context = get_context("spawn")
    workers = [context.Process(target=_write_months, args=(tmp_path, first)) for first in (1, 2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert Store(tmp_path).read("t")["value"].to_pylist() == list(range(1, 13))


@pytest.mark.parametrize("month", ["2025-13", "202501", "../x"])
def test_a_month_has_one_form(store, month) -> None:
    with pytest.raises(ValueError, match="YYYY-MM"):
        store.write("t", month, rows(1), SCHEMA)
