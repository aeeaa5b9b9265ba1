import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from features.errors import SourceError
from pipelines.sources.folder import HistoryFolder


def rows(folder, table="batches") -> pd.DataFrame:
    return pd.concat([frame for frame, _ in HistoryFolder(folder).read(table)], ignore_index=True)


def test_csv_is_read_as_text_with_quotes_semicolons_and_byte_order_mark(tmp_path) -> None:
    (tmp_path / "batches.csv").write_bytes('\ufeffbatch_id;origin\r\n"B;1";"a ""b"""\r\nB2;\r\n'.encode())
    source = HistoryFolder(tmp_path)
    assert source.tables() == {"batches": ("batch_id", "origin")}
    frame = rows(tmp_path)
    assert frame["batch_id"].tolist() == ["B;1", "B2"]
    assert frame["origin"].tolist()[0] == 'a "b"'
    assert frame["origin"].isna().tolist() == [False, True]


def test_text_that_looks_like_a_number_or_a_null_stays_text(tmp_path) -> None:
    (tmp_path / "batches.csv").write_text('batch_id,origin\n007,NA\n1e5,"line\nbreak"\n')
    assert rows(tmp_path)["batch_id"].tolist() == ["007", "1e5"]
    assert rows(tmp_path)["origin"].tolist() == ["NA", "line\nbreak"]


def test_parts_carry_their_first_row_number(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("pipelines.sources.folder.CHUNK_ROWS", 2)
    pq.write_table(pa.table({"batch_id": ["a", "b", "c"]}), tmp_path / "batches.parquet")
    (tmp_path / "events.csv").write_text("batch_id\na\nb\nc\n")
    source = HistoryFolder(tmp_path)
    assert [(len(frame), first) for frame, first in source.read("batches")] == [(2, 1), (1, 3)]
    assert [(len(frame), first) for frame, first in source.read("events")] == [(2, 1), (1, 3)]


def test_a_table_with_a_header_only_has_no_rows(tmp_path) -> None:
    (tmp_path / "batches.csv").write_text("batch_id,origin\n")
    assert list(HistoryFolder(tmp_path).read("batches")) == []


def test_large_integers_beside_absent_ones_keep_their_digits(tmp_path) -> None:
    pq.write_table(pa.table({"batch_id": pa.array([2**60 + 1, None])}), tmp_path / "batches.parquet")
    assert rows(tmp_path)["batch_id"][0] == 2**60 + 1


@pytest.mark.parametrize(
    ("files", "line"),
    [
        (None, "no such folder"),
        ({}, "the folder is empty"),
        ({"events.csv": "batch_id\n"}, "no table of batches"),
        ({"batches.csv": "batch_id\n", "batches.parquet": ""}, "both batches.csv and batches.parquet"),
        ({"batches.csv": "batch_id\n", "observation.csv": "a\n"}, "did you mean 'observations.csv'"),
        ({"batches.csv": "batch_id\n", "events.xlsx": "a\n"}, "events.xlsx: not a table"),
        ({"batches.csv": ""}, "the file is empty"),
        ({"batches.parquet": "PAR1 torn"}, "batches.parquet: cannot be read as Parquet"),
        ({"batches.csv": "batch_id\n", "Observations.CSV": "a\n"}, "did you mean 'observations.csv'"),
        ({"batches.csv": "batch_id\n", "events.txt": "a\n"}, "events.txt: not a table"),
    ],
)
def test_what_is_no_history_is_an_error_of_one_line(tmp_path, files, line) -> None:
    folder = tmp_path / "history"
    if files is not None:
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
    with pytest.raises(SourceError, match=line) as error:
        source = HistoryFolder(folder)
        source.tables()
        list(source.read("batches"))
    assert "\n" not in str(error.value)


def test_latin_1_is_refused_not_guessed(tmp_path) -> None:
    (tmp_path / "batches.csv").write_bytes("batch_id\nB\xe9\n".encode("latin-1"))
    with pytest.raises(SourceError, match="CSV in UTF-8"):
        rows(tmp_path)


def test_a_truncated_parquet_file_is_refused(tmp_path) -> None:
    pq.write_table(pa.table({"batch_id": ["a"] * 1000}), tmp_path / "batches.parquet")
    whole = (tmp_path / "batches.parquet").read_bytes()
    (tmp_path / "batches.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r"batches\.parquet: cannot be read as Parquet"):
        HistoryFolder(tmp_path).tables()


def test_the_fingerprint_changes_with_one_byte(tmp_path) -> None:
    (tmp_path / "batches.csv").write_text("batch_id\nB1\n")
    before = HistoryFolder(tmp_path).fingerprint()
    (tmp_path / "batches.csv").write_text("batch_id\nB2\n")
    assert HistoryFolder(tmp_path).fingerprint() != before
