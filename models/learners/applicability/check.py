"""Whether a score of a snapshot may be trusted: eight checks, each with a sentence that gives its numbers.

Every limit is the finite-sample 99 % quantile over held-out training batches that did not fail, later than those that
set location, shape and ranges (`models.learners.applicability.fit`). One row takes a fraction of a millisecond.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from features.errors import ContractError
from models.learners.applicability import domain
from models.learners.applicability.bands import Band
from models.learners.applicability.domain import NAMED, Domain, Finding
from models.learners.applicability.model import Applicability, Measured
from models.learners.applicability.ranges import Ranges


def check(
    model: Applicability,
    x: np.ndarray,
    row: Mapping[str, Any],
    checkpoint_h: float,
    *,
    missing: Sequence[str] = (),
    stale: Mapping[str, float] | None = None,
) -> Domain:
    """Whether a score of this row may be trusted.

    Args:
        model: What training saw.
        x: Row of the encoder's matrix, shape (k,).
        row: The same snapshot by feature name, for what the encoder leaves out: names never seen, constant columns.
        checkpoint_h: Hours since the start.
        missing: Parameters of the model without a value (`models.explain.completeness.missing`).
        stale: Parameters older than usual, with their age (`models.explain.completeness.stale`).

    Raises:
        ContractError: `x` is not a row of this predictor's matrix.
    """
    if x.shape != (len(model.columns),):
        raise ContractError(f"a row of shape {x.shape}", expected=f"the {len(model.columns)} columns of the encoder")
    m, band = model.measure(x, checkpoint_h), model.band(checkpoint_h)
    most = model.most_missing(checkpoint_h)
    old = stale or {}
    ratios = model.ratios(m, band)
    ratios |= {"missing": len(missing) / most, "stale": len(old) / max(band.limits.stale, 1.0)}
    found = [*_subgroups(model, row), *_names(model, row)]
    say = {
        "range": lambda: _range(model, x, m, band, ratios["range"]),
        "distance": lambda: _distance(model, m, band),
        "neighbours": lambda: domain.no_neighbour(m.neighbours, band.limits.neighbours),
        "missing": lambda: domain.too_much_missing(missing, most),
        "age": lambda: _age(model, x, m, band),
        "stale": lambda: domain.stale(old, max(band.limits.stale, 1.0)),
    }
    found += [say[name]() for name, ratio in ratios.items() if ratio > 1]
    reach = {name: band.reach[name] for name in ratios if name in band.reach}
    return Domain(tuple(found), ratios, reach)


def _subgroups(model: Applicability, row: Mapping[str, Any]) -> list[Finding]:
    found = []
    for feature, counts in model.support.items():
        value = _name(row.get(feature))
        if value is not None and counts.get(value, 0) < model.min_batches:
            found.append(
                domain.unsupported(feature, model.words[feature], value, counts.get(value, 0), model.min_batches)
            )
    return found


def _names(model: Applicability, row: Mapping[str, Any]) -> list[Finding]:
    found = []
    for feature, names in model.categories.items():
        value = _name(row.get(feature))
        if value is not None and value not in names:
            found.append(domain.unseen(feature, model.words[feature], value, names))
    return found


def _range(model: Applicability, x: np.ndarray, m: Measured, band: Band, ratio: float) -> Finding:
    worst = _one_per_parameter(model, m.excess, model.valued)
    place = worst[0]
    said = _said(model, x, model.valued[place], band.values, place)
    return domain.out_of_range(
        tuple(model.columns[model.valued[i]] for i in worst),
        said,
        n=m.outside,
        most=band.limits.outside,
        excess=float(m.excess[place]),
        limit=max(band.limits.excess, model.margin),
        shift=m.shift,
        most_shift=max(band.limits.shift, model.margin),
        ratio=ratio,
    )


def _age(model: Applicability, x: np.ndarray, m: Measured, band: Band) -> Finding:
    worst = _one_per_parameter(model, m.ages, model.aged)
    said = _said(model, x, model.aged[worst[0]], band.ages, worst[0])
    subjects = tuple(model.parameters[model.aged[i]] for i in worst)
    return domain.older(subjects, said, float(m.ages[worst[0]]), max(band.limits.age, model.margin))


def _distance(model: Applicability, m: Measured, band: Band) -> Finding:
    order = np.argsort(-m.parts, kind="stable")[:NAMED]
    places = band.ellipsoid.places if band.ellipsoid else order
    subjects = tuple(model.columns[model.levels[places[i]]] for i in order)
    words = [model.words[name] for name in subjects]
    return domain.far(subjects, words, m.distance, band.limits.distance)


def _one_per_parameter(model: Applicability, excess: np.ndarray, places: np.ndarray) -> list[int]:
    """Places of the largest excesses, one for each parameter, at most a few."""
    chosen: dict[str, int] = {}
    for i in np.argsort(-excess, kind="stable"):
        if len(chosen) == NAMED or excess[i] <= 0:
            break
        chosen.setdefault(model.parameters[places[i]], int(i))
    return list(chosen.values())


def _said(model: Applicability, x: np.ndarray, column: int, ranges: Ranges, place: int) -> str:
    value, low, high = x[column], ranges.low[place], ranges.high[place]
    return f"{model.words[model.columns[column]]} {value:.4g}, seen {low:.4g} to {high:.4g}"


def _name(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    known = isinstance(value, int | float) and not math.isnan(value)  # None, NaN and NA are no names
    return f"{value:g}" if known else None
