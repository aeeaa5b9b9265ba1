"""A small plant as a person would bring it: a process definition and a history folder of 120 batches in five months.

Made up to verify software: a warm batch usually fails. It validates no model.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from pipelines.settings import Settings

PROCESS = """\
[process]
id = "small"
name = "Small plant"
version = "1"
planned_duration_h = 24
bin_h = 1
checkpoints_h = [0, 6, 12, 24]
windows_h = [6]

[[parameter]]
name = "temperature_c"
label = "Temperature"
unit = "degC"
kind = "sensor"
range = [0, 60]
normal = [36, 38]

[[parameter]]
name = "glucose_mm"
label = "Glucose"
unit = "mmol/L"
kind = "assay"
range = [0, 60]
normal = [3, 25]

[[parameter]]
name = "age_years"
label = "Age"
unit = "year"
kind = "attribute"
range = [0, 120]
"""
DOCUMENTS = {
    "intended_use": """\
process = "small"
question = "Will the batch in progress fail?"
product = "Small plant"
process_versions = ["1"]
sites = ["any"]
decision_points_h = [6, 12]
users = ["nobody: made up"]
limits = ["made up: it verifies software"]
""",
    "acceptance": """\
process = "small"

[[criterion]]
metric = "auroc_low"
bound = 0.5
side = "at_least"
least_failures = 5

[[feature]]
pattern = "*"
mechanism = "made up: a warm batch fails"
expected_sign = "either"
""",
}
N_BATCHES, EVERY_H, DECIDED_AFTER_H = 120, 30, 75
BEGIN = pd.Timestamp("2025-01-03T06:00Z")


def history() -> dict[str, pd.DataFrame]:
    """Tables as text, up to eight hours after the start of the last batch: the last three are in progress."""
    rng = np.random.default_rng(7)
    ids = [f"B{i:03d}" for i in range(N_BATCHES)]
    starts = [BEGIN + pd.Timedelta(hours=EVERY_H * i) for i in range(N_BATCHES)]
    now = starts[-1] + pd.Timedelta(hours=8)
    warm = rng.random(N_BATCHES) < 0.3
    warm[-3:] = [True, False, True]
    failed = np.where(rng.random(N_BATCHES) < 0.1, ~warm, warm)
    batches = pd.DataFrame({"batch_id": ids, "started_at": starts, "origin": "simulated"})
    batches["age_years"] = rng.integers(20, 80, N_BATCHES)
    batches["subject_key"] = [f"S{i % 90:02d}" for i in range(N_BATCHES)]
    observations = pd.concat([_readings(*one, rng) for one in zip(ids, starts, warm, strict=True)], ignore_index=True)
    observations = observations[observations["available_at"] <= now]
    dispositions = pd.DataFrame({"batch_id": ids, "outcome": np.where(failed, "rejected", "released")})
    dispositions["decided_at"] = [start + pd.Timedelta(hours=DECIDED_AFTER_H) for start in starts]
    dispositions = dispositions[dispositions["decided_at"] <= now]
    materials = pd.DataFrame(
        {"batch_id": ids, "material": "medium", "lot_id": [f"L{i // 10:02d}" for i in range(N_BATCHES)]}
    )
    tables = {"batches": batches, "observations": observations, "dispositions": dispositions, "materials": materials}
    return {name: _as_text(frame) for name, frame in tables.items()}


def _readings(batch_id: str, start, warm: bool, rng: np.random.Generator) -> pd.DataFrame:
    hours = np.arange(0.5, 24, 1.0)
    temperature = 37 + rng.normal(0, 0.2, len(hours)) + (1.5 if warm else 0) * (hours > 3)
    sensor = pd.DataFrame(
        {"parameter": "temperature_c", "h": hours, "late_h": 0.0, "value": temperature, "unit": "degC"}
    )
    drawn = np.array([5.0, 11.0, 23.0])
    assay = pd.DataFrame(
        {"parameter": "glucose_mm", "h": drawn, "late_h": 0.75, "value": 20 - drawn / 2, "unit": "mmol/L"}
    )
    rows = pd.concat([sensor, assay], ignore_index=True).assign(batch_id=batch_id)
    rows["observed_at"] = start + pd.to_timedelta(rows["h"], unit="h")
    rows["available_at"] = rows["observed_at"] + pd.to_timedelta(rows["late_h"], unit="h")
    return rows[["batch_id", "parameter", "observed_at", "available_at", "value", "unit"]].round({"value": 4})


def _as_text(frame: pd.DataFrame) -> pd.DataFrame:
    times = frame.columns[frame.columns.str.endswith("_at")]
    return frame.assign(**{name: frame[name].map(pd.Timestamp.isoformat) for name in times}).astype("str")


@dataclass(frozen=True)
class Place:
    """Where a small plant lies."""

    root: Path

    @property
    def process(self) -> Path:
        """Its process definition."""
        return self.root / "small.toml"

    @property
    def history(self) -> Path:
        """Its history folder."""
        return self.root / "history"

    @property
    def data_dir(self) -> Path:
        """What was made of it."""
        return self.root / "var"

    @property
    def result(self) -> Path:
        """What `run --json` wrote."""
        return self.root / "out.json"

    def options(self) -> list[str]:
        """Options of the command line."""
        return ["--process", str(self.process), "--history", str(self.history), "--data-dir", str(self.data_dir)]

    def settings(self, **other) -> Settings:
        """Settings as the command line makes them."""
        usual = Settings(self.process, self.history, self.data_dir, first_month="2025-01", as_of="history")
        return replace(usual, **other)

    def write(self, tables: dict[str, pd.DataFrame]) -> None:
        """Write the history folder and the process definition."""
        self.history.mkdir(parents=True, exist_ok=True)
        self.process.write_text(PROCESS, encoding="utf-8")
        for kind, text in DOCUMENTS.items():
            (self.root / f"small.{kind}.toml").write_text(text, encoding="utf-8")
        for name, frame in tables.items():
            frame.to_csv(self.history / f"{name}.csv", index=False)

    def read(self, table: str) -> pd.DataFrame:
        """A table of the history folder, as text."""
        return pd.read_csv(self.history / f"{table}.csv", dtype="str", keep_default_na=False)

    def replace(self, table: str, frame: pd.DataFrame) -> None:
        """Replace a table of the history folder."""
        frame.to_csv(self.history / f"{table}.csv", index=False)
