"""The field replay: tablets with bounds, all public sets beside rivals, the endpoint, kills, time.

Run: python -m benchmarks.bench_field [--part NAME] [--set NAME] [--folder FOLDER] [--docs]

The data are third-party and not part of the repository (docs/own-data.md, "Adding a data set"). `--part` measures one part
and keeps the figures of the others; `--folder` keeps ingested data and models for the next run.
"""

from __future__ import annotations

import argparse
import importlib
import json
import tempfile
from pathlib import Path

from benchmarks.field.dated import data_folder
from benchmarks.field.page import write_page
from benchmarks.record import RESULTS, write

NAME = "field"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "measurements" / "field.md"
PARTS = {"tablets": "tablets", "sets": "sets", "endpoint": "endpoint_month", "kills": "kills", "time": "cost"}


def main() -> None:
    """Measure, print, record."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--part", choices=tuple(PARTS), action="append", help="measure this part alone; may be repeated"
    )
    parser.add_argument("--set", action="append", default=[], help="of the part 'sets', this data set alone")
    parser.add_argument("--docs", action="store_true", help="only write docs/measurements/field.md from the record")
    parser.add_argument("--folder", type=Path, help="keep ingested data and models here")
    args = parser.parse_args()
    if args.docs:
        write_page(PAGE, json.loads((RESULTS / f"{NAME}.json").read_text(encoding="utf-8")))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        for part in args.part or PARTS:
            if part in ("tablets", "sets") and not data_folder().is_dir():
                print(f"{part}: skipped, no folder {data_folder()}; set BATCHGUARD_REAL_DATA")
                continue
            record(part, measured(part, folder, tuple(args.set)))
    write_page(PAGE, json.loads((RESULTS / f"{NAME}.json").read_text(encoding="utf-8")))


def measured(part: str, folder: Path, names: tuple[str, ...]) -> list[dict[str, object]]:
    """The figures of a part; its module is imported when it is measured."""
    module = importlib.import_module(f"benchmarks.field.{PARTS[part]}")
    if part == "tablets":
        return module.figures(folder / "all")
    return module.figures(folder / "all", names) if part == "sets" else module.figures()


def record(part: str, figures: list[dict[str, object]]) -> None:
    """Print figures and put them into the record in the place of those of the same name."""
    for f in figures:
        span = "" if f["low"] is None else f"[{f['low']:.3f}, {f['high']:.3f}]"
        holds = "" if f["holds"] is None else f" bound {f['bound']:g}: {'holds' if f['holds'] else 'DOES NOT HOLD'}"
        print(
            f"{f['name']}: {f['value']:.4g} {f['unit']} {span} failed {f['n_failed']} of {f['n']}{holds} {f['note']}",
            flush=True,
        )
    path = RESULTS / f"{NAME}.json"
    known = json.loads(path.read_text(encoding="utf-8"))["figures"] if path.exists() else []
    made = {f["name"] for f in figures}
    write(NAME, [f for f in known if f["name"] not in made] + [f | {"part": part} for f in figures])


if __name__ == "__main__":
    main()
