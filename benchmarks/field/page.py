"""The record of the field benchmark as tables of docs/measurements/field.md."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.bench_results import write_between

Figure = Mapping[str, Any]
HEAD = "| figure | value | 95 % interval | failed of batches | bound | note |\n|---|---|---|---|---|---|"
TITLES = {
    "tablets": "Tablets, batches 251 to 703, a training every 25 outcomes",
    "sets": "Public sets, product defaults, at most 20 trainings",
    "endpoint": "A month of the replay against the endpoint",
    "kills": "Kills of a replay",
    "time": "Time against the number of trainings",
}


def write_page(path: Path, record: Mapping[str, Any]) -> None:
    """Replace what stands between the markers of the page."""
    parts = []
    for part, title in TITLES.items():
        figures = [f for f in record["figures"] if f.get("part") == part and not _detail(f)]
        if figures:
            parts.append("\n".join([f"## {title}", "", HEAD, *map(_row, figures)]))
    made = f"{record['date']}, commit {record['commit']}, {record['machine']}."
    write_between(path, lambda: "\n\n".join([*parts, made]))


def _detail(f: Figure) -> bool:
    """Blocks of replays that are not served, which only the record has."""
    return ", block " in f["name"] and not f["name"].startswith("tablets, served")


def _row(f: Figure) -> str:
    span = "" if f["low"] is None else f"{f['low']:.3f} to {f['high']:.3f}"
    batches = "" if f["n"] is None else f"{f['n']}" if f["n_failed"] is None else f"{f['n_failed']} of {f['n']}"
    held = "" if f["bound"] is None else f"{f['bound']:g}, {'holds' if f['holds'] else '**does not hold**'}"
    note = (f["note"] or f["against"]).replace("|", "\\|")
    return f"| {f['name'].replace('|', '/')} | {f['value']:.3g} {f['unit']} | {span} | {batches} | {held} | {note} |"
