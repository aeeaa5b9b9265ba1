"""A batch between two checkpoints is judged against what both of them, and the times between, showed."""

import numpy as np
import pandas as pd
import pytest

from models.cohort.encode import fit_encoder
from models.learners.applicability.bands import Limits
from models.learners.applicability.columns import DomainPlan
from models.learners.applicability.domain import Domain
from models.learners.applicability.fit import fit_applicability
from models.learners.applicability.model import Applicability
from models.learners.applicability.ranges import Ranges
from tests.models.learners.applicability.line import check_all, features_of

CHECKPOINTS = (24.0, 72.0)
N = 160


def make_rows(hours: np.ndarray, seed: int) -> pd.DataFrame:
    """Rows of N batches at some hours, of a process whose every feature moves with the clock in its own way."""
    rng = np.random.default_rng(seed)
    started = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(6 * np.arange(N), unit="h")
    at_a_time = 1.0 + (hours // 24 == 1)  # doubles from 24 to 48 h, then falls back: no straight line
    return pd.DataFrame({
        "batch_id": pd.array([f"B{i:04d}" for i in range(N)], dtype="str"),
        "checkpoint_h": hours,
        "started_at": started,
        "as_of": started + pd.to_timedelta(hours, unit="h"),
        "progress.now.elapsed_h": hours,
        "cells.since_start.last": np.exp(hours / 24) + rng.normal(0, 0.1, N),
        "cells.last_24h.slope": np.exp(hours / 24) / 24 + rng.normal(0, 0.01, N),
        "cells.since_start.n": np.floor(hours / 8),
        "feed.since_start.last": at_a_time + rng.normal(0, 0.05, N),
        "phase.now.elapsed_h": hours % 30,
        "phase.now.progress": (hours % 30) / 30,
        "phase.grow.now.elapsed_h": np.minimum(hours, 60.0),
        "phase.now.name": pd.array(np.where((hours > 30) & (hours < 60), "feed", "grow"), dtype="str"),
        "site.last_90d.n_batches": rng.poisson(20, N).astype(float),
        "site.now.n_running": rng.integers(1, 4, N).astype(float),
        "equipment.before_start.gap_h": rng.uniform(10, 40, N),
        "product.now.n_known": rng.integers(80, 100, N).astype(float),
    })  # fmt: skip


AT = pd.concat([make_rows(np.full(N, h), int(h)) for h in CHECKPOINTS], ignore_index=True)
DRAWN = make_rows(np.random.default_rng(5).integers(25, 72, N).astype(float), 6)
DRAWN = pd.concat([DRAWN, make_rows(np.random.default_rng(7).integers(73, 97, N).astype(float), 8)], ignore_index=True)


def learn(between: pd.DataFrame = DRAWN) -> Applicability:
    rows = pd.concat([AT, between], ignore_index=True)
    none = [()] * len(rows)
    return fit_applicability(
        rows,
        features_of(rows),
        fit_encoder(AT),
        pd.Series(False, index=AT["batch_id"].unique()),
        missing=none,
        stale=[{}] * len(rows),
        between=np.arange(len(rows)) >= len(AT),
        plan=DomainPlan(planned_h=96),
    )


MODEL, ONLY_CHECKPOINTS = learn(), learn(DRAWN.iloc[:0])


def verdict(hours: float, model: Applicability = MODEL, **changes: object) -> Domain:
    row = make_rows(np.full(N, hours), 1).iloc[[0]].copy()
    for name, value in changes.items():
        row[name.replace("__", ".")] = value
    return check_all(model, row, AT)[0]


def checks(domain: Domain) -> set[str]:
    return {finding.check for finding in domain.findings}


@pytest.mark.parametrize("hours", [24, 25, 29, 36, 47, 48, 50, 59, 71, 72, 73, 90, 96])
def test_a_normal_batch_is_inside_at_every_hour_from_the_first_checkpoint_to_the_planned_end(hours) -> None:
    domain = verdict(float(hours))
    assert not domain.findings, [f.sentence for f in domain.findings]


def test_later_batches_are_rarely_outside_at_any_hour() -> None:
    later = make_rows(np.random.default_rng(9).integers(24, 97, N).astype(float), 10)
    found = check_all(MODEL, later, AT)
    assert np.mean([bool(domain.findings) for domain in found]) < 0.05


@pytest.mark.parametrize("hours", [25.0, 50.0, 71.0])
def test_what_grows_is_within_its_range_between_two_checkpoints_though_training_saw_no_time_between_them(hours) -> None:
    domain = verdict(hours, ONLY_CHECKPOINTS, feed__since_start__last=1.0, phase__now__name="grow")
    assert checks(domain) <= {"distance"}, [f.sentence for f in domain.findings]


@pytest.mark.parametrize(
    "name",
    [
        "site.last_90d.n_batches",
        "site.now.n_running",
        "equipment.before_start.gap_h",
        "product.now.n_known",
        "phase.now.elapsed_h",
        "phase.now.progress",
    ],
)
@pytest.mark.parametrize("model", [MODEL, ONLY_CHECKPOINTS], ids=["between", "checkpoints"])
def test_counts_of_the_calendar_and_clocks_decide_nothing_however_far_they_are(name, model) -> None:
    assert not verdict(72.0, model, **{name: 1e4}).findings


@pytest.mark.parametrize("hours", [25.0, 50.0, 71.0, 72.0, 90.0])
def test_a_foreign_batch_is_outside_between_checkpoints_as_at_them(hours) -> None:
    assert "range" in checks(verdict(hours, cells__since_start__last=1000.0))  # 50 at 96 h
    assert "range" in checks(verdict(hours, cells__last_24h__slope=-3.0))
    assert "range" in checks(verdict(hours, phase__grow__now__elapsed_h=95.0))
    assert "category" in checks(verdict(hours, phase__now__name="rework"))


def test_a_value_is_judged_against_the_interval_that_both_checkpoints_span() -> None:
    """e at 24 h and e^3 = 20.1 at 72 h: 12 lies between them, 30 beyond both."""
    model = ONLY_CHECKPOINTS
    place = model.columns.index("cells.since_start.last")
    ranges = model.band(50.0).values
    at = list(model.valued).index(place)
    assert 2.2 < ranges.low[at] < 2.7
    assert 20.1 < ranges.high[at] < 20.5
    assert "range" in checks(verdict(50.0, model, cells__since_start__last=30.0))


def test_a_time_before_the_first_checkpoint_or_after_the_planned_end_is_named() -> None:
    early = next(f for f in verdict(23.0).findings if f.check == "time")
    late = next(f for f in verdict(97.0).findings if f.check == "time")
    assert (early.check, early.cause, early.value, early.limit) == ("time", "outside the applicability domain", 23, 24)
    assert (late.value, late.limit) == (97, 96)
    assert late.sentence == (
        "97 h since the start: the model applies from 24 h, its first checkpoint, to 96 h, its last one or the planned end"
    )


def test_what_0_1_0_stored_knows_no_hours_and_names_none() -> None:
    stored = {k: v for k, v in MODEL.to_json().items() if k not in ("from_h", "until_h")}
    former = Applicability.from_json(stored)
    assert former.to_json() == stored
    assert "time" not in checks(verdict(97.0, former))


def test_a_hull_spans_both_ranges_and_holds_nothing_where_one_saw_nothing() -> None:
    nan = np.nan
    first = Ranges(np.array([1.0, nan]), np.array([2.0, nan]), np.array([0.5, nan]), np.array([1.0, nan]))
    later = Ranges(np.array([10.0, 0.0]), np.array([11.0, 1.0]), np.array([2.0, 1.0]), np.array([0.1, 1.0]))
    both = first.hull(later)
    assert both.excess(np.array([5.0, 99.0])).tolist() == [0.0, 0.0]
    assert both.excess(np.array([13.0, 99.0])).tolist() == [2.0, 0.0]  # 2 above 11, the wider upper spread is 1
    assert both.excess(np.array([-1.0, 99.0])).tolist() == [1.0, 0.0]  # 2 below 1, the wider lower spread is 2


def test_limits_between_two_bands_are_the_wider_ones_of_both() -> None:
    both = Limits(40, outside=2, excess=1.5, distance=3).wider(Limits(30, outside=1, excess=2.5, shift=1, distance=2))
    assert (both.n_held_out, both.outside, both.excess, both.distance) == (30, 2, 2.5, 3)
    assert both.shift == np.inf
