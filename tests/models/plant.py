"""A made-up plant that the tests of models and serving share."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from features.dictionary import Feature
from features.process import ProcessDefinition
from models.learners.trees import Plan
from models.train import Trained, train

FLAT = "force_kn.now.flat_h"
QUICK = Plan(folds=2, most_rounds=40)


@dataclass(frozen=True)
class Release:
    """What was found at release: a batch fails exactly where its purity misses 90 %; its hardness never does."""

    observations: pd.DataFrame
    dispositions: pd.DataFrame


@dataclass(frozen=True)
class Plant:
    """A made-up history, small enough to train on in a blink."""

    process: ProcessDefinition
    snapshots: pd.DataFrame
    features: tuple[Feature, ...]
    batches: pd.DataFrame
    log: pd.DataFrame
    release: Release


def make_process(**outcome: object) -> ProcessDefinition:
    return ProcessDefinition.model_validate({
        "process": {"id": "soup", "name": "Soup", "version": "1", "planned_duration_h": 24, "checkpoints_h": [0, 12, 24]},
        "parameter": [
            {"name": "force_kn", "label": "Compression force", "unit": "kN", "kind": "sensor", "normal": [4, 6]},
            {"name": "purity_pct", "label": "Purity", "unit": "%", "kind": "assay", "excluded": True},
            {"name": "hardness_n", "label": "Hardness", "unit": "N", "kind": "assay", "excluded": True},
        ],
        "quality_attribute": [
            {"name": "purity", "parameter": "purity_pct", "lower": 90},
            {"name": "hardness", "parameter": "hardness_n", "lower": 1, "upper": 1000, "transform": "log"},
        ],
        "outcome": outcome,
    })  # fmt: skip


def utc(text: str) -> pd.Timestamp:
    time = pd.Timestamp(text, tz="UTC")
    assert isinstance(time, pd.Timestamp)  # not NaT
    return time


def labels(*rows: tuple) -> pd.DataFrame:
    """Rows of (batch_id, failed, label_available_at[, censored[, revision]])."""
    full = [(*row, *(False, 0)[len(row) - 3 :]) for row in rows]
    frame = pd.DataFrame(full, columns=["batch_id", "failed", "label_available_at", "censored", "revision"])
    frame["label_available_at"] = pd.to_datetime(frame["label_available_at"], utc=True).astype("datetime64[us, UTC]")
    return frame.astype({"batch_id": "str", "revision": "int32", "failed": "bool", "censored": "bool"})


def make_plant(n: int = 120, seed: int = 1) -> Plant:
    rng = np.random.default_rng(seed)
    ids = np.array([f"B{i:03d}" for i in range(n)])
    started = pd.Series(utc("2026-01-01") + pd.to_timedelta(12 * np.arange(n), unit="h")).astype("datetime64[us, UTC]")
    force = rng.normal(5, 1, n)
    excess = force + rng.normal(0, 0.5, n) - 5.8
    failed = excess > 0
    blocks = []
    for hours in (0.0, 12.0, 24.0):
        seen = hours >= 12
        blocks.append(
            pd.DataFrame(
                {
                    "batch_id": pd.array(ids, dtype="str"),
                    "checkpoint_h": hours,
                    "started_at": started,
                    "as_of": (started + pd.Timedelta(hours=hours)).astype("datetime64[us, UTC]"),
                    "force_kn.since_start.mean": force if seen else np.nan,
                    "force_kn.since_start.last": force + rng.normal(0, 0.3, n) if seen else np.nan,
                    "force_kn.now.age_h": rng.uniform(0, 2, n) if seen else np.nan,
                    "noise.before_start.value": rng.normal(0, 1, n),
                    "line.before_start.value": pd.array(rng.choice(["north", "south"], n), dtype="str"),
                    "constant.before_start.value": 1.0,
                    "empty.before_start.value": np.nan,
                }
            )
        )
    snapshots = pd.concat(blocks, ignore_index=True)
    named = {
        "force_kn": "Compression force",
        "noise": "Noise",
        "line": "Line",
        "constant": "Constant",
        "empty": "Empty",
    }
    features = []
    for name in snapshots.columns[4:]:
        subject, window, statistic = name.split(".")
        unit = {"mean": "kN", "last": "kN", "age_h": "h"}.get(statistic, "")
        features.append(
            Feature(name, subject, named[subject], unit, window, statistic, f"{statistic} of {named[subject]}")
        )
    batches = pd.DataFrame(
        {"batch_id": pd.array(ids, dtype="str"), "started_at": started, "subject_key": "", "origin": "real"}
    )
    known = (started + pd.Timedelta(days=3)).astype("datetime64[us, UTC]")
    log = pd.DataFrame({"batch_id": pd.array(ids, dtype="str"), "failed": failed, "label_available_at": known})
    log = log.assign(censored=False, revision=np.int32(0))
    return Plant(make_process(), snapshots, tuple(features), batches, log, make_release(log, 90 - 2 * excess, rng))


def make_release(log: pd.DataFrame, purity_pct: np.ndarray, rng: np.random.Generator) -> Release:
    """Results a day before the label; two failures of three are of mode "hard", the third of mode "dusty"."""
    known, n = log["label_available_at"], len(log)
    head = {"batch_id": log["batch_id"], "revision": np.int32(0), "quality": "good"}
    at = {"observed_at": known - pd.Timedelta(days=2), "available_at": known - pd.Timedelta(days=1)}
    values = {"purity_pct": ("%", purity_pct), "hardness_n": ("N", np.exp(rng.normal(3, 0.3, n)))}
    blocks = [
        pd.DataFrame({**head, "parameter": name, "unit": unit, "value": v, **at}) for name, (unit, v) in values.items()
    ]
    mode = np.where(np.cumsum(log["failed"]) % 3 == 0, "dusty", "hard")
    dispositions = pd.DataFrame(
        {
            "batch_id": log["batch_id"],
            "revision": np.int32(0),
            "outcome": np.where(log["failed"], "rejected", "released"),
            "failure_modes": np.where(log["failed"], mode, ""),
            "decided_at": known,
        }
    )
    return Release(pd.concat(blocks, ignore_index=True), dispositions)


def make_foreseen(n: int = 260, seed: int = 2) -> Plant:
    """A history long enough to forecast purity and hardness, whose force sensor can be found flat-lined."""
    plant = make_plant(n, seed)
    flat_h = np.random.default_rng(seed).uniform(0, 1, len(plant.snapshots))
    seen = plant.snapshots["checkpoint_h"] >= 12
    snapshots = plant.snapshots.assign(**{FLAT: np.where(seen, flat_h, np.nan)})
    entry = Feature(FLAT, "force_kn", "Compression force", "h", "now", "flat_h", "hours without change")
    return replace(plant, snapshots=snapshots, features=(*plant.features, entry))


def foresee(plant: Plant, **changes) -> Trained:
    """Train on everything the plant knows, release results and failure modes too."""
    known = {"observations": plant.release.observations, "dispositions": plant.release.dispositions, "plan": QUICK}
    return train(plant.process, plant.snapshots, plant.features, plant.batches, plant.log, **(known | changes))
