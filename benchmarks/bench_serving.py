"""`make bench-serving`: the scoring endpoint's figures, all in one run, on loopback: `benchmarks/results/serving.json`."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import structlog

from benchmarks.record import write
from benchmarks.serving import cases, held, latency, slow, tampering
from benchmarks.serving.outages import everything
from benchmarks.serving.place import make_place

IN_MEMORY = Path("/dev/shm")  # noqa: S108 - the machine's own disk in memory


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    figures: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as disk, tempfile.TemporaryDirectory(dir=IN_MEMORY) as engine_cache:
        place = make_place(Path(disk))
        parts: dict[str, Callable[[], Iterable[dict[str, object]]]] = {
            "latency": lambda: latency.figures_of(place, Path(engine_cache)),
            "growth": lambda: latency.growth(place),
            "held": held.figures_of,
            "slow clients": lambda: slow.figures_of(place),
            "outages": lambda: everything.figures_of(place),
            "cases": lambda: cases.figures_of(place),
            "tampering": lambda: tampering.figures_of(place),
        }
        for name, part in parts.items():
            begin = time.perf_counter()
            for found in part():
                figures.append(found)
                holds = {True: "holds", False: "DOES NOT HOLD", None: ""}[found["holds"]]  # ty: ignore[invalid-argument-type]
                print(f"{found['name']}: {found['value']} {found['unit']} {holds} ({found['note']})", flush=True)
            print(f"{name}: {time.perf_counter() - begin:.0f} s", flush=True)
    print(write("serving", figures))


if __name__ == "__main__":
    main()
