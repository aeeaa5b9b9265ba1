"""Scores of batches in progress: a frozen predictor and snapshots in, records that can be published out.

Production degrades instead of failing: what is missing or stale is stamped on the record, never filled in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.special import expit

from features.contracts import RISK_SCORE
from features.dictionary import Feature
from features.process import ProcessDefinition
from models.explain.attributes import attribute_forecasts
from models.explain.changes import BASE, Scored, changes
from models.explain.modes import top_mode
from models.explain.newest import newest
from models.explain.reasons import reasons
from models.explain.what_if import what_if
from models.judge import Judged, judge
from models.predictor import Predictor


@dataclass(frozen=True)
class Release:
    """Which model speaks, and on whose responsibility.

    Attributes:
        name: Registered model.
        version: Its version in the registry.
        review: Whether a person released it.
    """

    name: str
    version: str
    review: Literal["unreviewed", "released"] = "unreviewed"


def score(
    predictor: Predictor,
    snapshots: pd.DataFrame,
    features: tuple[Feature, ...],
    process: ProcessDefinition,
    *,
    release: Release,
    data_version: str,
    before: pd.DataFrame | None = None,
    top: int = 5,
) -> pd.DataFrame:
    """One record per snapshot.

    Args:
        predictor: Frozen, made for this process.
        snapshots: `features.contracts.SNAPSHOT`, one row per batch and time.
        features: Dictionary of all columns of the snapshots.
        process: The process, for normal ranges.
        release: Which model speaks.
        data_version: Digest of the run history that the snapshots rest on.
        before: Snapshots of the last time these batches were scored, at most one per batch: what changed since then is
            said by the same model. None says nothing of changes.
        top: Reasons per record at most.

    Returns:
        `features.contracts.RISK_SCORE`, by batch and time; empty where there are no snapshots.

    Raises:
        ContractError: The snapshots lack a feature of the predictor, or hold an infinite value.
    """
    rows = snapshots.sort_values(["batch_id", "as_of"]).reset_index(drop=True)
    judged = judge(predictor, rows, features)
    low, high = judged.assessment.interval
    why = reasons(
        predictor, rows, process, top=top, features=features, reference=predictor.evidence,
        groups=predictor.evidence.groups(judged.X), findings=judged.sensors,
    )  # fmt: skip
    return pd.DataFrame(
        {
            "batch_id": rows["batch_id"].astype("str"),
            "as_of": rows["as_of"],
            "elapsed_h": (rows["as_of"] - rows["started_at"]) / pd.Timedelta(hours=1),
            "failure_probability": judged.assessment.probability,
            "probability_low": low,
            "probability_high": high,
            "decision": pd.Series(judged.decisions, index=rows.index, dtype="str"),
            "cause": pd.Series(judged.causes, index=rows.index, dtype="str"),
            "base_probability": expit(judged.assessment.base_log_odds),
            "reasons": _texts([[reason.to_json() for reason in row] for row in why]),
            "attributes": _texts(_attributes(judged, process)),
            "modes": _texts(_modes(predictor, judged, rows)),
            "changes": _texts(_changes(predictor, judged, rows, before, features, process, top)),
            "what_if": _texts(_what_if(predictor, judged, rows, features, process)),
            "sensors": _texts([[finding.to_json() for finding in row] for row in judged.sensors]),
            "domain": _texts(_domain(judged, len(rows))),
            "missing": _texts(list(judged.missing)),
            "stale": _texts(list(judged.stale)),
            "model_name": _text(release.name, rows),
            "model_version": _text(release.version, rows),
            "model_sha256": _text(predictor.sha256, rows),
            "data_version": _text(data_version, rows),
            "process_id": _text(predictor.process_id, rows),
            "process_version": _text(predictor.process_version, rows),
            "review": _text(release.review, rows),
        }
    )[list(RISK_SCORE.names)]


def _attributes(judged: Judged, process: ProcessDefinition) -> list[list[dict[str, Any]]]:
    expected = judged.assessment.seen.expected
    if expected is None:
        return [[] for _ in range(len(judged.X))]
    forecasts = [attribute_forecasts(expected, row, process) for row in range(len(judged.X))]
    return [[forecast.to_json() | {"sentence": forecast.sentence} for forecast in row] for row in forecasts]


def _modes(predictor: Predictor, judged: Judged, rows: pd.DataFrame) -> list[dict[str, Any]]:
    by_mode = predictor.mode_probabilities(judged.assessment, rows["checkpoint_h"].to_numpy(float))
    out = []
    for row in range(len(rows)):
        here = {mode: float(p[row]) for mode, p in by_mode.items()}
        out.append(top_mode(here, not_enough_cases=predictor.few_cases).to_json() | {"probabilities": here})
    return out


def _changes(
    predictor: Predictor,
    judged: Judged,
    rows: pd.DataFrame,
    before: pd.DataFrame | None,
    features: tuple[Feature, ...],
    process: ProcessDefinition,
    top: int,
) -> list[dict[str, Any] | None]:
    if before is None or before.empty:
        return [None] * len(rows)
    earlier = before[before["batch_id"].isin(rows["batch_id"])].reset_index(drop=True)
    then_judged = judge(predictor, earlier, features)
    last = dict(zip(earlier["batch_id"], scored_of(predictor, then_judged, earlier, features), strict=True))
    now, labels = scored_of(predictor, judged, rows, features), labels_of(predictor, process)
    out: list[dict[str, Any] | None] = []
    for batch_id, scored in zip(rows["batch_id"], now, strict=True):
        then = last.get(batch_id)
        known = then is not None and then.as_of < scored.as_of
        out.append(changes(then, scored, labels=labels, top=top).to_json() if known and then is not None else None)
    return out


def labels_of(predictor: Predictor, process: ProcessDefinition) -> dict[str, str]:
    """Words for parameters and subjects, of two scores by one model: what moves its base is how far the batch has come."""
    labels = {parameter.name: parameter.label for parameter in process.parameter} | {BASE: "Stage of the batch"}
    return labels | {feature.parameter: feature.label for feature in predictor.features}


def scored_of(predictor: Predictor, judged: Judged, rows: pd.DataFrame, features: tuple[Feature, ...]) -> list[Scored]:
    """What each judged snapshot's score was made of, for the comparison of two."""
    found = judged.assessment
    added = pd.DataFrame(found.contributions, columns=list(predictor.encoder.columns))
    by_parameter: list[Mapping[str, float]] = [
        {str(name): float(value) for name, value in row.items()}
        for row in predictor.by_parameter(added).to_dict("records")
    ]
    return [
        Scored(
            rows["as_of"].iloc[i], float(found.probability[i]), float(found.base_log_odds[i]), by_parameter[i], known
        )
        for i, known in enumerate(newest(rows, features))
    ]


def _what_if(
    predictor: Predictor, judged: Judged, rows: pd.DataFrame, features: tuple[Feature, ...], process: ProcessDefinition
) -> list[dict[str, Any] | None]:
    """The smallest change of the batches that raise an alarm; None for the others."""
    alarmed = np.flatnonzero(judged.assessment.probability > predictor.thresholds.high)
    out: list[dict[str, Any] | None] = [None] * len(rows)
    found = what_if(predictor.predict, rows.iloc[alarmed], process, features, threshold=predictor.thresholds.high)
    for place, answer in zip(alarmed, found, strict=True):
        out[place] = answer.to_json()
    return out


def _domain(judged: Judged, n: int) -> list[dict[str, Any]]:
    return [{}] * n if judged.domains is None else [domain.to_json() for domain in judged.domains]


def _texts(values: Sequence[Any]) -> pd.Series:
    return pd.Series(
        [json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain) for value in values], dtype="str"
    )


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is no plain value")


def _text(value: str, rows: pd.DataFrame) -> pd.Series:
    return pd.Series(value, index=rows.index, dtype="str")
