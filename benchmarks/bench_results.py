"""The whole product on three public data sets: conversion, `batchguard run`, figures of the sealed test.

Run: python -m benchmarks.bench_results [--docs]

The data are third-party and not part of the repository: the folder named by BATCHGUARD_REAL_DATA, or `../shared/data`
beside the checkout, holds `tablet1005/`, `secom/` and `indpensim/` (docs/own-data.md).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.record import RESULTS, figure, write

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs" / "results.md"
NAME = "real_data"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"

Figure = dict[str, Any]


@dataclass(frozen=True)
class DataSet:
    """A public data set and what is asked of its sealed test.

    Attributes:
        name: Folder of the source and name of its converter.
        process: Process definition.
        title: For the table.
        bound: AUROC that the last checkpoint must reach; None where nothing was promised.
        note: What a reader must know beside the figure.
    """

    name: str
    process: str
    title: str
    bound: float | None = None
    note: str = ""


DATA_SETS = (
    DataSet("tablet1005", "tablet", "Tablet, yield below 97 %", bound=0.87),
    DataSet("secom", "secom", "SECOM, line test failed"),
    DataSet("indpensim", "indpensim", "IndPenSim, fault injected", note="simulated: verifies software, validates no model"),
)  # fmt: skip


def main() -> None:
    """Measure, record, and write the table of docs/results.md."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--docs", action="store_true", help="only write the table of docs/results.md from the record")
    if not parser.parse_args().docs and not measure():
        return
    write_table(DOCS, json.loads((RESULTS / f"{NAME}.json").read_text(encoding="utf-8")))


def measure() -> bool:
    """Run all data sets that are there; whether there was one."""
    folder = Path(os.environ.get("BATCHGUARD_REAL_DATA", ROOT.parent / "shared" / "data"))
    figures: list[Figure] = []
    for data in DATA_SETS:
        if not (folder / data.name).is_dir():
            print(f"{data.name}: skipped, no folder {folder / data.name}; set BATCHGUARD_REAL_DATA")
            continue
        result, seconds = run(data, folder / data.name)
        figures += figures_of(data, result, seconds)
    for f in figures:
        print(f"{f['name']:52s} {f['value']:10.4g} {f['unit']:3s} {_interval(f):18s} {_failed(f):14s} {f['note']}")
    if figures:
        print(write(NAME, figures))
    return bool(figures)


def run(data: DataSet, source: Path) -> tuple[dict[str, Any], float]:
    """Convert a source and run the product on it in a temporary folder: its result, and the seconds of the run."""
    with tempfile.TemporaryDirectory() as temporary:
        history, out = Path(temporary) / "history", Path(temporary) / "result.json"
        _batchguard("convert", data.name, "--from", str(source), "--out", str(history))
        started = time.perf_counter()
        _batchguard(
            "run", "--process", str(ROOT / "processes" / f"{data.process}.toml"), "--history", str(history),
            "--data-dir", str(Path(temporary) / "data"), "--json", str(out),
        )  # fmt: skip
        seconds = time.perf_counter() - started
        return json.loads(out.read_text(encoding="utf-8")), seconds


def _batchguard(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "pipelines.cli", *arguments], cwd=ROOT, check=True)


def figures_of(data: DataSet, result: dict[str, Any], seconds: float) -> list[Figure]:
    """The sealed test per checkpoint, then what a random split would have claimed, calibration and seconds."""
    checkpoints, test = result["by_checkpoint"], result["test"]
    last = checkpoints[-1]
    out = [_tested(data, row, data.bound if row is last else None) for row in checkpoints]
    for question in result["random_split"].get("questions", []):
        out += [_split(data, question, split) for split in ("random", "forward") if split in question]
    out.append(figure(f"{data.process}, calibration error", test["ece"], "", n=test["n_batches"], n_failed=test["n_failed"],
                      against=f"{test['ece_floor']:.3f} of a perfect model on as many batches"))  # fmt: skip
    out.append(figure(f"{data.process}, whole run", seconds, "s", n=result["data"]["batches"],
                      note=f"{result['data']['rows_in']:,} rows"))  # fmt: skip
    return [f | {"data_set": data.title} for f in out]


