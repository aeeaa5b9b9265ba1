"""Checks whether a snapshot lies inside the applicability domain; each finding gives its numbers in a sentence.

Every limit is the finite-sample 99 % quantile over held-out training batches that did not fail, later than those that
set location, shape and ranges (`models.learners.applicability.fit`). One row takes a fraction of a millisecond.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from features.errors import ContractError
from models.learners.applicability.bands import Band
from models.learners.applicability.domain import Domain, Finding
from models.learners.applicability.model import Applicability, Measured
from models.learners.applicability.ranges import Ranges
from models.learners.applicability.single_findings import check_single

_MOST_SUBJECTS = 3  # of a finding


def check(
    model: Applicability,
    x: np.ndarray,
    row: Mapping[str, object],
    checkpoint_h: float,
    *,
    missing: Sequence[str] = (),
    stale: Mapping[str, float] | None = None,
    without_values: bool = False,
) -> Domain:
    """Check one row.

    Args:
        model: Ranges, shapes and limits of training.
        x: Row of the encoder's matrix, shape (k,).
        row: The same snapshot by feature name, for categories that the encoder has no code for and constant columns.
        checkpoint_h: Hours since the start.
        missing: Parameters of the model without a value (`models.scoring.alignment.FeatureAligner.missing`).
        stale: Parameters older than usual, with their age in hours (`models.scoring.alignment.FeatureAligner.stale`).
        without_values: Whether no parameter of the model has a value.

    Raises:
        ContractError: `x` is not a row of this predictor's matrix.
    """
    if x.shape != (len(model.columns),):
        raise ContractError(f"a row of shape {x.shape}", expected=f"the {len(model.columns)} columns of the encoder")
    m, band, old = model.measure(x, checkpoint_h), model.band(checkpoint_h), stale or {}
    most_missing, most_stale = model.most_missing(checkpoint_h), max(band.limits.stale, 1.0)
    ratios = model.ratios(m, band) | {"missing": len(missing) / most_missing, "stale": len(old) / most_stale}
    of_values = {
        "range": lambda: _range(model, x, m, band, ratios["range"]),
        "distance": lambda: _distance(model, m, band, ratios["distance"]),
        "neighbours": lambda: _neighbours(m, band, ratios["neighbours"]),
        "missing": lambda: _missing(missing, most_missing),
        "age": lambda: _age(model, x, m, band),
        "stale": lambda: _stale(old, most_stale),
    }
    found = [*_subgroups(model, row), *_categories(model, row), *_time(model, checkpoint_h)]
    found += [_values(missing)] if without_values else []
    found += [of_values[name]() for name, ratio in ratios.items() if ratio > 1]
    suspicious, single = check_single(model, x, checkpoint_h)
    return Domain((*found, *suspicious), ratios | single)


def _subgroups(model: Applicability, row: Mapping[str, object]) -> Iterator[Finding]:
    """Subgroups with too few known outcomes."""
    needed = model.min_batches
    for feature, counts in model.support.items():
        name = _category(row.get(feature))
        n = needed if name is None else counts.get(name, 0)
        if n < needed:
            sentence = (
                f"{model.words[feature]} {name!r}: {n} batches with a known outcome when the model was trained, "
                f"{needed} are needed, {needed - n} are missing"
            )
            yield Finding("unsupported subgroup", "support", (feature,), float(n), float(needed), None, sentence)


def _categories(model: Applicability, row: Mapping[str, object]) -> Iterator[Finding]:
    """Categories that training never saw."""
    for feature, known in model.categories.items():
        name = _category(row.get(feature))
        if name is not None and name not in known:
            words = model.words[feature]
            sentence = f"{words} {name!r} was never seen in training, which knows {len(known)} others"
            yield Finding("outside the applicability domain", "category", (feature,), name, None, None, sentence)


def _time(model: Applicability, checkpoint_h: float) -> Iterator[Finding]:
    """A time before the first checkpoint of training, or after the last one and the planned end."""
    if model.from_h <= checkpoint_h <= model.until_h:
        return
    late = checkpoint_h > model.until_h
    sentence = (
        f"{checkpoint_h:.4g} h since the start: the model applies from {model.from_h:.4g} h, its first checkpoint, to "
        f"{model.until_h:.4g} h, its last one or the planned end"
    )
    limit, ratio = (model.until_h, checkpoint_h / model.until_h) if late and model.until_h > 0 else (model.from_h, None)
    cause = "outside the applicability domain"
    yield Finding(cause, "time", ("progress.now.elapsed_h",), checkpoint_h, limit, ratio, sentence)


def _range(model: Applicability, x: np.ndarray, m: Measured, band: Band, ratio: float) -> Finding:
    """Values beyond the range of training: too many of them, one too far, or all levels of one parameter."""
    worst = _one_per_parameter(model, m.excess, model.valued)
    subjects = tuple(model.columns[model.valued[i]] for i in worst)
    excess, limit = float(m.excess[worst[0]]), max(band.limits.excess, model.margin)
    most_shift = max(band.limits.shift, model.margin)
    shift = f"; all levels of one parameter {m.shift:.3g} beyond (limit {most_shift:.3g})"
    sentence = (
        f"{m.outside} parameters outside the range seen at this stage (limit {band.limits.outside:g}); "
        f"worst: {_against(model, x, model.valued[worst[0]], band.values, worst[0])}, "
        f"{excess:.3g} usual spreads beyond (limit {limit:.3g}){shift if m.shift > most_shift else ''}"
    )
    return Finding("outside the applicability domain", "range", subjects, excess, limit, ratio, sentence)


def _age(model: Applicability, x: np.ndarray, m: Measured, band: Band) -> Finding:
    """A newest value much older than any seen at this stage."""
    worst = _one_per_parameter(model, m.ages, model.aged)
    subjects = tuple(model.parameters[model.aged[i]] for i in worst)
    excess, limit = float(m.ages[worst[0]]), max(band.limits.age, model.margin)
    value = _against(model, x, model.aged[worst[0]], band.ages, worst[0])
    sentence = f"{value} h, {excess:.3g} usual spreads beyond (limit {limit:.3g})"
    return Finding("stale data", "age", subjects, excess, limit, excess / limit, sentence)


def _distance(model: Applicability, m: Measured, band: Band, ratio: float) -> Finding:
    """An unusual combination of levels."""
    order = np.argsort(-m.parts, kind="stable")[:_MOST_SUBJECTS]
    places = band.ellipsoid.places if band.ellipsoid else order
    subjects = tuple(model.columns[model.levels[places[i]]] for i in order)
    distance, limit = m.distance, band.limits.distance
    sentence = (
        f"The levels together lie {distance:.3g} usual spreads from the centre (limit {limit:.3g}), "
        f"mostly by {'; '.join(model.words[name] for name in subjects)}"
    )
    cause = "outside the applicability domain"
    return Finding(cause, "distance", subjects, distance, limit, ratio, sentence)


def _neighbours(m: Measured, band: Band, ratio: float) -> Finding:
    """No known batch is near."""
    distance, limit = m.neighbours, band.limits.neighbours
    sentence = f"The nearest known batches are {distance:.3g} usual spreads away (limit {limit:.3g})"
    return Finding("outside the applicability domain", "neighbours", (), distance, limit, ratio, sentence)


def _values(parameters: Sequence[str]) -> Finding:
    """Nothing is known of the batch but its start, and what the plant's record says."""
    sentence = f"no parameter of the model has a value ({len(parameters)} are missing)"
    subjects = tuple(parameters[:_MOST_SUBJECTS])
    return Finding("too much missing", "values", subjects, float(len(parameters)), None, None, sentence)


