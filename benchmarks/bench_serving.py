"""`make bench-serving`: the scoring endpoint's figures, all in one run, on loopback: `benchmarks/results/serving.json`.

`python -m benchmarks.bench_serving --part ports --part kills --times 40` runs some parts alone; their figures take the
place of those of the same names.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

from benchmarks.record import RESULTS, write
from benchmarks.serving import cases, clock_steps, held, latency, ports, puts, slow, tampering, wrong_keys
from benchmarks.serving.outages import everything, kills
from benchmarks.serving.place import Place, make_place

IN_MEMORY = Path("/dev/shm")  # noqa: S108 - the machine's own disk in memory
PARTS = (
    "latency",
    "growth",
    "held",
    "puts",
    "slow",
    "ports",
    "keys",
    "clock",
    "kills",
    "outages",
    "cases",
    "tampering",
    "restored",
)
Part = Callable[[], Iterable[dict[str, object]]]


def parts_of(place: Place, engine_cache: Path, times: int | None) -> dict[str, Part]:
    """All parts by name.

    Args:
        place: The model.
        engine_cache: A folder in memory.
        times: How often the parts that repeat one thing repeat it; None: as often as their figures need.
    """
    return {
        "latency": lambda: latency.figures_of(place, engine_cache),
        "growth": lambda: latency.growth(place),
        "held": held.figures_of,
        "puts": puts.figures_of,
        "slow": lambda: slow.figures_of(place),
        "ports": lambda: ports.figures_of(place, times or 100),
        "keys": lambda: wrong_keys.figures_of(place),
        "clock": lambda: clock_steps.figures_of(place, times or 20),
        "kills": lambda: kills.figures_of(place, times or 200),
        "outages": lambda: everything.figures_of(place),
        "cases": lambda: cases.figures_of(place),
        "tampering": lambda: tampering.tamperings(tampering.source_of(place)),
        "restored": lambda: tampering.restored(tampering.source_of(place)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", action="append", choices=PARTS)
    parser.add_argument("--times", type=int, help="repetitions of ports, clock and kills")
    given = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with tempfile.TemporaryDirectory() as disk, tempfile.TemporaryDirectory(dir=IN_MEMORY) as engine_cache:
        parts = parts_of(make_place(Path(disk)), Path(engine_cache), given.times)
        figures = [found for name in given.part or PARTS for found in _run(name, parts[name])]
    print(write("serving", figures if given.part is None else _merged(figures)))


def _run(name: str, part: Part) -> Iterable[dict[str, object]]:
    begin = time.perf_counter()
    for found in part():
        holds = {True: "holds", False: "DOES NOT HOLD", None: ""}[found["holds"]]  # ty: ignore[invalid-argument-type]
        print(f"{found['name']}: {found['value']} {found['unit']} {holds} ({found['note']})", flush=True)
        yield found
    print(f"{name}: {time.perf_counter() - begin:.0f} s", flush=True)


def _merged(figures: list[dict[str, object]]) -> list[dict[str, object]]:
    """The figures of the last run, with those of the same names replaced and new ones behind."""
    path, found = RESULTS / "serving.json", {figure["name"]: figure for figure in figures}
    before = json.loads(path.read_text(encoding="utf-8"))["figures"] if path.exists() else []
    return [found.pop(figure["name"], figure) for figure in before] + list(found.values())


if __name__ == "__main__":
    main()
