"""SECOM, 1 567 runs of a semiconductor line with 590 sensors (UCI Machine Learning Repository 179), as a run history.

The layout has one row per run: a timestamp, a label and a snapshot of the sensors. Its timestamp is that of the line
test which gave the label, without an offset. Nominal hours follow: the run starts two hours before its test, the
sensors are read half an hour after the start, the result is known at the test.

`processes/secom.toml` is made by this module, from the data:

    python -c "from pipelines.sources.convert import secom; print(secom.definition('SOURCE_DIR'), end='')" > processes/secom.toml
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from features.errors import SourceError
from pipelines.sources.convert.history import (
    HOUR,
    Converted,
    Tables,
    first_wrong,
    long_rows,
    require_columns,
    source_file,
    write_history,
)

TEST_H = 2.0
SENSORS_H = 0.5
IN_PROGRESS_AT_H = 1.0  # sensors read, not yet tested
OUTCOMES = {-1: "released", 1: "rejected"}

_HEAD = """\
# SECOM: runs of a semiconductor line and their in-house line test, UCI Machine Learning Repository, data set 179.
# History: batchguard convert secom. Made by pipelines.sources.convert.secom.definition
# The publication names neither the sensors nor their units: "1" throughout, `range` is open, and `normal` is the
# 5-95 % of all runs (an assumption; absent where a sensor does not vary). A missing reading stays missing.

parameter = [
"""
_TAIL = """\
]

[process]
id = "secom"
name = "Semiconductor line (SECOM)"
version = "1"
planned_duration_h = 2  # nominal: two hours from start to line test
bin_h = 1
checkpoints_h = [1]  # sensors read, line test to come

[outcome]
failed = ["rejected", "terminated"]
censored = ["cancelled"]

[cost]  # assumed, for the worked example only: a plant enters its own
currency = "EUR"
failed_batch = 5000
false_alarm = 500
"""


def convert(source_dir: Path, out_dir: Path, *, in_progress: int = 0) -> Converted:
    """Write the SECOM runs as a history folder.

    Args:
        source_dir: Folder with `secom.parquet`: `run_id`, `timestamp`, `label` (-1 passed, 1 failed), `s000` ...
        out_dir: New folder.
        in_progress: How many of the newest runs to leave before their line test.

    Raises:
        SourceError: The file or a column is missing, a label is neither -1 nor 1, a timestamp carries an offset, a
            run stands twice, or `out_dir` is not empty.
    """
    runs, sensors = _read(source_dir)
    started = runs["timestamp"].dt.tz_localize("UTC") - TEST_H * HOUR
    wide = runs[sensors].assign(batch_id=runs["run_id"], observed_at=started + SENSORS_H * HOUR)
    readings, absent = long_rows(wide, ["batch_id", "observed_at"])
    tables: Tables = {
        "batches": pd.DataFrame(
            {
                "batch_id": runs["run_id"],
                "product_id": "secom",
                "started_at": started,
                "planned_end_at": started + TEST_H * HOUR,
                "origin": "real",
            }
        ),
        "observations": readings,
        "dispositions": pd.DataFrame(
            {
                "batch_id": runs["run_id"],
                "outcome": runs["label"].map(OUTCOMES).astype("str"),
                "decided_at": started + TEST_H * HOUR,
                "source": "in-house line test",
            }
        ),
    }
    notes = (
        "Timestamps are those of the line test and taken as UTC; a run starts 2 h before (nominal).",
        "Sensors are known 0.5 h after the start (nominal), the result at the timestamp.",
        f"{absent} readings are missing in the source and stay missing; {len(sensors)} sensors.",
    )
    return write_history(tables, out_dir, notes, in_progress=in_progress, at_h=IN_PROGRESS_AT_H)


def definition(source_dir: Path) -> str:
    """Text of `processes/secom.toml`: one line per sensor, with its 5-95 % as normal range."""
    runs, sensors = _read(source_dir)
    low, high = (runs[sensors].quantile(q) for q in (0.05, 0.95))
    return _HEAD + "".join(_parameter(s, low[s], high[s]) for s in sensors) + _TAIL


def _parameter(name: str, low: float, high: float) -> str:
    bounds = f"{low:.5g}", f"{high:.5g}"
    normal = f", normal = [{', '.join(bounds)}]" if float(bounds[0]) < float(bounds[1]) else ""
    return f'  {{ name = "{name}", label = "Sensor {name[1:]}", unit = "1", kind = "assay"{normal} }},\n'


def _read(source_dir: Path) -> tuple[pd.DataFrame, list[str]]:
    path = source_file(source_dir, "secom.parquet")
    runs = pd.read_parquet(path)
    require_columns(runs, ["run_id", "timestamp", "label", "s000"], path)
    twice = first_wrong(runs["run_id"].duplicated())
    if twice is not None:
        raise SourceError(f"{path}: run {runs['run_id'][twice]} stands twice")
    if runs["timestamp"].dtype.kind != "M" or runs["timestamp"].dt.tz is not None:
        raise SourceError(f"{path}: 'timestamp' is {runs['timestamp'].dtype}", expected="times without an offset")
    unknown = first_wrong(~runs["label"].isin(list(OUTCOMES)))
    if unknown is not None:
        what = f"label of run {runs['run_id'][unknown]} is {runs['label'][unknown]}"
        raise SourceError(f"{path}: {what}", expected="-1 or 1")
    return runs, [c for c in runs.columns if c[0] == "s" and c[1:].isdigit()]
