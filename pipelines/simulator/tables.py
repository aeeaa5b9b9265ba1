"""From plan and readings to the seven run-history tables, nothing of it available after `until`."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.contracts import BATCHES, DISPOSITIONS, ENVIRONMENT, EVENTS, LOT_RESULTS, MATERIALS, OBSERVATIONS, Table
from pipelines.simulator.environment import environment_rows
from pipelines.simulator.events import Event, batch_events, calibrations
from pipelines.simulator.faults import DURATION_H
from pipelines.simulator.lots import BY_NAME as MATERIAL
from pipelines.simulator.plan import BatchPlan, PlantPlan
from pipelines.simulator.samples import sample_rows
from pipelines.simulator.sensors import US_H, Readings, sensor_rows
from pipelines.simulator.settings import Stream, stream
from pipelines.simulator.signals import BY_NAME as SIGNAL
from pipelines.simulator.signals import OBSERVED, QUALITY, stored_one

ATTRIBUTES = {
    "indication": pa.string(), "prior_bendamustine": pa.string(), "prior_lines": pa.float64(),
    "cd4_cd8_ratio": pa.float64(), "platelets_g_l": pa.float64(), "blasts_pct": pa.float64(),
    "monocytes_pct": pa.float64(), "apheresis_tnc_e9": pa.float64(), "apheresis_cd3_e9": pa.float64(),
    "apheresis_viability_pct": pa.float64(), "haematocrit_pct": pa.float64(), "transit_h": pa.float64(),
    "attempt": pa.float64(), "suite_id": pa.string(), "start_shift": pa.string(), "start_weekday": pa.string(),
    "concurrent_batches": pa.float64(), "operator_runs": pa.float64(), "equipment_used_h": pa.float64(),
    "integrity_test": pa.string(),
}  # fmt: skip
_TIME = pa.timestamp("us", tz="UTC")


def batch_record(plan: PlantPlan, batch: BatchPlan) -> tuple[Readings, list[Event]]:
    """Everything recorded of one batch, as available until now: observations and events."""
    rng = stream(plan.settings.seed, Stream.RECORD, batch.index)
    course = batch.course(record_every=1)
    calibrated = calibrations(batch, rng)
    sensors = sensor_rows(batch, course, plan.settings.sensor_interval_min, calibrated, rng)
    samples, sampled_h = sample_rows(batch, course, rng)
    events = batch_events(batch, course, sampled_h, calibrated, rng)
    readings = Readings.join([samples, sensors])
    return readings.take(np.flatnonzero(readings.available <= _us(plan.until))), events


def observations(batches: list[BatchPlan], readings: list[Readings]) -> pa.Table:
    """Observations of some batches; ids and names as dictionaries, which the writer stores as text."""
    rows = Readings.join(readings)
    owner = np.repeat(np.arange(len(batches), dtype=np.int32), [len(r.code) for r in readings])
    names = pa.array([s.name for s in OBSERVED])
    columns = {
        "batch_id": pa.DictionaryArray.from_arrays(pa.array(owner), pa.array([b.batch_id for b in batches])),
        "parameter": pa.DictionaryArray.from_arrays(pa.array(rows.code), names),
        "observed_at": _times(rows.observed),
        "revision": pa.array(rows.revision),
        "available_at": _times(rows.available),
        "value": pa.array(rows.value),
        "unit": pa.DictionaryArray.from_arrays(pa.array(rows.code), pa.array([s.unit for s in OBSERVED])),
        "quality": pa.DictionaryArray.from_arrays(pa.array(rows.quality), pa.array(list(QUALITY))),
    }
    return pa.table(columns).select(list(OBSERVATIONS.names))


def event_table(plan: PlantPlan, batches: list[BatchPlan], events: list[list[Event]]) -> pa.Table:
    """Events of some batches; an end that lies ahead of now is absent."""
    now, rows = _us(plan.until), []
    for batch, of_batch in zip(batches, events, strict=True):
        for e in of_batch:
            begin = _us(batch.start + e.started_h)
            known = _us(batch.start + (e.available_h if e.available_h is not None else e.started_h))
            end = None if e.ended_h is None else _us(batch.start + e.ended_h)
            if known <= now:
                end = end if end is None or end <= now else None
                rows.append((batch.batch_id, e.kind, e.code, begin, end, known, e.severity, e.person_key))
    return _table(EVENTS, rows)


def batch_table(plan: PlantPlan) -> pa.Table:
    """All batches with their attributes."""
    rows = []
    for b in plan.batches:
        c, d = b.circumstances, b.circumstances.donor
        donor = [getattr(d, name) for name in list(ATTRIBUTES)[:13]]
        day = int(b.start // 24.0 + 3) % 7
        rows.append((
            b.batch_id, "cart", b.site.site_id, b.version, b.scale_l, b.equipment_id, d.subject_key, _us(b.start),
            _us(b.start + DURATION_H), "simulated", *donor, b.suite, "night" if c.night else "day",
            "weekend" if day >= 5 else "weekday", float(c.concurrent), float(c.operator_runs),
            float(round(c.equipment_used_h)), "passed_on_retest" if c.integrity_retest else "passed",
        ))  # fmt: skip
    return _table(BATCHES, rows, ATTRIBUTES)


def material_table(plan: PlantPlan) -> pa.Table:
    """Which lots went into which batch, as consumed until now."""
    rows = []
    for b in plan.batches:
        for name, lot in b.lots.items():
            m = MATERIAL[name]
            at = _us(b.start + m.used_at_h)
            if at <= _us(plan.until) and m.used_at_h <= b.outcome.stop_h:
                rows.append((b.batch_id, name, lot.lot_id, lot.supplier, m.quantity * b.doses, m.unit, at))
    return _table(MATERIALS, rows)


def lot_table(plan: PlantPlan) -> pa.Table:
    """Tests of the material lots; a bad lot passed its tests, at the lower end."""
    rows = []
    for lot in plan.lots:
        rng = stream(plan.settings.seed, *lot.key, 1)
        for order, (name, centre, cv) in enumerate(MATERIAL[lot.material].tests):
            hint = lot.factor**0.25 if order == 0 and lot.material in ("vector", "activation_reagent") else 1.0
            value = stored_one(name, centre * hint * (1.0 + cv * rng.standard_normal()))
            observed = _us(lot.made_at + 24.0 * rng.uniform(1.0, 4.0))
            available = observed + round(24.0 * rng.uniform(2.0, 10.0) * US_H)
            rows.append((lot.lot_id, lot.material, name, observed, 0, available, value, SIGNAL[name].unit))
    return _table(LOT_RESULTS, rows)


def environment_table(plan: PlantPlan) -> pa.Table:
    """Environmental monitoring of all sites, as available until now."""
    parts = []
    for site in plan.sites:
        r = environment_rows(plan.settings.seed, site, plan.first, plan.until)
        observed, available = (np.round(r[k] * 3600.0).astype(np.int64) * 1_000_000 for k in ("observed", "available"))
        parts.append(pa.table({
            "site_id": pa.array([site.site_id] * len(observed)), "area_id": pa.array(r["area_id"]),
            "metric": pa.array(r["metric"]), "observed_at": _times(observed), "available_at": _times(available),
            "value": pa.array(r["value"]), "grade": pa.array(r["grade"]),
        }))  # fmt: skip
    table = pa.concat_tables(parts)
    now = pa.scalar(_us(plan.until), pa.int64()).cast(_TIME)
    return table.filter(pc.field("available_at") <= now).cast(ENVIRONMENT.arrow())


def disposition_table(plan: PlantPlan) -> pa.Table:
    """Decisions made until now; a few are amended later, in their reasons."""
    rows, now = [], _us(plan.until)
    for b in plan.batches:
        decided, o = _us(b.decided_at), b.outcome
        person = "QP-" + b.site.site_id[-1] + str(1 + int(3 * b.draws.uniform[57]))
        if decided > now:
            continue
        rows.append((b.batch_id, 0, o.outcome, ";".join(o.failure_modes), decided, "quality record", person))
        amended = decided + round(24.0 * 6.0 * US_H)
        if o.failed and b.draws.uniform[56] < 0.05 and amended <= now:
            reasons = ";".join((*o.failure_modes, "investigated"))
            rows.append((b.batch_id, 1, o.outcome, reasons, amended, "quality record", person))
    return _table(DISPOSITIONS, rows)


def _table(contract: Table, rows: Iterable[tuple], attributes: dict[str, pa.DataType] | None = None) -> pa.Table:
    schema = contract.arrow(attributes)
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [_times(c) if f.type == _TIME else pa.array(c, f.type) for f, c in zip(schema, columns, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _times(us: np.ndarray | tuple[int | None, ...]) -> pa.Array:
    return pa.array(us, pa.int64()).cast(_TIME)


def _us(hours: float) -> int:
    return round(hours * 3600.0) * 1_000_000
