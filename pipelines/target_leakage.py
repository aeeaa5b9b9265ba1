"""Target leakage: a feature that is a release result in disguise, or by itself gives the outcome long before the end.

Snapshots made again from what was known then (`pipelines.leakage`) cannot show a wrong `available_at`: by it the
result was known. A time of availability before that of observation is refused at ingest. Other wrong times show in the
values alone, among training batches at checkpoints before the planned end:

- a feature in the same order as the final result of a release attribute is that result, or computed from it;
- a feature that by itself ranks failed batches above good ones nearly always is to be explained, or excluded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from features.process import ProcessDefinition
from models.evaluation.metrics import auroc

SAME_ORDER = 0.98  # rank correlation with a release result; day-5 %CAR+ reaches .94 with the final one, and is honest
SUSPICIOUS_AUROC = 0.9
MIN_BATCHES, MIN_FAILED = 60, 5
_CHECKPOINTS = 5
_SURE = 1.96


@dataclass(frozen=True)
class TargetLeakage:
    """Result of the check.

    Attributes:
        n_batches: Training batches compared.
        n_failed: Failed ones among them.
        copies: One line per feature that is a release result in disguise.
        suspicious: One line per feature that by itself gives the outcome: to be explained.
    """

    n_batches: int
    n_failed: int
    copies: tuple[str, ...]
    suspicious: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether no feature is a release result; a suspicious one alone may have an honest explanation."""
        return not self.copies


def check_target_leakage(
    process: ProcessDefinition, training: pd.DataFrame, failed: pd.Series, observations: pd.DataFrame
) -> TargetLeakage:
    """Look at each number of the snapshots of training batches, at a few checkpoints before the planned end.

    Args:
        process: Names the release attributes.
        training: `features.contracts.SNAPSHOT` with features, taken before the batches' outcomes were known.
        failed: Outcome by batch; other batches are not looked at.
        observations: `features.contracts.OBSERVATIONS` of the release attributes; may hold other batches.
    """
    rows = training[training["batch_id"].isin(failed.index)]
    rows = rows[rows["checkpoint_h"] < process.process.planned_duration_h]
    results = final_results(process, observations)
    copies: dict[tuple[str, str], str] = {}
    suspicious: dict[str, str] = {}
    for hours in _some(rows["checkpoint_h"]):
        at = rows[rows["checkpoint_h"] == hours].set_index("batch_id")
        numbers = at.select_dtypes("number").drop(columns="checkpoint_h")
        for name, line in _copies(numbers, results, hours):
            copies.setdefault(name, line)
        for feature, line in _suspicious(numbers, failed.reindex(at.index).to_numpy(bool), hours):
            suspicious.setdefault(feature, line)
    mine = failed.reindex(rows["batch_id"].unique())
    return TargetLeakage(len(mine), int(mine.sum()), tuple(copies.values()), tuple(suspicious.values()))


def final_results(process: ProcessDefinition, observations: pd.DataFrame) -> pd.DataFrame:
    """Final release results, batches by attribute; the latest revision, NaN where there is none."""
    names = [q.parameter for q in process.quality_attribute]
    wanted = observations[observations["parameter"].isin(names)].sort_values(["observed_at", "revision"])
    last = wanted.pivot_table(index="batch_id", columns="parameter", values="value", aggfunc="last", observed=True)
    return last.reindex(columns=names)


def _some(checkpoint_h: pd.Series) -> list[float]:
    known = np.unique(checkpoint_h.to_numpy(float))
    places = np.unique(np.linspace(0, len(known) - 1, min(_CHECKPOINTS, len(known))).round().astype(int))
    return [float(h) for h in known[places]]


def _copies(numbers: pd.DataFrame, results: pd.DataFrame, hours: float) -> list[tuple[tuple[str, str], str]]:
    """Features in the order of a release result: (feature, attribute) and the line of the report."""
    found, near = [], SAME_ORDER - 0.1
    ranks = numbers.rank()
    for attribute in results.columns:
        result = results[attribute].reindex(numbers.index)
        with np.errstate(invalid="ignore", divide="ignore"):  # a column without variation has no correlation
            roughly = ranks.corrwith(result.rank()).abs()
        for feature in roughly.index[roughly > near]:
            rho, n = rank_correlation(numbers[feature].to_numpy(float), result.to_numpy(float))
            if n >= MIN_BATCHES and abs(rho) > SAME_ORDER:
                line = f"{feature} at {hours:g} h has the order of the release result {attribute}: rank correlation {rho:.3f} over {n} batches (limit {SAME_ORDER})"
                found.append(((str(feature), str(attribute)), line))
    return found


def _suspicious(numbers: pd.DataFrame, failed: np.ndarray, hours: float) -> list[tuple[str, str]]:
    """Features whose AUROC is above the limit beyond doubt, in either direction."""
    found = []
    for feature in numbers.columns:
        value = numbers[feature].to_numpy(float)
        known = ~np.isnan(value)
        bad, good = int(failed[known].sum()), int((~failed[known]).sum())
        if bad < MIN_FAILED or good < MIN_FAILED:
            continue
        area = float(auroc(failed[known], value[known], np.ones((1, bad + good)))[0])
        area = max(area, 1 - area)
        if area - _SURE * area_error(area, bad, good) > SUSPICIOUS_AUROC:
            line = f"{feature} at {hours:g} h by itself tells the outcome: AUROC {area:.3f}, {bad} of {bad + good} batches failed (limit {SUSPICIOUS_AUROC} for its lower end)"
            found.append((str(feature), line))
    return found


def rank_correlation(a: np.ndarray, b: np.ndarray) -> tuple[float, int]:
    """Spearman's rank correlation over pairs without NaN, and their number; 0 where one of them does not vary."""
    both = ~(np.isnan(a) | np.isnan(b))
    n = int(both.sum())
    if n < 3 or np.ptp(a[both]) == 0 or np.ptp(b[both]) == 0:
        return 0.0, n
    return float(np.corrcoef(rankdata(a[both]), rankdata(b[both]))[0, 1]), n


def area_error(area: float, n_failed: int, n_good: int) -> float:
    """Standard error of an AUROC (Hanley and McNeil, Radiology 1982)."""
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (n_failed - 1) * (q1 - area**2) + (n_good - 1) * (q2 - area**2)
    return float(np.sqrt(max(variance, 0.0) / (n_failed * n_good)))
