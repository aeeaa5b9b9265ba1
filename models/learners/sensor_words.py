"""Findings about sensors at fault: fixed sentences with the value found and the usual one."""

from __future__ import annotations

import math
from dataclasses import dataclass

from models.learners.sensor_limits import Check

_SENTENCES = {
    "gap_median": "{label}: the signal in line reads {size} {side} the off-line result (usual within {within}): the probe drifts",
    "gap_change": "{label}: the signal in line has moved {size} {way} against the off-line result since the first samples "
    "(usual within {within}): the probe drifts",
    "flat_h": "{label} has not changed for {hours} (usual at most {most_hours}): the signal is stuck",
    "spike_share": "{label} spikes in {share} of the hours (usual at most {most_share}): the signal is disturbed",
}


@dataclass(frozen=True)
class SensorFinding:
    """One sensor of one batch that is at fault.

    Attributes:
        parameter: The sensor.
        kind: `drifting`, `flat-lined` or `spiking`.
        value: Value found, in the unit of the check.
        usual_low: Lower end of the usual range at that hour; None where it is open.
        usual_high: Upper end; None where it is open.
        sentence: All of it, to read.
    """

    parameter: str
    kind: str
    value: float
    usual_low: float | None
    usual_high: float | None
    sentence: str


def finding(check: Check, value: float, low: float, high: float) -> SensorFinding:
    """The finding about a value beyond the limits of its check."""
    sentence = _SENTENCES[check.statistic].format(
        label=check.label,
        size=_number(abs(value), check.unit),
        side="above" if value > 0 else "below",
        way="up" if value > 0 else "down",
        within=_number(max(abs(low), abs(high)), check.unit),
        hours=_number(value, "h"),
        most_hours=_number(high, "h"),
        share=_number(100 * value, "%"),
        most_share=_number(100 * high, "%"),
    )
    usual = [float(end) if math.isfinite(end) else None for end in (low, high)]
    return SensorFinding(check.parameter, check.kind, float(value), usual[0], usual[1], sentence)


def _number(value: float, unit: str) -> str:
    text = f"{value:.0f}" if value >= 10 else f"{value:.2g}"
    return text + (f" {unit}" if unit not in ("", "1") else "")
