"""The truth of the batches in progress, for a person who wants to compare it with the printed reasons."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq

from features.errors import SourceError

NOTICE = "Simulated batches: results verify the software and do not validate a model for a plant."


def reveal(out: Path, *, all_batches: bool = False) -> list[str]:
    """One line per fault of the batches in progress (or of all), from the truth file of a simulation.

    Args:
        out: The folder given to `simulate`.
        all_batches: Also the batches of the history.

    Raises:
        SourceError: There is no truth file in `out`.
    """
    path = out / "truth.parquet"
    if not path.is_file():
        raise SourceError(f"{path}: no truth file", remedy="Name the folder that 'batchguard simulate --out' wrote.")
    rows = pq.read_table(path).to_pylist()
    chosen = [row for row in rows if all_batches or row["in_progress"]]
    lines = [_line(row) for row in sorted(chosen, key=lambda r: (not r["caused_failure"], r["batch_id"]))]
    return [*(lines or ["No batch in progress has a fault."]), NOTICE]


def _line(row: dict) -> str:
    onset = f"{row['onset_at']:%Y-%m-%d %H:%M} UTC"
    seen = row["first_observable_at"]
    shows = f"shows from {seen:%Y-%m-%d %H:%M} UTC" if seen is not None else "does not show before harvest"
    ends = "ends" if row["in_progress"] else "ended"
    without = f", without it {row['counterfactual_outcome']}" if row["mode"] != "none" else ""
    chain = f" ({row['causal_chain']})" if row["causal_chain"] else ""
    return f"{row['batch_id']}  {row['mode']} {row['title']}{chain}: from {onset}, {shows}; {ends} {row['outcome']}{without}"
