"""Speed and memory of the simulated plant: kinetics alone, the whole plant, the Parquet writer alone.

`python -m benchmarks.bench_simulator` writes benchmarks/results/simulator.json.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from benchmarks.record import figure, write
from features.contracts import OBSERVATIONS
from pipelines.simulator import SimulationSettings, kinetics, simulate
from pipelines.simulator.biology import draw_biology, kinetic_parameters
from pipelines.simulator.write import write_groups

ROOT = Path(__file__).parents[1]
PROTOTYPE = 1360.0  # batches/s of a plain numpy prototype, on one core
REPEATS = 5


def kinetic_rates(n: int = 6000) -> list[float]:
    """Batches per second on one thread, 216 h at dt = 0.1 h, with records of start and end only."""
    rng = np.random.default_rng(1)
    p = np.array([kinetic_parameters(draw_biology(rng, float(rng.standard_normal()))) for _ in range(n)])
    kinetics.run_recorded(p[:2], 0.1, 2160)  # compile
    rates = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        kinetics.run_recorded(p, 0.1, 2160)
        rates.append(n / (time.perf_counter() - began))
    return rates


def plant_rate(n_batches: int, out: Path) -> tuple[float, int]:
    """Observation rows per second of a whole plant with 1-minute sensors, and the rows."""
    report = simulate(SimulationSettings(n_batches=n_batches, n_in_progress=0, sensor_interval_min=1.0), out)
    return report.rows["observations"] / report.seconds, report.rows["observations"]


def writer_rate(path: Path, out: Path) -> float:
    """Rows per second of the same writer on the same rows, held in memory."""
    table = pq.read_table(path).cast(OBSERVATIONS.arrow())
    for name in ("batch_id", "parameter", "unit", "quality"):
        table = table.set_column(table.schema.get_field_index(name), name, table[name].dictionary_encode())
    whole = table.combine_chunks().unify_dictionaries()
    parts = (whole.slice(at, 200_000) for at in range(0, len(whole), 200_000))
    began = time.perf_counter()
    write_groups(out, OBSERVATIONS.arrow(), parts)
    return len(whole) / (time.perf_counter() - began)


def peak_memory_gb(n_batches: int) -> float:
    """Largest resident memory of a process of its own that makes a plant with 1-minute sensors."""
    with tempfile.TemporaryDirectory() as folder:
        code = (
            "import pathlib; from pipelines.simulator import *; "
            f"simulate(SimulationSettings(n_batches={n_batches}, n_in_progress=0, sensor_interval_min=1.0), "
            f"pathlib.Path({folder!r}) / 'out'); "
            "print([row.split()[1] for row in open('/proc/self/status') if row.startswith('VmHWM')][0])"
        )
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    return float(done.stdout) * 1024 / 1e9


def ranged(
    name: str,
    values: list[float],
    unit: str,
    *,
    n: int,
    bound: float | None = None,
    side: str = "min",
    against: str = "",
    note: str = "",
) -> dict[str, object]:
    """A figure from repeats: the median, with their range."""
    return figure(
        name,
        float(np.median(values)),
        unit,
        low=min(values),
        high=max(values),
        n=n,
        bound=bound,
        side=side,
        against=against,
        note=note,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, default=600, help="batches of the plant that is timed")
    parser.add_argument("--memory-batches", type=int, default=5000, help="batches of the plant whose memory is taken")
    args = parser.parse_args()
    rates = kinetic_rates()
    figures = [ranged("kinetics", rates, "batches/s", bound=3000.0, n=REPEATS, against=f"numpy prototype: {PROTOTYPE:g}/s",
                      note="one thread, 216 h at dt = 0.1 h, records of start and end only")]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        plant_rate(4, Path(folder) / "out")  # compile
    plant, alone = [], []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            rate, rows = plant_rate(args.batches, Path(folder) / "out")
            plant.append(rate)
            alone.append(writer_rate(Path(folder) / "out/history/observations.parquet", Path(folder) / "alone.parquet"))
    figures.append(
        ranged("plant_rows", plant, "rows/s", n=rows, note="whole plant, one process, 1-minute sensors, all tables")
    )
    figures.append(ranged("writer_rows", alone, "rows/s", n=rows, note="the same Parquet writer alone, rows in memory"))
    share = [a / b for a, b in zip(plant, alone, strict=True)]
    figures.append(ranged("plant_over_writer", share, "1", n=3, against="the writer alone",
                          note="1 would be a plant that costs nothing beside writing"))  # fmt: skip
    memory = peak_memory_gb(args.memory_batches)
    figures.append(ranged("peak_memory", [memory], "GB", bound=4.0, side="max", n=args.memory_batches,
                          note="resident memory while writing, 1-minute sensors"))  # fmt: skip
    for f in figures:
        print(f"{f['name']:20s} {f['value']:14.4g} {f['unit']:10s} [{f['low']:.4g}, {f['high']:.4g}]  {f['note']}")
    write("simulator", figures)


if __name__ == "__main__":
    main()
