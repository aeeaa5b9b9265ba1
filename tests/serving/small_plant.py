"""A plant small enough to train on in a second, whose batches come through the features as any other's."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from features.context import Vocabulary, vocabulary
from features.contracts import RUN_HISTORY
from features.process import ProcessDefinition
from features.snapshots import checkpoint_rows, snapshots
from features.summaries import SUMMARIES, grid_of, summarise
from models.cohort.labels import label_log
from models.predictor import Predictor
from models.train import train
from serving.bundle.bundle import Bundle
from serving.bundle.store import BundleStore, Version
from serving.records.store import Records
from tests.models.plant import QUICK
from tests.serving.releases import release

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
    """The process, a predictor for it, and the names of its history."""

    process: ProcessDefinition
    predictor: Predictor
    words: Vocabulary

    def bundle(self, root: Path, version: str = "3", submission: int = 0) -> Bundle:
        """The bundle of the predictor, written and not released."""
        with tempfile.TemporaryDirectory() as folder:
            self.predictor.save(Path(folder))
            return BundleStore(root).write(Path(folder), Version("soup", version, submission), self.process, self.words)

    def release(self, records: Records, root: Path, keys: Path, version: str = "3") -> str:
        """Release the predictor as a version; the id of the release, which is effective afterwards."""
        return release(records, root, keys, "soup", version, lambda n: self.bundle(root, version, n))


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
    words = vocabulary(history, PROCESS)
    frame, features = snapshots(rows, made, history, labels, PROCESS, words)
    trained = train(PROCESS, frame, features, history["batches"], labels, plan=QUICK)
    return SmallPlant(PROCESS, trained.predictor, words)


def _frame(name: str, rows: list[dict]) -> pd.DataFrame:
    schema = RUN_HISTORY[name].arrow()
    empty = {field: [None] * len(rows) for field in schema.names}
    columns = empty | {field: [row[field] for row in rows] for field in rows[0]}
    return pa.table(columns, schema=schema).to_pandas()
