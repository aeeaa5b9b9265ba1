"""Fit the applicability domain: location, shape and ranges from training batches, limits from later ones of them.

The newest part of the training batches is held out. What the older part taught is measured on it, good batches only,
and the limits are quantiles over batches: a batch counts with its worst row in a maturity band. Then location, shape
and ranges are fitted once more on all training batches; the limits stay.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from features.dictionary import Feature
from features.errors import TrainingError
from models.cohort.encode import Encoder, is_category
from models.learners.applicability import Applicability, Band, Limits
from models.learners.distance import Ellipsoid, Scaling, fit_ellipsoid, fit_neighbours, fit_scaling
from models.learners.ranges import fit_ranges, width

SUBGROUPS = ("product", "site", "process_version", "scale_l")  # parameters that name one; never half known
MIN_BATCHES = 20
_LEVELS = ("last", "value")
_WINDOWS = ("since_start", "lot", "now", "before_start")  # a parameter's level is its newest value
_AGE = "age_h"
_NOT_MEASURED = ("lot.", "event.")  # subjects whose age is not that of a value


@dataclass(frozen=True)
class DomainPlan:
    """How the domain is fitted.

    Attributes:
        held_out: Share of the training batches, the newest, that sets the limits.
        level: Share of held-out good batches inside each limit.
        margin: Spreads of the tail that a value may lie outside the range seen before it counts.
        min_batches: Batches with a known outcome that a subgroup needs.
        most_bands: Maturity bands at most.
        loose_above: A feature that leaves its range in more than this share of the held-out good batches is held to none:
            counters and ages of equipment grow with the calendar.
        neighbours: Known batches kept per band.
    """

    held_out: float = 0.25
    level: float = 0.99
    margin: float = 0.5
    min_batches: int = MIN_BATCHES
    most_bands: int = 6
    loose_above: float = 0.02
    neighbours: int = 400


@dataclass(frozen=True)
class _Rows:
    """Training rows in order of start, batch and checkpoint; `batch` counts the batches, `good` ones did not fail."""

    hours: np.ndarray
    batch: np.ndarray
    X: np.ndarray
    good: np.ndarray
    missing: np.ndarray
    stale: np.ndarray

    def where(self, mask: np.ndarray) -> _Rows:
        return _Rows(**{name: values[mask] for name, values in vars(self).items()})


def fit_applicability(
    snapshots: pd.DataFrame,
    features: tuple[Feature, ...],
    encoder: Encoder,
    failed: pd.Series,
    *,
    missing: Sequence[Sequence[str]],
    stale: Sequence[Mapping[str, float]],
    plan: DomainPlan | None = None,
) -> Applicability:
    """Learn where the predictor applies.

    Args:
        snapshots: `features.contracts.SNAPSHOT` of training batches only.
        features: Dictionary of the snapshots' columns.
        encoder: Of the predictor.
        failed: Outcomes known at training, indexed by batch_id; a batch counts for its subgroups when it is here.
        missing: Per row of `snapshots`, `models.explain.reasons.missing`.
        stale: Per row, `models.explain.reasons.stale`.
        plan: How; None takes the defaults.

    Raises:
        TrainingError: No snapshot belongs to a batch with a known outcome.
    """
    plan = plan or DomainPlan()
    keep = snapshots["batch_id"].isin(failed.index).to_numpy()
    rows = snapshots[keep]
    if rows.empty:
        raise TrainingError("no training snapshot to learn the applicability domain from")
    table = _table(rows, encoder, failed, missing, stale, keep)
    late = _held_out(rows, plan)
    empty = _empty(rows, features, encoder, plan)
    first = _fit(empty, table.where(~late), plan)
    judged = table.where(late & table.good)
    loose = _loose(first, judged, plan)
    if len(loose):
        empty = _without(empty, loose)
        first = _fit(empty, table.where(~late), plan)
    limits = [_limits(first, band, judged, plan.level) for band in first.bands]
    whole = _fit(empty, table, plan)
    bands = tuple(replace(band, limits=limit) for band, limit in zip(whole.bands, limits, strict=True))
    return replace(whole, bands=bands, missing=_most_missing(judged, plan.level))


def upper_limit(worst: np.ndarray, level: float) -> float:
    """The finite-sample quantile: of n values the ceil((n + 1) level)-th smallest, at most the largest.

    A new value from the same distribution lies above with a probability of at most 1 - level (1 / (n + 1) where n is
    too small for the level; Vovk, Gammerman and Shafer, 2005). Infinite without values.
    """
    n = len(worst)
    return float(np.sort(worst)[min(math.ceil((n + 1) * level), n) - 1]) if n else math.inf


def _table(
    rows: pd.DataFrame,
    encoder: Encoder,
    failed: pd.Series,
    missing: Sequence[Sequence[str]],
    stale: Sequence[Mapping[str, float]],
    keep: np.ndarray,
) -> _Rows:
    """In canonical order: start, batch, checkpoint."""
    order = np.lexsort((rows["checkpoint_h"], rows["batch_id"], rows["started_at"]))
    batches = rows["batch_id"].iloc[order]
    counts = np.array([[len(m), len(s)] for m, s in zip(missing, stale, strict=True)], float).reshape(-1, 2)
    return _Rows(
        hours=rows["checkpoint_h"].to_numpy(float)[order],
        batch=pd.factorize(batches)[0],
        X=encoder.encode(rows.iloc[order]),
        good=~batches.map(failed).to_numpy(bool),
        missing=counts[keep][order, 0],
        stale=counts[keep][order, 1],
    )


def _held_out(rows: pd.DataFrame, plan: DomainPlan) -> np.ndarray:
    """Rows, in canonical order, of the newest batches of each subgroup that has enough older ones."""
    names = [name for name in (_subgroup(rows, parameter) for parameter in SUBGROUPS) if name is not None]
    columns = ["batch_id", "started_at", *names]
    first = rows.sort_values(["started_at", "batch_id", "checkpoint_h"])[columns].drop_duplicates("batch_id")
    cell = first[names].astype("str").agg("|".join, axis=1) if names else pd.Series("", index=first.index)
    place, size = first.groupby(cell).cumcount(), cell.map(cell.value_counts())
    older = np.ceil(size * (1 - plan.held_out))
    chosen = first.loc[(place >= older) & (older >= plan.min_batches), "batch_id"]
    order = np.lexsort((rows["checkpoint_h"], rows["batch_id"], rows["started_at"]))
    return rows["batch_id"].isin(chosen).to_numpy()[order]


def _subgroup(rows: pd.DataFrame, parameter: str) -> str | None:
    name = f"{parameter}.before_start.value"
    return name if name in rows else None


def _empty(rows: pd.DataFrame, features: tuple[Feature, ...], encoder: Encoder, plan: DomainPlan) -> Applicability:
    """Everything that needs no values: which columns are checked how, and the names and counts of subgroups."""
    known = {feature.name: feature for feature in features}
    groups = [name for name in (_subgroup(rows, parameter) for parameter in SUBGROUPS) if name is not None]
    names = [n for n in known if n in rows and n not in groups and is_category(rows[n])]
    parameters = tuple(known[name].parameter for name in encoder.columns)
    numeric = [i for i, name in enumerate(encoder.columns) if name not in encoder.categories]
    aged = [i for i in numeric if _is_age(known[encoder.columns[i]])]
    valued = [i for i in numeric if known[encoder.columns[i]].statistic != _AGE and encoder.columns[i] not in groups]
    starts = [float(part[0]) for part in np.array_split(np.unique(rows["checkpoint_h"]), plan.most_bands) if len(part)]
    nothing = fit_ranges(np.empty((0, 0)), np.empty(0))
    return Applicability(
        columns=encoder.columns,
        words={name: _words(known[name]) for name in (*encoder.columns, *groups, *names) if name in known},
        parameters=parameters,
        level=plan.level,
        margin=plan.margin,
        categories={name: tuple(sorted(rows[name].dropna().unique())) for name in sorted(names)},
        support={name: _counts(rows, name) for name in groups},
        min_batches=plan.min_batches,
        valued=np.array(sorted(valued, key=lambda i: (parameters[i], i)), int),
        aged=np.array(aged, int),
        loose=(),
        levels=np.array(_levels(numeric, known, encoder), int),
        scaling=Scaling(np.empty(0), np.empty((0, 0)), np.empty((0, 0))),
        bands=tuple(Band(start, nothing, nothing, None, None, Limits(0)) for start in starts),
        missing={},
    )


def _words(feature: Feature) -> str:
    return feature.label if feature.statistic in _LEVELS else f"{feature.label} ({feature.meaning})"


def _is_age(feature: Feature) -> bool:
    return feature.statistic == _AGE and not feature.parameter.startswith(_NOT_MEASURED)


def _counts(rows: pd.DataFrame, name: str) -> dict[str, int]:
    """Batches per value; every row here belongs to a batch with a known outcome."""
    values = rows.drop_duplicates("batch_id")[name].dropna()
    counts = values.value_counts()
    return {v if isinstance(v, str) else f"{v:g}": int(n) for v, n in sorted(counts.items())}


def _levels(numeric: list[int], known: dict[str, Feature], encoder: Encoder) -> list[int]:
    """One column per parameter: its newest value."""
    chosen: dict[str, tuple[int, int]] = {}
    for i in numeric:
        feature = known[encoder.columns[i]]
        if feature.statistic in _LEVELS and feature.window in _WINDOWS and feature.parameter not in SUBGROUPS:
            rank = _WINDOWS.index(feature.window)
            chosen[feature.parameter] = min(chosen.get(feature.parameter, (99, i)), (rank, i))
    return sorted(i for _, i in chosen.values())


def _fit(empty: Applicability, table: _Rows, plan: DomainPlan) -> Applicability:
    scaling = fit_scaling(table.X[:, empty.levels], table.hours)
    domain = replace(empty, scaling=scaling)
    overall = width(table.X)
    enough = [n for counts in empty.support.values() for n in counts.values() if n >= plan.min_batches]
    mixture = len(enough) > sum(bool(counts) for counts in empty.support.values())
    return replace(domain, bands=tuple(_band(domain, band, table, overall, plan, mixture) for band in empty.bands))


def _band(
    domain: Applicability, band: Band, table: _Rows, overall: np.ndarray, plan: DomainPlan, mixture: bool
) -> Band:
    own = table.where(_inside(domain, band, table.hours))
    last = own.where(np.append(own.batch[1:] != own.batch[:-1], True)) if len(own.batch) else own
    z = np.array([domain.scaling.z(x[domain.levels], h) for x, h in zip(last.X, last.hours, strict=True)])
    ellipsoid: Ellipsoid | None = fit_ellipsoid(z) if len(domain.levels) else None
    return replace(
        band,
        values=fit_ranges(own.X[:, domain.valued], overall[domain.valued]),
        ages=fit_ranges(own.X[:, domain.aged], overall[domain.aged]),
        ellipsoid=ellipsoid,
        neighbours=fit_neighbours(z, ellipsoid, at_most=plan.neighbours) if ellipsoid and mixture else None,
    )


def _inside(domain: Applicability, band: Band, hours: np.ndarray) -> np.ndarray:
    starts = np.array([b.starts_h for b in domain.bands])
    return [b is band for b in domain.bands].index(True) == np.maximum(
        np.searchsorted(starts, hours, side="right") - 1, 0
    )


def _loose(domain: Applicability, judged: _Rows, plan: DomainPlan) -> np.ndarray:
    """Places of valued columns that leave their range too often, in any band, in batches later than it."""
    loose = np.zeros(len(domain.valued), bool)
    for band in domain.bands:
        own = judged.where(_inside(domain, band, judged.hours))
        out = band.values.excess(own.X[:, domain.valued]) > plan.margin
        for batches in [np.unique(own.batch)] if len(own.batch) else []:
            first = np.searchsorted(own.batch, batches)
            loose |= np.maximum.reduceat(out, first, axis=0).mean(axis=0) > plan.loose_above
    return domain.valued[loose]


def _without(empty: Applicability, loose: np.ndarray) -> Applicability:
    return replace(
        empty,
        valued=empty.valued[~np.isin(empty.valued, loose)],
        levels=empty.levels[~np.isin(empty.levels, loose)],
        loose=tuple(empty.columns[i] for i in sorted(loose)),
    )


def _limits(domain: Applicability, band: Band, judged: _Rows, level: float) -> Limits:
    own = judged.where(_inside(domain, band, judged.hours))
    measured = [domain.measure(x, h) for x, h in zip(own.X, own.hours, strict=True)]
    batches = np.unique(own.batch)

    def limit(values: list[float]) -> float:
        known = [(b, v) for b, v in zip(own.batch, values, strict=True) if not math.isnan(v)]
        worst: dict[int, float] = {}
        for b, v in known:
            worst[b] = max(v, worst.get(b, -math.inf))
        return upper_limit(np.array(list(worst.values())), level)

    return Limits(
        n_held_out=len(batches),
        outside=limit([m.outside for m in measured]),
        excess=limit([m.excess.max(initial=0.0) for m in measured]),
        age=limit([m.ages.max(initial=0.0) for m in measured]),
        distance=limit([m.distance for m in measured]),
        neighbours=limit([m.neighbours for m in measured]),
        stale=limit(own.stale.tolist()),
    )


def _most_missing(judged: _Rows, level: float) -> dict[float, float]:
    return {float(h): upper_limit(judged.missing[judged.hours == h], level) for h in np.unique(judged.hours)}