def _tested(data: DataSet, row: dict[str, Any], bound: float | None) -> Figure:
    made = figure(
        f"{data.process}, sealed test at {row['checkpoint_h']:g} h", row["auroc"], "AUROC",
        low=row["auroc_low"], high=row["auroc_high"], n=row["n"], n_failed=row["n_failed"],
        bound=bound, against="chance is .5", note=data.note,
    )  # fmt: skip
    return made | {"note": _why(made)} if made["holds"] is False else made


def _why(f: Figure) -> str:
    """Why a bound does not hold: too few failures to tell, or truly below."""
    if f["low"] is not None and f["low"] <= f["bound"] <= f["high"]:
        return f"below the bound, which lies inside the interval: {f['n_failed']} failures cannot tell the two apart"
    return "below the bound by more than chance"


def _split(data: DataSet, question: dict[str, Any], split: str) -> Figure:
    found = question[split]
    warning = {
        "random": "warning figure: batches of one campaign and lot on both sides",
        "forward": "forward folds over all batches, beside the random split",
    }
    return figure(
        f"{data.process}, {split} split, {question['question']}", found["auroc"], "AUROC", low=found["auroc_low"],
        high=found["auroc_high"], n=found["n"], n_failed=found["n_failed"], note=warning[split],
    )  # fmt: skip


def write_table(path: Path, record: dict[str, Any]) -> None:
    """Replace what stands between the markers of a page by the tables of a record."""
    write_between(path, lambda: tables(record))


def write_between(path: Path, content: Callable[[], str], marks: tuple[str, str] = (BEGIN, END)) -> None:
    """Replace what stands between the markers of a page; without markers it is left alone."""
    text = path.read_text(encoding="utf-8")
    head, begin, rest = text.partition(marks[0])
    _, end, tail = rest.partition(marks[1])
    if not (begin and end):
        raise SystemExit(f"{path}: the markers {marks[0]} and {marks[1]} are missing")
    path.write_text(f"{head}{begin}\n{content()}\n{end}{tail}", encoding="utf-8")


def tables(record: dict[str, Any]) -> str:
    """A record as Markdown: one table per data set, then machine and date."""
    titles = dict.fromkeys(f["data_set"] for f in record["figures"])
    parts = [_table(title, [f for f in record["figures"] if f["data_set"] == title]) for title in titles]
    return "\n\n".join([*parts, f"{record['date']}, commit {record['commit']}, {record['machine']}."])


def _table(title: str, figures: list[Figure]) -> str:
    head = f"### {title}\n\n| figure | value | 95 % interval | failed of batches | bound | note |\n|---|---|---|---|---|---|"
    rows = [
        f"| {f['name'].split(', ', 1)[1]} | {_value(f)} | {_interval(f)} | {_failed(f)} | {_bound(f)} | {_note(f)} |"
        for f in figures
    ]
    return "\n".join([head, *rows])


def _value(f: Figure) -> str:
    if f["value"] is None:
        return "–"
    return f"{f['value']:.0f} s" if f["unit"] == "s" else f"{f['value']:.3f}"


def _interval(f: Figure) -> str:
    return "" if f["low"] is None else f"{f['low']:.3f} to {f['high']:.3f}"


def _failed(f: Figure) -> str:
    return f"{f['n']}" if f["n_failed"] is None else f"{f['n_failed']} of {f['n']}"


def _bound(f: Figure) -> str:
    return "" if f["bound"] is None else f"{f['bound']:g}, {'holds' if f['holds'] else 'does not hold'}"


def _note(f: Figure) -> str:
    said = f["note"] or (f["against"] if f["unit"] != "AUROC" else "")
    return said.replace("|", "\\|")


if __name__ == "__main__":
    main()
