"""The predictor on the simulated plant, where the truth is known: everything it claims, on six plants.

Run: python -m benchmarks.bench_model [--seeds 101 102] [--folder DIR] [--at-once N] [--quick] [--docs]

Simulated figures verify the software; they validate no model. The seeds 130 to 135 are for this benchmark alone: whoever changes
the predictor looks at 101 to 120, which are printed and recorded nowhere. The exit code is 1 where the predictor finds more failures before harvest than can be seen, or
where a planted leak is not caught.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.model.alarms import CEILING
from benchmarks.model.leak import SECTION as LEAK
from benchmarks.model.measures import Measure, together
from benchmarks.model.tables import tables
from benchmarks.record import RESULTS, write

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs" / "results.md"
NAME = "model"
SEEDS = (130, 131, 132, 133, 134, 135)
BEGIN, END = "<!-- model: begin -->", "<!-- model: end -->"
_ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}  # LightGBM is told apart


def main() -> None:
    """Measure, record, write the page, and say whether something was too good to be true."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument(
        "--folder", type=Path, help="keep the plants here and use them again; absent: a temporary folder"
    )
    parser.add_argument("--at-once", type=int, default=1, help="plants measured side by side: each takes two threads")
    parser.add_argument("--quick", action="store_true", help="two rivals; prints, records nothing")
    parser.add_argument("--docs", action="store_true", help="only write the tables of docs/results.md from the record")
    args = parser.parse_args()
    if args.docs:
        write_tables(DOCS, json.loads((RESULTS / f"{NAME}.json").read_text(encoding="utf-8")))
        return
    with tempfile.TemporaryDirectory() as temporary:
        root, first = args.folder or Path(temporary), args.seeds[0]
        with ThreadPoolExecutor(args.at_once) as plants:
            found = list(
                plants.map(lambda s: measured(s, root / str(s), quick=args.quick, first=s == first), args.seeds)
            )
    figures = together(found)
    print(tables({"figures": figures, "date": "", "commit": "", "machine": ""}))
    if not args.quick and tuple(args.seeds) == SEEDS:
        print(write(NAME, figures))
        write_tables(DOCS, json.loads((RESULTS / f"{NAME}.json").read_text(encoding="utf-8")))
    leaks = too_good_to_be_true(found)
    if leaks:
        raise SystemExit("A leak, or a check that misses one:\n" + "\n".join(leaks))


def measured(seed: int, folder: Path, *, quick: bool, first: bool) -> list[Measure]:
    """Figures of one plant, from a process of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / "figures.json"
    command = [
        sys.executable,
        "-m",
        "benchmarks.model.one",
        "--seed",
        str(seed),
        "--folder",
        str(folder),
        "--out",
        str(out),
    ]
    command += ["--quick"] * quick + ["--first"] * first
    subprocess.run(command, cwd=ROOT, check=True, env=os.environ | _ONE_THREAD)
    return [Measure.from_json(item) for item in json.loads(out.read_text(encoding="utf-8"))]


def too_good_to_be_true(plants: list[list[Measure]]) -> list[str]:
    """Bounds of the ceiling and of the planted leak that do not hold on some plant."""
    return [
        f"{m.section}, {m.name}: {m.value:.3f}, {m.side} {m.bound:g}. {m.note}"
        for measures in plants
        for m in measures
        if m.section in (CEILING, LEAK) and m.bound is not None and not m.holds
    ]


def write_tables(path: Path, record: dict[str, Any]) -> None:
    """Replace what stands between the markers of a page."""
    head, begin, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{path}: the markers {BEGIN} and {END} are missing")
    path.write_text(f"{head}{BEGIN}\n{tables(record)}\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main()
