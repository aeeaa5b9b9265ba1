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


@dataclass(frozen=True, eq=False)
class Rows:
    """Snapshots as a predictor takes them: arrays and names, without a frame.

    Attributes:
        X: Encoded, shape (n, k).
        checkpoint_h: Hours since the start, shape (n,).
        missing: Parameters of the model without a value.
        stale: Parameters older than usual, with their age in hours.
        named: Values by feature of what the applicability domain looks up by name; what is absent is not looked at.
        signs: What the sensor checks look at, shape (n, checks); NaN where a snapshot has no such column.
    """

    X: np.ndarray
    checkpoint_h: np.ndarray
    missing: tuple[list[str], ...]
    stale: tuple[dict[str, float], ...]
    named: tuple[Mapping[str, Any], ...]
    signs: np.ndarray


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
    # a sign that never varied in training is no column of the model, and need not be there
    signs = snapshots.reindex(columns=[check.feature for check in predictor.sensors.checks]).to_numpy(float)
    rows = Rows(
        X=predictor.encoder.encode(snapshots),
        checkpoint_h=snapshots["checkpoint_h"].to_numpy(float),
        missing=tuple(missing(predictor, snapshots)),
        stale=tuple(stale(predictor, snapshots, features)),
        named=_named(predictor, snapshots),
        signs=signs,
    )
    return judge_rows(predictor, rows, contributions=contributions)


def judge_rows(predictor: Predictor, rows: Rows, *, contributions: bool = True) -> Judged:
    """The same of snapshots that are no frame: the way of an endpoint."""
    hours = rows.checkpoint_h
    assessment = predictor.assess(rows.X, hours, contributions=contributions)
    domains = _domains(predictor, rows)
    decisions, causes = decide(
        assessment.log_odds, hours, predictor.thresholds, predictor.decision_sets, domains=domains
    )
    return Judged(
        X=rows.X,
        assessment=assessment,
        domains=domains,
        decisions=tuple(decisions),
        causes=tuple(causes),
        may_fail=predictor.sets.may_fail(assessment.log_odds, hours),
        may_succeed=predictor.sets.may_succeed(assessment.log_odds, hours),
        missing=rows.missing,
        stale=rows.stale,
        sensors=_sensors(predictor, rows, assessment.faulty),
    )


def names_looked_up(predictor: Predictor) -> tuple[str, ...]:
    """Features that the applicability domain looks up by name."""
    domain = predictor.applicability
    return () if domain is None else tuple(dict.fromkeys((*domain.support, *domain.categories)))


def _named(predictor: Predictor, snapshots: pd.DataFrame) -> tuple[Mapping[str, Any], ...]:
    names = [name for name in names_looked_up(predictor) if name in snapshots]
    found = [{str(name): value for name, value in row.items()} for row in snapshots[names].to_dict("records")]
    return tuple(found or ({} for _ in range(len(snapshots))))


def _domains(predictor: Predictor, rows: Rows) -> tuple[Domain, ...] | None:
    domain = predictor.applicability
    if domain is None:
        return None
    each = zip(rows.X, rows.named, rows.checkpoint_h, rows.missing, rows.stale, strict=True)
    return tuple(check(domain, x, named, float(h), missing=absent, stale=old) for x, named, h, absent, old in each)


def _sensors(predictor: Predictor, rows: Rows, faulty: np.ndarray) -> tuple[tuple[SensorFinding, ...], ...]:
    """Findings about the sensors that were hidden, and about no other."""
    made: list[tuple[SensorFinding, ...]] = [()] * len(rows.X)
    which = np.flatnonzero(faulty.any(axis=1)) if faulty.size else np.array([], int)
    if not len(which):
        return tuple(made)
    parameters = predictor.sensors.parameters
    found = predictor.sensors.findings_at(rows.signs[which], rows.checkpoint_h[which])
    for row, each in zip(which, found, strict=True):
        hidden = {parameters[i] for i in np.flatnonzero(faulty[row])}
        made[row] = tuple(finding for finding in each if finding.parameter in hidden)
    return tuple(made)
