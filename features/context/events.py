"""Phases, deviations and other events of a batch as of a time.

An event counts from when it has begun and could be seen; that it has ended is known from `ended_at` on, never earlier.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numba import njit

from features.context.asof import HOUR, NEVER, Floats, Ints, codes, known_us, micros, starts
from features.context.columns import ContextQuery, last, slug
from features.context.vocabulary import PHASE, Vocabulary
from features.contracts import EVENTS
from features.dictionary import Feature, feature
from features.process import CATEGORY, ProcessDefinition

SEVERE = ("major", "critical")
_NO_PHASE, _OTHER_PHASE = -2, -1  # an event of another kind; a phase without a column


@dataclass(frozen=True)
class BatchEvents:
    """Events sorted by batch.

    Attributes:
        start: Where each batch's events begin, and the end.
        phase: Place of a phase in the vocabulary, `_OTHER_PHASE` or `_NO_PHASE`.
        kind: Place of another kind in the vocabulary, -1 where it is not in it.
        began: When each event began.
        known: From when on that is known.
        ended: When each event ended, `NEVER` where it is open.
        over: From when on it is known that it has ended.
        severe: 1 where it is major or critical.
    """

    start: Ints
    phase: Ints
    kind: Ints
    began: Ints
    known: Ints
    ended: Ints
    over: Ints
    severe: Ints

    @classmethod
    def of(cls, events: pd.DataFrame, index: pd.Index, vocabulary: Vocabulary) -> BatchEvents:
        """Events of the batches of an index."""
        batch = codes(events["batch_id"], index)
        order = np.argsort(batch, kind="stable")
        order = order[batch[order] >= 0]
        own, batch = events.iloc[order], batch[order]
        phase = codes(own["code"], pd.Index(vocabulary.phases, dtype="str"))
        began, ended = micros(own["started_at"]), micros(own["ended_at"])
        known = known_us(own, EVENTS)
        return cls(
            start=starts(batch, len(index)),
            phase=np.where((own["kind"] == PHASE).to_numpy(bool), phase, _NO_PHASE),
            kind=codes(own["kind"], pd.Index(vocabulary.event_kinds, dtype="str")),
            began=began,
            known=known,
            ended=ended,
            over=np.where(ended == NEVER, NEVER, np.maximum(known, ended)),
            severe=own["severity"].isin(SEVERE).to_numpy(dtype=np.int64),
        )

    @property
    def columns(self) -> tuple[Ints, ...]:
        """The arrays, for the kernel."""
        return self.start, self.phase, self.kind, self.began, self.known, self.ended, self.over, self.severe


@dataclass(frozen=True)
class Events:
    """Events of all batches, and the recipe's plan of its phases.

    Columns: `phase.now.{name,elapsed_h,progress,overrun_h,late_h}`, `phase.<code>.now.elapsed_h`, and for each other kind
    `event.<kind>.since_start.{n,n_severe}`, `event.<kind>.now.{n_open,since_newest_h}`, `event.<kind>.last_<w>h.n`.
    Counts are 0 where no event is known; ages and phases are NaN.

    Attributes:
        features: One entry per column.
        categories: Names of the phases, for the column that names the current one.
        batch_events: The events.
        planned_h: Planned length of each phase of the vocabulary, NaN outside the recipe.
        due_h: Planned begin of each, in hours since the batch's start.
        windows: Recent windows in microseconds.
        kinds: Number of other kinds.
    """

    features: tuple[Feature, ...]
    categories: dict[int, tuple[str, ...]]
    batch_events: BatchEvents
    planned_h: Floats
    due_h: Floats
    windows: Ints
    kinds: int

    @classmethod
    def of(cls, events: pd.DataFrame, index: pd.Index, process: ProcessDefinition, vocabulary: Vocabulary) -> Events:
        """Sort the events of the batches of an index."""
        return cls.empty(process, vocabulary).with_events(BatchEvents.of(events, index, vocabulary))

    @classmethod
    def empty(cls, process: ProcessDefinition, vocabulary: Vocabulary) -> Events:
        """Columns and plan without any event."""
        recipe, phases, nan = {p.name: p for p in process.phase}, vocabulary.phases, float("nan")
        none = np.empty(0, np.int64)
        return cls(
            features=tuple(_entries(process, vocabulary)),
            categories={0: phases} if phases else {},
            batch_events=BatchEvents(np.zeros(1, np.int64), *([none] * 7)),
            planned_h=np.array([recipe[n].planned_h if n in recipe else nan for n in phases], np.float64),
            due_h=np.array([recipe[n].starts_h if n in recipe else nan for n in phases], np.float64),
            windows=np.array([round(w * HOUR) for w in process.process.windows_h], np.int64),
            kinds=len(vocabulary.event_kinds),
        )

    def with_events(self, batch_events: BatchEvents) -> Events:
        """The same columns about other events."""
        return replace(self, batch_events=batch_events)

    def fill(self, query: ContextQuery, out: Floats) -> None:
        """Phase and counts as far as known."""
        plan = (self.planned_h, self.due_h, self.windows, self.kinds)
        _fill(query.batch, query.started, query.as_of, *self.batch_events.columns, *plan, out)


def _entries(process: ProcessDefinition, vocabulary: Vocabulary) -> list[Feature]:
    made = _phase_entries() if vocabulary.phases else []
    labels = {p.name: p.label for p in process.phase}
    for code in vocabulary.phases:
        label = labels.get(code, code)
        meaning = f"time spent in {label} so far"
        made.append(feature(f"{PHASE}.{slug(code)}", "now", "elapsed_h", label=label, unit="h", meaning=meaning))
    for kind in vocabulary.event_kinds:
        made += _kind_entries(kind, process.process.windows_h)
    return made


def _phase_entries() -> list[Feature]:
    """The phase that began last: its name, how far it is, how late it began."""

    def entry(statistic: str, meaning: str, unit: str = "") -> Feature:
        return feature(PHASE, "now", statistic, label="Phase", unit=unit, meaning=meaning)

    return [
        entry("name", "phase that began last", CATEGORY),
        entry("elapsed_h", "time in the phase", "h"),
        entry("progress", "time in the phase as a share of its planned length"),
        entry("overrun_h", "time the phase has run past its planned length", "h"),
        entry("late_h", "time the phase began after its planned begin", "h"),
    ]


def _kind_entries(kind: str, windows_h: tuple[float, ...]) -> list[Feature]:
    def entry(within: str, statistic: str, meaning: str, unit: str = "") -> Feature:
        label = kind.capitalize()
        return feature(f"event.{slug(kind)}", within, statistic, label=label, unit=unit, meaning=meaning)

    return [
        entry("since_start", "n", f"events of kind {kind} so far"),
        entry("since_start", "n_severe", f"major or critical events of kind {kind} so far"),
        entry("now", "n_open", f"open events of kind {kind}"),
        entry("now", "since_newest_h", f"time since the newest event of kind {kind} began", "h"),
        *(entry(last(w), "n", f"events of kind {kind} in the last {w:g} h") for w in windows_h),
    ]


@njit(cache=True, nogil=True)
def _fill(
    batch, started, as_of, start, phase, kind, began, known, ended, over, severe, planned_h, due_h, windows, kinds, out
) -> None:
    phases = len(planned_h)
    first_kind = 5 + phases if phases else 0
    for i in range(len(batch)):
        out[i, first_kind:] = 0.0
        for k in range(kinds):
            out[i, first_kind + k * (4 + len(windows)) + 3] = np.nan
        if batch[i] >= 0:
            begin, end = start[batch[i]], start[batch[i] + 1]
            _phases(started[i], as_of[i], begin, end, phase, began, known, ended, over, planned_h, due_h, out[i])
            for k in range(kinds):
                own = out[i, first_kind + k * (4 + len(windows)) :]
                _kind(k, as_of[i], begin, end, kind, began, known, over, severe, windows, own)


@njit(cache=True, nogil=True)
def _phases(started, as_of, begin, end, phase, began, known, ended, over, planned_h, due_h, out) -> None:
    current = -1
    spent, runs = np.zeros(len(planned_h), np.int64), np.zeros(len(planned_h), np.int64)
    for e in range(begin, end):
        if phase[e] == _NO_PHASE or known[e] > as_of:
            continue
        if current < 0 or (began[e], phase[e]) >= (began[current], phase[current]):
            current = e
        if phase[e] >= 0:
            spent[phase[e]] += (ended[e] if over[e] <= as_of else as_of) - began[e]
            runs[phase[e]] += 1
    for p in range(len(planned_h)):
        if runs[p]:
            out[5 + p] = spent[p] / HOUR
    if current >= 0 and phase[current] >= 0:
        p = phase[current]
        elapsed_h = (min(as_of, ended[current]) - began[current]) / HOUR
        out[0], out[1], out[2] = p, elapsed_h, elapsed_h / planned_h[p]
        if not np.isnan(planned_h[p]):
            out[3] = max(elapsed_h - planned_h[p], 0.0)
        out[4] = (began[current] - started) / HOUR - due_h[p]


@njit(cache=True, nogil=True)
def _kind(k, as_of, begin, end, kind, began, known, over, severe, windows, out) -> None:
    newest = np.int64(0)
    for e in range(begin, end):
        if kind[e] != k or known[e] > as_of:
            continue
        newest = began[e] if out[0] == 0 else max(newest, began[e])
        out[0] += 1
        out[1] += severe[e]
        out[2] += over[e] > as_of
        for w in range(len(windows)):
            out[4 + w] += began[e] > as_of - windows[w]
    if out[0] > 0:
        out[3] = (as_of - newest) / HOUR
