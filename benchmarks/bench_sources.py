"""`make bench-sources`: generated folders through `init`, the CSV reader and the Parquet reader: `benchmarks/results/sources.json`.

Every folder holds rows of all seven tables with the faults of real exports among them: torn and ragged records, byte
order marks, separators, spellings of times, units, names, flags, ids that resemble each other, repetitions and
contradictions. The same rows are drafted (`init`), ingested from CSV, and ingested from Parquet.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from benchmarks.record import figure, write
from features.errors import BatchguardError
from features.process import load_process
from pipelines.history import ingest
from pipelines.sources.draft import draft
from pipelines.sources.folder import HistoryFolder
from pipelines.sources.policy import PlantDefinition
from pipelines.storage import Store

FOLDERS, ROWS = 110, 500
NOW = pd.to_datetime("2026-06-01T00:00Z", utc=True)
Verdict = Mapping[tuple[str, str], int] | str
Tables = dict[str, list[dict[str, str]]]

_TIMES = ("{t:%Y-%m-%dT%H:%M:%S}Z",) * 12 + (
    "{t:%Y-%m-%d %H:%M:%S} +00:00", "{t:%Y%m%dT%H%M%S}Z", "{t:%Y/%m/%d %H:%M:%S}+0000", "{t:%Y-%m-%dT%H:%M:%S}",
    "{t:%d.%m.%Y %H:%M}", "2062-03-04T00:00:00Z", "0001-01-01T00:00:00Z", "soon", "",
)  # fmt: skip
_VALUES = ("{v:.2f}",) * 12 + ("{v:.0f}", "{v:e}", "Bad Input", "nan", "1e999", "7,5", "", "x", " 5 ", "-{v:.1f}")
_UNITS = ("mmol/L",) * 8 + ("", "umol/L", "Mmol/L", "mol/L", "g/L", "mmol/l", "banana")
_QUALITIES = ("",) * 8 + ("good", "192", "0", "Bad", "BadNoData", "uncertain", "godo", "128")
_NAMES = ("pH", "glucose", "AgitatorPower", "Temp [C]", "glucose", "lactate mM", "7-up")
_IDS = ("B1", "B2", "B3", "B4", "B5", "B6", "b6", "B7 ", "B 8", "B9")


@dataclass
class Counts:
    """What came out over all folders."""

    rows: int = 0
    folders: int = 0
    tracebacks: list[str] = field(default_factory=list)
    lost: int = 0
    by_format: int = 0
    by_draft: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    lines: Counter[str] = field(default_factory=Counter)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folders", type=int, default=FOLDERS)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    counts, begin = Counts(), time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        for number in range(options.folders):
            _one(Path(place) / f"line_{number}", random.Random(options.seed * 100_000 + number), counts)  # noqa: S311
    took_s = time.perf_counter() - begin
    seen = f"{counts.folders} folders in {took_s:.0f} s, seed {options.seed}"
    kinds = ", ".join(f"{code} {n}" for code, n in counts.refused.most_common())
    figures = [
        figure("generated rows read", counts.rows, "rows", n=counts.folders, bound=100_000, side="min", note=seen),
        figure("tracebacks", len(counts.tracebacks), "", n=counts.folders, bound=0, side="max",
               note="; ".join(counts.tracebacks[:3]) or f"refused rows: {kinds}"),
        figure("rows in that were neither kept nor quarantined", counts.lost, "rows", n=counts.rows, bound=0, side="max"),
        figure("folders with another verdict from Parquet than from CSV", counts.by_format, "", n=counts.folders, bound=0,
               side="max"),
        figure("folders with another verdict from init than from the ingest", counts.by_draft, "", n=counts.folders,
               bound=0, side="max", note="; ".join(f"{n}x {line}" for line, n in counts.lines.most_common(3))),
    ]  # fmt: skip
    for each in figures:
        print(f"{each['name']}: {each['value']}, bound {each['bound']}, holds {each['holds']} ({each['note']})")
    print(write("sources", figures))


def _one(folder: Path, chance: random.Random, counts: Counts) -> None:
    tables = dict(_tables(chance))
    _write_csv(tables, folder / "csv", chance)
    _write_parquet(tables, folder / "parquet", chance)
    counts.folders += 1
    text = _outcome(lambda: draft(folder / "csv", process_id="line", now=NOW), counts)
    if not text.startswith("# Drafted"):
        text = draft({"batches": pd.DataFrame([_GOOD])}, process_id="line")
    (folder / "line.toml").write_text(text, encoding="utf-8")
    process = load_process(folder / "line.toml", PlantDefinition)
    found = {kind: _ingested(folder / kind, folder / f"store_{kind}", process, counts) for kind in ("csv", "parquet")}
    counts.by_format += _differ(found["csv"], found["parquet"])
    by_draft = _refused_by_draft(text)
    ingested = found["csv"]
    if isinstance(ingested, str):
        counts.lines[ingested[:80]] += 1
        counts.by_draft += by_draft != {}  # init drafts only what an ingest reads
        return
    rows: Counter[str] = Counter()
    for (table, _), n in ingested.items():
        rows[table] += n
    counts.by_draft += dict(rows) != by_draft


def _differ(one: Verdict, other: Verdict) -> bool:
    """Whether verdicts differ beyond the name of the file; only text can be torn or ragged."""
    if isinstance(one, str) or isinstance(other, str):
        return isinstance(one, str) != isinstance(other, str)
    text_only = ("torn_record", "other_number_of_fields")
    return {k: n for k, n in one.items() if k[1] not in text_only} != dict(other)


def _outcome(run, counts: Counts) -> str:  # noqa: ANN001 - any call that gives text
    try:
        return run()
    except BatchguardError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - a traceback is what is counted
        counts.tracebacks.append(f"{type(error).__name__}: {error}"[:200])
        return ""


def _ingested(folder: Path, store: Path, process: PlantDefinition, counts: Counts) -> Verdict:
    """Refused rows by table and rule, or the line of an error."""
    found: Counter[tuple[str, str]] = Counter()

    def run() -> str:
        report = ingest(HistoryFolder(folder), Store(store), process, now=NOW)
        for table in report.tables.values():
            counts.rows += table.rows_in
            counts.lost += table.rows_in - table.rows_kept - sum(table.quarantined.values())
        aside = Store(store).read("quarantine").to_pandas()
        for name, code in aside.loc[~aside["benign"], ["table", "code"]].itertuples(index=False):
            found[name, code] += 1
            counts.refused[code] += 1
        return ""

    return _outcome(run, counts) or found


def _refused_by_draft(text: str) -> dict[str, int]:
    """Refused rows by table, as the draft names them."""
    found = {}
    for line in text.splitlines():
        if line.startswith("# 'batchguard run' will refuse "):
            words = line.split()
            found[words[-3].rstrip(",")] = int(words[5])
    return found


_GOOD = {"batch_id": "B1", "started_at": "2026-03-01T08:00:00Z", "origin": "real", "age": "61"}


def _tables(chance: random.Random) -> Iterator[tuple[str, list[dict[str, str]]]]:
    start = pd.Timestamp("2026-03-01T08:00Z")

    def moment(hours: float) -> str:
        return chance.choice(_TIMES).format(t=start + pd.Timedelta(hours=hours))

    batches = [
        {"batch_id": name, "started_at": f"{start + pd.Timedelta(hours=i):%Y-%m-%dT%H:%M:%S}Z", "origin": "real",
         "Donor Age": chance.choice(("61", "48", "", "old"))}
        for i, name in enumerate(_IDS)
    ]  # fmt: skip
    batches[chance.randrange(len(batches))]["started_at"] = moment(3)
    batches.append({**batches[0]} if chance.random() < 0.5 else {**batches[0], "origin": "simulated"})
    yield "batches", batches
    readings = []
    for _ in range(ROWS - 60):
        value = chance.choice(_VALUES).format(v=chance.uniform(0, 60))
        readings.append({
            "batch_id": chance.choice((*_IDS, "b1", "")), "parameter": chance.choice(_NAMES), "observed_at": moment(chance.uniform(-50, 300)),
            "value": value, "unit": chance.choice(_UNITS), "quality": chance.choice(_QUALITIES),
        })  # fmt: skip
    yield "observations", [*readings, readings[0], {**readings[1], "value": "1.25"}]
    yield "events", [
        {"batch_id": chance.choice(_IDS), "kind": "phase", "code": chance.choice("ab"), "started_at": moment(i % 7),
         "ended_at": chance.choice(("", moment(9)))} for i in range(20)
    ]  # fmt: skip
    yield "materials", [
        {"batch_id": chance.choice(_IDS), "material": "media", "lot_id": chance.choice(("L1", "L2", "L2 ")),
         "quantity": chance.choice(("5", "", "-1", "x")), "consumed_at": chance.choice(("", moment(5)))} for _ in range(10)
    ]  # fmt: skip
    yield (
        "lot_results",
        [
            {
                "lot_id": "L1",
                "material": "media",
                "parameter": "endotoxin",
                "observed_at": moment(-50),
                "value": str(i % 3),
            }
            for i in range(6)
        ],
    )
    yield (
        "environment",
        [
            {
                "site_id": "S1",
                "metric": "settle_cfu",
                "observed_at": moment(i % 4),
                "value": chance.choice(("0", "3", "-1")),
            }
            for i in range(10)
        ],
    )
    yield (
        "dispositions",
        [
            {
                "batch_id": name,
                "outcome": chance.choice(("released", "rejected", "Released", "")),
                "decided_at": moment(400),
            }
            for name in _IDS[:8]
        ],
    )


def _write_csv(tables: Tables, folder: Path, chance: random.Random) -> None:
    folder.mkdir(parents=True)
    for name, rows in tables.items():
        separator = chance.choice(",,;")
        end = chance.choice(("\n", "\n", "\r\n"))
        lines = [separator.join(rows[0])]
        lines += [separator.join(_quoted(value, separator) for value in row.values()) for row in rows]
        if chance.random() < 0.1:
            lines.insert(chance.randrange(1, len(lines)), separator.join(("torn",) * 2))
        text = end.join(lines) + (end if chance.random() < 0.8 else "")
        (folder / f"{name}.csv").write_bytes((b"\xef\xbb\xbf" if chance.random() < 0.2 else b"") + text.encode())


def _quoted(value: str, separator: str) -> str:
    return f'"{value}"' if separator in value else value


def _write_parquet(tables: Mapping[str, Sequence[Mapping[str, str]]], folder: Path, chance: random.Random) -> None:
    """The rows that a whole CSV file holds, with an index or without, as pandas writes them."""
    folder.mkdir(parents=True)
    for name, rows in tables.items():
        frame = pd.DataFrame(rows, dtype="str")
        csv = (folder.parent / "csv" / f"{name}.csv").read_bytes()
        frame = frame if csv[-1:] in b"\r\n" else frame.iloc[:-1]  # the last record is held back there
        if chance.random() < 0.3 and len(frame):
            frame = frame.set_index(frame.columns[0]) if chance.random() < 0.5 else frame.set_index(frame.index + 7)
        frame.to_parquet(folder / f"{name}.parquet")


if __name__ == "__main__":
    main()
