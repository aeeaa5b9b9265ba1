"""Experience of plant and people, and how busy the site is, as of a time.

Counts of earlier batches stop at `SATURATION`: in a plant with one site they would otherwise be the calendar date
under another name, which no predictor can extrapolate.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.context.asof import ALWAYS, HOUR, NEVER, Floats, Ints, Timeline, codes, micros, ranks
from features.context.columns import Cell, block, feature, hours
from features.context.failures import SATURATION, Members, base_rate, failure_cells, label_log, record
from features.dictionary import Block
from features.process import ProcessDefinition

QUARTER_H = 90 * 24.0
_GROUPS = (  # column of `batches`, subject, label
    ("site_id", "site", "Site"),
    ("equipment_id", "equipment", "Equipment"),
    ("subject_key", "subject", "Patient or donor"),
    ("product_id", "product", "Product"),
)


def failure_history(rows: pd.DataFrame, batches: pd.DataFrame, labels: pd.DataFrame) -> Block:
    """Failure history of site, equipment, subject and product as of a time.

    Returns:
        `{site,equipment,subject,product}.now.{n_known,failure_excess}`; NaN where the batch has none.
    """
    plant = batches.drop_duplicates("batch_id")
    index, started = pd.Index(plant["batch_id"]), micros(plant["started_at"])
    batch, as_of = codes(rows["batch_id"], index), micros(rows["as_of"])
    log = label_log(labels, index)
    base = base_rate(batch, as_of, log)
    cells: list[Cell] = []
    for column, subject, label in _GROUPS:
        members = Members.of(np.arange(len(plant)), plant[column], started)
        history = record(batch, as_of, members, log)
        cells += failure_cells(subject, label, *history, base, of=f"the same {label.lower()}")
    return block(rows, cells)


def experience(
    rows: pd.DataFrame, batches: pd.DataFrame, events: pd.DataFrame, labels: pd.DataFrame, process: ProcessDefinition
) -> Block:
    """How often subject, equipment and people have done this before, and how busy the site is.

    Returns:
        `subject.before_start.attempt`, `equipment.before_start.{n_batches,gap_h}`, `site.now.n_running`,
        `site.last_90d.n_batches`, `operators.since_start.{n,least_experience}`; NaN where not known.
    """
    plant = batches.drop_duplicates("batch_id")
    index, started = pd.Index(plant["batch_id"]), micros(plant["started_at"])
    batch, as_of = codes(rows["batch_id"], index), micros(rows["as_of"])
    own = np.where(batch >= 0, batch, len(index))  # one place behind the last: not in the plant
    ends = _planned_or_known_end(plant, index, started, labels, process)
    attempt, _ = _earlier(plant["subject_key"], started)
    earlier, gap = _earlier(plant["equipment_id"], started)
    persons, least = _people(events, index, started, batch, as_of)

    def spread(values: Floats) -> Floats:
        return np.append(values, np.nan)[own]

    before, so_far = "before_start", "since_start"
    person = "earlier batches of the least experienced person seen"
    cells: list[Cell] = [
        (_entry("subject", before, "attempt", "attempt for the same patient or donor"), spread(attempt + 1)),
        (
            _entry("equipment", before, "n_batches", "earlier batches on the same equipment"),
            spread(np.minimum(earlier, SATURATION)),
        ),
        (_entry("equipment", before, "gap_h", "time since the equipment's previous batch began", "h"), spread(gap)),
        (_entry("operators", so_far, "n", "different persons seen in the batch"), persons),
        (_entry("operators", so_far, "least_experience", person), least),
    ]
    return block(rows, [*cells, *_site_cells(_group(plant["site_id"]), started, ends, own, as_of)])


def _site_cells(site: Ints, started: Ints, ends: Ints, own: Ints, as_of: Ints) -> list[Cell]:
    """Other batches running at the site, and begun there in the last 90 days."""
    where, long_ago = np.append(site, -1)[own], as_of - round(QUARTER_H * HOUR)
    begun, ended = Timeline.of(site, started), Timeline.of(site, ends)
    running = begun.count(where, as_of) - ended.count(where, as_of) - (np.append(ends, NEVER)[own] > as_of)
    recent = begun.count(where, as_of) - begun.count(where, long_ago) - (np.append(started, ALWAYS)[own] > long_ago)
    meaning = "other batches begun at the site in the last 90 days"
    return [
        (
            _entry("site", "now", "n_running", "other batches running at the site"),
            np.where(where >= 0, running, np.nan),
        ),
        (_entry("site", "last_90d", "n_batches", meaning), np.where(where >= 0, recent, np.nan)),
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
    line = Timeline.of(group, started)
    number = line.count(group, started - 1)
    previous = line.when[line.reach(group, started - 1) - 1]
    gap = np.where((group >= 0) & (number > 0), hours(started - previous), np.nan)
    return np.where(group >= 0, number, np.nan), gap


def _planned_or_known_end(
    plant: pd.DataFrame, index: pd.Index, started: Ints, labels: pd.DataFrame, process: ProcessDefinition
) -> Ints:
    """When a batch no longer counts as running: at its planned end, or earlier where its outcome is known earlier."""
    planned = micros(plant["planned_end_at"])
    recipe = started + round(process.process.planned_duration_h * HOUR)
    ends = np.where(planned == NEVER, recipe, planned)
    batch = codes(labels["batch_id"], index)
    np.minimum.at(ends, batch[batch >= 0], micros(labels["label_available_at"])[batch >= 0])
    return np.maximum(ends, started)


def _people(events: pd.DataFrame, index: pd.Index, started: Ints, batch: Ints, as_of: Ints) -> tuple[Floats, Floats]:
    """Persons seen in a batch so far, and earlier batches of the one with the fewest."""
    known = np.maximum(micros(events["started_at"]), micros(events["available_at"], absent=ALWAYS))
    worked_in = codes(events["batch_id"], index)
    known = np.maximum(known, np.append(started, ALWAYS)[worked_in])  # a batch is known from its start on
    pairs = Members.of(worked_in, events["person_key"], known)
    earlier = Timeline.of(pairs.group, pairs.when).count(pairs.group, pairs.when - 1)
    in_batch = Timeline.of(pairs.batch, pairs.when)
    number = in_batch.count(batch, as_of)
    least = in_batch.best(ranks([-earlier, pairs.group]), batch, as_of)
    experience = np.append(np.minimum(earlier, SATURATION), 0)[least]
    return np.where(number > 0, number, np.nan), np.where(number > 0, experience, np.nan)
