"""Scales on which release attributes are modelled: log for amounts, logit for percentages, or as they are."""

from __future__ import annotations

import numpy as np

from features.process import QualityAttribute

_LEAST_PERCENT = 0.5  # a percentage this close to 0 or 100 counts as this close: one odd result must not rule a fit
_OF_LIMIT = 0.1  # of a percentage limit's own distance to 0 or 100: a limit of 0.1 % must stay one that can be missed
_LEAST_SHARE = 1e-3  # of the nearer limit: the same for amounts


def to_scale(attribute: QualityAttribute, values: np.ndarray) -> np.ndarray:
    """Values in the attribute's unit to its modelling scale; NaN stays NaN."""
    if attribute.transform == "log":
        return np.log(np.maximum(values, _floor(attribute)))
    if attribute.transform == "logit":
        least = _least_percent(attribute)
        inside = np.clip(values, least, 100 - least)
        return np.log(inside / (100 - inside))
    return np.asarray(values, dtype=float)


def from_scale(attribute: QualityAttribute, values: np.ndarray) -> np.ndarray:
    """Back to the attribute's unit."""
    if attribute.transform == "log":
        return np.exp(values)
    if attribute.transform == "logit":
        return 100 / (1 + np.exp(-np.asarray(values)))
    return np.asarray(values, dtype=float)


def limits_on_scale(attribute: QualityAttribute) -> tuple[float, float]:
    """Lower and upper specification on the modelling scale; infinite where open."""
    low = -np.inf if attribute.lower is None else float(to_scale(attribute, np.array(attribute.lower)))
    high = np.inf if attribute.upper is None else float(to_scale(attribute, np.array(attribute.upper)))
    return low, high


def _floor(attribute: QualityAttribute) -> float:
    limits = [abs(x) for x in (attribute.lower, attribute.upper) if x]
    return _LEAST_SHARE * (min(limits) if limits else 1.0)


def _least_percent(attribute: QualityAttribute) -> float:
    to_end = [min(x, 100 - x) for x in (attribute.lower, attribute.upper) if x is not None and 0 < x < 100]
    return min([_LEAST_PERCENT, *(_OF_LIMIT * distance for distance in to_end)])
