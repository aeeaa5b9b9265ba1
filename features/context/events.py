"""Phases, deviations and other events of a batch as of a time.

An event counts from when it has begun and could be seen; that it has ended is known from `ended_at` on, never earlier.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.context.asof import ALWAYS, HOUR, NEVER, Floats, Ints, Timeline, codes, micros, ranks, window
from features.context.columns import Cell, block, feature, hours, last, slug
from features.context.vocabulary import PHASE, Vocabulary
from features.dictionary import Block, Feature
from features.process import CATEGORY, ProcessDefinition

SEVERE = ("major", "critical")


@dataclass(frozen=True)
class Begun:
    """Events of some kind.

    Attributes:
        batch: Batch, as position in the index of the batches asked for.
        began: When each event began.
        known: From when on that is known.
        ended: When each event ended, `NEVER` where it is open.
        severe: 1 where it is major or critical.
        code: What it is.
    """

    batch: Ints
    began: Ints
    known: Ints
    ended: Ints
    severe: Ints
    code: pd.Series

    @classmethod
    def of(cls, events: pd.DataFrame, batch_index: pd.Index) -> Begun:
        """Events of the batches asked for."""
        batch = codes(events["batch_id"], batch_index)
        events, batch = events[batch >= 0], batch[batch >= 0]
        began = micros(events["started_at"])
        return cls(
            batch=batch,
            began=began,
            known=np.maximum(began, micros(events["available_at"], absent=ALWAYS)),
            ended=micros(events["ended_at"]),
            severe=events["severity"].isin(SEVERE).to_numpy(dtype=np.int64),
            code=events["code"],
        )

    @property
    def over(self) -> Ints:
        """From when on it is known that each event has ended."""
        return np.where(self.ended == NEVER, NEVER, np.maximum(self.known, self.ended))


def events(rows: pd.DataFrame, events: pd.DataFrame, process: ProcessDefinition, vocabulary: Vocabulary) -> Block:
    """The phase a batch is in, and how many events of each kind it has had.

    Returns:
        `phase.now.{name,elapsed_h,progress,overrun_h,late_h}`, `phase.<code>.now.elapsed_h`, and for each other kind
        `event.<kind>.since_start.{n,n_severe}`, `event.<kind>.now.{n_open,age_h}`, `event.<kind>.last_<w>h.n`.
        Counts are 0 where no event is known; ages and phases are NaN.
    """
    index = pd.Index(rows["batch_id"].unique())
    batch, as_of = codes(rows["batch_id"], index), micros(rows["as_of"])
    start = micros(rows["started_at"])
    phases = Begun.of(events[events["kind"] == PHASE], index)
    cells = _phase_cells(phases, batch, start, as_of, process, vocabulary)
    for code in vocabulary.phases:
        cells.append(_time_in_phase(code, phases, batch, start, as_of, process))
    for kind in vocabulary.event_kinds:
        cells += _kind_cells(kind, Begun.of(events[events["kind"] == kind], index), batch, as_of, process)
    return block(rows, cells)


def _phase_cells(
    phases: Begun, batch: Ints, start: Ints, as_of: Ints, process: ProcessDefinition, vocabulary: Vocabulary
) -> list[Cell]:
    """The phase that began last: its name, how far it is, how late it began."""
    if not vocabulary.phases:
        return []
    names = pd.Index(vocabulary.phases)
    which = codes(phases.code, names)
    current = Timeline.of(phases.batch, phases.known).best(ranks([phases.began, which]), batch, as_of)
    at = np.where(current >= 0, current, len(which))  # one place behind the last: no phase
    of = np.append(which, -1)[at]
    began, ended = np.append(phases.began, ALWAYS)[at], np.append(phases.ended, NEVER)[at]
    recipe = {p.name: p for p in process.phase}
    planned = np.array([recipe[n].planned_h if n in recipe else np.nan for n in names] + [np.nan])[of]
    due = np.array([recipe[n].starts_h if n in recipe else np.nan for n in names] + [np.nan])[of]
    none = of < 0
    elapsed = np.where(none, np.nan, hours(np.minimum(as_of, ended) - np.where(none, as_of, began)))
    late = np.where(none, np.nan, hours(np.where(none, start, began) - start)) - due
    name = pd.Series(of).map(dict(enumerate(names))).astype("str")

    def entry(statistic: str, meaning: str, unit: str = "") -> Feature:
        return feature(PHASE, "now", statistic, label="Phase", unit=unit, meaning=meaning)

    return [
        (entry("name", "phase that began last", CATEGORY), name),
        (entry("elapsed_h", "time in the phase", "h"), elapsed),
        (entry("progress", "time in the phase as a share of its planned length"), elapsed / planned),
        (entry("overrun_h", "time the phase has run past its planned length", "h"), np.maximum(elapsed - planned, 0.0)),
        (entry("late_h", "time the phase began after its planned begin", "h"), late),
    ]


def _time_in_phase(code: str, phases: Begun, batch: Ints, start: Ints, as_of: Ints, process: ProcessDefinition) -> Cell:
    """Hours spent in one phase so far, all its runs together; NaN where it has not begun."""
    label = next((p.label for p in process.phase if p.name == code), code)
    entry = feature(
        f"{PHASE}.{slug(code)}", "now", "elapsed_h", label=label, unit="h", meaning=f"time spent in {label} so far"
    )
    mine = (phases.code == code).to_numpy(dtype=bool)
    group, began, ended = phases.batch[mine], phases.began[mine], phases.ended[mine]
    begun = Timeline.of(group, phases.known[mine])
    done = ended != NEVER
    over = Timeline.of(group[done], phases.over[mine][done])
    number = begun.count(batch, as_of)
    still = number - over.count(batch, as_of)
    begins = (
        begun.total(began, batch, as_of) - number * start
    )  # sums of times may wrap round, their difference is exact
    ends = over.total(ended[done], batch, as_of) - over.count(batch, as_of) * start
    return entry, np.where(number > 0, (still * (as_of - start) + ends - begins) / HOUR, np.nan)


def _kind_cells(kind: str, own: Begun, batch: Ints, as_of: Ints, process: ProcessDefinition) -> list[Cell]:
    subject, label = f"event.{slug(kind)}", kind.capitalize()

    def number_since(after: Ints) -> tuple[Ints, Ints]:
        seen = window(
            own.batch, own.began, own.known, own.severe.astype(np.float64), of=batch, after=after, as_of=as_of
        )
        return seen.number, seen.newest

    def entry(within: str, statistic: str, meaning: str, unit: str = "") -> Feature:
        return feature(subject, within, statistic, label=label, unit=unit, meaning=meaning)

    number, newest = number_since(np.full_like(as_of, ALWAYS))
    severe = Timeline.of(own.batch, own.known).total(own.severe, batch, as_of)
    closed = Timeline.of(own.batch, own.over).count(batch, as_of)
    age: Floats = np.where(number > 0, hours(as_of - np.where(number > 0, newest, as_of)), np.nan)
    return [
        (entry("since_start", "n", f"events of kind {kind} so far"), number),
        (entry("since_start", "n_severe", f"major or critical events of kind {kind} so far"), severe),
        (entry("now", "n_open", f"open events of kind {kind}"), number - closed),
        (entry("now", "since_newest_h", f"time since the newest event of kind {kind} began", "h"), age),
        *(
            (
                entry(last(w), "n", f"events of kind {kind} in the last {w:g} h"),
                number_since(as_of - round(w * HOUR))[0],
            )
            for w in process.process.windows_h
        ),
    ]
