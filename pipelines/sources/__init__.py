"""Sources of a run history. `pipelines.history.ingest` reads any of them through the protocol `Source`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import pandas as pd


class UnreadRecord(NamedTuple):
    """A record of a source that is no row of its table's columns: its number, the broken rule, the reason, its text."""

    row: int
    code: str
    reason: str
    text: str


class Source(Protocol):
    """A run history somewhere: a folder, a database, messages."""

    def tables(self) -> Mapping[str, Sequence[str]]:
        """Names of the run-history tables present, each with its columns.

        Raises:
            SourceError: The source cannot be read as a run history.
        """
        ...

    def label(self, table: str) -> str:
        """What a person calls the place a table comes from, for example its file name."""
        ...

    def read(self, table: str) -> Iterator[tuple[pd.DataFrame, int]]:
        """Rows in parts that fit into memory, each with the number of its first row in the source (from 1).

        Columns are text (empty where absent) or typed; nothing is interpreted here.
        """
        ...

    def unread(self, table: str) -> Sequence[UnreadRecord]:
        """Records that are no rows of the table's columns; known once `read` came to its end."""
        ...

    def fingerprint(self) -> Mapping[str, str]:
        """Digest of the content by part (file, query, topic): equal digests mean that there is nothing new."""
        ...
