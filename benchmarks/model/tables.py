"""The record as Markdown: a table a section; methods and modes have a row of their own with figures side by side."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.model.against import SECTION as METHODS_SECTION
from benchmarks.model.fidelity import SECTION as REASONS

Figure = dict[str, Any]
BY_MODE = f"{REASONS}, by mode"
_PIVOTS = {METHODS_SECTION: "method", BY_MODE: "mode"}
_DASH = "–"


def tables(record: dict[str, Any]) -> str:
    """All sections in the order of the record, then date, commit and machine."""
    sections = dict.fromkeys(f["section"] for f in record["figures"])
    parts = [_section(name, [f for f in record["figures"] if f["section"] == name]) for name in sections]
    return "\n\n".join([*parts, f"{record['date']}, commit {record['commit']}, {record['machine']}."])


def _section(title: str, figures: list[Figure]) -> str:
    body = _pivot(_PIVOTS[title], figures) if title in _PIVOTS else _list(figures)
    return "\n".join([f"### {title}", "", *body])


def _list(figures: Iterable[Figure]) -> list[str]:
    head = [
        "| figure | pooled | lowest to highest | failed of batches | bound | beside it |",
        "|---|---|---|---|---|---|",
    ]
    return head + [
        f"| {f['name']} | {_value(f, f['value'])} | {_range(f)} | {_counts(f)} | {_bound(f)} | {_beside(f)} |" for f in figures
    ]  # fmt: skip


def _pivot(what: str, figures: list[Figure]) -> list[str]:
    rows: dict[str, dict[str, Figure]] = {}
    for f in figures:
        row, column = f["name"].split(", ", 1)
        rows.setdefault(row, {})[column] = f
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    head = [f"| {what} | failed | {' | '.join(columns)} |", "|---" * (len(columns) + 2) + "|"]
    return head + [
        f"| {name} | {next(iter(row.values()))['n_failed']} | "
        + " | ".join(_cell(row[column]) if column in row else _DASH for column in columns) + " |"
        for name, row in rows.items()
    ]  # fmt: skip


def _cell(f: Figure) -> str:
    said = _range(f)
    return f"{_value(f, f['value'])} ({said})" if said else _value(f, f["value"])


def _value(f: Figure, value: float | None) -> str:
    if value is None:
        return _DASH
    if f["unit"] == "":
        return f"{value:.1e}" if 0 < abs(value) < 1e-6 else f"{value:.3f}"
    return f"{value:,.0f} {f['unit']}"


def _range(f: Figure) -> str:
    seen = [v for v in f["by_plant"] if v is not None]
    return "" if len(seen) < 2 else f"{_value(f, f['low'])} to {_value(f, f['high'])}"


def _counts(f: Figure) -> str:
    if f["n"] is None:
        return ""
    return f"{f['n']:,}" if f["n_failed"] is None else f"{f['n_failed']:,} of {f['n']:,}"


def _bound(f: Figure) -> str:
    if f["bound"] is None:
        return ""
    side = "at least" if f["side"] == "min" else "at most"
    return f"{side} {f['bound']:g}: {'holds' if f['holds'] else '**does not hold**'}"


def _beside(f: Figure) -> str:
    return "; ".join(part for part in (f["against"], f["note"]) if part).replace("|", "\\|")
