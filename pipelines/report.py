"""The report of an ingest: rows read, kept and quarantined, in numbers that add up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pandas as pd
from pydantic import TypeAdapter

from features.canonical import canonical
from features.errors import ContractError


@dataclass
class TableReport:
    """One table. `rows_in == rows_kept + sum(quarantined.values())`; `benign` of the quarantined repeat another row."""

    rows_in: int = 0
    rows_kept: int = 0
    benign: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)  # rows by broken rule
    converted: Counter[str] = field(default_factory=Counter)  # values by "parameter from unit"
    rows_by_month: dict[str, int] = field(default_factory=dict)
    months_changed: list[str] = field(default_factory=list)
    months_dropped: list[str] = field(default_factory=list)


@dataclass
class IngestReport:
    """Rows read, kept and quarantined by table. `changed`: whether this run wrote anything."""

    tables: dict[str, TableReport] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)  # first example of each broken rule
    inputs_digest: str = ""
    changed: bool = True

    @property
    def rows_in(self) -> int:
        """Rows read."""
        return sum(table.rows_in for table in self.tables.values())

    @property
    def rows_kept(self) -> int:
        """Rows that fit the contract."""
        return sum(table.rows_kept for table in self.tables.values())

    @property
    def rows_quarantined(self) -> int:
        """Quarantined rows, the benign ones among them."""
        return sum(sum(table.quarantined.values()) for table in self.tables.values())

    @property
    def rows_refused(self) -> int:
        """Quarantined rows that are not mere repetitions."""
        return self.rows_quarantined - self.rows_repeated

    @property
    def rows_repeated(self) -> int:
        """Quarantined rows that repeat a kept row exactly."""
        return sum(table.benign for table in self.tables.values())

    def in_a_line(self) -> str:
        """Rows read, kept, repeated and broken; whether the source was read at all."""
        rows = rows_in_words(self.rows_in, self.rows_kept, self.rows_repeated, self.rows_quarantined)
        return rows if self.changed else f"source unchanged: {rows}"

    def count_quarantined(self, table: str, rows: pd.DataFrame) -> None:
        """Count quarantined rows."""
        report = self.tables[table]
        report.quarantined.update(rows["code"].tolist())
        report.benign += int(rows["benign"].sum())
        for code, reason in rows.drop_duplicates("code")[["code", "reason"]].itertuples(index=False):
            self.reasons.setdefault(code, reason)

    def check_sums(self) -> None:
        """Rows in = rows kept + rows quarantined.

        Raises:
            ContractError: They are not; a row was lost by this software.
        """
        for name, table in self.tables.items():
            if table.rows_in != table.rows_kept + sum(table.quarantined.values()):
                raise ContractError(
                    f"{name}: {table.rows_in} rows in, but {table.rows_kept} kept and {sum(table.quarantined.values())} "
                    "quarantined",
                    remedy="This is an error of the software: report it with this line.",
                )

    def refusal(self, limit: int) -> ContractError:
        """One line per broken rule, with its first row and its number of rows."""
        totals = sum((table.quarantined for table in self.tables.values()), Counter())
        lines = [f"{self.rows_refused} rows break the contract, {limit} are accepted"]
        lines += [f"  {code} ({n}x): {self.reasons[code]}" for code, n in totals.most_common() if code != "repeated"]
        accept = f"accept the loss of these rows with --max-quarantined {self.rows_refused}"
        lines.append(f"Mend the source, or {accept}; they are kept in the quarantine table.")
        return ContractError("\n".join(lines))

    def to_json(self) -> str:
        """The report as JSON."""
        return canonical(self).decode()

    @classmethod
    def from_json(cls, text: str) -> IngestReport:
        """The report back."""
        return TypeAdapter(cls).validate_json(text)


def rows_in_words(n_in: int, kept: int, repeated: int, quarantined: int) -> str:
    """Numbers of rows in words; exact repetitions, which lose nothing, apart from the other quarantined rows."""
    return (
        f"{n_in:,} rows read: {kept:,} kept, {repeated:,} exact repetitions left out, "
        f"{quarantined - repeated:,} broken rows quarantined"
    )
