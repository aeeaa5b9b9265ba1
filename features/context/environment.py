"""Environmental monitoring at a batch's site as of a time."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numba import njit

from features.context.asof import HOUR, Floats, Ints, codes, known_us, micros, starts, upto
from features.context.columns import NO_CATEGORIES, Batches, ContextQuery, last, slug
from features.context.vocabulary import Vocabulary
from features.contracts import ENVIRONMENT
from features.dictionary import Feature, feature

RECENT_H = 24.0
_RECENT = round(RECENT_H * HOUR)
_COLUMNS = 5  # of each metric


@dataclass(frozen=True)
class Environment:
    """Samples of each metric (and cleanroom grade) over all areas of each site, a group each: metric * sites + site.

    Columns: `environment.<metric>[_grade_<g>].{last_24h,since_start}.{max,mean}` and `.now.age_h`, the time since the
    newest known sample was taken; NaN where nothing is known. Windows run over `observed_at`; a plate that is still being
    incubated (`available_at` later) does not count.

    Attributes:
        features: One entry per column.
        sites: Sites of the batches.
        site: Site of each batch, -1 behind the last.
        start: Where each group begins, and the end.
        observed: When sampled; sorted by group, then by this, then by the other two.
        available: When known.
        value: The count.
        known_when: When each sample was known, sorted by group, then by this.
        known_newest: The newest sampling time known by then in the group.
    """

    features: tuple[Feature, ...]
    sites: pd.Index
    site: Ints
    start: Ints
    observed: Ints
    available: Ints
    value: Floats
    known_when: Ints
    known_newest: Ints
    categories = NO_CATEGORIES

    @classmethod
    def of(cls, batches: Batches, environment: pd.DataFrame, vocabulary: Vocabulary) -> Environment:
        """Sort the samples of the metrics that there are columns for."""
        sites = pd.Index(batches.frame["site_id"].unique())
        pairs = pd.MultiIndex.from_tuples(vocabulary.metrics, names=["metric", "grade"]) if vocabulary.metrics else None
        found = pd.MultiIndex.from_frame(environment[["metric", "grade"]])
        metric = np.full(len(environment), -1) if pairs is None else pairs.get_indexer(found)
        where = codes(environment["site_id"], sites)
        mine = (metric >= 0) & (where >= 0)
        group = (metric * len(sites) + where)[mine].astype(np.int64)
        own = environment[mine]
        observed, available = micros(own["observed_at"]), known_us(own, ENVIRONMENT)
        value = own["value"].to_numpy(np.float64)
        order = np.lexsort((value, available, observed, group))
        by_known = np.lexsort((observed, available, group))
        start = starts(group[order], len(vocabulary.metrics) * len(sites))
        newest = _newest(start, observed[by_known])
        columns = (observed[order], available[order], value[order], available[by_known], newest)
        return cls(tuple(_entries(vocabulary)), sites, cls.places(batches, sites), start, *columns)

    @classmethod
    def places(cls, batches: Batches, sites: pd.Index) -> Ints:
        """Site of each batch by its place among `sites`, -1 behind the last."""
        return np.append(codes(batches.frame["site_id"], sites), -1)

    def fill(self, query: ContextQuery, out: Floats) -> None:
        """Counts at the site in `(as_of - 24 h, as_of]` and since the start, among the samples known."""
        samples = (self.start, self.observed, self.available, self.value, self.known_when, self.known_newest)
        _fill(self.site[query.batch], query.started, query.as_of, len(self.features) // _COLUMNS, *samples, out)


def _entries(vocabulary: Vocabulary) -> list[Feature]:
    made = []
    for metric, grade in vocabulary.metrics:
        name = f"{metric}, grade {grade}" if grade else metric
        subject = f"environment.{slug(metric)}" + (f"_grade_{slug(grade)}" if grade else "")
        for within in (last(RECENT_H), "since_start"):
            for statistic in ("max", "mean"):
                meaning = f"{statistic} of {name} at the site, {within.replace('_', ' ')}"
                made.append(feature(subject, within, statistic, label=name, meaning=meaning))
        meaning = f"time since the newest known sample of {name} at the site"
        made.append(feature(subject, "now", "age_h", label=name, unit="h", meaning=meaning))
    return made


def _newest(start: Ints, observed: Ints) -> Ints:
    """Running maximum within each group."""
    out = observed.copy()
    for first, stop in pairwise(start):
        out[first:stop] = np.maximum.accumulate(observed[first:stop])
    return out


@njit(cache=True, nogil=True)
def _fill(site, started, as_of, metrics, start, observed, available, value, known_when, known_newest, out) -> None:
    sites = (len(start) - 1) // metrics if metrics else 0
    for i in range(len(site)):
        if site[i] < 0:
            continue
        for metric in range(metrics):
            group = metric * sites + site[i]
            begin, end, column = start[group], start[group + 1], metric * 5
            _window(as_of[i] - _RECENT, as_of[i], begin, end, observed, available, value, out[i], column)
            _window(started[i] - 1, as_of[i], begin, end, observed, available, value, out[i], column + 2)
            stop = upto(known_when, begin, end, as_of[i])
            if stop > begin:
                out[i, column + 4] = (as_of[i] - known_newest[stop - 1]) / HOUR


@njit(cache=True, nogil=True)
def _window(after, as_of, begin, end, observed, available, value, out, column) -> None:
    """Maximum and mean of what was observed in `(after, as_of]` and is known at `as_of`."""
    number, total, highest = 0, 0.0, 0.0
    for j in range(upto(observed, begin, end, after), upto(observed, begin, end, as_of)):
        if available[j] <= as_of:
            if number == 0 or value[j] > highest:
                highest = value[j]
            number += 1
            total += value[j]
    if number:
        out[column], out[column + 1] = highest, total / number
