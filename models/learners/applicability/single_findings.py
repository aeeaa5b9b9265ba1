"""Findings on single newest values: what was reported, what was expected, and whether a factor of ten explains it."""

from __future__ import annotations

import numpy as np

from models.learners.applicability.domain import Finding
from models.learners.applicability.model import Applicability
from models.learners.applicability.single import CHECK, Departures, SingleValues

_MOST = 3  # findings of a row


def check_single(model: Applicability, x: np.ndarray, checkpoint_h: float) -> tuple[list[Finding], dict[str, float]]:
    """Check every newest value of a row against the one before it, or against what is usual where it is the first.

    Args:
        model: Of the predictor.
        x: Row of the encoder's matrix, shape (k,).
        checkpoint_h: Hours since the start.

    Returns:
        One finding per suspicious value, worst first, at most a few; and the ratio of this check. A slip by a power of
        ten is a finding whatever the limit, and no part of the ratio: the limit is widened by what is ordinary, and a
        wrong unit is not. Both are empty where the domain judges no single values.
    """
    single = model.single
    if single is None:
        return [], {}
    hours = np.array([checkpoint_h])
    band, between = int(model.band_numbers(hours)[0]), bool(model.between_bands(hours)[0])
    found, limit = single.departures(x, band, between=between), single.limit(band, between=between)
    ratio = {CHECK: float((found.jumps / limit).max())}
    suspicious = np.flatnonzero((found.excess > limit) | found.slips)
    if not len(suspicious):
        return [], ratio
    worst = suspicious[np.argsort(-(found.excess / limit)[suspicious], kind="stable")][:_MOST]
    expected = single.expected(x, band, between=between)
    return [_finding(model, single, x, int(i), found, float(limit[i]), expected) for i in worst], ratio


def _finding(
    model: Applicability,
    single: SingleValues,
    x: np.ndarray,
    i: int,
    found: Departures,
    limit: float,
    expected: tuple[np.ndarray, np.ndarray],
) -> Finding:
    """The finding on parameter `i` of the single values."""
    feature = model.columns[single.places[i]]
    value, excess = float(x[single.places[i]]), float(found.excess[i])
    low, high = float(expected[0][i]), float(expected[1][i])
    before = f" after {x[single.previous[i]]:.4g}" if found.by_step[i] else ""
    stage = "after such a value" if found.by_step[i] else "at this stage"
    ten = f"; a factor of ten? {value * 10.0 ** found.tens[i]:.4g} would be" if found.slips[i] else ""
    sentence = (
        f"{model.words[feature]} {value:.4g}{before}, {low:.4g} to {high:.4g} is usual {stage}, "
        f"{excess:.3g} usual spreads beyond (limit {limit:.3g}){ten}"
    )
    ratio = excess / limit if excess > limit else None
    return Finding("suspicious value", CHECK, (feature,), excess, limit, ratio, sentence)
