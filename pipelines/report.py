"""The report of an ingest: rows read, kept and quarantined, in numbers that add up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pandas as pd
from pydantic import TypeAdapter

from features.canonical import canonical
from features.errors import ContractError

BENIGN_CODES = frozenset({"repeated", "completed", "not_yet_started"})  # of rows with nothing to mend


@dataclass(frozen=True)
class Limits:
    """Up to which losses an ingest takes rows in.

    Attributes:
        max_quarantined: Number of broken rows, mere repetitions and planned starts not counted; None: any number.
        max_removed_percent: Share of a table's rows that may have left the source since the last ingest.
    """

    max_quarantined: int | None = None
    max_removed_percent: float = 100.0


@dataclass
class TableReport:
    """One table. `rows_in == rows_kept + sum(quarantined.values())`; `benign` of the quarantined repeat another row."""

    rows_in: int = 0
    rows_kept: int = 0
    benign: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)  # rows by broken rule
    converted: Counter[str] = field(default_factory=Counter)  # values by "parameter from unit to unit (x factor)"
    bad: Counter[str] = field(default_factory=Counter)  # readings that the source flags as bad, by parameter
    rows_removed: int = 0  # fewer than at the last ingest
    removed: list[str] = field(default_factory=list)  # first ids of batches that left the source
    rows_by_month: dict[str, int] = field(default_factory=dict)
    months_changed: list[str] = field(default_factory=list)
    months_dropped: list[str] = field(default_factory=list)


@dataclass
class IngestReport:
    """Rows read, kept and quarantined by table. `changed`: whether this run wrote anything."""

    tables: dict[str, TableReport] = field(default_factory=dict)
    tables: dict[str, TableReport] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)  # first example of each broken rule
    inputs_digest: str = ""
    changed: bool = True
    due: dict[str, str] = field(default_factory=dict)  # first moment at which a held-back row of a table is known

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

    def findings(self) -> list[str]:
        """What a person should look at though the ingest went on: one line per broken rule, and what left the source."""
        lines = self._rule_lines(benign=False)
        for name, table in self.tables.items():
            if table.rows_removed:
                which = f": {', '.join(table.removed)}" if table.removed else ""
                lines.append(f"{name}: {table.rows_removed:,} rows fewer than at the last ingest{which}")
            lines += [
                f"{name}: {n:,} readings of {parameter} are flagged bad by their source"
                for parameter, n in table.bad.most_common()
            ]
        return lines

    def conversions(self) -> list[str]:
        """Every conversion of units that was applied, with its factor and the number of values."""
        return [
            f"{name}: {n:,} values" for table in self.tables.values() for name, n in sorted(table.converted.items())
        ]

    def _rule_lines(self, *, benign: bool) -> list[str]:
        totals = sum((table.quarantined for table in self.tables.values()), Counter())
        return [
            f"{code} ({n}x): {self.reasons[code]}"
            for code, n in totals.most_common()
            if benign or code not in BENIGN_CODES
        ]

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
        lines = [f"{self.rows_refused} rows break the contract, {limit} are accepted"]
        lines += [f"  {line}" for line in self._rule_lines(benign=False)]
        accept = f"max_quarantined = {self.rows_refused} in [source], or --max-quarantined {self.rows_refused}"
        lines.append(
            f"Mend the source, or accept the loss of these rows with {accept}; they are kept in the quarantine table."
        )
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
