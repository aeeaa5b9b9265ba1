"""A culture whose assays are taken every 12 h, for the tests of single values."""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.dictionary import Feature

HOURS = (24.0, 48.0, 96.0, 138.0)
EVERY_H = 12.0  # between two samples
# parameter: value at the start, growth per hour on a log scale, spread between batches, noise of a sample
COURSES = {
    "vcd_e6_ml": (0.5, 0.014, 0.10, 0.06),
    "viability_pct": (96.0, -0.0002, 0.01, 0.005),
    "lactate_mm": (2.0, 0.012, 0.10, 0.05),
    "ldh_u_l": (60.0, 0.008, 0.10, 0.08),
    "ph_offline": (7.25, -0.0001, 0.002, 0.002),
}
LABELS = {"vcd_e6_ml": "Viable cell density", "dose_ml": "Dose"}


def make_cultures(n: int = 240, seed: int = 1, *, failing: np.ndarray | None = None) -> pd.DataFrame:
    """Snapshots of n batches: newest value and the one before of every assay, a dose given once, a sensor.

    Args:
        n: Number of batches.
        seed: Of their noise.
        failing: Whether each batch fails, shape (n,): it grows more slowly, and its other assays are worse; None: none.
    """
    rng = np.random.default_rng(seed)
    started = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(6 * np.arange(n), unit="h")
    ill = np.zeros(n) if failing is None else failing.astype(float)
    worse = {"vcd_e6_ml": -0.5, "viability_pct": -0.08, "lactate_mm": 0.3, "ldh_u_l": 0.4, "ph_offline": -0.01}
    level = {name: rng.normal(0, spread, n) for name, (_, _, spread, _) in COURSES.items()}
    dose = np.exp(rng.normal(np.log(5.0), 0.1, n))
    blocks = []
    for hours in HOURS:
        columns: dict[str, object] = {
            "batch_id": pd.array([f"B{i:04d}" for i in range(n)], dtype="str"),
            "checkpoint_h": hours,
            "started_at": started,
            "as_of": started + pd.Timedelta(hours=hours),
            "dose_ml.since_start.last": dose,
            "do_pct.since_start.last": rng.normal(50, 2, n),
            "do_pct.since_start.mean": rng.normal(50, 1, n),
        }
        for name, (start, growth, _, noise) in COURSES.items():
            for statistic, at in (("last", hours), ("previous", hours - EVERY_H)):
                share = ill * worse[name] * at / HOURS[-1]
                values = start * np.exp(growth * at + level[name] + share + rng.normal(0, noise, n))
                columns[f"{name}.since_start.{statistic}"] = values
        blocks.append(pd.DataFrame(columns))
    return pd.concat(blocks, ignore_index=True)


def features_of(rows: pd.DataFrame) -> tuple[Feature, ...]:
    """Dictionary of all feature columns."""
    split = [(name, *name.rsplit(".", 2)) for name in rows.columns if name.count(".") >= 2]
    return tuple(
        Feature(name, p, LABELS.get(p, p), "", window, statistic, statistic) for name, p, window, statistic in split
    )
