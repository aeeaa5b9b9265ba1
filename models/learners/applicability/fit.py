"""Fit the applicability domain: location, shape and ranges from training batches, limits from later ones of them.

Batches are scored at any hour, not at exact checkpoints, so ranges and limits take rows between the checkpoints as well.
Location and shape come from the rows at checkpoints, and lie on a straight line between them.

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
from models.cohort.encode import Encoder
from models.learners.applicability.bands import Band, Limits, upper_limit
from models.learners.applicability.columns import DomainPlan, empty_domain, subgroup_columns
from models.learners.applicability.distance import fit_ellipsoid, fit_neighbours, fit_scaling
from models.learners.applicability.fit_single import StageRows, fit_single
from models.learners.applicability.model import Applicability
from models.learners.applicability.ranges import fit_ranges, width
from models.learners.applicability.single import SingleValues

LOOSE_BATCHES = 5  # fewer outside are chance


@dataclass(frozen=True)
class _Rows:
    """Training rows in order of start, batch and time.

    `batch` counts the batches, `good` ones did not fail, `at` says whether a row stands at a checkpoint.
    """

    hours: np.ndarray
    batch: np.ndarray
    X: np.ndarray
    good: np.ndarray
    missing: np.ndarray
    stale: np.ndarray
    at: np.ndarray

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
    between: np.ndarray | None = None,
    plan: DomainPlan | None = None,
) -> Applicability:
    """Learn where the predictor applies.

    Args:
        snapshots: `features.contracts.SNAPSHOT` of training batches only.
        features: Dictionary of the snapshots' columns.
        encoder: Of the predictor.
        failed: Outcomes known at training, indexed by batch_id; a batch counts for its subgroups when it is here.
        missing: Per row of `snapshots`, `models.scoring.alignment.FeatureAligner.missing`.
        stale: Per row, `models.scoring.alignment.FeatureAligner.stale`.
        between: Per row, whether it stands between checkpoints (`models.cohort.between`); None: none does.
        plan: How; None takes the defaults.

    Raises:
        TrainingError: No snapshot belongs to a batch with a known outcome.
    """
    plan = plan or DomainPlan()
    places = np.lexsort((snapshots["checkpoint_h"], snapshots["batch_id"], snapshots["started_at"]))
    places = places[snapshots["batch_id"].isin(failed.index).to_numpy()[places]]
    rows = snapshots.iloc[places]
    at = np.ones(len(rows), bool) if between is None else ~between[places]
    if not at.any():
        raise TrainingError("no training snapshot to learn the applicability domain from")
    table = _Rows(
        hours=rows["checkpoint_h"].to_numpy(float),
        batch=pd.factorize(rows["batch_id"])[0],
        X=encoder.encode(rows),
        good=~rows["batch_id"].map(failed).to_numpy(bool),
        missing=np.array([len(missing[i]) for i in places], float),
        stale=np.array([len(stale[i]) for i in places], float),
        at=at,
    )
    late = _held_out(rows, plan)
    empty = empty_domain(rows, features, encoder, np.unique(table.hours[at]), plan)
    single = _single(empty, features, table, late, plan)
    first = _fit(empty, table.where(~late), plan)
    held_out = table.where(late & table.good)
    loose = _loose(first, held_out, plan)
    if len(loose):
        empty = _without(empty, loose)
        first = _fit(empty, table.where(~late), plan)
    limits = [
        _limits(first, held_out.where(first.band_numbers(held_out.hours) == i), plan.level)
        for i in range(len(first.bands))
    ]
    whole = _fit(empty, table, plan)
    bands = tuple(replace(band, limits=limit) for band, limit in zip(whole.bands, limits, strict=True))
    most_missing = _most_missing(held_out.where(held_out.at), plan.level)
    return replace(whole, bands=bands, missing=most_missing, single=single)


def _single(
    empty: Applicability, features: tuple[Feature, ...], table: _Rows, late: np.ndarray, plan: DomainPlan
) -> SingleValues | None:
    """What is usual of single values, from good batches: a failing one may jump because it fails."""
    known = {feature.name: feature for feature in features}
    number = empty.band_numbers(table.hours)
    rows = StageRows(table.X, table.batch, number, ~table.at)
    return fit_single(
        [known[name] for name in empty.columns],
        empty.levels,
        rows.where(table.good),
        late[table.good],
        n_bands=len(empty.bands),
        level=plan.level,
    )


def _held_out(rows: pd.DataFrame, plan: DomainPlan) -> np.ndarray:
    """Rows of the newest batches of each subgroup that has enough older ones, booleans of shape (n,)."""
    names = subgroup_columns(rows)
    first = rows[["batch_id", *names]].drop_duplicates("batch_id")
    cell = first[names].astype("str").fillna("").agg("|".join, axis=1) if names else pd.Series("", index=first.index)
    place, size = first.groupby(cell).cumcount(), cell.map(cell.value_counts())
    older = np.ceil(size * (1 - plan.held_out))
    enough = (older >= plan.min_batches).to_numpy()
    if not enough.any():  # a small history: its newest part, whatever the subgroups
        place, older, enough = np.arange(len(first)), math.ceil(len(first) * (1 - plan.held_out)), True
    chosen = first.loc[(place >= older) & enough, "batch_id"]
    return rows["batch_id"].isin(chosen).to_numpy()


def _fit(empty: Applicability, table: _Rows, plan: DomainPlan) -> Applicability:
    at = table.where(table.at)
    scaling = fit_scaling(at.X[:, empty.levels], at.hours)
    domain = replace(empty, scaling=scaling)
    overall = width(table.X)
    enough = [n for counts in empty.support.values() for n in counts.values() if n >= plan.min_batches]
    mixture = len(enough) > sum(bool(counts) for counts in empty.support.values())
    return replace(
        domain, bands=tuple(_band(domain, i, table, overall, plan, mixture) for i in range(len(empty.bands)))
    )


def _band(
    domain: Applicability, number: int, table: _Rows, overall: np.ndarray, plan: DomainPlan, mixture: bool
) -> Band:
    own = table.where(domain.band_numbers(table.hours) == number)
    last = own.where(own.at)
    last = last.where(np.append(last.batch[1:] != last.batch[:-1], True)) if len(last.batch) else last
    z = np.array([domain.scaling.z(x[domain.levels], h) for x, h in zip(last.X, last.hours, strict=True)])
    ellipsoid = fit_ellipsoid(z) if len(domain.levels) else None
    return replace(
        domain.bands[number],
        values=fit_ranges(own.X[:, domain.valued], overall[domain.valued]),
        ages=fit_ranges(own.X[:, domain.aged], overall[domain.aged]),
        ellipsoid=ellipsoid,
        neighbours=fit_neighbours(z, ellipsoid, at_most=plan.neighbours) if ellipsoid and mixture else None,
    )


def _loose(domain: Applicability, held_out: _Rows, plan: DomainPlan) -> np.ndarray:
    """Places of valued columns that leave their range too often, in any band, in batches later than it."""
    loose = np.zeros(len(domain.valued), bool)
    numbers = domain.band_numbers(held_out.hours)
    for number in range(len(domain.bands)):
        own = held_out.where(numbers == number)
        if not len(own.batch):
            continue
        ranges = [domain.band(h).values for h in own.hours]
        far = [r.excess(x[domain.valued]) for r, x in zip(ranges, own.X, strict=True)]
        out = np.array(far).reshape(len(own.batch), -1) > plan.margin
        first = np.flatnonzero(np.append(True, own.batch[1:] != own.batch[:-1]))
        batches = np.maximum.reduceat(out, first, axis=0).sum(axis=0)
        loose |= (batches > plan.loose_above * len(first)) & (batches >= LOOSE_BATCHES)
    return domain.valued[loose]


def _without(empty: Applicability, loose: np.ndarray) -> Applicability:
    return replace(
        empty,
        valued=empty.valued[~np.isin(empty.valued, loose)],
        levels=empty.levels[~np.isin(empty.levels, loose)],
        loose=tuple(empty.columns[i] for i in sorted(loose)),
    )


def _limits(domain: Applicability, own: _Rows, level: float) -> Limits:
    """Limits of a band from its held-out rows: each batch counts with its worst one."""
    measured = [domain.measure(x, h) for x, h in zip(own.X, own.hours, strict=True)]
    batches = np.unique(own.batch)

    def limit(values: list[float], level: float = level) -> float:
        known = [(b, v) for b, v in zip(own.batch, values, strict=True) if not math.isnan(v)]
        worst: dict[int, float] = {}
        for b, v in known:
            worst[b] = max(v, worst.get(b, -math.inf))
        return upper_limit(np.array(list(worst.values())), level)

    third = 1 - (1 - level) / 3  # one check of three measures
    return Limits(
        n_held_out=len(batches),
        outside=limit([m.outside for m in measured], third),
        excess=limit([m.excess.max(initial=0.0) for m in measured], third),
        shift=limit([m.shift for m in measured], third),
        age=limit([m.ages.max(initial=0.0) for m in measured]),
        distance=limit([m.distance for m in measured]),
        neighbours=limit([m.neighbours for m in measured]),
        stale=limit(own.stale.tolist()),
    )


def _most_missing(held_out: _Rows, level: float) -> dict[float, float]:
    return {float(h): upper_limit(held_out.missing[held_out.hours == h], level) for h in np.unique(held_out.hours)}
