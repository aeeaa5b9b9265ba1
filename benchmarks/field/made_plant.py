"""A made-up plant whose batches are each other's context: sites, products, lots, people, corrections, late readings.

Its outcomes depend a little on readings and lots; that software keeps its promises is the question, not how good a model is.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
import pyarrow as pa

from features.context import Vocabulary, vocabulary
from features.contracts import RUN_HISTORY
from features.process import ProcessDefinition
from features.snapshots import checkpoint_rows, snapshots
from features.summaries import SUMMARIES, grid_of, summarise
from models.backtest.history import History
from models.cohort.between import between_rows
from models.cohort.labels import label_log

HOURS, BETWEEN_STARTS_H, FIRST = 48, 10, pd.Timestamp("2025-01-03", tz="UTC")
SENSORS = ("temp_c", "ph", "oxygen_pct")
PROCESS = ProcessDefinition.model_validate({
    "process": {"id": "made", "name": "Made up", "version": "1", "planned_duration_h": HOURS,
                "checkpoints_h": [0, 12, 24, 36], "windows_h": [6, 24]},
    "parameter": [
        *({"name": n, "label": n, "unit": "1", "kind": "sensor", "normal": [4, 6]} for n in SENSORS),
        {"name": "glucose_mm", "label": "Glucose", "unit": "1", "kind": "assay", "normal": [3, 9]},
        {"name": "titre", "label": "Titre", "unit": "1", "kind": "assay"},
        {"name": "viability_pct", "label": "Viability", "unit": "%", "kind": "attribute"},
        {"name": "donor", "label": "Kind of donor", "unit": "category", "kind": "attribute"},
    ],
    "phase": [{"name": "growth", "label": "Growth", "starts_h": 0, "planned_h": 30}],
})  # fmt: skip
_ATTRIBUTES = {"viability_pct": pa.float64(), "donor": pa.string()}


@dataclass(frozen=True, eq=False)
class MadePlant:
    """A made-up plant.

    Attributes:
        tables: Run history by table, all seven.
        vocabulary: Names of the whole history.
        history: What a replay reads.
    """

    tables: dict[str, pd.DataFrame]
    vocabulary: Vocabulary
    history: History


def made_plant(n: int, *, seed: int = 17, per_hour: int = 2) -> MadePlant:
    """Make a plant.

    Args:
        n: Batches, one every `BETWEEN_STARTS_H` hours.
        seed: Of everything made up.
        per_hour: Readings of each sensor.
    """
    rng = np.random.default_rng(seed)
    starts = FIRST + pd.to_timedelta(np.arange(n) * BETWEEN_STARTS_H * 60 + rng.integers(0, 300, n), unit="min")
    lots, effect = np.arange(n) // 9, rng.normal(0, 1, n // 9 + 1)
    shift = rng.normal(0, 1, n)
    failed = 1.5 * shift + 0.5 * effect[lots] + rng.normal(0, 0.6, n) > 0.9
    ids = np.array([f"M{i:03d}" for i in range(n)])
    made = {
        "batches": _batches(ids, starts, rng), "observations": _observations(ids, starts, shift, per_hour, rng),
        "events": _events(ids, starts, rng), "materials": _materials(ids, starts, lots),
        "lot_results": _lot_results(effect, starts, rng), "environment": _environment(starts, rng),
        "dispositions": _dispositions(ids, starts, failed, rng),
    }  # fmt: skip
    stored = {
        name: pa.Table.from_pandas(rows, schema=_schema(name), preserve_index=False) for name, rows in made.items()
    }
    tables = {name: table.to_pandas() for name, table in stored.items()}
    return MadePlant(tables, *_history(tables, stored["observations"]))


def _history(tables: dict[str, pd.DataFrame], readings: pa.Table) -> tuple[Vocabulary, History]:
    """Snapshots at checkpoints and between them, as a plant's pipeline makes them."""
    batches, log = tables["batches"], label_log(PROCESS, tables["dispositions"])
    words = vocabulary(tables, PROCESS)
    summaries = pa.Table.from_batches(summarise([lambda: readings], grid_of(batches, PROCESS)), SUMMARIES)
    rows = checkpoint_rows(batches, log, PROCESS), between_rows(batches, log, PROCESS)
    (at, features), (between, _) = (snapshots(r, summaries, tables, log, PROCESS, words) for r in rows)
    return words, History(PROCESS, at, between, features, batches, log, dispositions=tables["dispositions"])


