"""The series of one batch, kept up to date reading by reading.

A new reading lands in its bin, and that bin is summarised again from its own rows in order of time: late, out of order
and corrected rows too. The kernels are those of the pass over a whole history, so the numbers are the same to the last
bit (`tests/features/test_incremental.py`). A query reads summaries, never the rows; only a query of a moment before the
newest reading reads rows, to leave out those that were not known yet.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from features.contracts import BAD_QUALITY, QUALITIES
from features.known_kernel import UNCHANGED, known_run
from features.process import ProcessDefinition
from features.runs import Runs
from features.summaries import US_PER_H, limits
from features.summary_kernel import COUNTS, MOMENTS, bin_of, summarise_rows

ACCEPTED, DUPLICATE, CONFLICT = 0, 1, 2  # what became of a row
_IS_BAD = np.array([quality == BAD_QUALITY for quality in QUALITIES])
_ONE = np.zeros(1, np.int32)  # the only batch, the only parameter
_BIN = COUNTS.index("bin")


@dataclass(frozen=True)
class Readings:
    """Readings of one parameter of one batch as parallel arrays, sorted by `observed`, then `revision`.

    Attributes:
        observed: Microseconds since the epoch, int64.
        revision: int32.
        available: Microseconds since the epoch, int64.
        value: In the parameter's unit.
        quality: Place in `features.contracts.QUALITIES`, int32.
    """

    observed: np.ndarray
    revision: np.ndarray
    available: np.ndarray
    value: np.ndarray
    quality: np.ndarray

    @classmethod
    def none(cls) -> Readings:
        """No readings."""
        whole, small = np.empty(0, np.int64), np.empty(0, np.int32)
        return cls(whole, small, whole, np.empty(0), small)

    def __len__(self) -> int:
        return len(self.value)

    def __getitem__(self, which: slice | np.ndarray) -> Readings:
        return Readings(*(column[which] for column in self.columns))

    @property
    def columns(self) -> tuple[np.ndarray, ...]:
        """The arrays in the order of the attributes."""
        return self.observed, self.revision, self.available, self.value, self.quality

    def copy(self) -> Readings:
        """The same in arrays of their own."""
        return Readings(*(column.copy() for column in self.columns))

    def ordered(self) -> Readings:
        """Sorted by time and revision."""
        return self[np.lexsort((self.revision, self.observed))]


class _Growing:
    """Sorted readings in arrays with room at the end: a reading that is the newest costs no copy.

    Attributes:
        size: Number of readings.
        late: When each reading was available that was not available in the bin in which it was observed, in order.
        late_observed: When it was observed.
    """

    def __init__(self) -> None:
        self._room, self.size = Readings.none(), 0
        self.late, self.late_observed = np.empty(0, np.int64), np.empty(0, np.int64)

    @property
    def rows(self) -> Readings:
        return self._room[: self.size]

    def verdicts(self, new: Readings) -> np.ndarray:
        """`ACCEPTED`, `DUPLICATE` or `CONFLICT` for each new reading, by the key (observed, revision)."""
        found = np.full(len(new), ACCEPTED, np.int8)
        if not self.size or new.observed[0] > self._room.observed[self.size - 1]:
            return found
        held = self.rows
        first = np.searchsorted(held.observed, new.observed, side="left")
        last = np.searchsorted(held.observed, new.observed, side="right")
        for i in np.flatnonzero(first < last):
            same = first[i] + np.flatnonzero(held.revision[first[i] : last[i]] == new.revision[i])
            if len(same):
                at = int(same[0])
                pairs = [(h[at], n[i]) for h, n in zip(held.columns[2:], new.columns[2:], strict=True)]
                equal = all(h == n or (h != h and n != n) for h, n in pairs)  # a bad reading may have no value: NaN
                found[i] = DUPLICATE if equal else CONFLICT
        return found

    def insert(self, new: Readings) -> None:
        """Put readings with new keys in their places."""
        self._reserve(self.size + len(new))
        start = int(np.searchsorted(self.rows.observed, new.observed[0], side="left"))
        if start < self.size:  # only what lies behind the oldest new reading moves
            tail = zip(self._room.columns, new.columns, strict=True)
            new = Readings(*(np.concatenate([held[start : self.size], more]) for held, more in tail)).ordered()
        for held, more in zip(self._room.columns, new.columns, strict=True):
            held[start : start + len(more)] = more
        self.size = start + len(new)

    def note_late(self, new: Readings, started_us: int, bin_us: int) -> None:
        """Remember which of some readings became available in a later bin."""
        late = _bins(new.available, started_us, bin_us) > _bins(new.observed, started_us, bin_us)
        if late.any():
            available, observed = new.available[late], new.observed[late]
            order = np.argsort(available, kind="stable")
            places = np.searchsorted(self.late, available[order])
            self.late_observed = np.insert(self.late_observed, places, observed[order])
            self.late = np.insert(self.late, places, available[order])

    def _reserve(self, size: int) -> None:
        if size > len(self._room):
            room = max(64, 2 * size)
            columns = (
                np.concatenate([c[: self.size], np.empty(room - self.size, c.dtype)]) for c in self._room.columns
            )
            self._room = Readings(*columns)


@dataclass(frozen=True)
class SeriesGrid:
    """What the series of every batch of a process share.

    Attributes:
        place: Place of each summarised parameter by name.
        low: Lower normal limits, -inf where open.
        high: Upper normal limits, inf where open.
        bin_us: Length of a bin in microseconds.
    """

    place: dict[str, int]
    low: np.ndarray
    high: np.ndarray
    bin_us: int

    @classmethod
    def of(cls, process: ProcessDefinition) -> SeriesGrid:
        """The grid of a process."""
        parameters = process.features_of("sensor", "assay")
        place = {p.name: i for i, p in enumerate(parameters)}
        return cls(place, *limits(p.normal for p in parameters), round(process.process.bin_h * US_PER_H))

    def summaries(self, parameter: int, started_us: int, rows: Readings) -> tuple[np.ndarray, np.ndarray]:
        """`COUNTS` and `MOMENTS` of the whole bins that sorted readings of one parameter make."""
        room = 2 * len(rows) + 2
        counts, moments = np.empty((room, len(COUNTS)), np.int64), np.empty((room, len(MOMENTS)))
        which = np.zeros(len(rows), np.int32)
        columns = (which, which, rows.observed, rows.available, rows.value, rows.quality)
        p = slice(parameter, parameter + 1)
        limits = (np.array([started_us], np.int64), self.low[p], self.high[p], self.bin_us)
        done, total = 0, 0
        while done < len(rows):
            rest = (column[done:] for column in columns)
            used, made = summarise_rows(*rest, _ONE, _ONE, _IS_BAD, *limits, counts[total:], moments[total:])
            done, total = done + used, total + made
            if not used:  # a corrected bin needs more room than it fills
                more = ((counts, np.int64), (moments, np.float64))
                counts, moments = (np.concatenate([a, np.empty((room, a.shape[1]), kind)]) for a, kind in more)
        return counts[:total], moments[:total]


class _Summaries:
    """Summaries of all parameters of a batch in one pair of arrays, each parameter's in a run with room behind it."""

    def __init__(self, parameters: int) -> None:
        self.counts, self.moments = np.empty((0, len(COUNTS)), np.int64), np.empty((0, len(MOMENTS)))
        self.start, self.end, self._room_end = (np.zeros(parameters, np.int64) for _ in range(3))
        self._used = 0

    def bins(self, run: int) -> np.ndarray:
        """Bins of a run's summaries, in order; a bin may have several."""
        return self.counts[self.start[run] : self.end[run], _BIN]

    def replace(self, run: int, low: int, high: int, counts: np.ndarray, moments: np.ndarray) -> None:
        """Put summaries in the place of those of the bins `low` to `high`."""
        bins = self.bins(run)
        before = int(np.searchsorted(bins, low, side="left"))
        behind = int(np.searchsorted(bins, high, side="right"))
        more = len(counts) - (behind - before)
        if self.end[run] + more > self._room_end[run]:
            self._move(run, more)
        start, end = int(self.start[run]), int(self.end[run])
        first, behind = start + before, start + behind
        for held, new in ((self.counts, counts), (self.moments, moments)):
            if behind < end:
                held[behind + more : end + more] = held[behind:end].copy()
            held[first : first + len(new)] = new
        self.end[run] += more

    def beyond(self, size: int) -> int:
        """Where there is free room for `size` summaries; the next change may use it."""
        if self._used + size > len(self.counts):
            self._pack(size)
        return self._used

    def _move(self, run: int, more: int) -> None:
        """Move a run to new room behind all others; the room it had is used no more until all are packed."""
        start, end = int(self.start[run]), int(self.end[run])
        room = max(8, (end - start + more) * 3 // 2)
        begin = self.beyond(room)
        start, end = int(self.start[run]), int(self.end[run])
        for held in (self.counts, self.moments):
            held[begin : begin + end - start] = held[start:end]
        self.start[run], self.end[run], self._room_end[run] = begin, begin + end - start, begin + room
        self._used = begin + room

    def _pack(self, more: int) -> None:
        """Put all runs behind each other in new arrays, each with a quarter more room, and as much at the end."""
        size = self.end - self.start
        room = size + size // 4
        ends = np.cumsum(room)
        begins, self._used = ends - room, int(ends[-1])
        counts, moments = (np.empty((self._used + self._used // 4 + more, a.shape[1]), a.dtype)
                           for a in (self.counts, self.moments))  # fmt: skip
        for start, begin, n in zip(self.start, begins, size, strict=True):
            counts[begin : begin + n] = self.counts[start : start + n]
            moments[begin : begin + n] = self.moments[start : start + n]
        self.counts, self.moments = counts, moments
        self.start, self.end, self._room_end = begins, begins + size, ends


class BatchSeries:
    """Readings and summaries of one batch. Not thread-safe: the caller holds a lock for each batch."""

    def __init__(self, grid: SeriesGrid, started_us: int) -> None:
        self._grid, self._started = grid, np.array([started_us], np.int64)
        self._rows: dict[str, _Growing] = {}
        self._summaries = _Summaries(len(grid.place))
        self._newest = np.full(len(grid.place), np.iinfo(np.int64).min)
        self._parameters, self._first = np.arange(len(grid.place)), np.zeros(len(grid.place), np.int64)

    @property
    def started_us(self) -> int:
        """When the batch started, microseconds since the epoch."""
        return int(self._started[0])

    @property
    def held(self) -> int:
        """Number of readings held."""
        return sum(rows.size for rows in self._rows.values())

    def readings(self, parameter: str) -> Readings:
        """All readings of a parameter."""
        rows = self._rows.get(parameter)
        return Readings.none() if rows is None else rows.rows

    def add(self, parameter: str, new: Readings) -> np.ndarray:
        """Take sorted readings of one parameter in; those whose key is held already, or came before, stay out.

        Returns:
            `ACCEPTED`, `DUPLICATE` (equal to the one held) or `CONFLICT` (other content), for each.
        """
        held = self._rows.get(parameter)
        verdicts = np.zeros(len(new), np.int8) if held is None else held.verdicts(new)
        verdicts = np.maximum(verdicts, _among_themselves(new))
        taken = new[verdicts == ACCEPTED]
        if len(taken):
            rows = self._rows.setdefault(parameter, _Growing())
            rows.insert(taken)
            place = self._grid.place.get(parameter)
            if place is not None:
                self._newest[place] = max(self._newest[place], taken.available.max())
                rows.note_late(taken, self.started_us, self._grid.bin_us)
                self._summarise(place, rows.rows, taken.observed)
        return verdicts

    def restart(self, started_us: int) -> None:
        """The batch's start was corrected: every bin lies elsewhere."""
        self._started, self._summaries = np.array([started_us], np.int64), _Summaries(len(self._grid.place))
        for name, rows in self._rows.items():
            if name in self._grid.place:
                rows.late = rows.late_observed = np.empty(0, np.int64)
                rows.note_late(rows.rows, started_us, self._grid.bin_us)
                self._summarise(self._grid.place[name], rows.rows, rows.rows.observed)

    def runs(self, as_of_us: int) -> Runs:
        """The summaries as of a moment, one run per parameter of the grid, for families of series to read.

        They may be read until the next call or change.
        """
        at_bin = bin_of(as_of_us, self.started_us, self._grid.bin_us)
        start, end = self._known(as_of_us, at_bin)
        held = self._summaries
        moment = (np.array([at_bin], np.int64), np.array([as_of_us], np.int64))
        return Runs(*moment, start, end, self._parameters, self._first, self._first + 1, held.counts, held.moments)

    def _known(self, as_of_us: int, at_bin: int) -> tuple[np.ndarray, np.ndarray]:
        """Runs of summaries that know nothing from after the moment within its bin; later bins hide themselves."""
        held = self._summaries
        ahead = self._newest > as_of_us
        if not ahead.any():
            return held.start, held.end
        at, changed = held.beyond(0), {}
        for name, rows in self._rows.items():
            place = self._grid.place.get(name)
            if place is not None and ahead[place]:
                end, room = self._known_run(rows, place, at_bin, as_of_us, at)
                if room:  # what was written so far is written again in larger arrays
                    held.beyond(2 * (at - held.beyond(0)) + room)
                    return self._known(as_of_us, at_bin)
                if end != UNCHANGED:
                    at, changed[place] = end, (at, end)
        start, ends = held.start.copy(), held.end.copy()
        for place, (first, end) in changed.items():
            start[place], ends[place] = first, end
        return start, ends

    def _known_run(self, rows: _Growing, place: int, at_bin: int, as_of_us: int, at: int) -> tuple[int, int]:
        held, grid, own = self._summaries, self._grid, rows.rows
        p = slice(place, place + 1)
        return known_run(
            own.observed, own.available, own.value, own.quality, rows.late, rows.late_observed,
            held.counts, held.moments, held.start[place], held.end[place],
            at_bin, as_of_us, self._started, grid.low[p], grid.high[p], grid.bin_us, _IS_BAD, at,
        )  # fmt: skip

    def _spans(self, rows: Readings, observed: np.ndarray) -> list[tuple[int, int, int]]:
        """The bins in which some times lie, in order, and the span of rows of each."""
        bin_us, started = self._grid.bin_us, self.started_us
        bins = np.unique(_bins(observed, started, bin_us))
        low = np.searchsorted(rows.observed, started + (bins - 1) * bin_us, side="right")
        low[bins == 0] = 0
        high = np.searchsorted(rows.observed, started + bins * bin_us, side="right")
        return list(zip(bins.tolist(), low.tolist(), high.tolist(), strict=True))

    def _summarise(self, place: int, rows: Readings, observed: np.ndarray) -> None:
        """Summarise the bins of these times again, neighbouring ones together."""
        spans, first = self._spans(rows, observed), 0
        for last in range(len(spans)):
            if last + 1 == len(spans) or spans[last + 1][1] != spans[last][2]:
                made = self._grid.summaries(place, self.started_us, rows[spans[first][1] : spans[last][2]])
                self._summaries.replace(place, spans[first][0], spans[last][0], *made)
                first = last + 1


def _bins(times: np.ndarray, started_us: int, bin_us: int) -> np.ndarray:
    """`features.summary_kernel.bin_of` of several times."""
    elapsed = times - started_us
    return np.where(elapsed <= 0, 0, -(-elapsed // bin_us))


def _among_themselves(new: Readings) -> np.ndarray:
    """The first reading of a key is `ACCEPTED`, another one of the same call is a `DUPLICATE` or a `CONFLICT`."""
    again = (new.observed[1:] == new.observed[:-1]) & (new.revision[1:] == new.revision[:-1])
    verdicts = np.full(len(new), ACCEPTED, np.int8)
    first = 0
    for i in np.flatnonzero(again) + 1:
        first = first if again[i - 2] and i > 1 else i - 1
        equal = all(column[first] == column[i] for column in new.columns[2:])
        verdicts[i] = DUPLICATE if equal else CONFLICT
    return verdicts
