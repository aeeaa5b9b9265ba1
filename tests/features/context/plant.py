"""Tiny frames of a plant, written by hand: hours after T0 instead of dates."""

from __future__ import annotations

import pandas as pd
from pandas.api.typing import NaTType

from features.contracts import LABELS, RUN_HISTORY, Table
from features.process import ProcessDefinition

T0 = pd.Timestamp("2026-01-01T00:00Z")
_DTYPES = {"id": "str", "text": "str", "number": "float64", "integer": "int32", "flag": "bool",
           "time": "datetime64[us, UTC]"}  # fmt: skip


def at(hours) -> pd.Timestamp | NaTType:
    return pd.NaT if hours is None else T0 + pd.Timedelta(hours=hours)


def frame(table: Table, rows: list[dict]) -> pd.DataFrame:
    """Rows with hours for times; what is left out takes the contract's default."""
    full = []
    for row in rows:
        cells = {c.name: c.default for c in table.columns} | row
        for c in table.columns:
            if c.kind == "time":
                cells[c.name] = at(
                    cells[c.name] if cells[c.name] is not None or not c.default_from else row[c.default_from]
                )
        full.append(cells)
    made = pd.DataFrame(full, columns=[*table.names, *{k: 0 for r in rows for k in r if k not in table.names}])
    for c in table.columns:
        if c.kind == "time":
            made[c.name] = pd.to_datetime(made[c.name], utc=True)
    return made.astype({c.name: _DTYPES[c.kind] for c in table.columns})


def tables(**rows: list[dict]) -> dict[str, pd.DataFrame]:
    return {name: frame(RUN_HISTORY[name], found) for name, found in rows.items()}


def labels(*rows: tuple) -> pd.DataFrame:
    """(batch, revision, failed, available in hours[, censored])."""
    return frame(LABELS, [
        {"batch_id": b, "revision": r, "failed": f, "label_available_at": t, "censored": bool(rest and rest[0])}
        for b, r, f, t, *rest in rows
    ])  # fmt: skip


def snapshots(batches: pd.DataFrame, *asked: tuple[str, float]) -> pd.DataFrame:
    """Rows of (batch, hours since its start)."""
    start = batches.drop_duplicates("batch_id").set_index("batch_id")["started_at"]
    ids = pd.Series([b for b, _ in asked], dtype="str")
    elapsed = pd.Series([float(h) for _, h in asked])
    started = start.reindex(ids).reset_index(drop=True)
    as_of = (started + pd.to_timedelta(elapsed, unit="h")).astype("datetime64[us, UTC]")
    return pd.DataFrame({"batch_id": ids, "checkpoint_h": elapsed, "started_at": started, "as_of": as_of})


PROCESS = ProcessDefinition.model_validate({
    "process": {"id": "p", "name": "P", "version": "1", "planned_duration_h": 100,
                "checkpoints_h": [0, 50], "windows_h": [6]},
    "parameter": [
        {"name": "donor_age", "label": "Donor age", "unit": "a", "kind": "attribute"},
        {"name": "disease", "label": "Disease", "unit": "category", "kind": "attribute"},
        {"name": "initials", "label": "Initials", "unit": "category", "kind": "attribute", "excluded": True},
        {"name": "titre", "label": "Titre", "unit": "TU/mL", "kind": "assay"},
        {"name": "water_pct", "label": "Water", "unit": "%", "kind": "assay"},
        {"name": "secret", "label": "Secret", "unit": "%", "kind": "assay", "excluded": True},
    ],
    "phase": [
        {"name": "grow", "label": "Growth", "starts_h": 0, "planned_h": 40},
        {"name": "wash", "label": "Wash", "starts_h": 40, "planned_h": 4},
    ],
})  # fmt: skip
