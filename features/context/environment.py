"""Environmental monitoring at a batch's site as of a time."""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.context.asof import HOUR, Floats, Ints, Timeline, codes, micros, ranks, window
from features.context.columns import Cell, block, feature, hours, last, slug
from features.context.vocabulary import Vocabulary
from features.dictionary import Block

RECENT_H = 24.0


def environment(rows: pd.DataFrame, batches: pd.DataFrame, environment: pd.DataFrame, vocabulary: Vocabulary) -> Block:
    """Counts of each metric (and cleanroom grade) over all areas of the site.

    Windows run over `observed_at`; a plate that is still being incubated (`available_at` later) does not count.

    Returns:
        `environment.<metric>[_grade_<g>].{last_24h,since_start}.{max,mean}` and `.now.age_h`, the time since the newest
        known sample was taken; NaN where nothing is known.
    """
    site_of = batches.drop_duplicates("batch_id").set_index("batch_id")["site_id"]
    site_index = pd.Index(site_of.unique())
    site = codes(site_of.reindex(rows["batch_id"]), site_index)
    as_of, start = micros(rows["as_of"]), micros(rows["started_at"])
    cells: list[Cell] = []
    for metric, grade in vocabulary.metrics:
        own = environment[(environment["metric"] == metric) & (environment["grade"] == grade)]
        where = codes(own["site_id"], site_index)
        own, where = own[where >= 0], where[where >= 0]
        columns = where, micros(own["observed_at"]), micros(own["available_at"]), own["value"].to_numpy(np.float64)
        name = f"{metric}, grade {grade}" if grade else metric
        subject = f"environment.{slug(metric)}" + (f"_grade_{slug(grade)}" if grade else "")
        for within, after in ((last(RECENT_H), as_of - round(RECENT_H * HOUR)), ("since_start", start - 1)):
            seen = window(*columns, of=site, after=after, as_of=as_of)
            for statistic, values in (("max", seen.maximum), ("mean", seen.mean)):
                meaning = f"{statistic} of {name} at the site, {within.replace('_', ' ')}"
                cells.append((feature(subject, within, statistic, label=name, meaning=meaning), values))
        age = _age_h(*columns[:3], site, as_of)
        meaning = f"time since the newest known sample of {name} at the site"
        cells.append((feature(subject, "now", "age_h", label=name, unit="h", meaning=meaning), age))
    return block(rows, cells)


def _age_h(where: Ints, observed: Ints, available: Ints, site: Ints, as_of: Ints) -> Floats:
    newest = Timeline.of(where, np.maximum(observed, available)).best(ranks([observed]), site, as_of)
    return np.where(newest >= 0, hours(as_of - np.append(observed, 0)[newest]), np.nan)
