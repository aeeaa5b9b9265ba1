"""Tables as CSV that a spreadsheet opens without computing anything.

UTF-8 without a byte-order mark: one header, every text between quotes, nothing for null, lines that end in a line feed.
A spreadsheet takes a cell that begins with `=`, `+`, `-` or `@` for a formula, also behind a separator that it splits at
in its own language. So an apostrophe is put before such a character at the beginning of a text and behind `;`, `,`,
`|`, tab or a line end. `plain` takes it off again: the text of every record comes back to the byte.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from serving.export.tables import Cell, Table

_BEGINS_FORMULA = "=+\\-@\t\r＝＋－＠'"
_AT_ONCE = 2_000  # rows
_UNSAFE = re.compile(rf"(^|[;,|\t\r\n])(?=[{_BEGINS_FORMULA}])")
_GUARDED = re.compile(rf"(^|[;,|\t\r\n])'(?=[{_BEGINS_FORMULA}])")


def guarded(text: str) -> str:
    """A text in which no spreadsheet finds a formula."""
    return _UNSAFE.sub(r"\1'", text)


def plain(text: str) -> str:
    """The text that `guarded` was given."""
    return _GUARDED.sub(r"\1", text)


def write_csv(table: Table, path: Path) -> int:
    """Write a table, some rows at a time.

    Args:
        table: Rows with any of its columns; an absent one is null.
        path: The file; what it held is replaced.

    Returns:
        Number of rows.
    """
    n, rows, options = 0, iter(table.rows), csv.WriteOptions(quoting_style="needed")
    with csv.CSVWriter(path, table.schema, write_options=options) as writer:
        while some := list(itertools.islice(rows, _AT_ONCE)):
            safe = [{name: _safe(row.get(name)) for name in table.schema.names} for row in some]
            writer.write_table(pa.Table.from_pylist(safe, table.schema))
            n += len(some)
    return n


def _safe(value: Cell) -> Cell:
    return guarded(value) if isinstance(value, str) else value
