"""Failure history of a lot, a supplier, a site ...: failures of other batches, as far as known at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numba import njit

from features.context.asof import NEVER, Floats, Ints, codes, joined, micros, running, starts, upto
from features.context.columns import ContextQuery
from features.dictionary import Feature, feature

PRIOR_BATCHES = 10.0  # weight of the overall rate, in batches
SATURATION = 100  # counts stop here: beyond, counts would only show the calendar date


@dataclass(frozen=True)
class LabelLog:
    """Changes of what is known of the batches' outcomes.

    Attributes:
        batch: Batch that changes.
        when: When.
        known: +1 from when a label counts, -1 from when it no longer does (corrected).
        failed: The same for failures.
    """

    batch: Ints
    when: Ints
    known: Ints
    failed: Ints


@dataclass(frozen=True)
class Members:
    """Batches and the groups (lots, suppliers, sites, ...) they belong to, sorted by batch.

    Attributes:
        batch: Batch, as position in the index of batches.
        group: Group, at least 0.
        when: From when on it is known that the batch belongs to the group.
    """

    batch: Ints
    group: Ints
    when: Ints

    @classmethod
    def of(cls, batch: Ints, names: pd.Series, at: Ints) -> Members:
        """Each (batch, group) once, from the first time; an empty name is no group."""
        group = pd.factorize(names)[0]
        own = np.flatnonzero((names != "").to_numpy(dtype=bool, na_value=True) & (group >= 0) & (batch >= 0))
        order = own[np.lexsort((at[own], group[own], batch[own]))]
        batch, group, at = batch[order], group[order].astype(np.int64), at[order]
        first = np.flatnonzero(np.r_[True, (np.diff(batch) != 0) | (np.diff(group) != 0)][: len(batch)])
        return cls(batch[first], group[first], at[first])


def label_log(labels: pd.DataFrame, batch_index: pd.Index) -> LabelLog:
    """The label log as changes: at each time the highest revision available counts, a censored one as nothing.

    Args:
        labels: `features.contracts.LABELS`.
        batch_index: Unique ids of all batches.
    """
    known = labels.drop_duplicates().dropna(subset="label_available_at")
    log = pd.DataFrame(
        {
            "batch": codes(known["batch_id"], batch_index),
            "revision": known["revision"].to_numpy(),
            "since": micros(known["label_available_at"]),
            "failed": known["failed"].to_numpy(dtype=np.int64),
            "censored": known["censored"].to_numpy(dtype=bool),
        }
    ).sort_values(["batch", "revision"], ascending=[True, False])
    superseded = log.groupby("batch")["since"].cummin()
    log["until"] = superseded.groupby(log["batch"]).shift(fill_value=NEVER)
    log = log[(log["batch"] >= 0) & ~log["censored"] & (log["since"] < log["until"])]
    ends = log[log["until"] < NEVER]
    one, minus = np.ones(len(log), dtype=np.int64), -np.ones(len(ends), dtype=np.int64)
    join = lambda a, b: np.concatenate([a, b]).astype(np.int64)  # noqa: E731
    return LabelLog(
        join(log["batch"], ends["batch"]),
        join(log["since"], ends["until"]),
        join(one, minus),
        join(log["failed"], -ends["failed"]),
    )


@dataclass(frozen=True)
class Changes:
    """Changes of outcomes in the order of a group, then of time, with running totals.

    Attributes:
        start: Where each group's changes begin, and the end.
        when: When.
        known: Total of `LabelLog.known` in front of each change, and the end.
        failed: The same of failures.
    """

    start: Ints
    when: Ints
    known: Ints
    failed: Ints

    @classmethod
    def of(cls, group: Ints, when: Ints, known: Ints, failed: Ints, groups: int) -> Changes:
        """Sort changes of groups 0 to `groups` - 1."""
        order = np.lexsort((when, group))
        return cls(starts(group[order], groups), when[order], running(known[order]), running(failed[order]))

    @property
    def columns(self) -> tuple[Ints, Ints, Ints, Ints]:
        """The arrays, for the kernel."""
        return self.start, self.when, self.known, self.failed


@dataclass(frozen=True)
class Records:
    """Outcomes of the groups (lots, sites, ...) that batches belong to, for several groupings at once.

    Attributes:
        member_start: Where the groups of a batch begin, shape (groupings, batches + 1).
        member_group: Groups of the batches, numbered over all groupings.
        member_when: From when on a batch is known to belong to a group.
        by_group: Changes of the groups' members.
        own: Changes of each batch.
        everything: Changes of all batches, as one group.
    """

    member_start: Ints
    member_group: Ints
    member_when: Ints
    by_group: Changes
    own: Changes
    everything: Changes

    @classmethod
    def of(cls, groupings: Sequence[Members], log: LabelLog, batches: int) -> Records:
        """Prepare groupings of `batches` batches."""
        change, group, when, first = [], [], [], []
        members, groups = 0, 0
        own = Changes.of(log.batch, log.when, log.known, log.failed, batches)
        order = np.lexsort((log.when, log.batch))
        for grouping in groupings:
            first.append(members + starts(grouping.batch, batches))
            member, which = _changes_of(grouping.batch, own.start)
            change.append(order[which])
            group.append(grouping.group[member] + groups)
            when.append(np.maximum(log.when[order[which]], grouping.when[member]))
            members += len(grouping.batch)
            groups += int(grouping.group.max(initial=-1)) + 1
        of_group = np.cumsum([0, *(int(g.group.max(initial=-1)) + 1 for g in groupings)])[:-1]
        all_of = joined([g.group + at for g, at in zip(groupings, of_group, strict=True)])
        which = joined(change)
        return cls(
            np.array(first, np.int64).reshape(len(groupings), batches + 1),
            all_of,
            joined([grouping.when for grouping in groupings]),
            Changes.of(joined(group), joined(when), log.known[which], log.failed[which], groups),
            own,
            Changes.of(np.zeros_like(log.batch), log.when, log.known, log.failed, 1),
        )

    def fill(self, query: ContextQuery, columns: Ints, out: Floats) -> None:
        """Write `n_known` and `failure_excess` of each grouping into a column and the one behind it.

        Known and failed are counted among the other batches of a batch's groups. Several groups of a batch (lots of
        one material) are added up: a batch that shares two lots counts twice. The excess is the group's rate less the
        overall one, `(failed - known * base) / (known + PRIOR_BATCHES)`: the mean of a beta posterior whose prior has
        the overall rate known at that time (Casella, The American Statistician 39:83, 1985, on empirical Bayes), less
        that rate. The rate itself would be the plant's trend, and so the calendar, wherever a group is large. NaN
        where the batch is not yet known to belong to a group, or where no outcome at all is known yet.

        Args:
            query: Batches and moments.
            columns: Column of `n_known` per grouping.
            out: One row per row of the query.
        """
        members = (self.member_start, self.member_group, self.member_when)
        changes = (*self.by_group.columns, *self.own.columns, *self.everything.columns[1:])
        _fill(query.batch, query.as_of, *members, *changes, columns, out)


def failure_entries(subject: str, label: str, *, of: str) -> list[Feature]:
    """`n_known` and `failure_excess` of a subject."""
    rate = f"share of failures among other batches of {of}, above that of all batches"
    return [
        feature(subject, "now", "n_known", label=label, meaning=f"other batches of {of} whose outcome is known"),
        feature(subject, "now", "failure_excess", label=label, meaning=rate),
    ]


def _changes_of(batch: Ints, own_start: Ints) -> tuple[Ints, Ints]:
    """Each member with each change of its batch: places of members, and of changes in the order of batches."""
    number = own_start[batch + 1] - own_start[batch]
    member = np.repeat(np.arange(len(batch)), number)
    return member, np.arange(len(member)) + np.repeat(own_start[batch] - (np.cumsum(number) - number), number)


@njit(cache=True, nogil=True)
def _fill(
    batch, as_of, member_start, member_group, member_when, start, when, known, failed,
    own_start, own_when, own_known, own_failed, all_when, all_known, all_failed, columns, out,
) -> None:  # fmt: skip
    for i in range(len(batch)):
        b, at = batch[i], as_of[i]
        own_k, own_f = np.int64(0), np.int64(0)
        if b >= 0:
            stop = upto(own_when, own_start[b], own_start[b + 1], at)
            own_k = own_known[stop] - own_known[own_start[b]]
            own_f = own_failed[stop] - own_failed[own_start[b]]
        stop = upto(all_when, 0, len(all_when), at)
        others = all_known[stop] - own_k
        base = (all_failed[stop] - own_f) / others if others > 0 else np.nan
        for g in range(len(member_start)):
            belongs, n, f = False, np.int64(0), np.int64(0)
            if b >= 0:
                for m in range(member_start[g, b], member_start[g, b + 1]):
                    if member_when[m] <= at:
                        belongs = True
                        first = start[member_group[m]]
                        stop = upto(when, first, start[member_group[m] + 1], at)
                        n += known[stop] - known[first] - own_k
                        f += failed[stop] - failed[first] - own_f
            if belongs:
                out[i, columns[g]] = min(n, SATURATION)
                out[i, columns[g] + 1] = (f - n * base) / (n + PRIOR_BATCHES)
