"""The endpoint's engine, measured apart from HTTP and records: scores, their growth with the rows held, ingest.

`engine_figures` makes a simulated plant, trains a predictor on it, tells an engine the readings of a batch one by one
and times a score after each, beside the bare contributions of the same model for the same row, one after the other.
So few batches give few trees; the bounds are for a model of the size that was measured beforehand (500 trees of 31
leaves), put in the place of the trained trees. It is fitted to be large, not to be right.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.record import figure
from features.checks import check_rows
from features.context import Vocabulary, vocabulary
from features.contracts import RUN_HISTORY
from features.process import ProcessDefinition, load_process
from features.snapshots import checkpoint_rows, snapshots
from features.summaries import SUMMARIES, US_PER_H, grid_of, summarise
from models.cohort.labels import label_log
from models.learners.trees import Plan
from models.predictor import Predictor
from models.train import train
from pipelines.simulator import SimulationSettings, simulate
from serving.bundle.keeper import Keeper
from serving.bundle.store import BundleStore
from serving.engine import LiveEngine
from serving.rows import plain_rows
from serving.scorer import Release
from serving.seam import StoredRow

ROOT = Path(__file__).parents[1]
ROWS_HELD = (1_000, 10_000, 100_000)
AROUND = ("batches", "materials", "lot_results", "environment", "events", "dispositions")


@dataclass(frozen=True)
class Bench:
    """An engine that knows a plant, and one batch in progress of which it knows no reading yet."""

    keepers: dict[str, Keeper]
    around: list[StoredRow]
    batch_id: str
    started_us: int
    readings: list[dict]
    n_batches: int
    n_failed: int


def bench(folder: Path, n_batches: int = 400) -> Bench:
    """Make a plant, a predictor and an engine in a folder."""
    process = load_process(ROOT / "processes" / "cart.toml")
    settings = SimulationSettings(
        n_batches=n_batches, n_in_progress=2, seed=17, since=datetime(2025, 1, 1, tzinfo=UTC), sensor_interval_min=15
    )
    tables = _tables(simulate(settings, folder / "plant").history, process)
    labels = label_log(process, tables["dispositions"])
    words = vocabulary(tables, process)
    rows = checkpoint_rows(tables["batches"], labels, process)
    observed = pa.Table.from_pandas(tables["observations"], preserve_index=False)
    grid = grid_of(tables["batches"], process)
    made = pa.Table.from_batches(summarise([lambda: observed], grid), SUMMARIES)
    frame, features = snapshots(rows, made, tables, labels, process, words)
    results = {"observations": tables["observations"], "dispositions": tables["dispositions"]}
    trained = train(process, frame, features, tables["batches"], labels, **results, plan=Plan(trials=1)).predictor
    failed = labels.groupby("batch_id")["failed"].last().reindex(frame["batch_id"]).fillna(False)
    models = {"as trained": trained, "500 trees": _large(trained, frame, failed.to_numpy(bool))}
    keepers = {name: _keeper(predictor, process, words, folder / name) for name, predictor in models.items()}
    around = [StoredRow(0, "", name, row) for name in AROUND for row in plain_rows(tables[name])]
    newest = tables["batches"].sort_values("started_at").iloc[-1]
    own = tables["observations"][tables["observations"]["batch_id"] == newest["batch_id"]].sort_values("available_at")
    n_failed = int(labels.loc[labels["failed"], "batch_id"].nunique())
    started_us = newest["started_at"].value // 1000
    return Bench(keepers, around, newest["batch_id"], started_us, plain_rows(own), len(tables["batches"]), n_failed)


def engine_figures(folder: Path, *, scores: int = 2_000) -> list[dict[str, object]]:
    """All figures, for `benchmarks/results`.

    Args:
        folder: Empty; what is made stays there.
        scores: Scores that are timed, each after a reading.
    """
    made = bench(folder)
    figures = [f for name in made.keepers for f in score_figures(made, name, scores)]
    medians = by_rows_held(made)
    growth = medians[ROWS_HELD[-1]] / medians[ROWS_HELD[0]]
    note = "; ".join(f"{rows:,} rows: {_ms(median)}" for rows, median in medians.items())
    name = "score latency with 100 000 readings held against 1 000, p50"
    figures.append(figure(name, growth, "ratio", bound=1.1, side="max", note=note))
    for at_once in (1, 1_000):
        figures.append(figure(f"ingest, {at_once:,} rows a call", ingest_rate(made, at_once), "rows/s"))
    return figures


def score_figures(made: Bench, name: str, scores: int) -> list[dict[str, object]]:
    """A score with reasons after each reading, against the bare contributions of the same model."""
    with_reasons, bare = after_each_reading(made, made.keepers[name], scores)
    trees = len(made.keepers[name].speaking().predictor.forest.member)
    figures = []
    for q, bound in ((50, 1.5), (99, 4.0)):
        own, other = (float(np.percentile(times, q)) for times in (with_reasons, bare))
        figures.append(
            figure(
                f"score with reasons against bare contributions, {name}, p{q}", own / other, "ratio",
                bound=bound if name == "500 trees" else None, side="max", n=len(bare), n_failed=made.n_failed,
                against="booster.predict(pred_contrib=True), num_threads=1, of the same row",
                note=f"{trees} trees; {_ms(own)} against {_ms(other)}",
            )
        )  # fmt: skip
    return figures


def after_each_reading(made: Bench, keeper: Keeper, scores: int) -> tuple[np.ndarray, np.ndarray]:
    """Seconds of a score after each of the batch's newest readings, and of the bare contributions of the same row."""
    engine, newest = LiveEngine(keeper), made.readings[-scores:]
    engine.rebuild(made.around)
    engine.add(made.batch_id, "observations", made.readings[:-scores])
    predictor = keeper.speaking().predictor
    boosters = [lgb.Booster(model_str=text) for text in predictor.model_texts]
    engine.score(made.batch_id, made.started_us + US_PER_H)
    scored, bare = [], []

    def hours(as_of: int) -> np.ndarray:
        return np.array([(as_of - made.started_us) / US_PER_H])

    for row in newest:
        engine.add(made.batch_id, "observations", [row])
        as_of = pd.Timestamp(row["available_at"]).value // 1000
        scored.append(_timed(lambda as_of=as_of: engine.score(made.batch_id, as_of)))
        X = predictor.assess(engine.matrix(made.batch_id, as_of), hours(as_of), contributions=False).inputs
        bare.append(_timed(lambda X=X: [b.predict(X, pred_contrib=True, num_threads=1) for b in boosters]))
    return np.array(scored), np.array(bare)


