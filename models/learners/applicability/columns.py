"""Columns of each check, and the categories and subgroups of training: all that needs no distribution.

What only counts the calendar, and what is a clock of the batch, decides nothing about scope: no batch is unlike those of
training because it was looked at between two checkpoints, or in a busier month.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.course import is_course
from features.dictionary import Feature
from features.series import PREVIOUS
from models.cohort.encode import Encoder, is_category
from models.cohort.table import between_checkpoints
from models.learners.applicability.bands import Band, Limits
from models.learners.applicability.distance import Scaling
from models.learners.applicability.model import Applicability
from models.learners.applicability.ranges import fit_ranges

SUBGROUPS = ("product", "site", "process_version", "scale_l")  # parameters that name one; never half known
MIN_BATCHES = 20
_LEVELS = ("last", "value")
_WINDOWS = ("since_start", "lot", "now", "before_start")  # a parameter's level is its newest value
_AGE = "age_h"
_ELAPSED = "progress.now.elapsed_h"  # held to the hours that training covers (`Applicability.from_h`, `until_h`)
# counts of the plant's history, and times since something in it: they grow with the calendar
_CALENDAR = frozenset(
    {
        "n_known",
        "n_used",
        "in_use_h",
        "n_batches",
        "n_running",
        "gap_h",
        "attempt",
        "least_experience",
        "since_newest_h",
    }
)
_CURRENT_PHASE, _CLOCKS = "phase", frozenset({"elapsed_h", "progress"})  # begin at 0 in every phase
_NOT_MEASURED = ("lot.", "event.")  # subjects whose age is not that of a value


@dataclass(frozen=True)
class DomainPlan:
    """How the domain is fitted.

    Attributes:
        held_out: Share of the training batches, the newest, that sets the limits.
        level: Share of held-out good batches inside each limit.
        margin: Spreads of the tail that a value may lie outside the range seen before it counts.
        min_batches: Batches with a known outcome that a subgroup needs.
        most_bands: Maturity bands at most.
        loose_above: A feature that leaves its range in more than this share of the held-out good batches is held to none:
            counters and ages of equipment grow with the calendar.
        neighbours: Known batches kept per band.
        planned_h: Planned duration of the process: until then the predictor applies, also after the last checkpoint.
    """

    held_out: float = 0.25
    level: float = 0.99
    margin: float = 0.5
    min_batches: int = MIN_BATCHES
    most_bands: int = 6
    loose_above: float = 0.02
    neighbours: int = 250
    planned_h: float = 0.0


def subgroup_columns(rows: pd.DataFrame) -> list[str]:
    """Columns that name the product, site, recipe version and scale of a batch."""
    return [name for name in (f"{parameter}.before_start.value" for parameter in SUBGROUPS) if name in rows]


def empty_domain(
    rows: pd.DataFrame,
    features: tuple[Feature, ...],
    encoder: Encoder,
    checkpoint_h: np.ndarray,
    plan: DomainPlan,
) -> Applicability:
    """Everything that needs no values: which columns are checked how, and the names and counts of subgroups.

    Args:
        rows: Snapshots of training batches.
        features: Dictionary of their columns.
        encoder: Of the predictor.
        checkpoint_h: Checkpoints of training, ascending.
        plan: How.
    """
    known = {feature.name: feature for feature in features}
    groups = subgroup_columns(rows)
    names = [n for n in known if n in rows and n not in groups and is_category(rows[n])]
    parameters = tuple(known[name].parameter for name in encoder.columns)
    numeric = [i for i, name in enumerate(encoder.columns) if name not in encoder.categories]
    aged = [i for i in numeric if _is_age(known[encoder.columns[i]])]
    valued = [i for i in numeric if _has_a_range(known[encoder.columns[i]]) and encoder.columns[i] not in groups]
    starts = [float(part[0]) for part in np.array_split(checkpoint_h, plan.most_bands) if len(part)]
    nothing = fit_ranges(np.empty((0, 0)), np.empty(0))
    return Applicability(
        columns=encoder.columns,
        words={name: _words(known[name]) for name in (*encoder.columns, *groups, *names) if name in known},
        parameters=parameters,
        level=plan.level,
        margin=plan.margin,
        categories={name: tuple(sorted(rows[name].dropna().unique())) for name in sorted(names)},
        support={name: _counts(rows, name) for name in groups},
        min_batches=plan.min_batches,
        valued=np.array(sorted(valued, key=lambda i: (parameters[i], i)), int),
        aged=np.array(aged, int),
        loose=(),
        levels=np.array(_levels(numeric, known, encoder), int),
        scaling=Scaling(np.empty(0), np.empty((0, 0)), np.empty((0, 0))),
        bands=tuple(Band(start, nothing, nothing, None, None, Limits(0)) for start in starts),
        missing={},
        between_h=between_checkpoints(pd.Series(checkpoint_h)),
        from_h=float(checkpoint_h[0]),
        until_h=max(float(checkpoint_h[-1]), plan.planned_h),
    )


def _words(feature: Feature) -> str:
    return feature.label if feature.statistic in _LEVELS else f"{feature.label} ({feature.meaning})"


def _is_age(feature: Feature) -> bool:
    return feature.statistic == _AGE and not feature.parameter.startswith(_NOT_MEASURED)


def _has_a_range(feature: Feature) -> bool:
    """Whether a feature may be unlike training: no age, no clock, no count of the calendar, no value or level of some time ago."""
    clock = feature.name == _ELAPSED or (feature.parameter == _CURRENT_PHASE and feature.statistic in _CLOCKS)
    past = is_course(feature) or feature.statistic == PREVIOUS
    return not clock and not past and feature.statistic != _AGE and feature.statistic not in _CALENDAR


def _counts(rows: pd.DataFrame, name: str) -> dict[str, int]:
    """Batches per value; every row here belongs to a batch with a known outcome."""
    values = rows.drop_duplicates("batch_id")[name].dropna()
    counts = values.value_counts()
    return {v if isinstance(v, str) else f"{v:g}": int(n) for v, n in sorted(counts.items())}


def _levels(numeric: list[int], known: dict[str, Feature], encoder: Encoder) -> list[int]:
    """One column per parameter: its newest value."""
    chosen: dict[str, tuple[int, int]] = {}
    for i in numeric:
        feature = known[encoder.columns[i]]
        if feature.statistic in _LEVELS and feature.window in _WINDOWS and feature.parameter not in SUBGROUPS:
            rank = _WINDOWS.index(feature.window)
            chosen[feature.parameter] = min(chosen.get(feature.parameter, (99, i)), (rank, i))
    return sorted(i for _, i in chosen.values())
