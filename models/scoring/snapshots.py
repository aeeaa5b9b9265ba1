"""Scores of frames of snapshots: for bulk scoring, and for people who work with frames."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from features.dictionary import Feature
from features.process import ProcessDefinition
from models.explain.changes import Changes
from models.explain.what_if import WhatIf
from models.predictor import Predictor
from models.scoring.assessment import AssessedRows
from models.scoring.rows import FeatureRows, require_features
from models.scoring.score import Model, Score
from models.scoring.scorer import Scorer


@dataclass(frozen=True)
class SnapshotScorer:
    """A predictor for frames of snapshots.

    Attributes:
        predictor: Frozen.
        process: The process.
        model: Identity of the predictor.
        features: Dictionary of all columns of the snapshots.
        top: Reasons per score at most.
    """

    predictor: Predictor
    process: ProcessDefinition
    model: Model
    features: tuple[Feature, ...]
    top: int = 5

    def of(self, snapshots: pd.DataFrame) -> tuple[Scorer, FeatureRows, AssessedRows]:
        """The scorer of a frame, its rows, and the assessment of each."""
        rows = FeatureRows.of_frame(snapshots, self.features)
        require_features(rows.columns, self.predictor.encoder.columns)
        scorer = Scorer(self.predictor, self.process, self.model, rows.columns, self.top)
        return scorer, rows, scorer.assess(rows)


def score_snapshots(
    scorer: SnapshotScorer, snapshots: pd.DataFrame, *, data_sha256: str, before: pd.DataFrame | None = None
) -> list[Score]:
    """Scores of snapshots, with changes since the last time and, where an alarm is raised, the smallest change that ends it.

    Args:
        scorer: The predictor and the dictionary of the snapshots' columns.
        snapshots: `features.contracts.SNAPSHOT`, one row per batch.
        data_sha256: Digest of the run history that they rest on.
        before: Snapshots of the last time these batches were scored, at most one per batch; None: no changes.

    Returns:
        By batch; empty where there are no snapshots.

    Raises:
        ContractError: The snapshots lack a feature of the predictor, or hold an infinite value.
    """
    made, rows, found = scorer.of(snapshots.sort_values(["batch_id", "as_of"]))
    scores = made.records(found, data_sha256=data_sha256, assays_pending=[None] * len(rows))
    more = _changes(scorer, made, found, before)
    alarmed = [i for i, score in enumerate(scores) if score.call == "high"]
    for i, moves in zip(alarmed, made.what_if(rows.take(alarmed)), strict=True):
        more.setdefault(i, {})["what_if"] = moves
    return [score.model_copy(update=more.get(i, {})) for i, score in enumerate(scores)]


def _changes(
    scorer: SnapshotScorer, made: Scorer, found: AssessedRows, before: pd.DataFrame | None
) -> dict[int, dict[str, Changes | WhatIf]]:
    """Changes by place of the score, for batches with an earlier snapshot."""
    if before is None:
        return {}
    earlier = before[before["batch_id"].isin(found.rows.batch_ids)]
    then_made, _, then = scorer.of(earlier)
    last = dict(zip(then.rows.batch_ids, then_made.parts(then), strict=True))
    out: dict[int, dict[str, Changes | WhatIf]] = {}
    for i, (batch_id, now) in enumerate(zip(found.rows.batch_ids, made.parts(found), strict=True)):
        if batch_id in last and last[batch_id].as_of < now.as_of:
            out[i] = {"changes": made.changes([last[batch_id]], [now])[0]}
    return out
