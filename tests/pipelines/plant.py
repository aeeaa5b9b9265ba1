"""A tiny plant for tests: three batches in two months."""

from pathlib import Path

import pandas as pd

from features.process import ProcessDefinition

PROCESS = ProcessDefinition.model_validate(
    {
        "process": {"id": "tiny", "name": "Tiny", "version": "1", "planned_duration_h": 24, "every_h": 6},
        "parameter": [
            {"name": "glucose_mm", "label": "Glucose", "unit": "mmol/L", "kind": "assay", "range": [0, 60]},
            {"name": "temperature_c", "label": "Temperature", "unit": "degC", "kind": "sensor", "range": [0, 60]},
            {"name": "disease", "label": "Disease", "unit": "category", "kind": "attribute"},
            {"name": "age_years", "label": "Age", "unit": "year", "kind": "attribute", "range": [0, 120]},
        ],
    }
)
STARTS = {"B1": "2025-01-10T08:00:00Z", "B2": "2025-01-31T23:30:00-01:00", "B3": "2025-02-03T00:00:00+00:00"}


def history() -> dict[str, pd.DataFrame]:
    """Clean tables as text; B2 starts in February, in UTC."""
    batches = pd.DataFrame({"batch_id": list(STARTS), "started_at": list(STARTS.values()), "origin": "simulated"})
    batches = batches.assign(disease=["a", "b", ""], age_years=["40", "", "61.5"])
    rows = [
        (batch, name, f"2025-02-0{day}T0{hour}:00:00Z", str(10 + hour))
        for batch in STARTS
        for name in ("temperature_c", "glucose_mm")
        for day in (4, 5)
        for hour in (3, 1, 2)
    ]
    observations = pd.DataFrame(rows, columns=["batch_id", "parameter", "observed_at", "value"]).assign(unit="")
    dispositions = pd.DataFrame(
        {"batch_id": ["B1", "B2"], "outcome": ["released", "rejected"], "decided_at": "2025-03-01T00:00:00Z"}
    )
    return {"batches": batches, "observations": observations, "dispositions": dispositions}


def write(tables, folder, kind="csv") -> Path:
    """Write tables as a history folder."""
    folder.mkdir(exist_ok=True)
    for name, frame in tables.items():
        if kind == "csv":
            frame.to_csv(folder / f"{name}.csv", index=False)
        else:
            frame.to_parquet(folder / f"{name}.parquet")
    return folder
