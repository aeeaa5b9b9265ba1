"""Experience of plant and people, and how busy the site is, as of a time.

Counts of earlier batches stop at `SATURATION`: in a plant with one site they would otherwise be the calendar date
under another name, which no predictor can extrapolate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numba import njit

from features.context.asof import ALWAYS, HOUR, NEVER, Floats, Ints, codes, earlier, known_us, micros, starts, upto
from features.context.columns import NO_CATEGORIES, Batches, ContextQuery, hours
from features.context.failures import SATURATION, LabelLog, Members, Records, failure_entries, label_log
from features.contracts import EVENTS
from features.dictionary import Feature, feature
from features.process import ProcessDefinition

QUARTER_H = 90 * 24.0
_QUARTER = round(QUARTER_H * HOUR)
_GROUPS = (  # column of `batches`, subject, label
    ("site_id", "site", "Site"),
    ("equipment_id", "equipment", "Equipment"),
    ("subject_key", "subject", "Patient or donor"),
    ("product_id", "product", "Product"),
)


@dataclass(frozen=True)
class FailureHistory:
    """Outcomes of the batches of the same site, equipment, subject and product.

    Columns: `{site,equipment,subject,product}.now.{n_known,failure_excess}`; NaN where the batch has none.

    Attributes:
        features: One entry per column.
        records: The four groupings.
    """

    features: tuple[Feature, ...]
    records: Records
    categories = NO_CATEGORIES

    @classmethod
    def of(cls, batches: Batches, labels: pd.DataFrame) -> FailureHistory:
        """Group the batches."""
        return cls.joined(cls.groupings(batches), label_log(labels, batches.index), len(batches.index))

    @classmethod
    def groupings(cls, batches: Batches) -> list[Members]:
        """Batches by site, equipment, subject and product."""
        places = np.arange(len(batches.index))
        return [Members.of(places, batches.frame[column], batches.started) for column, _, _ in _GROUPS]

    @classmethod
    def joined(cls, groupings: Sequence[Members], log: LabelLog, batches: int) -> FailureHistory:
        """Put `groupings` of a number of batches and their outcomes together."""
        entries = [e for _, subject, label in _GROUPS
                   for e in failure_entries(subject, label, of=f"the same {label.lower()}")]  # fmt: skip
        return cls(tuple(entries), Records.of(groupings, log, batches))

    def fill(self, query: ContextQuery, out: Floats) -> None:
        """Failures of other batches, as far as known."""
        self.records.fill(query, np.arange(0, 2 * len(_GROUPS), 2), out)


@dataclass(frozen=True)
class People:
    """Persons seen in batches, sorted by batch.

    Attributes:
        batch: Batch of each.
        when: From when on the person is known to have worked in it, sorted within the batch.
        earlier: Other batches in which that person was seen before.
    """

    batch: Ints
    when: Ints
    earlier: Ints

    @classmethod
    def of(cls, events: pd.DataFrame, batches: Batches) -> People:
        """Persons that events name."""
        worked_in = codes(events["batch_id"], batches.index)
        return cls.seen(worked_in, events["person_key"], known_us(events, EVENTS), batches)

    @classmethod
    def seen(cls, worked_in: Ints, person: pd.Series, known: Ints, batches: Batches) -> People:
        """Persons by place of the batch (-1: none), name, and since when that is known."""
        known = np.maximum(known, np.append(batches.started, ALWAYS)[worked_in])  # a batch is known from its start on
        pairs = Members.of(worked_in, person, known)
        number, _ = earlier(pairs.group, pairs.when)
        order = np.lexsort((pairs.when, pairs.batch))
        return cls(pairs.batch, pairs.when[order], number[order])


@dataclass(frozen=True)
class Running:
    """From when to when the batches of each site count as running.

    Attributes:
        site: Site of each batch, -1 without one.
        site_start: Where each site's batches begin, and the end.
        begun: When they began, sorted within the site.
        ended: When they no longer count as running, sorted within the site.
        started: When each batch began.
        ends: When each batch no longer counts as running.
    """

    site: Ints
    site_start: Ints
    begun: Ints
    ended: Ints
    started: Ints
    ends: Ints

    @classmethod
    def of(cls, batches: Batches, labels: pd.DataFrame, process: ProcessDefinition) -> Running:
        """Sort begins and ends by site."""
        started = batches.started
        ends, site = _planned_or_known_end(batches, labels, process), _group(batches.frame["site_id"])
        own = site >= 0
        by_begin, by_end = (np.lexsort((times[own], site[own])) for times in (started, ends))
        start = starts(site[own][by_begin], int(site.max(initial=-1)) + 1)
        return cls(site, start, started[own][by_begin], ends[own][by_end], started, ends)

    @property
    def columns(self) -> tuple[Ints, ...]:
        """The arrays, for the kernel."""
        return self.site, self.site_start, self.begun, self.ended, self.started, self.ends


@dataclass(frozen=True)
class Experience:
    """How often subject, equipment and people have done this before, and how busy the site is.

    Columns: `subject.before_start.attempt`, `equipment.before_start.{n_batches,gap_h}`, `site.now.n_running`,
    `site.last_90d.n_batches`, `operators.since_start.{n,least_experience}`; NaN where not known.

    Attributes:
        features: One entry per column.
        before_start: Attempt, earlier batches on the equipment and hours since the last of them began, per batch and
            an empty row behind the last.
        people: Persons seen in the batches.
        seen_start: Where those of each batch begin, and the end.
        running: How busy the sites are.
    """

    features: tuple[Feature, ...]
    before_start: Floats
    people: People
    seen_start: Ints
    running: Running
    categories = NO_CATEGORIES

    @classmethod
    def of(cls, batches: Batches, events: pd.DataFrame, labels: pd.DataFrame, process: ProcessDefinition) -> Experience:
        """Count what came before each batch."""
        running = Running.of(batches, labels, process)
        return cls.joined(cls.known_before_start(batches), People.of(events, batches), running)

    @classmethod
    def known_before_start(cls, batches: Batches) -> Floats:
        """`before_start`."""
        plant, started = batches.frame, batches.started
        attempt, _ = _earlier(plant["subject_key"], started)
        used, gap = _earlier(plant["equipment_id"], started)
        before = np.column_stack([attempt + 1, np.minimum(used, SATURATION), gap])
        return np.vstack([before, np.full((1, 3), np.nan)])

    @classmethod
    def joined(cls, before_start: Floats, people: People, running: Running) -> Experience:
        """Put the three parts together."""
        return cls(tuple(_entries()), before_start, people, starts(people.batch, len(before_start) - 1), running)

    def fill(self, query: ContextQuery, out: Floats) -> None:
        """Experience before the start, and what has been seen of people and site since."""
        out[:, :3] = self.before_start[query.batch]
        people = (self.seen_start, self.people.when, self.people.earlier)
        _fill(query.batch, query.as_of, *people, *self.running.columns, out)


def _entries() -> list[Feature]:
    before, so_far = "before_start", "since_start"
    person = "earlier batches of the least experienced person seen"
    return [
        _entry("subject", before, "attempt", "attempt for the same patient or donor"),
        _entry("equipment", before, "n_batches", "earlier batches on the same equipment"),
        _entry("equipment", before, "gap_h", "time since the equipment's previous batch began", "h"),
        _entry("operators", so_far, "n", "different persons seen in the batch"),
        _entry("operators", so_far, "least_experience", person),
        _entry("site", "now", "n_running", "other batches running at the site"),
        _entry("site", "last_90d", "n_batches", "other batches begun at the site in the last 90 days"),
    ]


def _entry(subject: str, within: str, statistic: str, meaning: str, unit: str = ""):
    labels = {"operators": "Operators"} | {name: label for _, name, label in _GROUPS}
    return feature(subject, within, statistic, label=labels[subject], unit=unit, meaning=meaning)


def _group(keys: pd.Series) -> Ints:
    """Code of each key, -1 where it is empty."""
    known = keys.where(keys != "")
    return pd.factorize(known)[0].astype(np.int64)


def _earlier(keys: pd.Series, started: Ints) -> tuple[Floats, Floats]:
    """Batches with the same key begun strictly earlier, and hours since the last of them began."""
    group = _group(keys)
    number, previous = earlier(group, started)
    gap = np.where((group >= 0) & (number > 0), hours(started - previous), np.nan)
    return np.where(group >= 0, number, np.nan), gap


def _planned_or_known_end(batches: Batches, labels: pd.DataFrame, process: ProcessDefinition) -> Ints:
    """When a batch no longer counts as running: at its planned end, or earlier where its outcome is known earlier."""
    planned = micros(batches.frame["planned_end_at"])
    recipe = batches.started + round(process.process.planned_duration_h * HOUR)
    ends = np.where(planned == NEVER, recipe, planned)
    batch = codes(labels["batch_id"], batches.index)
    np.minimum.at(ends, batch[batch >= 0], micros(labels["label_available_at"])[batch >= 0])
    return np.maximum(ends, batches.started)


@njit(cache=True, nogil=True)
def _fill(
    batch, as_of, seen_start, seen_when, seen_earlier, site, site_start, begun, ended, started, ends, out
) -> None:
    for i in range(len(batch)):
        b, at = batch[i], as_of[i]
        if b < 0:
            continue
        first = seen_start[b]
        stop = upto(seen_when, first, seen_start[b + 1], at)
        if stop > first:
            out[i, 3] = stop - first
            out[i, 4] = min(seen_earlier[first:stop].min(), SATURATION)
        if site[b] < 0:
            continue
        first, end, long_ago = site_start[site[b]], site_start[site[b] + 1], at - _QUARTER
        so_far = upto(begun, first, end, at)
        out[i, 5] = so_far - upto(ended, first, end, at) - (ends[b] > at)
        out[i, 6] = so_far - upto(begun, first, end, long_ago) - (started[b] > long_ago)
