"""What is said of a sensor that is not to be believed: fixed templates with what was seen and what is usual."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from models.learners.sensor_limits import Check


@dataclass(frozen=True)
class SensorFinding:
    """One sensor of one batch that is not to be believed.

    Attributes:
        parameter: The sensor.
        kind: `drifting`, `flat-lined` or `spiking`.
        value: What was seen, in the unit of the check.
        usual_low: Lower end of what is usual at that hour; None where it is open.
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
    """A value beyond the limits of its check, said in one sentence."""
    sentence = _SENTENCE[check.statistic](check, value, low, high)
    usual = [float(end) if math.isfinite(end) else None for end in (low, high)]
    return SensorFinding(check.parameter, check.kind, float(value), usual[0], usual[1], sentence)


def _number(value: float, unit: str) -> str:
    text = f"{value:.0f}" if value >= 10 else f"{value:.2g}"
    return text + (f" {unit}" if unit not in ("", "1") else "")


def _drifts(check: Check, value: float, low: float, high: float) -> str:
    side = "above" if value > 0 else "below"
    within = _number(max(abs(low), abs(high)), check.unit)
    return (
        f"{check.label}: the signal in line reads {_number(abs(value), check.unit)} {side} the off-line result "
        f"(usual within {within}): the probe drifts"
    )


def _moved(check: Check, value: float, low: float, high: float) -> str:
    way = "up" if value > 0 else "down"
    within = _number(max(abs(low), abs(high)), check.unit)
    return (
        f"{check.label}: the signal in line has moved {_number(abs(value), check.unit)} {way} against the off-line result "
        f"since the first samples (usual within {within}): the probe drifts"
    )


def _stands(check: Check, value: float, low: float, high: float) -> str:
    return (
        f"{check.label} has not changed for {_number(value, 'h')} (usual at most {_number(high, 'h')}): "
        "the signal is stuck"
    )


def _spikes(check: Check, value: float, low: float, high: float) -> str:
    return (
        f"{check.label} spikes in {_number(100 * value, '%')} of the hours (usual at most {_number(100 * high, '%')}): "
        "the signal is disturbed"
    )


_SENTENCE: dict[str, Callable[[Check, float, float, float], str]] = {
    "gap_median": _drifts, "gap_change": _moved, "flat_h": _stands, "spike_share": _spikes,
}  # fmt: skip
