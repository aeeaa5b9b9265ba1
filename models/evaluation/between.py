"""What a predictor gives between checkpoints, where batches in progress are really scored."""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.dictionary import Feature
from models.cohort.labels import labels_as_of
from models.cohort.splits import Seal
from models.cohort.table import before_the_label
from models.evaluation.bands import all_and_banded, counts
from models.evaluation.intervals import share_with_interval
from models.evaluation.metrics import auroc_with_interval
from models.evaluation.trajectories import require
from models.predictor import Predictor
from models.scoring.assessment import assess_frame
from models.scoring.call import NONE_YET


def score_between(
    predictor: Predictor, between: pd.DataFrame, features: tuple[Feature, ...], log: pd.DataFrame, seal: Seal
) -> pd.DataFrame:
    """Score the sealed test at times between the checkpoints.

    Args:
        predictor: Frozen.
        between: `features.contracts.SNAPSHOT` at the times of `models.cohort.between.between_rows`.
        features: Dictionary of their columns.
        log: `features.contracts.LABELS`.
        seal: The test set.

    Returns:
        `batch_id`, `checkpoint_h` (hours since the start), `failed`, `failure_probability`, `call`, `support`; only
        rows from before the batch's outcome.
    """
    labels = labels_as_of(log)
    rows = before_the_label(between[between["batch_id"].isin(seal.batch_ids)], log)
    blocks = [
        pd.DataFrame({
            "batch_id": pd.array(found.rows.batch_ids, dtype="str"),
            "checkpoint_h": found.rows.elapsed_h,
            "failure_probability": found.assessment.probability,
            "call": pd.array(found.calls, dtype="str"),
            "support": pd.array(found.supports, dtype="str"),
        })
        for found in assess_frame(predictor, rows, features, contributions=False)
    ]  # fmt: skip
    scored = pd.concat(blocks, ignore_index=True)
    return scored.assign(failed=scored["batch_id"].map(labels["failed"]).astype(bool))


def between_table(at_checkpoints: pd.DataFrame, between: pd.DataFrame) -> pd.DataFrame:
    """Calls and support between checkpoints beside those at checkpoints of the same stage.

    Args:
        at_checkpoints: `models.evaluation.sealed_test.Scored.rows`.
        between: From `score_between`.

    Returns:
        One row for all times and one per stage: `band`, `from_h`, `to_h`, `n` (scores), `n_batches`, `n_failed`,
        `no_call` (no call yet) and `unsupported` (limited or no support) with `_low` and `_high`, the same two at the
        checkpoints as `no_call_at_checkpoints` and `unsupported_at_checkpoints`, `auroc` with `_low` and `_high`.
    """
    for frame in (at_checkpoints, between):
        require(frame, ("batch_id", "checkpoint_h", "failed", "failure_probability", "call", "support"))
    return pd.DataFrame([stage | _figures(rows, at_checkpoints, stage) for stage, rows in all_and_banded(between)])


def _figures(rows: pd.DataFrame, at_checkpoints: pd.DataFrame, stage: dict) -> dict[str, float]:
    same = at_checkpoints[at_checkpoints["checkpoint_h"].between(stage["from_h"], stage["to_h"])]
    batch, p = rows["batch_id"].to_numpy(), rows["failure_probability"].to_numpy(float)
    made: dict[str, float] = dict(counts(rows))
    for name, of in (("no_call", _without_a_call), ("unsupported", _unsupported)):
        made |= share_with_interval(of(rows), batch).named(name)
        made[f"{name}_at_checkpoints"] = float(of(same).mean()) if len(same) else np.nan
    return made | auroc_with_interval(rows["failed"].to_numpy(bool), p, batch).named("auroc")


def _without_a_call(rows: pd.DataFrame) -> np.ndarray:
    return (rows["call"] == NONE_YET).to_numpy(bool)


def _unsupported(rows: pd.DataFrame) -> np.ndarray:
    return (rows["support"] != "sufficient").to_numpy(bool)
