"""One CSV file: its columns, its records in parts, and the records that are no rows of its columns."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv as pa_csv
from typing_extensions import Buffer

from features.errors import SourceError
from pipelines.sources import UnreadRecord

_BLOCK = 32 << 20
_TAIL = 1 << 16
_LINE_END = re.compile(rb"\r\n|\r|\n")
_MOST_LINES = 1000  # of one record; more come from a quote that is no quote


class CsvFile:
    """A CSV file in UTF-8 (with or without byte order mark): comma or semicolon between fields, RFC 4180 quotes.

    Args:
        path: The file.
        complete: Whether a file without a final line end is known to be complete; else its last record may be torn, and
            is not read.

    Attributes:
        unread: Records that are no rows of the columns, once `read` came to its end.
    """

    def __init__(self, path: Path, *, complete: bool = False) -> None:
        self.path, self.complete = path, complete
        self.unread: list[UnreadRecord] = []

    def header(self) -> tuple[list[str], str]:
        """Column names and the delimiter, which is the one of comma and semicolon that makes more columns.

        Raises:
            SourceError: The file is empty.
        """
        with self.path.open(encoding="utf-8-sig", newline="") as file:
            line = file.readline()
        if not line.strip():
            raise SourceError(
                f"{self.path}: the file is empty", expected="a header line", remedy="Export the table again."
            )
        by_delimiter = {d: next(csv.reader([line], delimiter=d)) for d in (",", ";")}
        delimiter = max(by_delimiter, key=lambda d: len(by_delimiter[d]))
        return by_delimiter[delimiter], delimiter

    def read(self, chunk_rows: int) -> Iterator[tuple[pa.RecordBatch, int]]:
        """Rows as text in parts, each with the number of its first record, from 1, header not counted."""
        names, delimiter = self.header()
        end = None if self.complete else torn_at(self.path, len(names), delimiter)
        ragged: list[pa_csv.InvalidRow] = []
        last = 0
        with self.path.open("rb") as file:
            if _has_rows(file, end):
                for batch in _batches(file, end, names, delimiter, ragged):
                    for part, number in _numbered(batch, last + 1, {row.number - 1 for row in ragged}):
                        for start in range(0, len(part), chunk_rows):
                            yield part.slice(start, chunk_rows), number + start
                        last = number + len(part) - 1
        self.unread = [_ragged(row, names, delimiter) for row in ragged]
        if end is not None:
            self.unread.append(self._torn(max([last, *(record.row for record in self.unread)]) + 1, end))

    def _torn(self, number: int, end: int) -> UnreadRecord:
        with self.path.open("rb") as file:
            file.seek(end)
            text = file.read().decode("utf-8", errors="replace")
        reason = (
            f"{self.path.name} row {number}: the file ends without a line end, so its last record may be torn; expected a "
            'line end behind it. Export the file again, or state final_line = "complete" in [source]'
        )
        return UnreadRecord(number, "torn_record", reason, text)


def _ragged(row: pa_csv.InvalidRow, names: list[str], delimiter: str) -> UnreadRecord:
    number = row.number - 1
    reason = (
        f"row {number}: the record has {row.actual_columns} fields; expected the {len(names)} of the header, with "
        f"{delimiter!r} between them. Mend the source"
    )
    return UnreadRecord(number, "other_number_of_fields", reason, row.text)


def _numbered(batch: pa.RecordBatch, number: int, missing: set[int]) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Pieces of a batch whose records follow each other in the file, each with the number of its first one."""
    done = 0
    while done < len(batch):
        while number in missing:
            number += 1
        behind = [m for m in missing if number < m < number + len(batch) - done]
        size = (min(behind) - number) if behind else len(batch) - done
        yield batch.slice(done, size), number
        done, number = done + size, number + size


def _batches(
    file: BinaryIO, end: int | None, names: list[str], delimiter: str, ragged: list[pa_csv.InvalidRow]
) -> Iterator[pa.RecordBatch]:
    def skip(row: pa_csv.InvalidRow) -> str:
        ragged.append(row)
        return "skip"

    file.seek(0)
    reader = pa_csv.open_csv(
        pa.PythonFile(_Part(file, end), mode="r"),
        # without threads the reader knows the number of a record that it skips
        read_options=pa_csv.ReadOptions(block_size=_BLOCK, encoding="utf8", use_threads=False),
        parse_options=pa_csv.ParseOptions(
            delimiter=delimiter, newlines_in_values=True, ignore_empty_lines=True, invalid_row_handler=skip
        ),
        convert_options=pa_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            strings_can_be_null=True,
            null_values=[""],
            quoted_strings_can_be_null=True,
        ),
    )
    with reader:
        yield from reader


class _Part(io.RawIOBase):
    """The first bytes of a file, or all; a byte that is no UTF-8 is an error where it is read."""

    def __init__(self, file: BinaryIO, end: int | None) -> None:
        super().__init__()
        self._file, self._end = file, end
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer).cast("B")
        left = len(view) if self._end is None else max(self._end - self._file.tell(), 0)
        part = self._file.read(min(len(view), left))
        self._decoder.decode(part)
        view[: len(part)] = part
        return len(part)


def _has_rows(file: BinaryIO, end: int | None) -> bool:
    lines = codecs.getreader("utf-8-sig")(_Part(file, end), "replace")
    lines.readline()
    return any(line.strip() for line in lines)


def torn_at(path: Path, columns: int, delimiter: str) -> int | None:
    """Where the last record of a file begins that has no final line end; None: it has one, or holds its header alone.

    Line ends inside quotes end no record.

    Args:
        path: The file.
        columns: Number of columns of its header.
        delimiter: Between them.
    """
    with path.open("rb") as file:
        found = _LINE_END.search(file.read(_TAIL))
        header_end = found.end() if found else _TAIL
        size = file.seek(0, os.SEEK_END)
        if size <= header_end:
            return None
        file.seek(-1, os.SEEK_END)
        if file.read(1) in b"\r\n":
            return None
        file.seek(0)
        quotes = sum(block.count(b'"') for block in iter(lambda: file.read(_BLOCK), b""))
        begin = _last_record(file, size, quotes)
        if quotes % 2:  # the last record has an open quote, or some quote in the file is none
            file.seek(last := _last_record(file, size, 0, lines=1))
            fields = next(csv.reader([file.read().decode("utf-8", errors="replace")], delimiter=delimiter))
            begin = last if len(fields) == columns else begin
        return max(begin, header_end)


def _last_record(file: BinaryIO, size: int, quotes: int, lines: int = _MOST_LINES) -> int:
    """Byte behind the last line end outside of quotes; behind the last one at all, if none of the last `lines` is."""
    behind, last, stop = 0, 0, size
    while stop > 0 and lines > 0:
        start = max(0, stop - _TAIL)
        file.seek(start)
        tail = file.read(stop - start)
        for place in range(len(tail) - 1, -1, -1):
            behind += tail[place] == ord('"')
            if tail[place] in b"\r\n":
                last, lines = last or start + place + 1, lines - 1
                if lines == 0:
                    return last
                if (quotes - behind) % 2 == 0:
                    return start + place + 1
        stop = start
    return last
