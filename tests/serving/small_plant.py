"""A plant small enough to train on in a second, whose batches come through the features as any other's."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from features.context import vocabulary
from features.contracts import RUN_HISTORY
from features.process import ProcessDefinition
from features.snapshots import checkpoint_rows, snapshots
from features.summaries import SUMMARIES, grid_of, summarise
from models.cohort.labels import label_log
from models.predictor import Predictor
from models.train import train
from serving.bulk_engine import BulkEngine
from serving.scorer import Release
from serving.seam import EngineError
from tests.models.plant import QUICK

PROCESS = ProcessDefinition.model_validate({
    "process": {"id": "soup", "name": "Soup", "version": "1", "planned_duration_h": 24, "checkpoints_h": [6, 12, 18],
                "windows_h": [6]},
    "parameter": [
        {"name": "force_kn", "label": "Compression force", "unit": "kN", "kind": "sensor", "normal": [4, 6],
         "range": [0, 50]},
        {"name": "purity_pct", "label": "Purity", "unit": "%", "kind": "assay", "range": [0, 100]},
        {"name": "line", "label": "Line", "unit": "category", "kind": "attribute"},
    ],
})  # fmt: skip
START = pd.Timestamp("2026-01-01T00:00Z")


@dataclass(frozen=True)
class SmallPlant:
    """The process, a predictor for it, and how to make an engine."""

    process: ProcessDefinition
    predictor: Predictor

    def engine(self, sha256: str | None = None) -> BulkEngine:
        if sha256 not in (None, self.predictor.sha256):
            raise EngineError(f"no model {sha256}")
        return BulkEngine(self.predictor, Release("soup", "3"), self.process)


def make_small_plant(n: int = 90) -> SmallPlant:
    history = {name: table.arrow().empty_table().to_pandas() for name, table in RUN_HISTORY.items()}
    rng, starts = np.random.default_rng(3), [START + pd.Timedelta(hours=12 * i) for i in range(n)]
    force = rng.normal(5, 1, n)
    failed = force + rng.normal(0, 0.3, n) > 5.7
    history["batches"] = _frame("batches", [
        {"batch_id": f"T{i:03d}", "site_id": "north", "product_id": "soup", "started_at": at, "origin": "real",
         "process_version": "1", "equipment_id": "", "subject_key": ""}
        for i, at in enumerate(starts)
    ]).assign(line=pd.array(rng.choice(["a", "b"], n), dtype="str"))  # fmt: skip
    observations = _frame("observations", [
        {"batch_id": f"T{i:03d}", "parameter": "force_kn", "observed_at": starts[i] + pd.Timedelta(hours=h),
         "available_at": starts[i] + pd.Timedelta(hours=h), "revision": 0, "value": force[i] + rng.normal(0, 0.1),
         "unit": "kN", "quality": "good"}
        for i in range(n) for h in range(1, 20)
    ])  # fmt: skip
    history["dispositions"] = _frame("dispositions", [
        {"batch_id": f"T{i:03d}", "revision": 0, "outcome": "rejected" if failed[i] else "released", "failure_modes": "",
         "decided_at": starts[i] + pd.Timedelta(hours=30), "source": "", "verified_by": ""}
        for i in range(n)
    ])  # fmt: skip
    labels = label_log(PROCESS, history["dispositions"])
    rows, grid = checkpoint_rows(history["batches"], labels, PROCESS), grid_of(history["batches"], PROCESS)
    table = pa.Table.from_pandas(observations, schema=RUN_HISTORY["observations"].arrow(), preserve_index=False)
    made = pa.Table.from_batches(summarise([lambda: table], grid), SUMMARIES)
    frame, features = snapshots(rows, made, history, labels, PROCESS, vocabulary(history, PROCESS))
    trained = train(PROCESS, frame, features, history["batches"], labels, plan=QUICK)
    return SmallPlant(PROCESS, trained.predictor)


def _frame(name: str, rows: list[dict]) -> pd.DataFrame:
    schema = RUN_HISTORY[name].arrow()
    empty = {field: [None] * len(rows) for field in schema.names}
    columns = empty | {field: [row[field] for row in rows] for field in rows[0]}
    return pa.table(columns, schema=schema).to_pandas()
