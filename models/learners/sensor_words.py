"""What is said of a sensor that is not to be believed: fixed templates with what was seen and what is usual."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from models.learners.sensor_limits import Check

_ENDS = ("usual_low", "usual_high")


@dataclass(frozen=True)
class SensorFinding:
    """One sensor of one batch that is not to be believed.

    Attributes:
        parameter: The sensor.
        kind: `drifting`, `flat-lined` or `spiking`.
        value: What was seen, in the unit of the check.
        usual_low: Lower end of what is usual at that hour, -inf where there is none.
        usual_high: Upper end.
        text: One sentence.
    """

    parameter: str
    kind: str
    value: float
    usual_low: float
    usual_high: float
    text: str

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; a side without a limit is null."""
        ends = {name: float(end) if math.isfinite(end := getattr(self, name)) else None for name in _ENDS}
        plain = asdict(self) | ends | {"value": float(self.value), "sentence": self.text}
        del plain["text"]  # as every part of a record calls it
        return plain


def finding(check: Check, value: float, low: float, high: float) -> SensorFinding:
    """A value beyond the limits of its check, said in one sentence."""
    sentence = _SENTENCE[check.statistic](check, value, low, high)
    return SensorFinding(check.parameter, check.kind, value, low, high, sentence)


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
