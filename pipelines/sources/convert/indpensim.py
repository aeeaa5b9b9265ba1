"""Simulated penicillin fed-batches with known faults, from a public IndPenSim port, as a run history.

Of the 46 variables only those go in that a fermenter measures on line (`ON_LINE`): gas and liquid flows, agitator,
head pressure, off-gas, dissolved oxygen, weight, pH, temperature. The states and rates of the simulator (`n0` ...,
`a0` ..., `mu_P_calc`, `Culture_age`, concentrations known only from a laboratory) and its settings (`prbs`) stay out.
The data has no calendar: batch n starts 4 (n - 1) days after the first (nominal; several vessels run side by side).
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
    same_batches,
    source_file,
    write_history,
)

FIRST_START = pd.Timestamp("2024-01-01T00:00:00Z")
EVERY_H = 96.0
PLANNED_H = 230.0  # the same for all: the length a batch really ran is not known at its start
HARVEST_KNOWN_H = 12.0
DECIDED_H = 24.0
IN_PROGRESS_AT_H = 120.0
FAULTS = range(9)

ON_LINE = {
    "Fg": "aeration_rate",
    "RPM": "agitator_rpm",
    "Fs": "sugar_feed_l_h",
    "Fpaa": "paa_feed_l_h",
    "Foil": "oil_feed_l_h",
    "Fa": "acid_flow_l_h",
    "Fb": "base_flow_l_h",
    "Fc": "coolant_flow_l_h",
    "Fh": "heating_flow_l_h",
    "Fw": "water_flow_l_h",
    "Fremoved": "broth_removed_l_h",
    "pressure": "head_pressure_bar",
    "DO2": "dissolved_oxygen_mg_l",
    "O2": "offgas_o2",
    "CO2outgas": "offgas_co2_pct",
    "Wt": "weight_kg",
    "pH": "ph",
    "T": "temperature_k",
}
HARVEST = "penicillin_harvested_g"


def convert(source_dir: Path, out_dir: Path, *, in_progress: int = 0) -> Converted:
    """Write the penicillin batches as a history folder.

    Args:
        source_dir: Folder with `batches.parquet` (0.2 h rows), `outcomes.csv` and `units.csv`.
        out_dir: New folder.
        in_progress: How many of the newest batches to cut off at 120 h.

    Raises:
        SourceError: A file or column is missing, a batch stands in one file only, a fault is not one of 0 to 8, or
            `out_dir` is not empty.
    """
    outcomes = _outcomes(source_dir)
    units = _units(source_dir)
    starts = start_times(outcomes["batch"])
    readings, absent = _readings(source_file(source_dir, "batches.parquet"), starts, units)
    tables: Tables = {
        "batches": _batches(starts),
        "observations": pd.concat([readings, _harvests(outcomes, starts)], ignore_index=True),
        "dispositions": _dispositions(outcomes, starts),
    }
    notes = (
        "Starts are nominal: one batch every 4 days from 2024-01-01, UTC; simulated data validates no model.",
        f"{len(ON_LINE)} on-line variables; states, rates, laboratory values and settings of the simulator left out.",
        "A batch with an injected fault is rejected, decided 24 h after its end; the fault is its failure mode.",
        f"{absent} readings are missing in the source and stay missing.",
    )
    return write_history(tables, out_dir, notes, in_progress=in_progress, at_h=IN_PROGRESS_AT_H)


def start_times(batches: pd.Series) -> pd.Series:
    """Nominal start by batch number, datetime64[us, UTC]: 4 days apart."""
    elapsed = pd.to_timedelta((batches - batches.min()) * EVERY_H, unit="h")
    return (FIRST_START + elapsed).astype("datetime64[us, UTC]").set_axis(batches)


def batch_id(batch: int) -> str:
    """Identity of a batch in the run history, `P001`."""
    return f"P{batch:03d}"


def _outcomes(source_dir: Path) -> pd.DataFrame:
    path = source_file(source_dir, "outcomes.csv")
    outcomes = pd.read_csv(path)
    require_columns(outcomes, ["batch", "fault", "P_harvested_g", "duration_h"], path)
    twice = first_wrong(outcomes["batch"].duplicated())
    if twice is not None:
        raise SourceError(f"{path}: batch {outcomes['batch'][twice]} stands twice", expected="one row per batch")
    unknown = first_wrong(~outcomes["fault"].isin(FAULTS))
    if unknown is not None:
        what = f"fault of batch {outcomes['batch'][unknown]} is {outcomes['fault'][unknown]}"
        raise SourceError(f"{path}: {what}", expected="0 to 8")
    return outcomes.sort_values("batch", ignore_index=True)


def _units(source_dir: Path) -> dict[str, str]:
    """Units as the file states them; where it states none, or a fraction as percent, they stay unreported."""
    path = source_file(source_dir, "units.csv")
    table = pd.read_csv(path, dtype="str", keep_default_na=False)
    require_columns(table, ["column", "unit"], path)
    stated = dict(zip(table["column"], table["unit"], strict=True))
    return {column: "" if column == "O2" else stated.get(column, "").replace("-", "") for column in ON_LINE}


def _readings(path: Path, starts: pd.Series, units: dict[str, str]) -> tuple[pd.DataFrame, int]:
    rows = pd.read_parquet(path)
    require_columns(rows, ["batch", "time_h", *ON_LINE], path)
    same_batches(rows["batch"], starts.index.to_series(), f"{path.name} and outcomes.csv")
    wide = rows[list(ON_LINE)].astype("float64")
    wide["batch_id"] = rows["batch"].map(batch_id)
    wide["observed_at"] = rows["batch"].map(starts) + pd.to_timedelta(
        (rows["time_h"].astype("float64") * 3600).round(), unit="s"
    )
    long, absent = long_rows(wide, ["batch_id", "observed_at"])
    column = long["parameter"]
    named = long.assign(parameter=column.map(ON_LINE), unit=column.map(units), available_at=long["observed_at"])
    return named, absent


def _batches(starts: pd.Series) -> pd.DataFrame:
    started = starts.reset_index(drop=True)
    return pd.DataFrame(
        {
            "batch_id": starts.index.map(batch_id),
            "product_id": "penicillin",
            "started_at": started,
            "planned_end_at": started + PLANNED_H * HOUR,
            "origin": "simulated",
        }
    )


def _ends(outcomes: pd.DataFrame, starts: pd.Series) -> pd.Series:
    return outcomes["batch"].map(starts) + pd.to_timedelta((outcomes["duration_h"] * 3600).round(), unit="s")


def _harvests(outcomes: pd.DataFrame, starts: pd.Series) -> pd.DataFrame:
    ends = _ends(outcomes, starts)
    return pd.DataFrame(
        {
            "batch_id": outcomes["batch"].map(batch_id),
            "parameter": HARVEST,
            "observed_at": ends,
            "available_at": ends + HARVEST_KNOWN_H * HOUR,
            "value": outcomes["P_harvested_g"],
            "unit": "g",
        }
    )


def _dispositions(outcomes: pd.DataFrame, starts: pd.Series) -> pd.DataFrame:
    faulty = outcomes["fault"] != 0
    return pd.DataFrame(
        {
            "batch_id": outcomes["batch"].map(batch_id),
            "outcome": faulty.map({True: "rejected", False: "released"}),
            "failure_modes": ("fault_" + outcomes["fault"].astype("str")).where(faulty, ""),
            "decided_at": _ends(outcomes, starts) + DECIDED_H * HOUR,
            "source": "fault injected by the simulator",
        }
    )
