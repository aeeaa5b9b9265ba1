"""Failure history of a lot, a supplier, a site ...: failures of other batches, as far as known at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.context.asof import NEVER, Floats, Ints, Timeline, codes, matches, micros
from features.context.columns import Cell, feature

PRIOR_BATCHES = 10.0  # weight of the overall rate, in batches
SATURATION = 100  # counts stop here: beyond, they would only tell the calendar date


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
        frame = pd.DataFrame({"batch": batch, "group": pd.factorize(names)[0], "at": at})
        frame = frame[(names != "").to_numpy(dtype=bool) & (frame["group"] >= 0) & (batch >= 0)]
        first = frame.groupby(["batch", "group"], as_index=False)["at"].min()
        return cls(*(first[c].to_numpy(dtype=np.int64) for c in ("batch", "group", "at")))


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


def record(batch: Ints, as_of: Ints, members: Members, log: LabelLog) -> tuple[Floats, Floats]:
    """Known and failed batches among the others of a batch's groups, as of a time.

    Several groups of a batch (lots of one material) are added up: a batch that shares two lots counts twice.

    Returns:
        Number known, number failed; NaN where the batch is not yet known to belong to a group.
    """
    change, member = matches(log.batch, members.batch)
    line = Timeline.of(members.group[member], np.maximum(log.when[change], members.when[member]))
    own = Timeline.of(log.batch, log.when)
    row, mine = matches(batch, members.batch)
    seen = members.when[mine] <= as_of[row]
    row, mine = row[seen], mine[seen]
    counted = np.bincount(row, minlength=len(batch)) > 0

    def others(amounts: Ints) -> Floats:
        each = line.total(amounts[change], members.group[mine], as_of[row])
        each -= own.total(amounts, batch[row], as_of[row])
        return np.where(counted, np.bincount(row, weights=each, minlength=len(batch)), np.nan)

    return others(log.known), others(log.failed)


def base_rate(batch: Ints, as_of: Ints, log: LabelLog) -> Floats:
    """Share of failures among all other batches known at a time; NaN where none is."""
    line, own = Timeline.of(np.zeros_like(log.batch), log.when), Timeline.of(log.batch, log.when)
    everything = np.zeros_like(batch)

    def others(amounts: Ints) -> Ints:
        return line.total(amounts, everything, as_of) - own.total(amounts, batch, as_of)

    known, failed = others(log.known), others(log.failed)
    return np.where(known > 0, failed / np.maximum(known, 1), np.nan)


def failure_cells(subject: str, label: str, known: Floats, failed: Floats, base: Floats, *, of: str) -> list[Cell]:
    """`n_known` and `failure_excess` of a subject.

    The excess is the group's rate less the overall one, `(failed - known * base) / (known + PRIOR_BATCHES)`: the mean of
    a beta posterior whose prior has the overall rate known at that time (Casella, The American Statistician 39:83,
    1985, on empirical Bayes), less that rate. The rate itself would be the plant's trend, and so the calendar, wherever
    a group is large. NaN where the group is not known, or where no outcome at all is known yet.
    """
    excess = (failed - known * base) / (known + PRIOR_BATCHES)
    return [
        (
            feature(subject, "now", "n_known", label=label, meaning=f"other batches of {of} whose outcome is known"),
            np.minimum(known, SATURATION),
        ),
        (
            feature(
                subject,
                "now",
                "failure_excess",
                label=label,
                meaning=f"share of failures among other batches of {of}, above that of all batches",
            ),
            excess,
        ),
    ]
