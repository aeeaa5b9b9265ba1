"""From snapshots to all that is said of them: assessment, applicability, decision. The one way for test and endpoint.

A figure of the sealed test describes what an endpoint would have said only if both take the same steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from features.dictionary import Feature
from models.decide import Decision, decide
from models.explain.completeness import missing, stale
from models.learners.applicability.check import check
from models.learners.applicability.domain import Domain
from models.learners.sensor_words import SensorFinding
from models.predictor import Assessment, Predictor


@dataclass(frozen=True, eq=False)
class Judged:
    """What a predictor says of n snapshots, in their order.

    Attributes:
        X: The snapshots encoded, before sensors at fault were hidden, shape (n, k).
        assessment: Scores, with or without their contributions.
        domains: Whether the predictor applies; None where it has no applicability domain.
        decisions: One per snapshot.
        causes: Why there is no decision, separated by "; "; empty where there is one.
        may_fail: Whether failure is in the set at the nominal level, booleans of shape (n,).
        may_succeed: Whether success is.
        missing: Parameters of the model without a value.
        stale: Parameters older than usual, with their age in hours.
        sensors: What was found about sensors that were hidden.
    """

    X: np.ndarray
    assessment: Assessment
    domains: tuple[Domain, ...] | None
    decisions: tuple[Decision, ...]
    causes: tuple[str, ...]
    may_fail: np.ndarray
    may_succeed: np.ndarray
    missing: tuple[list[str], ...]
    stale: tuple[dict[str, float], ...]
    sensors: tuple[tuple[SensorFinding, ...], ...]


def judge(
    predictor: Predictor, snapshots: pd.DataFrame, features: tuple[Feature, ...], *, contributions: bool = True
) -> Judged:
    """Score snapshots, check whether the predictor applies to them, and decide.

    Args:
        predictor: Frozen.
        snapshots: `features.contracts.SNAPSHOT`, n rows.
        features: Dictionary of all columns of the snapshots, for ages that are no feature of the model.
        contributions: Whether to say why, which takes most of the time.

    Raises:
        ContractError: The snapshots lack a feature of the predictor, or hold an infinite value.
    """
    X, hours = predictor.encoder.encode(snapshots), snapshots["checkpoint_h"].to_numpy(float)
    assessment = predictor.assess(X, hours, contributions=contributions)
    absent, old = missing(predictor, snapshots), stale(predictor, snapshots, features)
    domains = _domains(predictor, snapshots, X, hours, absent, old)
    decisions, causes = decide(
        assessment.log_odds, hours, predictor.thresholds, predictor.decision_sets, domains=domains
    )
    return Judged(
        X=X,
        assessment=assessment,
        domains=domains,
        decisions=tuple(decisions),
        causes=tuple(causes),
        may_fail=predictor.sets.may_fail(assessment.log_odds, hours),
        may_succeed=predictor.sets.may_succeed(assessment.log_odds, hours),
        missing=tuple(absent),
        stale=tuple(old),
        sensors=_sensors(predictor, snapshots, assessment.faulty),
    )


def _domains(
    predictor: Predictor,
    snapshots: pd.DataFrame,
    X: np.ndarray,
    hours: np.ndarray,
    absent: list[list[str]],
    old: list[dict[str, float]],
) -> tuple[Domain, ...] | None:
    domain = predictor.applicability
    if domain is None:
        return None
    names = [name for name in dict.fromkeys((*domain.support, *domain.categories)) if name in snapshots]
    named: list[Mapping[str, Any]] = [
        {str(name): value for name, value in row.items()} for row in snapshots[names].to_dict("records")
    ]
    named = named or [{}] * len(X)
    return tuple(check(domain, X[i], named[i], float(hours[i]), missing=absent[i], stale=old[i]) for i in range(len(X)))


def _sensors(
    predictor: Predictor, snapshots: pd.DataFrame, faulty: np.ndarray
) -> tuple[tuple[SensorFinding, ...], ...]:
    """Findings about the sensors that were hidden, and about no other."""
    made: list[tuple[SensorFinding, ...]] = [()] * len(snapshots)
    rows = np.flatnonzero(faulty.any(axis=1)) if faulty.size else np.array([], int)
    if len(rows):
        checks, parameters = predictor.sensors, predictor.sensors.parameters
        signs = ["checkpoint_h", *dict.fromkeys(check.feature for check in checks.checks)]
        # a sign that never varied in training is no column of the model, and need not be there
        for row, found in zip(rows, checks.findings(snapshots.iloc[rows].reindex(columns=signs)), strict=True):
            hidden = {parameters[i] for i in np.flatnonzero(faulty[row])}
            made[row] = tuple(finding for finding in found if finding.parameter in hidden)
    return tuple(made)
