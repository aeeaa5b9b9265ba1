"""`make bench-features`: features beside the fastest scan of the same columns, in one run.

Every contender reads the same stored observations (1-minute sensor rows, 1 % of them late), each in a process of its
own so that its peak memory is its own. The others do less: only summaries per batch, parameter and hour, without
availability, windows or snapshots. Rounds alternate between contenders; the median counts.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from benchmarks.record import figure, write
from features.contracts import OBSERVATIONS
from features.process import ProcessDefinition
from features.runs import HistoryRuns, series_block
from features.series import SeriesPlan
from features.snapshots import checkpoint_rows
from features.summaries import OBSERVATION_COLUMNS, SUMMARIES, grid_of, summarise
from pipelines.feature_tables import row_groups
from pipelines.storage import Store

N_PARAMETERS, HOURS = 10, 216
ROWS_PER_BATCH = N_PARAMETERS * HOURS * 60
BATCHES_PER_MONTH = 20
PARAMETERS = [f"sensor_{i}" for i in range(N_PARAMETERS)]
PROCESS = ProcessDefinition.model_validate(
    {
        "process": {
            "id": "bench",
            "name": "Bench",
            "version": "1",
            "planned_duration_h": HOURS,
            "every_h": 6,
            "windows_h": [6, 24],
        },
        "parameter": [{"name": n, "label": n, "unit": "1", "kind": "sensor", "normal": [36, 38]} for n in PARAMETERS],
    }
)
COLUMNS = list(OBSERVATION_COLUMNS)


def batches_of(n_rows: int) -> pd.DataFrame:
    n = max(1, n_rows // ROWS_PER_BATCH)
    month = pd.Timestamp("2015-01-01", tz="UTC").as_unit("us")
    started = [
        month + pd.DateOffset(months=i // BATCHES_PER_MONTH) + pd.Timedelta(days=i % BATCHES_PER_MONTH)
        for i in range(n)
    ]
    return pd.DataFrame(
        {"batch_id": [f"B{i:05d}" for i in range(n)], "started_at": pd.Series(started).dt.as_unit("us")}
    )


def month_of(batches: pd.DataFrame) -> pd.Series:
    return batches["started_at"].dt.strftime("%Y-%m")


def make(root: Path, n_rows: int) -> None:
    batches, store, rng = batches_of(n_rows), Store(root), np.random.default_rng(7)
    batches.to_parquet(root / "batches.parquet")
    for month, part in batches.groupby(month_of(batches)):
        store.write("observations", str(month), _readings(part, rng), OBSERVATIONS.arrow(), inputs_digest=None)


def _readings(batches: pd.DataFrame, rng: np.random.Generator) -> Iterator[pa.RecordBatch]:
    n = HOURS * 60
    for batch_id, started in zip(batches["batch_id"], batches["started_at"], strict=True):
        start = round(started.timestamp() * 1e6)
        for name in PARAMETERS:
            observed = start + np.arange(1, n + 1) * 60_000_000
            late = rng.random(n) < 0.01
            available = observed + np.where(late, rng.integers(0, 7_200_000_000, n), 0)
            columns = {
                "batch_id": [batch_id] * n, "parameter": [name] * n, "observed_at": pa.array(observed, pa.timestamp("us", "UTC")),
                "revision": np.zeros(n, np.int32), "available_at": pa.array(available, pa.timestamp("us", "UTC")),
                "value": np.round(37 + np.cumsum(rng.normal(0, 0.01, n)), 2), "unit": ["1"] * n, "quality": ["good"] * n,
            }  # fmt: skip
            yield pa.RecordBatch.from_pydict(columns, schema=OBSERVATIONS.arrow())


def scan_row_groups(root: Path) -> int:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        return sum(pool.map(lambda read: len(read()), row_groups(Store(root).files("observations"))))


def scan_dataset(root: Path) -> int:
    form = ds.ParquetFileFormat(dictionary_columns={"batch_id", "parameter", "quality"})
    dataset = ds.dataset([str(p) for p in Store(root).files("observations")], format=form)
    return sum(batch.num_rows for batch in dataset.to_batches(columns=COLUMNS))


def scan_in_order(root: Path) -> int:
    rows = 0
    for path in Store(root).files("observations"):
        file = pq.ParquetFile(path, read_dictionary=["batch_id", "parameter", "quality"])
        rows += sum(batch.num_rows for batch in file.iter_batches(131_072, columns=COLUMNS))
    return rows


def batchguard(root: Path) -> int:
    store, batches = Store(root), pd.read_parquet(root / "batches.parquet")
    nothing_known = pd.DataFrame(
        {"batch_id": pd.Series(dtype="str"), "label_available_at": pd.Series(dtype="datetime64[us, UTC]")}
    )
    made = 0
    for month, part in batches.groupby(month_of(batches)):
        grid = grid_of(part, PROCESS)
        summaries = pa.Table.from_batches(
            summarise(row_groups(store.files("observations", [str(month)])), grid), SUMMARIES
        )
        rows = checkpoint_rows(part, nothing_known, PROCESS)
        made += len(series_block(SeriesPlan.of(PROCESS), rows, HistoryRuns.of(rows, summaries, grid)).values)
    return made


def duckdb_sql(root: Path) -> int:
    import duckdb

    files = [str(p) for p in Store(root).files("observations")]
    with duckdb.connect() as db:
        db.execute("SET threads=2")
        sql = """SELECT batch_id, parameter, time_bucket(INTERVAL 1 HOUR, observed_at) AS bin, count(*), avg(value), stddev_samp(value),
                 min(value), max(value), arg_min(value, observed_at), arg_max(value, observed_at),
                 regr_slope(value, epoch_us(observed_at)), sum((value > 38)::INT), sum((value < 36)::INT), max(available_at)
                 FROM read_parquet(?) WHERE quality <> 'bad' GROUP BY ALL"""
        return db.execute(sql, [files]).to_arrow_table().num_rows


def polars_streaming(root: Path) -> int:
    import polars as pl

    v, t = pl.col("value"), pl.col("observed_at")
    lazy = (
        pl.scan_parquet([str(p) for p in Store(root).files("observations")])
        .filter(pl.col("quality") != "bad")
        .group_by("batch_id", "parameter", t.dt.truncate("1h").alias("bin"))
        .agg(v.len().alias("n"), v.mean().alias("mean"), v.std().alias("sd"), v.min().alias("min"), v.max().alias("max"),
             v.first().alias("first"), v.last().alias("last"), (v > 38).sum().alias("above"), (v < 36).sum().alias("below"),
             pl.col("available_at").max().alias("known"))
    )  # fmt: skip
    return lazy.collect(engine="streaming").height


def pandas_one_pass(root: Path) -> int:
    rows = 0
    for path in Store(root).files("observations"):
        frame = pq.read_table(path, columns=COLUMNS, partitioning=None).to_pandas()
        frame = frame[frame["quality"] != "bad"]
        grouped = frame.groupby(
            ["batch_id", "parameter", frame["observed_at"].dt.floor("h").rename("bin")], observed=True
        )["value"]
        rows += len(grouped.agg(["count", "mean", "std", "min", "max", "first", "last"]))
    return rows


SCANS: dict[str, Callable[[Path], int]] = {
    "scan, row groups on 2 threads": scan_row_groups,
    "scan, dataset": scan_dataset,
    "scan, in order": scan_in_order,
}
CONTENDERS: dict[str, Callable[[Path], int]] = {
    **SCANS, "batchguard": batchguard, "DuckDB SQL": duckdb_sql, "polars streaming": polars_streaming, "pandas one pass": pandas_one_pass,
}  # fmt: skip


def measure(name: str, root: Path, small: Path) -> dict[str, float]:
    """In a process of its own: warm up on a small folder, then run once over the large one."""
    CONTENDERS[name](small)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    begin = time.perf_counter()
    CONTENDERS[name](root)
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "peak_mb": peak, "grown_mb": peak - before}


def main(sizes: tuple[int, ...] = (1_000_000, 10_000_000), rounds: int = 5) -> None:
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        roots = {n: Path(folder) / str(n) for n in (ROWS_PER_BATCH, *sizes)}
        for n, root in roots.items():
            root.mkdir()
            make(root, n)
        for n in sizes:
            taken: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
            for _ in range(rounds):
                for name in CONTENDERS:
                    arguments = [
                        sys.executable,
                        "-m",
                        "benchmarks.bench_features",
                        name,
                        str(roots[n]),
                        str(roots[ROWS_PER_BATCH]),
                    ]
                    taken[name].append(
                        json.loads(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout)
                    )
            figures += report(n, taken)
    print(write("features", figures))


def report(n: int, taken: dict[str, list[dict[str, float]]]) -> list[dict[str, object]]:
    median = {name: statistics.median(run["seconds"] for run in runs) for name, runs in taken.items()}
    fastest = min(SCANS, key=lambda name: median[name])
    rows = (n // ROWS_PER_BATCH) * ROWS_PER_BATCH
    figures = []
    for name, runs in taken.items():
        ratios = [scan["seconds"] / run["seconds"] for scan, run in zip(taken[fastest], runs, strict=True)]
        ours = name == "batchguard"
        figures.append(
            figure(f"{name}, {n:,} rows: share of the scan's speed", round(statistics.median(ratios), 3), "1", low=round(min(ratios), 3),
                   high=round(max(ratios), 3), n=rows, bound=0.35 if ours else None, against=fastest, note=f"{median[name]:.3f} s, {rows / median[name] / 1e6:.2f} M rows/s, {len(runs)} rounds")
        )  # fmt: skip
        figures.append(
            figure(
                f"{name}, {n:,} rows: peak memory",
                round(statistics.median(run["peak_mb"] for run in runs)),
                "MB",
                n=rows,
                note="of the whole process, libraries included",
            )
        )
        print(
            f"{n:>11,} rows  {name:32s} {median[name]:8.3f} s  {figures[-2]['value']:6.1%} of the scan  {figures[-1]['value']:6,} MB"
        )
    return figures


if __name__ == "__main__":
    if len(sys.argv) == 4:
        print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))))
    else:
        main()