def _missing(parameters: Sequence[str], most: float) -> Finding:
    """More parameters without a value than usual at this hour."""
    n = len(parameters)
    sentence = f"{n} parameters of the model have no value, at most {most:g} are usual at this hour"
    return Finding(
        "too much missing", "missing", tuple(parameters[:_MOST_SUBJECTS]), float(n), most, n / most, sentence
    )


def _stale(ages: Mapping[str, float], most: float) -> Finding:
    """More stale parameters than usual."""
    n, oldest = len(ages), sorted(ages, key=lambda name: (-ages[name], name))[:_MOST_SUBJECTS]
    sentence = (
        f"{n} parameters have a newest value older than usual (limit {most:g}), the oldest {ages[oldest[0]]:.3g} h"
    )
    return Finding("stale data", "stale", tuple(oldest), float(n), most, n / most, sentence)


def _one_per_parameter(model: Applicability, excess: np.ndarray, places: np.ndarray) -> list[int]:
    """Places of the largest excesses, one for each parameter, at most a few."""
    chosen: dict[str, int] = {}
    for i in np.argsort(-excess, kind="stable"):
        if len(chosen) == _MOST_SUBJECTS or excess[i] <= 0:
            break
        chosen.setdefault(model.parameters[places[i]], int(i))
    return list(chosen.values())


def _against(model: Applicability, x: np.ndarray, column: int, ranges: Ranges, place: int) -> str:
    """A value beside the range seen in training."""
    value, low, high = x[column], ranges.low[place], ranges.high[place]
    return f"{model.words[model.columns[column]]} {value:.4g}, seen {low:.4g} to {high:.4g}"


def _category(value: object) -> str | None:
    """A value as the name of a category; None for None, NaN and NA."""
    if isinstance(value, str):
        return value
    return f"{value:g}" if isinstance(value, int | float) and not math.isnan(value) else None
