"""AI4I 2020, 10 000 pieces of a milling machine (Matzka 2020, CC BY; UCI Machine Learning Repository 601), as a history.

One row is one piece, in the order in which they were made (`UDI`), without a date. Each row becomes a batch with
nominal hours: a piece starts every hour, its five readings are known a quarter of an hour after its start, and whether
the machine failed is known at its end. The flags of the five failure modes are outcomes: they go into the
dispositions as `failure_modes` and are never readings. The data is synthetic, made by published rules.
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

FIRST_START = pd.Timestamp("2024-01-01T00:00:00Z")
EVERY_H = 1.0
READ_H = 0.25
DECIDED_H = 1.0
IN_PROGRESS_AT_H = 0.5  # read, not yet finished
QUALITIES = ("L", "M", "H")
READINGS = {
    "Air temperature [K]": "air_temperature_k",
    "Process temperature [K]": "process_temperature_k",
    "Rotational speed [rpm]": "rotational_speed_rpm",
    "Torque [Nm]": "torque_nm",
    "Tool wear [min]": "tool_wear_min",
}
FAILED = "Machine_failure"
MODES = {
    "TWF": "tool_wear",
    "HDF": "heat_dissipation",
    "PWF": "power",
    "OSF": "overstrain",
    "RNF": "random",
}


def convert(source_dir: Path, out_dir: Path, *, in_progress: int = 0) -> Converted:
    """Write the pieces as a history folder.

    Args:
        source_dir: Folder with `ai4i2020.csv`.
        out_dir: New folder.
        in_progress: How many of the newest pieces to leave before their end.

    Raises:
        SourceError: The file or a column is missing, a `UDI` stands twice, a type is not L, M or H, a flag is neither
            0 nor 1, a reading is not a number, or `out_dir` is not empty.
    """
    pieces = _read(source_dir)
    started = start_times(pieces["UDI"])
    tables: Tables = {
        "batches": pd.DataFrame(
            {
                "batch_id": pieces["UDI"].map(batch_id),
                "product_id": "milled_piece",
                "started_at": started,
                "planned_end_at": started + DECIDED_H * HOUR,
                "origin": "simulated",
                "quality_variant": pieces["Type"],
            }
        ),
        "observations": _readings(pieces, started),
        "dispositions": _dispositions(pieces, started),
    }
    modes, failed = pieces[list(MODES)].any(axis=1), pieces[FAILED] == 1
    alone, without = int((modes & ~failed).sum()), int((failed & ~modes).sum())
    notes = (
        "Starts are nominal: one piece every hour from 2024-01-01, UTC, in the order of UDI.",
        "The data is synthetic, made by published rules: it validates no model.",
        "Readings are known 0.25 h after the start, the failure at 1 h (nominal).",
        f"{alone} pieces have the flag of a mode but no machine failure: released, without a mode.",
        f"{without} machine failures have no flag of a mode.",
        "'Product ID' is left out: its letter repeats the type, its number the order.",
    )
    return write_history(tables, out_dir, notes, in_progress=in_progress, at_h=IN_PROGRESS_AT_H)


def start_times(udi: pd.Series) -> pd.Series:
    """Nominal start by number of the piece, datetime64[us, UTC]: piece 1 first, one an hour."""
    return (FIRST_START + pd.to_timedelta((udi - 1) * EVERY_H, unit="h")).astype("datetime64[us, UTC]")


def batch_id(udi: int) -> str:
    """Identity of a piece in the run history, `U00001`."""
    return f"U{udi:05d}"


def _read(source_dir: Path) -> pd.DataFrame:
    path = source_file(source_dir, "ai4i2020.csv")
    pieces = pd.read_csv(path)
    flags = (FAILED, *MODES)
    require_columns(pieces, ["UDI", "Type", *READINGS, *flags], path)
    twice = first_wrong(pieces["UDI"].duplicated())
    if twice is not None:
        raise SourceError(f"{path}: UDI {pieces['UDI'][twice]} stands twice", expected="one row per piece")
    for column, allowed in {"Type": QUALITIES, **dict.fromkeys(flags, (0, 1))}.items():
        _refuse_others(pieces, column, ~pieces[column].isin(allowed), " or ".join(map(str, allowed)), path)
    for column in READINGS:
        parsed = pd.to_numeric(pieces[column], errors="coerce").astype("float64")
        _refuse_others(pieces, column, parsed.isna(), "a number", path)
        pieces[column] = parsed
    return pieces.sort_values("UDI", ignore_index=True)


def _refuse_others(pieces: pd.DataFrame, column: str, wrong: pd.Series, expected: str, path: Path) -> None:
    row = first_wrong(wrong)
    if row is not None:
        what = f"{column!r} of piece {pieces['UDI'][row]} is {pieces[column][row]!r}"
        raise SourceError(f"{path}: {what}", expected=expected)


def _readings(pieces: pd.DataFrame, started: pd.Series) -> pd.DataFrame:
    wide = pieces[list(READINGS)].rename(columns=READINGS)
    wide = wide.assign(batch_id=pieces["UDI"].map(batch_id), observed_at=started + READ_H * HOUR)
    rows, _ = long_rows(wide, ["batch_id", "observed_at"])
    return rows


def _dispositions(pieces: pd.DataFrame, started: pd.Series) -> pd.DataFrame:
    failed = pieces[FAILED] == 1
    rows = pieces[list(MODES)].astype(bool).itertuples(index=False)
    modes = pd.Series([";".join(name for name, flag in zip(MODES.values(), row, strict=True) if flag) for row in rows])
    return pd.DataFrame(
        {
            "batch_id": pieces["UDI"].map(batch_id),
            "outcome": failed.map({True: "rejected", False: "released"}).astype("str"),
            "failure_modes": modes.where(failed, "").astype("str"),
            "decided_at": started + DECIDED_H * HOUR,
            "source": "machine failure as published",
        }
    )
