"""The truth file: which fault struck which batch, when, and what the batch would have become without it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow as pa

from pipelines.simulator.faults import MODES, Fault
from pipelines.simulator.kinetics import CHANNEL
from pipelines.simulator.outcome import Outcome
from pipelines.simulator.plan import BatchPlan, PlantPlan

_TIME = pa.timestamp("us", tz="UTC")
TRUTH = pa.schema([
    ("batch_id", pa.string()), ("mode", pa.string()), ("title", pa.string()), ("onset_at", _TIME), ("ended_at", _TIME),
    ("severity", pa.float64()), ("causal_chain", pa.string()), ("affected_parameters", pa.string()),
    ("first_observable_at", _TIME), ("outcome", pa.string()), ("counterfactual_outcome", pa.string()),
    ("caused_failure", pa.bool_()), ("in_progress", pa.bool_()),
])  # fmt: skip
_OBSERVABLE = (  # channel, noise SD (absolute), relative part
    ("temperature_c", 0.05, 0.0), ("ph", 0.02, 0.0), ("do_pct", 1.5, 0.0), ("o2_pct", 0.15, 0.0),
    ("co2_pct", 0.05, 0.0), ("glucose_mm", 0.0, 0.06), ("perfusion_vvd", 0.01, 0.0),
)  # fmt: skip
_HOLD_H = 3


def truth_rows(plan: PlantPlan, batch: BatchPlan) -> list[dict]:
    """One row per fault; one row of mode `none` for a failure that no fault explains."""
    rows = []
    for fault in batch.faults:
        without = batch.outcome_without(fault.mode)
        rows.append(_row(plan, batch, fault, without))
    if batch.outcome.failed and not any(r["caused_failure"] for r in rows):
        rows.append(_natural(plan, batch))
    return rows


def _row(plan: PlantPlan, batch: BatchPlan, fault: Fault, without: Outcome) -> dict:
    spec, seen = MODES[fault.mode], first_observable_h(batch, fault)
    return _common(plan, batch) | {
        "mode": fault.mode,
        "title": spec.title,
        "onset_at": _at(batch, fault.onset_h),
        "ended_at": _at(batch, fault.end_h),
        "severity": fault.severity,
        "causal_chain": " > ".join(fault.chain),
        "affected_parameters": ";".join(spec.affects),
        "first_observable_at": _at(batch, seen) if seen is not None else None,
        "counterfactual_outcome": without.outcome,
        "caused_failure": batch.outcome.failed and not without.failed,
    }


def _natural(plan: PlantPlan, batch: BatchPlan) -> dict:
    modes = [f.mode for f in batch.faults if not MODES[f.mode].benign]
    return _common(plan, batch) | {
        "mode": "none",
        "title": "several faults together" if len(modes) > 1 else "natural variation",
        "onset_at": _at(batch, 0.0),
        "ended_at": _at(batch, 216.0),
        "severity": float("nan"),
        "causal_chain": json.dumps(modes) if modes else "",
        "affected_parameters": "",
        "first_observable_at": None,
        "counterfactual_outcome": batch.outcome.outcome,
        "caused_failure": False,
    }


def _common(plan: PlantPlan, batch: BatchPlan) -> dict:
    return {"batch_id": batch.batch_id, "outcome": batch.outcome.outcome, "in_progress": batch.decided_at > plan.until}


def first_observable_h(batch: BatchPlan, fault: Fault) -> float | None:
    """When one noise-free in-line signal first stays more than 4 SD away from the fault-free course for 3 h.

    None where no signal does before the batch stops (M3, M9, M11 and most of M5), onset plus a drift's own time for
    a drifting probe.
    """
    if fault.mode == "M12":
        return fault.onset_h + 24.0
    with_it, without = batch.course(), batch.course(fault.mode)
    stop = int(min(batch.outcome.stop_h, 216.0))
    first = None
    for channel, noise, relative in _OBSERVABLE:
        column = CHANNEL[channel]
        reference = without[:stop, column]
        away = np.abs(with_it[:stop, column] - reference) > 4.0 * (noise + relative * np.abs(reference))
        held = np.convolve(away, np.ones(_HOLD_H), "valid") >= _HOLD_H
        if held.any():
            hour = float(np.argmax(held)) + _HOLD_H
            first = hour if first is None else min(first, hour)
    return first


def truth_table(plan: PlantPlan) -> pa.Table:
    """The whole truth, in order of batch and mode."""
    rows = [row for batch in plan.batches for row in truth_rows(plan, batch)]
    return pa.Table.from_pylist(rows, schema=TRUTH)


def _at(batch: BatchPlan, hour: float) -> pd.Timestamp:
    return pd.Timestamp(round((batch.start + hour) * 3600.0), unit="s", tz="UTC")
