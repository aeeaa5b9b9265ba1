"""A line of two sites that makes good batches of two correlated levels, for the tests of applicability."""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.dictionary import Feature
from models.cohort.encode import fit_encoder
from models.learners.applicability.check import check
from models.learners.applicability.columns import DomainPlan
from models.learners.applicability.domain import Domain
from models.learners.applicability.fit import fit_applicability
from models.learners.applicability.model import Applicability

HOURS = (0.0, 12.0, 24.0)
SITE, VERSION = "site.before_start.value", "process_version.before_start.value"
LABELS = {"site": "Site", "process_version": "Recipe version", "ph": "pH", "co2": "CO2", "oven": "Oven"}


def make_rows(n: int = 200, seed: int = 1, *, version: str = "1", sites: tuple[str, ...] = ("A", "B")) -> pd.DataFrame:
    """Snapshots at three checkpoints: `ph` near 7 with spread 1, `co2` following it, age of `ph` up to 2 h."""
    rng = np.random.default_rng(seed)
    started = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(6 * np.arange(n), unit="h")
    level = rng.normal(7, 1, n)
    blocks = []
    for hours in HOURS:
        ph = level + rng.normal(0, 0.1, n)
        blocks.append(
            pd.DataFrame({
                "batch_id": pd.array([f"B{i:04d}" for i in range(n)], dtype="str"),
                "checkpoint_h": hours,
                "started_at": started,
                "as_of": started + pd.Timedelta(hours=hours),
                "ph.since_start.last": ph,
                "ph.since_start.mean": (ph + level) / 2,
                "ph.since_start.age_h": rng.uniform(0, 2, n),
                "co2.since_start.last": level + rng.normal(0, 0.1, n),
                SITE: pd.array(np.array(sites)[np.arange(n) % len(sites)], dtype="str"),
                VERSION: pd.array([version] * n, dtype="str"),
                "oven.before_start.value": pd.array(np.array(["O1", "O2"])[np.arange(n) // 2 % 2], dtype="str"),
            })
        )  # fmt: skip
    return pd.concat(blocks, ignore_index=True)


def features_of(rows: pd.DataFrame) -> tuple[Feature, ...]:
    """Dictionary of all feature columns."""
    split = [(name, *name.rsplit(".", 2)) for name in rows.columns if name.count(".") >= 2]
    return tuple(
        Feature(name, p, LABELS.get(p, p), "", window, statistic, statistic) for name, p, window, statistic in split
    )


def learn(rows: pd.DataFrame, failed: pd.Series | None = None, plan: DomainPlan | None = None) -> Applicability:
    """The domain of rows of which nothing is missing or stale."""
    ids = rows["batch_id"].drop_duplicates()
    failed = pd.Series(False, index=ids) if failed is None else failed
    nothing = [()] * len(rows)
    return fit_applicability(
        rows, features_of(rows), fit_encoder(rows), failed, missing=nothing, stale=[{}] * len(rows), plan=plan
    )


def check_all(model: Applicability, rows: pd.DataFrame, training: pd.DataFrame, **known) -> list[Domain]:
    """Every row checked, encoded as the rows of training were."""
    X = fit_encoder(training).encode(rows)
    return [
        check(model, x, row, row["checkpoint_h"], **known) for x, row in zip(X, rows.to_dict("records"), strict=True)
    ]


def to_a_thousandth(domains: list[Domain]) -> list[tuple[object, ...]]:
    """Domains with their ratios as they are recorded: sums in another order differ in the last bit."""
    return [(d.findings, d.causes, {name: round(r, 3) for name, r in d.ratios.items()}) for d in domains]
