"""Records of a CSV file: whole, torn, and of another number of fields."""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sources.csv_file import CsvFile
from pipelines.sources.folder import HistoryFolder


def read(path: Path, content: bytes, **options) -> tuple[list[tuple[int, str, str]], list[tuple[int, str, str]]]:
    """Rows with their numbers, and the records that are no rows."""
    path.write_bytes(content)
    file = CsvFile(path, **options)
    rows = [
        (first + i, row["a"], row["b"])
        for batch, first in file.read(chunk_rows=2)
        for i, row in enumerate(batch.to_pylist())
    ]
    return rows, [(record.row, record.code, record.text) for record in file.unread]


@pytest.mark.parametrize(
    ("content", "rows", "torn"),
    [
        (b"a,b\n1,2\n3,4", [(1, "1", "2")], (2, "3,4")),
        (b"a,b\n1,2\n3", [(1, "1", "2")], (2, "3")),
        (b'a,b\r\n1,2\r\n3,"x\r\ny', [(1, "1", "2")], (2, '3,"x\r\ny')),  # torn inside quotes
        (b'a,b\n1,"x\ny"\n2,"p\nq"', [(1, "1", "x\ny")], (2, '2,"p\nq"')),
        (b'a,b\n1,5" tube\n2,z\n3,w', [(1, "1", '5" tube'), (2, "2", "z")], (3, "3,w")),  # a quote that is none
        (b"\xef\xbb\xbfa;b\n1;2\n3;4", [(1, "1", "2")], (2, "3;4")),
        (b"a,b\r1,2\r3,4", [(1, "1", "2")], (2, "3,4")),
        (b"a,b", [], None), (b"a,b\n", [], None), (b"a,b\n\n\n", [], None),
        (b"a,b\n1,2\n", [(1, "1", "2")], None), (b"a,b\r1,2\r", [(1, "1", "2")], None),
    ],
)  # fmt: skip
def test_the_last_record_is_held_back_where_no_line_end_follows(tmp_path, content, rows, torn) -> None:
    found, unread = read(tmp_path / "t.csv", content)
    assert found == rows
    assert unread == ([(torn[0], "torn_record", torn[1])] if torn else [])


def test_a_file_that_is_declared_complete_is_read_to_its_end(tmp_path) -> None:
    assert read(tmp_path / "t.csv", b"a,b\n1,2\n3,4", complete=True) == ([(1, "1", "2"), (2, "3", "4")], [])


def test_a_record_of_another_number_of_fields_stops_no_other_and_numbers_stay_right(tmp_path) -> None:
    rows, unread = read(tmp_path / "t.csv", b'a,b\n1,2\n3\n4,5\n\n6,7,8\n"9\n9",10\n11\n')
    assert rows == [(1, "1", "2"), (3, "4", "5"), (5, "9\n9", "10")]
    assert unread == [(2, "other_number_of_fields", "3"), (4, "other_number_of_fields", "6,7,8"),
                      (6, "other_number_of_fields", "11")]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.text("ab,;\"\n ", max_size=6), st.text("xy", min_size=1, max_size=3)), min_size=1, max_size=8),
       st.data())  # fmt: skip
def test_a_file_cut_anywhere_gives_only_rows_that_the_whole_file_has(tmp_path_factory, rows, data) -> None:
    folder = tmp_path_factory.mktemp("cut")
    path = folder / "t.csv"
    pd.DataFrame(rows, columns=["a", "b"]).to_csv(path, index=False)
    whole = path.read_bytes()
    expected = [(i, a or None, b) for i, (a, b) in enumerate(rows, 1)]
    assert read(path, whole)[0] == expected
    cut = data.draw(st.integers(len(b"a,b\n"), len(whole) - 1))
    found, _ = read(path, whole[:cut])
    assert found == expected[: len(found)]


def test_the_columns_of_a_parquet_file_count_and_not_what_pandas_stored_beside_them(tmp_path) -> None:
    frame = pd.DataFrame({"batch_id": ["B1", "B2"], "started_at": "2026-01-01T00:00:00Z", "origin": "real"})
    expected = frame.values.tolist()
    for indexed in (frame, frame.set_index("batch_id"), frame.set_index(["batch_id", "origin"]), frame.iloc[::-1].iloc[::-1],
                    frame.set_index(pd.Index([7, 9])), frame.astype({"origin": "category"})):  # fmt: skip
        indexed.to_parquet(tmp_path / "batches.parquet")
        source = HistoryFolder(tmp_path)
        assert set(source.tables()["batches"]) == set(frame.columns)
        [(rows, first)] = source.read("batches")
        assert (first, rows[list(frame.columns)].astype("str").values.tolist()) == (1, expected)
