"""`make bench-serving`: the scoring endpoint's figures, all in one run, on loopback: `benchmarks/results/serving.json`."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from benchmarks.record import figure, write
from benchmarks.serving import held, latency, outages, slow
from benchmarks.serving.place import make_place
from serving.records.store import Records
from tests.serving.api.conftest import make_api
from tests.serving.schema_cases import run_cases

CASES_PER_OPERATION = 220
IN_MEMORY = Path("/dev/shm")  # noqa: S108 - the machine's own disk in memory


def schema_cases(folder: Path) -> list[dict[str, object]]:
    """Cases made from the OpenAPI description; a server error or an answer that is not described raises."""
    records = Records(f"sqlite:///{folder / 'cases.db'}")
    records.prepare()
    answers = run_cases(make_api(records, folder), CASES_PER_OPERATION)
    records.close()
    n, errors = sum(answers.values()), sum(count for status, count in answers.items() if status >= 500)
    return [
        figure("cases made from the OpenAPI description, valid and not", n, "cases", bound=5_000, n=n,
               note=f"answers by status {dict(sorted(answers.items()))}; none that the description does not know"),
        figure("server errors among them", errors, "cases", bound=0, side="max", n=n),
    ]  # fmt: skip


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    figures: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as disk, tempfile.TemporaryDirectory(dir=IN_MEMORY) as memory:
        place = make_place(Path(disk))
        parts: dict[str, Callable[[], list[dict[str, object]]]] = {
            "latency": lambda: latency.figures_of(place, Path(memory)),
            "growth": lambda: latency.growth(place),
            "held": held.figures_of,
            "slow clients": lambda: slow.figures_of(place),
            "outages": lambda: outages.figures_of(place),
            "cases": lambda: schema_cases(Path(disk)),
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
