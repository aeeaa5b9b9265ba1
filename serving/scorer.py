"""Scores of batches in progress: a frozen predictor and snapshots in, records that can be published out.

Production degrades instead of failing: what is missing or stale is stamped on the record, never filled in.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

import pandas as pd
from scipy.special import expit

from features.contracts import RISK_SCORE
from features.dictionary import Feature
from features.process import ProcessDefinition
from models.explain.completeness import missing, stale
from models.explain.reasons import reasons
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
        top: Reasons per record at most.

    Returns:
        `features.contracts.RISK_SCORE`, by batch and time; empty where there are no snapshots.

    Raises:
        ContractError: The snapshots lack a feature of the predictor, or hold an infinite value.
    """
    rows = snapshots.sort_values(["batch_id", "as_of"]).reset_index(drop=True)
    why = reasons(predictor, rows, process, top=top, features=features)
    return pd.DataFrame(
        {
            "batch_id": rows["batch_id"].astype("str"),
            "as_of": rows["as_of"],
            "elapsed_h": (rows["as_of"] - rows["started_at"]) / pd.Timedelta(hours=1),
            "failure_probability": predictor.predict(rows),
            "base_probability": expit(predictor.base_log_odds(rows["checkpoint_h"].to_numpy(float))),
            "reasons": _texts([[reason.to_json() for reason in row] for row in why]),
            "missing": _texts(missing(predictor, rows)),
            "stale": _texts(stale(predictor, rows, features)),
            "model_name": _text(release.name, rows),
            "model_version": _text(release.version, rows),
            "model_sha256": _text(predictor.sha256, rows),
            "data_version": _text(data_version, rows),
            "process_id": _text(predictor.process_id, rows),
            "process_version": _text(predictor.process_version, rows),
            "review": _text(release.review, rows),
        }
    )[list(RISK_SCORE.names)]


def _texts(values: list) -> pd.Series:
    return pd.Series([json.dumps(value, ensure_ascii=False, allow_nan=False) for value in values], dtype="str")


def _text(value: str, rows: pd.DataFrame) -> pd.Series:
    return pd.Series(value, index=rows.index, dtype="str")
