"""What happened in a batch: phases, interventions, handovers, calibrations, alarms, deviations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.simulator.faults import PROBES, probe_drift
from pipelines.simulator.kinetics import CHANNEL
from pipelines.simulator.plan import DT_H, BatchPlan

PHASES = (  # name, planned start h, planned hours
    ("activation", 0.0, 24.0), ("transduction", 24.0, 24.0), ("expansion", 48.0, 48.0), ("perfusion", 96.0, 120.0),
)  # fmt: skip
ALARMS = (  # code, channel, low, high, minutes before it sounds
    ("temperature", "temperature_c", 36.2, 37.8, 10), ("do_low", "do_pct", 25.0, np.inf, 15),
    ("ph", "ph", 6.85, 7.55, 20), ("co2_high", "co2_pct", -np.inf, 14.0, 10),
    ("perfusion_stopped", "perfusion_vvd", 0.1, np.inf, 240),
)  # fmt: skip


@dataclass(frozen=True)
class Event:
    """One event; times in hours since the batch's start, `ended_h` None while open."""

    kind: str
    code: str
    started_h: float
    ended_h: float | None = None
    available_h: float | None = None
    severity: str = ""
    person_key: str = ""


def batch_events(batch: BatchPlan, course: np.ndarray, sampled_h: list[float], calibrated_h: dict[str, list[float]],
                 rng: np.random.Generator) -> list[Event]:  # fmt: skip
    """All events of one batch until it stops; deviations may close later."""
    stop, people = batch.outcome.stop_h, batch.operators
    who = lambda: people[int(rng.integers(len(people)))]  # noqa: E731
    events = _phases(batch, rng)
    events += [Event("intervention", "manipulation", float(h), float(h) + 0.3, person_key=who())
               for h in batch.circumstances.interventions_h if h < stop]  # fmt: skip
    events += [Event("intervention", "sampling", h, h + 0.15, person_key=who()) for h in sampled_h]
    events += [Event("calibration", probe, h, h + 0.2, person_key=who())
               for probe, at in calibrated_h.items() for h in at if h < stop]  # fmt: skip
    first = 8.0 - (batch.start % 8.0)
    events += [Event("handover", "shift", float(h), None, person_key=who()) for h in np.arange(first, stop, 8.0)]
    alarms = _alarms(batch, course, calibrated_h)
    events += alarms
    events += _deviations(alarms, stop, rng)
    if batch.circumstances.integrity_retest:
        events.append(
            Event("deviation", "integrity_retest", 0.1, 0.1 + 24.0 * (4 + 6 * rng.random()), severity="minor")
        )
    unique = {(e.kind, e.code, round(e.started_h * 3600.0)): e for e in events}
    return sorted(unique.values(), key=lambda e: (e.started_h, e.kind, e.code))


def calibrations(batch: BatchPlan, rng: np.random.Generator) -> dict[str, list[float]]:
    """Hours at which a probe was recalibrated: the gap to the off-line value is noticed now and then."""
    found = {}
    for probe in PROBES:
        u = rng.random(2)
        bad = next((f for f in batch.faults if f.probe == probe), None)
        if bad is not None and u[0] < 0.5:
            found[probe] = [bad.onset_h + 24.0 + 60.0 * u[1]]
        elif u[0] < 0.08:
            found[probe] = [30.0 + 170.0 * u[1]]
    return {probe: hours for probe, hours in found.items() if hours[0] < batch.outcome.stop_h}


def _phases(batch: BatchPlan, rng: np.random.Generator) -> list[Event]:
    stop, events = batch.outcome.stop_h, []
    shift = -12.0 if batch.version == "2" else 0.0  # perfusion starts earlier
    for name, start, hours in PHASES:
        begin = start + (shift if name == "perfusion" else 0.0)
        end = start + hours + (shift if name == "expansion" else 0.0)
        begin, end = begin + 0.2 * float(rng.random()) * (begin > 0), end + 0.2 * float(rng.random())
        if begin < stop:
            events.append(Event("phase", name, begin, min(end, stop)))
    if stop >= 216.0:
        events.append(Event("phase", "harvest_wash", 216.3, 218.5))
    return events


def _alarms(batch: BatchPlan, course: np.ndarray, calibrated_h: dict[str, list[float]]) -> list[Event]:
    """Alarms of the in-line values, a drifting probe's own included, once they are out of limits long enough."""
    stop, events = batch.outcome.stop_h, []
    at_h = np.arange(int(stop / DT_H) + 1) * DT_H
    for code, channel, low, high, minutes in ALARMS:
        value = course[: len(at_h), CHANNEL[channel]]
        value = value + probe_drift(batch.faults, channel, at_h, calibrated_h.get(channel, ()))
        out = (value < low) | (value > high)
        if channel == "perfusion_vvd":
            out &= np.maximum.accumulate(value) > 0.1
        edges = np.flatnonzero(np.diff(np.concatenate([[False], out, [False]]).astype(np.int8)))
        for begin, until in edges.reshape(-1, 2) * DT_H:
            sounds, end = float(begin) + minutes / 60.0, float(min(until, stop))
            if end > sounds:
                events.append(Event("alarm", code, sounds, end))
    return events[:40]


def _deviations(alarms: list[Event], stop: float, rng: np.random.Generator) -> list[Event]:
    """Deviations opened after long alarms, and the everyday ones that mean nothing for the product."""
    events, codes = [], set()
    for alarm in alarms:
        length = (alarm.ended_h or stop) - alarm.started_h
        u = rng.random(3)
        if length > 2.0 and alarm.code not in codes and u[0] < 0.7:
            codes.add(alarm.code)
            opened = alarm.started_h + 1.0 + 10.0 * float(u[1])
            events.append(_deviation(alarm.code, opened, "major" if length > 8.0 else "minor", float(u[2])))
    for _ in range(int(rng.poisson(0.25))):
        code = ("documentation", "material_delay", "equipment_minor")[int(rng.integers(3))]
        events.append(_deviation(code, float(rng.uniform(1.0, 215.0)), "minor", float(rng.random())))
    unique = {(e.code, e.started_h): e for e in events if e.started_h < stop}
    return list(unique.values())


def _deviation(code: str, opened: float, severity: str, u: float) -> Event:
    return Event("deviation", code, opened, opened + 24.0 * (3.0 + 17.0 * u), opened + 0.5, severity)
