"""A model of the size that the bounds speak of (500 trees, 31 leaves, about 300 features), its bundle, and batches to score."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks.serving.released import release_into
from features.context import Vocabulary, vocabulary
from features.contracts import RUN_HISTORY
from features.process import ProcessDefinition
from features.snapshots import checkpoint_rows, snapshots
from features.summaries import SUMMARIES, grid_of, summarise
from models.cohort.labels import label_log
from models.learners.trees import Plan
from models.predictor import Predictor
from models.train import train
from serving.bundle.bundle import Bundle
from serving.bundle.loader import ServingModel, load_predictor
from serving.bundle.store import BundleStore, Version
from serving.engine import LiveEngine
from serving.ids import iso, now_us
from serving.records.store import Records

N_PARAMETERS, HOURS, N_BATCHES = 13, 96, 80
NAMES = [f"sensor_{i:02d}" for i in range(N_PARAMETERS)]
PROCESS = ProcessDefinition.model_validate({
    "process": {"id": "bench", "name": "Bench", "version": "1", "planned_duration_h": HOURS, "every_h": 12,
                "windows_h": [6, 24]},
    "parameter": [{"name": n, "label": n, "unit": "1", "kind": "sensor", "normal": [36, 38]} for n in NAMES],
})  # fmt: skip
HOUR_US = 3_600_000_000
FILLED_H, ASKED_H = 48, 90  # hours of a batch that are there when a score is asked for, and the hour it is asked about
PLAN = Plan(folds=2, most_rounds=40)  # its trees are replaced by those of the size that the bounds speak of


@dataclass(frozen=True)
class Folders:
    """Where an endpoint finds its bundles and keeps its data."""

    root: Path

    @property
    def bundles(self) -> Path:
        return self.root / "bundles"

    @property
    def data_dir(self) -> Path:
        return self.root / "data"

    @property
    def first(self) -> Bundle:
        """The bundle that an endpoint serves at first."""
        return BundleStore(self.bundles).read((self.root / "first").read_text())

    def release_first(self, records: Records) -> None:
        """Release the first bundle into records in which nothing of its process is released."""
        bundle = self.first
        manifest = bundle.manifest
        release_into(
            records, self.bundles, self.data_dir, manifest.version, lambda _: bundle, process_id=manifest.process_id
        )


@dataclass(frozen=True)
class Place(Folders):
    """The folder of everything, and for the bare comparisons the booster and the row that is asked about, shape (1, k)."""

    booster: lgb.Booster
    row: np.ndarray


def make_place(root: Path) -> Place:
    """Made-up readings, labels by chance, a booster that fits them: its speed is the question, not its judgement."""
    rng = np.random.default_rng(11)
    history, readings = made_up(rng)
    labels = label_log(PROCESS, history["dispositions"])
    rows, grid = checkpoint_rows(history["batches"], labels, PROCESS), grid_of(history["batches"], PROCESS)
    made = pa.Table.from_batches(summarise([lambda: readings], grid), SUMMARIES)
    words = vocabulary(history, PROCESS)
    frame, features = snapshots(rows, made, history, labels, PROCESS, words)
    small = train(PROCESS, frame, features, history["batches"], labels, plan=PLAN).predictor
    seen = small.assess(small.encoder.encode(frame), frame["checkpoint_h"].to_numpy(float), contributions=False)
    parameters = {"objective": "binary", "num_leaves": 31, "min_data_in_leaf": 5, "num_threads": 1, "verbose": -1,
                  "deterministic": True, "force_row_wise": True, "learning_rate": 0.02}  # fmt: skip
    booster = lgb.train(parameters, lgb.Dataset(seen.inputs, rng.random(len(frame)) < 0.3), 500)
    predictor = replace(small, model_texts=(booster.model_to_string(),), from_h=(0.0,))
    place = Place(root, booster, seen.inputs[-1:])
    place.data_dir.mkdir(parents=True, exist_ok=True)
    (root / "first").write_text(bundle(place.bundles, predictor, words, "1").sha256)
    started_us = now_us() - HOURS * HOUR_US
    X, hours = filled_engine(place, started_us).matrix("B1", started_us + ASKED_H * HOUR_US), np.array([float(ASKED_H)])
    return replace(place, row=predictor.assess(X, hours, contributions=False).inputs)


def filled_engine(place: Place, started_us: int) -> LiveEngine:
    """An engine that holds what `Endpoint.fill` sends of a batch `B1` in its first hours."""
    engine = LiveEngine(ServingModel(place.first, load_predictor(place.first)))
    engine.put_batch({"batch_id": "B1", **batch(started_us)})
    for hour in range(FILLED_H):
        rows = observations(started_us, hour * 60, 60, np.random.default_rng(hour))
        engine.add("B1", "observations", rows)
    return engine


def made_up(rng: np.random.Generator) -> tuple[dict[str, pd.DataFrame], pa.Table]:
    """Batches and their ends, and their readings, four an hour of each parameter."""
    history = {name: table.arrow().empty_table().to_pandas() for name, table in RUN_HISTORY.items()}
    starts = pd.Series(pd.Timestamp("2025-01-01", tz="UTC") + pd.to_timedelta(np.arange(N_BATCHES) * 12, unit="h"))
    failed = rng.random(N_BATCHES) < 0.3
    history["batches"], history["dispositions"] = _batches(starts), _dispositions(starts, failed)
    return history, _readings(history["batches"], failed, rng)


def bundle(bundles: Path, predictor: Predictor, words: Vocabulary, version: str, submission: int = 0) -> Bundle:
    """The bundle of a version in a folder of bundles, not released."""
    with tempfile.TemporaryDirectory() as folder:
        predictor.save(Path(folder))
        return BundleStore(bundles).write(Path(folder), Version("bench", version, submission), PROCESS, words)


def batch(started_us: int) -> dict[str, object]:
    """A batch as the endpoint takes it."""
    return {"site_id": "north", "started_at": iso(started_us), "origin": "simulated"}


def observations(started_us: int, first_min: int, n_minutes: int, rng: np.random.Generator) -> list[dict[str, object]]:
    """Readings of all parameters, one a minute."""
    values = np.round(37 + rng.normal(0, 0.5, (n_minutes, N_PARAMETERS)), 3)
    return [
        {"parameter": name, "observed_at": iso(started_us + (first_min + minute) * 60_000_000), "value": float(values[minute, i]),
         "unit": "1"}
        for minute in range(n_minutes) for i, name in enumerate(NAMES)
    ]  # fmt: skip


def _batches(starts: pd.Series) -> pd.DataFrame:
    schema = RUN_HISTORY["batches"].arrow()
    n = len(starts)
    columns = {name: [None] * n for name in schema.names} | {
        "batch_id": [f"T{i:03d}" for i in range(n)], "started_at": list(starts), "site_id": ["north"] * n,
        "product_id": ["p"] * n, "process_version": ["1"] * n, "equipment_id": [""] * n, "subject_key": [""] * n,
        "origin": ["simulated"] * n,
    }  # fmt: skip
    return pa.table(columns, schema=schema).to_pandas()


def _dispositions(starts: pd.Series, failed: np.ndarray) -> pd.DataFrame:
    n, schema = len(starts), RUN_HISTORY["dispositions"].arrow()
    columns = {
        "batch_id": [f"T{i:03d}" for i in range(n)], "revision": np.zeros(n, np.int32), "failure_modes": [""] * n,
        "outcome": np.where(failed, "rejected", "released"), "decided_at": list(starts + pd.Timedelta(hours=HOURS + 1)),
        "source": [""] * n, "verified_by": [""] * n,
    }  # fmt: skip
    return pa.table(columns, schema=schema).to_pandas()


def _readings(batches: pd.DataFrame, failed: np.ndarray, rng: np.random.Generator) -> pa.Table:
    n = HOURS * 4
    parts = []
    for batch_id, start, fails in zip(batches["batch_id"], batches["started_at"], failed, strict=True):
        batch_events = round(start.timestamp() * 1e6)
        for name in NAMES:
            at = pa.array(batch_events + np.arange(1, n + 1) * HOUR_US // 4, pa.timestamp("us", "UTC"))
            parts.append(pa.table({
                "batch_id": [batch_id] * n, "parameter": [name] * n, "observed_at": at,
                "revision": np.zeros(n, np.int32), "available_at": at,
                "value": np.round(37 + fails + np.cumsum(rng.normal(0, 0.1, n)), 3), "unit": ["1"] * n, "quality": ["good"] * n,
            }, schema=RUN_HISTORY["observations"].arrow()))  # fmt: skip
    return pa.concat_tables(parts)