def _schema(table: str) -> pa.Schema:
    return RUN_HISTORY[table].arrow(_ATTRIBUTES if table == "batches" else None)


def _after(times: object, hours: object) -> pd.Series:
    """Times and hours added up, in whole microseconds."""
    return pd.Series(times).reset_index(drop=True) + pd.to_timedelta(np.round(np.asarray(hours) * 3.6e9), unit="us")


def _batches(ids: np.ndarray, starts: pd.DatetimeIndex, rng: np.random.Generator) -> pd.DataFrame:
    n = len(ids)
    return pd.DataFrame({
        "batch_id": ids, "product_id": rng.choice(["p1", "p2"], n), "site_id": rng.choice(["north", "south"], n),
        "process_version": np.where(np.arange(n) < n // 2, "1", "2"), "scale_l": rng.choice([2.0, 5.0], n),
        "equipment_id": rng.choice(["r1", "r2", "r3"], n), "started_at": starts,
        "subject_key": np.where(np.arange(n) % 11 == 0, [f"s{i % 4}" for i in range(n)], ""),
        "planned_end_at": _after(starts, np.full(n, HOURS)).where(pd.Series(np.arange(n) % 3 > 0)), "origin": "simulated",
        "viability_pct": np.round(rng.normal(92, 3, n), 2), "donor": rng.choice(["a", "b", "c"], n),
    })  # fmt: skip


def _observations(
    ids: np.ndarray, starts: pd.DatetimeIndex, shift: np.ndarray, per_hour: int, rng: np.random.Generator
) -> pd.DataFrame:
    """Readings, of which some come late, some are bad and some are corrected later; an assay twice a day."""
    hours = dict.fromkeys(SENSORS, np.arange(1, HOURS * per_hour + 1) / per_hour)
    hours["glucose_mm"] = np.arange(6, HOURS, 12.0)
    parts = []
    for (batch_id, start, moved), (name, h) in product(zip(ids, starts, shift, strict=True), hours.items()):
        value = 5 + 1.2 * moved * (h / HOURS) + np.cumsum(rng.normal(0, 0.05, len(h)))
        parts.append(pd.DataFrame({"batch_id": batch_id, "parameter": name, "start": start, "h": h, "value": value}))
    rows = pd.concat(parts, ignore_index=True)
    rows = rows[rng.random(len(rows)) < 0.97].reset_index(drop=True)
    late = np.where(rng.random(len(rows)) < 0.05, rng.uniform(0, 6, len(rows)), 0.0)
    late = late + 4.0 * (rows["parameter"] == "glucose_mm")
    observed = _after(rows["start"], rows["h"])
    quality = np.where(rng.random(len(rows)) < 0.01, "bad", "good")
    rows = rows.assign(
        revision=0, observed_at=observed, available_at=_after(observed, late), unit="1", quality=quality
    ).drop(columns=["start", "h"])
    again = rows[rng.random(len(rows)) < 0.01]
    later = _after(again["available_at"], rng.uniform(0.5, 30, len(again))).to_numpy()
    corrected = again.assign(revision=1, value=again["value"] + 0.5, available_at=pd.DatetimeIndex(later, tz="UTC"))
    both = pd.concat([rows, corrected], ignore_index=True).assign(value=lambda f: f["value"].round(4))
    return both.sort_values(list(RUN_HISTORY["observations"].key), ignore_index=True)


def _events(ids: np.ndarray, starts: pd.DatetimeIndex, rng: np.random.Generator) -> pd.DataFrame:
    """A phase of each batch, and a deviation of many, with the people who were there."""
    n = len(ids)
    people = rng.choice([f"o{i}" for i in range(6)], (2, n))
    phase = pd.DataFrame({"batch_id": ids, "kind": "phase", "code": "growth", "started_at": starts, "severity": "",
                          "ended_at": _after(starts, rng.uniform(28, 34, n)), "available_at": starts, "person_key": people[0]})  # fmt: skip
    began = _after(starts, rng.uniform(1, 40, n))
    deviation = pd.DataFrame({
        "batch_id": ids, "kind": "deviation", "code": rng.choice(["pump", "foam"], n), "started_at": began,
        "severity": rng.choice(["minor", "major"], n), "ended_at": _after(began, rng.uniform(0.2, 6, n)),
        "available_at": _after(began, rng.uniform(0, 2, n)), "person_key": people[1],
    })  # fmt: skip
    return pd.concat([phase, deviation[rng.random(n) < 0.6]], ignore_index=True)


def _materials(ids: np.ndarray, starts: pd.DatetimeIndex, lots: np.ndarray) -> pd.DataFrame:
    """A lot of medium at the start of each batch, and one of vector a few hours later."""
    consumed = _after(starts, np.full(len(ids), 3.0))
    vector = pd.DataFrame({"batch_id": ids, "material": "vector", "lot_id": [f"V{lot // 2}" for lot in lots],
                           "supplier": [f"u{lot % 2}" for lot in lots], "quantity": 0.1, "unit": "L", "consumed_at": consumed})  # fmt: skip
    from_start = consumed.mask(consumed.notna())
    medium = vector.assign(material="medium", lot_id=[f"L{lot}" for lot in lots], quantity=2.0, consumed_at=from_start)
    return pd.concat([medium, vector], ignore_index=True)


def _lot_results(effect: np.ndarray, starts: pd.DatetimeIndex, rng: np.random.Generator) -> pd.DataFrame:
    """The certificate of each lot of medium, and for some a retest weeks later."""
    n = len(effect)
    at = pd.Series(starts[np.minimum(np.arange(n) * 9, len(starts) - 1)]) - pd.Timedelta(days=2)
    first = pd.DataFrame({
        "lot_id": [f"L{i}" for i in range(n)], "material": "medium", "parameter": "titre", "observed_at": at,
        "revision": 0, "available_at": _after(at, rng.uniform(1, 90, n)), "value": np.round(5 + effect, 3), "unit": "1",
    })  # fmt: skip
    retest = first.assign(revision=1, available_at=_after(at, np.full(n, 200.0)), value=first["value"] + 0.2)
    return pd.concat([first, retest[rng.random(n) < 0.4]], ignore_index=True)


def _environment(starts: pd.DatetimeIndex, rng: np.random.Generator) -> pd.DataFrame:
    """A plate a day of each site, read three days later."""
    days = pd.date_range(starts[0].floor("D"), starts[-1], freq="D")
    parts = [
        pd.DataFrame({"site_id": site, "area_id": "suite", "metric": "viable_air", "observed_at": days,
                      "available_at": _after(days, np.full(len(days), 72.0)), "value": rng.poisson(2, len(days)).astype(float),
                      "grade": "B"})
        for site in ("north", "south")
    ]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def _dispositions(
    ids: np.ndarray, starts: pd.DatetimeIndex, failed: np.ndarray, rng: np.random.Generator
) -> pd.DataFrame:
    """Decisions hours to days after the end, a few before it; some are overturned ten days later, some batches cancelled."""
    n = len(ids)
    outcome = np.where(rng.random(n) < 0.04, "cancelled", np.where(failed, "rejected", "released"))
    decided = _after(starts, np.where(failed & (rng.random(n) < 0.3), 30, HOURS) + rng.uniform(2, 60, n))
    first = pd.DataFrame({"batch_id": ids, "revision": 0, "outcome": outcome, "failure_modes": "", "decided_at": decided,
                          "source": "", "verified_by": ""})  # fmt: skip
    other = np.where(outcome == "rejected", "released", "rejected")
    again = first.assign(revision=1, outcome=other, decided_at=decided + pd.Timedelta(days=10))
    return pd.concat([first, again[rng.random(n) < 0.06]], ignore_index=True)
