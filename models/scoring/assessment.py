"""From feature rows to all that a predictor finds of them: probability, call, support, sensors at fault.

Bulk scoring, the sealed test and the endpoint take these steps and no others, so a figure of the sealed test describes the
scores of the endpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.dictionary import Feature
from models.learners.applicability.check import check
from models.learners.applicability.domain import Cause, Domain, Support
from models.learners.sensor_words import SensorFinding
from models.predictor import Assessment, Predictor, mean_slope
from models.scoring.alignment import FeatureAligner
from models.scoring.call import Call, calls_of
from models.scoring.rows import FeatureRows, require_features

_ROWS_AT_ONCE = 4096  # bounds the memory of contributions


@dataclass(frozen=True, eq=False)
class AssessedRows:
    """What a predictor finds of n feature rows, in their order.

    Attributes:
        rows: The feature rows.
        X: The rows encoded, before sensors at fault were hidden, shape (n, k).
        assessment: Scores, with or without their contributions.
        domains: Whether the predictor applies; None where it has no applicability domain.
        calls: One per row.
        call_causes: Why there is none yet; empty where there is one.
        may_fail: Whether failure is in the set at the nominal level, booleans of shape (n,).
        may_succeed: Whether success is.
        missing: Parameters of the predictor without a value.
        stale: Parameters older than usual, with their age in hours.
        sensors: Findings on the sensors that were hidden.
    """

    rows: FeatureRows
    X: np.ndarray
    assessment: Assessment
    domains: tuple[Domain, ...] | None
    calls: tuple[Call, ...]
    call_causes: tuple[str, ...]
    may_fail: np.ndarray
    may_succeed: np.ndarray
    missing: tuple[list[str], ...]
    stale: tuple[dict[str, float], ...]
    sensors: tuple[tuple[SensorFinding, ...], ...]

    @property
    def supports(self) -> tuple[Support, ...]:
        """How far the predictor knows such batches; sufficient where it has no applicability domain."""
        return tuple(d.support for d in self.domains) if self.domains is not None else ("sufficient",) * len(self.rows)

    @property
    def support_causes(self) -> tuple[tuple[Cause, ...], ...]:
        """Why the support is not sufficient, in the order of `CAUSES`."""
        return tuple(d.causes for d in self.domains) if self.domains is not None else ((),) * len(self.rows)

    @property
    def points(self) -> np.ndarray:
        """Contributions in percentage points, shape (n, k); a row sums to 100 (p - base probability of its hour).

        The probability changes along the straight line from the base to the row in log-odds; each feature takes the
        share of the change that it has of the line (integrated gradients, Sundararajan et al., 2017).

        Raises:
            ValueError: The rows were assessed without contributions.
        """
        base, contributions = self.assessment.base_log_odds, self.assessment.contributions
        if contributions is None:
            raise ValueError("the rows were assessed without contributions")
        return 100.0 * mean_slope(base, base + contributions.sum(axis=1))[:, None] * contributions


def assess(aligner: FeatureAligner, rows: FeatureRows, *, contributions: bool = True) -> AssessedRows:
    """Score rows, call them, and check whether the predictor applies to them.

    Args:
        aligner: The predictor, aligned with the columns of the rows.
        rows: n rows.
        contributions: Whether to compute the contributions, which take most of the time.

    Raises:
        ContractError: A value is infinite.
    """
    predictor, hours = aligner.predictor, rows.elapsed_h
    X = aligner.matrix(rows)
    missing, stale = aligner.missing(rows.values), aligner.stale(rows.values, hours)
    found = predictor.assess(X, hours, contributions=contributions)
    calls, call_causes = calls_of(found.log_odds, hours, predictor.thresholds, predictor.decision_sets)
    return AssessedRows(
        rows=rows,
        X=X,
        assessment=found,
        domains=_domains(aligner, rows, X, missing, stale),
        calls=calls,
        call_causes=call_causes,
        may_fail=predictor.sets.may_fail(found.log_odds, hours),
        may_succeed=predictor.sets.may_succeed(found.log_odds, hours),
        missing=missing,
        stale=stale,
        sensors=_sensors(aligner, rows, found.faulty),
    )


def assess_frame(
    predictor: Predictor, snapshots: pd.DataFrame, features: tuple[Feature, ...], *, contributions: bool = True
) -> Iterator[AssessedRows]:
    """The same for a frame, a bounded number of rows at a time, so that memory does not grow with the rows.

    Args:
        predictor: Frozen.
        snapshots: `features.contracts.SNAPSHOT`.
        features: Dictionary of all columns of the snapshots: an age need not be a feature of the predictor.
        contributions: As for `assess`.

    Raises:
        ContractError: The snapshots lack a feature of the predictor, or hold an infinite value.
    """
    for start in range(0, max(len(snapshots), 1), _ROWS_AT_ONCE):
        rows = FeatureRows.of_frame(snapshots.iloc[start : start + _ROWS_AT_ONCE], features)
        require_features(rows.columns, predictor.encoder.columns)
        yield assess(FeatureAligner(predictor, rows.columns), rows, contributions=contributions)


def _domains(
    aligner: FeatureAligner,
    rows: FeatureRows,
    X: np.ndarray,
    missing: tuple[list[str], ...],
    stale: tuple[dict[str, float], ...],
) -> tuple[Domain, ...] | None:
    domain = aligner.predictor.applicability
    if domain is None:
        return None
    each = zip(X, rows.values, rows.elapsed_h, missing, stale, strict=True)
    return tuple(
        check(
            domain, x, aligner.named(row), float(h),
            missing=absent, stale=old, without_values=aligner.without_values(absent),
        )
        for x, row, h, absent, old in each
    )  # fmt: skip


def _sensors(aligner: FeatureAligner, rows: FeatureRows, faulty: np.ndarray) -> tuple[tuple[SensorFinding, ...], ...]:
    """Findings on the sensors that were hidden, and on no other."""
    made: list[tuple[SensorFinding, ...]] = [()] * len(rows)
    which = np.flatnonzero(faulty.any(axis=1)) if faulty.size else np.array([], int)
    if not len(which):
        return tuple(made)
    checks = aligner.predictor.sensors
    found = checks.findings_at(aligner.signs(rows.values[which]), rows.elapsed_h[which])
    for row, each in zip(which, found, strict=True):
        hidden = {name for name, bad in zip(checks.parameters, faulty[row], strict=True) if bad}
        made[row] = tuple(finding for finding in each if finding.parameter in hidden)
    return tuple(made)
