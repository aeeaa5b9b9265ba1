"""A plant of two parameters and no files, and held values made by hand."""

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks.baselines.signals import Signals
from features.process import ProcessDefinition
from features.summaries import SUMMARIES

START = pd.Timestamp("2025-01-01T00:00Z")
FOREVER = 2**31 - 1
PROCESS = ProcessDefinition.model_validate(
    {
        "process": {"id": "p", "name": "P", "version": "1", "planned_duration_h": 6, "checkpoints_h": [3, 6]},
        "parameter": [
            {"name": "temperature_c", "label": "T", "unit": "degC", "kind": "sensor", "normal": [36, 38]},
            {"name": "glucose_mm", "label": "G", "unit": "mmol/L", "kind": "assay", "normal": [3, float("nan")]},
        ],
    }
)


class SmallPlant:
    """What the baselines ask of a plant; `summaries` has tuples of batch, parameter, bin, valid_from, mean, last."""

    def __init__(self, summaries, stopped_after_h=None) -> None:
        self.process, self.features, self._summaries = PROCESS, self, summaries
        self._stopped = stopped_after_h or {}
        self._ids = sorted({row[0] for row in summaries})

    def read(self, _: str, columns: list[str]) -> pa.Table:
        rows = pd.DataFrame(self._summaries, columns=["batch_id", "parameter", "bin", "valid_from", "mean", "last"])
        rows = rows.assign(late=rows["valid_from"] > rows["bin"], valid_until=FOREVER, n=1)
        return pa.Table.from_pandas(
            rows[columns], pa.schema([SUMMARIES.field(c) for c in columns]), preserve_index=False
        )

    def table(self, name: str) -> pd.DataFrame:
        if name == "dispositions":
            decided = [START + pd.Timedelta(hours=self._stopped.get(b, 1000)) for b in self._ids]
            return pd.DataFrame({"batch_id": self._ids, "decided_at": decided})
        return pd.DataFrame({"batch_id": self._ids, "started_at": START, "process_version": "1", "site_id": "S"})


def held_values(values, *, is_sensor, versions: list[str] | None = None) -> Signals:
    """Signals of an array (batches, parameters, H) of hours 1, 2, ..."""
    values = np.asarray(values, np.float32)
    n, parameters, hours = values.shape
    group = pd.DataFrame({"process_version": versions or ["1"] * n, "site_id": ["S"] * n})
    return Signals(
        pd.Index([f"B{i}" for i in range(n)], dtype="str"),
        tuple(f"p{i}" for i in range(parameters)),
        np.asarray(is_sensor),
        np.arange(1.0, hours + 1),
        values,
        np.full(n, float(hours)),
        group,
    )
