"""The truth file: which fault struck which batch, when, and what the batch would have become without it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from pipelines.simulator.faults import DURATION_H, MODES, Fault
from pipelines.simulator.kinetics import CHANNEL
from pipelines.simulator.outcome import Outcome
from pipelines.simulator.plan import BatchPlan, PlantPlan

Row = dict[str, str | float | bool | datetime | None]  # by column of TRUTH
_TIME = pa.timestamp("us", tz="UTC")
TRUTH = pa.schema([
    ("batch_id", pa.string()), ("mode", pa.string()), ("title", pa.string()), ("onset_at", _TIME), ("ended_at", _TIME),
    ("severity", pa.float64()), ("causal_chain", pa.string()), ("affected_parameters", pa.string()),
    ("first_observable_at", _TIME), ("outcome", pa.string()), ("counterfactual_outcome", pa.string()),
    ("caused_failure", pa.bool_()), ("in_progress", pa.bool_()),
])  # fmt: skip
_IN_LINE = (  # channel, noise SD, relative part
    ("temperature_c", 0.05, 0.0), ("ph", 0.02, 0.0), ("do_pct", 1.5, 0.0), ("o2_pct", 0.15, 0.0),
    ("co2_pct", 0.05, 0.0), ("glucose_mm", 0.0, 0.06), ("perfusion_vvd", 0.01, 0.0),
)  # fmt: skip
_SAMPLED = (("viable_e6_ml", 0.0, 0.10), ("lactate_mm", 0.0, 0.03), ("diameter_um", 0.12, 0.0))
_PROBE_NOISE = {"ph": 0.02, "do_pct": 1.5, "glucose_inline_mm": 0.9}
_CAR_NOISE, _CAR_RESULT_H = 2.2, 144.0
_HOLD_H = 3


def truth_rows(plan: PlantPlan, batch: BatchPlan) -> list[Row]:
    """One row per fault; one row of mode `none` for a failure that no fault explains."""
    rows = []
    for fault in batch.faults:
        without = batch.outcome_without(fault.mode)
        rows.append(_row(plan, batch, fault, without))
    if batch.outcome.failed and not any(r["caused_failure"] for r in rows):
        rows.append(_natural(plan, batch))
    return rows


def _row(plan: PlantPlan, batch: BatchPlan, fault: Fault, without: Outcome) -> Row:
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


def _natural(plan: PlantPlan, batch: BatchPlan) -> Row:
    modes = [f.mode for f in batch.faults if not MODES[f.mode].benign]
    return _common(plan, batch) | {
        "mode": "none",
        "title": "several faults together" if len(modes) > 1 else "natural variation",
        "onset_at": _at(batch, 0.0),
        "ended_at": _at(batch, DURATION_H),
        "severity": float("nan"),
        "causal_chain": json.dumps(modes) if modes else "",
        "affected_parameters": "",
        "first_observable_at": None,
        "counterfactual_outcome": batch.outcome.outcome,
        "caused_failure": False,
    }


def _common(plan: PlantPlan, batch: BatchPlan) -> Row:
    return {"batch_id": batch.batch_id, "outcome": batch.outcome.outcome, "in_progress": batch.decided_at > plan.until}


def first_observable_h(batch: BatchPlan, fault: Fault) -> float | None:
    """When a noise-free signal first lies more than 4 SD of its noise away from the course without the fault.

    In-line signals have to stay out for 3 h; daily samples count once their result is there. None where nothing
    shows before the batch stops (M11, most of M5).
    """
    if fault.mode == "M12":
        return fault.onset_h + 4.0 * _PROBE_NOISE[fault.probe] / abs(fault.severity) * 24.0 + _HOLD_H
    stop, found = min(batch.outcome.stop_h, DURATION_H), []
    with_it, without = batch.course(), batch.course(fault.mode)
    for signal in _IN_LINE:
        held = np.convolve(_away(with_it, without, *signal), np.ones(_HOLD_H), "valid") >= _HOLD_H
        found += [float(np.argmax(held)) + _HOLD_H] if held.any() else []
    for signal in _SAMPLED:
        seen = np.flatnonzero(_away(with_it, without, *signal)[25::24])
        found += [25.0 + 24.0 * float(seen[0]) + 1.0] if len(seen) else []
    if abs(_car(batch) - _car(batch, fault.mode)) > 4.0 * _CAR_NOISE:
        found.append(_CAR_RESULT_H)
    if fault.in_record:
        found.append(25.0)
    first = min(found, default=np.inf)
    return first if first <= stop else None


def _away(with_it: np.ndarray, without: np.ndarray, channel: str, noise: float, relative: float) -> np.ndarray:
    reference = without[:, CHANNEL[channel]]
    return np.abs(with_it[:, CHANNEL[channel]] - reference) > 4.0 * (noise + relative * np.abs(reference))


def _car(batch: BatchPlan, without: str = "") -> float:
    """True % CAR+."""
    return 100.0 * (1.0 - (1.0 + batch.record(without)[1].moi / 2.0) ** -2.0)


def truth_table(plan: PlantPlan) -> pa.Table:
    """The whole truth, in order of batch and mode."""
    rows = [row for batch in plan.batches for row in truth_rows(plan, batch)]
    return pa.Table.from_pylist(rows, schema=TRUTH)


def _at(batch: BatchPlan, hour: float) -> datetime:
    return datetime.fromtimestamp(round((batch.start + hour) * 3600.0), UTC)