def by_rows_held(made: Bench) -> dict[int, float]:
    """Median seconds of a score by the number of readings held of the batch, over the same 200 hours."""
    medians, moment = {}, made.started_us + 200 * US_PER_H
    for rows in ROWS_HELD:
        engine = LiveEngine(made.keepers["500 trees"])
        at = made.started_us + np.arange(rows) * (200 * US_PER_H // rows)
        engine.put_batch({"batch_id": "X", "started_at": _iso(made.started_us), "origin": "simulated"})
        for part in np.array_split(at, max(1, rows // 10_000)):
            engine.add("X", "observations", [_reading(us) for us in part])
        engine.score("X", moment)
        medians[rows] = float(np.median([_timed(lambda e=engine: e.score("X", moment)) for _ in range(300)]))
    return medians


def ingest_rate(made: Bench, at_once: int) -> float:
    """Rows a second that are checked and merged, in calls of so many."""
    engine = LiveEngine(made.keepers["500 trees"])
    engine.put_batch({"batch_id": "X", "started_at": _iso(made.started_us), "origin": "simulated"})
    calls = 30
    at = made.started_us + np.arange(calls * at_once) * (200 * US_PER_H // (calls * at_once))
    parts = [[_reading(us) for us in part] for part in np.array_split(at, calls)]
    engine.add("X", "observations", [_reading(made.started_us + 201 * US_PER_H)])
    seconds = [_timed(lambda part=part: engine.add("X", "observations", part)) for part in parts]
    return at_once / float(np.median(seconds))


def _tables(history: Path, process: ProcessDefinition) -> dict[str, pd.DataFrame]:
    tables = {}
    for name in RUN_HISTORY:
        frame = pq.read_table(history / f"{name}.parquet").to_pandas()
        known = tables["batches"]["batch_id"] if name != "batches" else None
        tables[name] = check_rows(frame, RUN_HISTORY[name], process, source=name, batches=known).kept
    key = list(RUN_HISTORY["observations"].key)
    tables["observations"] = tables["observations"].sort_values(key, ignore_index=True)
    return tables


def _keeper(predictor: Predictor, process: ProcessDefinition, words: Vocabulary, folder: Path) -> Keeper:
    predictor.save(folder / "predictor")
    store, key = BundleStore(folder / "bundles"), Ed25519PrivateKey.generate()
    store.export(folder / "predictor", Release("cart", "1"), process, words, key, released_us=1)
    return Keeper(store, (key.public_key(),))


def _large(predictor: Predictor, frame: pd.DataFrame, failed: np.ndarray) -> Predictor:
    """The same predictor with many more trees."""
    seen = predictor.assess(predictor.encoder.encode(frame), frame["checkpoint_h"].to_numpy(float), contributions=False)
    data = lgb.Dataset(seen.inputs, failed, params={"verbose": -1})
    size = {"num_leaves": 31, "min_data_in_leaf": 5, "learning_rate": 0.02, "num_threads": 1, "seed": 1}
    booster = lgb.train({"objective": "binary", "verbose": -1, **size}, data, num_boost_round=500)
    return replace(predictor, model_texts=(booster.model_to_string(),))


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"


def _reading(at_us: int) -> dict:
    return {"parameter": "temperature_c", "observed_at": _iso(at_us), "value": 37.0 + float(at_us % 7) / 70}


def _iso(at_us: int) -> str:
    return f"{np.datetime64(int(at_us), 'us')}+00:00"


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
