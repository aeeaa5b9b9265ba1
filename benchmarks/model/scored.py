"""The predictor trained on a plant's older batches, and its scores of the later ones, with decisions and intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit

from benchmarks.model.plant import Ground, Say
from models.judge import judge
from models.learners.trees import Plan
from models.predictor import Predictor
from models.train import Trained, train
from pipelines.target_leakage import final_results

ROWS_AT_ONCE = 4000  # bounds the memory of contributions


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of the later batches.

    Attributes:
        predictor: Made them.
        rows: `batch_id`, `checkpoint_h`, `as_of`, `end_at`, `failed`, `failure_probability`, `log_odds`, `may_fail`,
            `may_succeed` (nominal sets), `decision`, `cause`, and per release attribute `.expected`, `.low`, `.high`, `.actual`.
        X: Encoded rows, in the same order.
    """

    predictor: Predictor
    rows: pd.DataFrame
    X: np.ndarray

    @property
    def hours(self) -> np.ndarray:
        """Hours since the start of each row."""
        return self.rows["checkpoint_h"].to_numpy(float)


def trained_on(ground: Ground, snapshots: pd.DataFrame, plan: Plan, say: Say = print) -> Trained:
    """Train as the product does: attributes, dispositions, the same seal."""
    attributes = [q.parameter for q in ground.process.quality_attribute]
    return train(
        ground.process, snapshots, ground.features, ground.batches, ground.log,
        observations=ground.plant.observations_of(attributes), dispositions=ground.plant.table("dispositions"),
        seal=ground.seal, plan=plan, progress=lambda what, i, n: say(f"seed {ground.seed}: {what} {i} of {n}"),
    )  # fmt: skip


def scored(ground: Ground, predictor: Predictor, later: pd.DataFrame, say: Say = print) -> Scored:
    """Score later batches.

    Args:
        ground: The plant.
        predictor: Frozen.
        later: Snapshots before harvest (`Ground.before_harvest`).
        say: Told what goes on.
    """
    say(f"seed {ground.seed}: {len(later):,} scores, with decisions")
    judged = judge(predictor, later, ground.features, contributions=False)
    found = judged.assessment
    rows = later[["batch_id", "checkpoint_h", "as_of"]].reset_index(drop=True)
    rows = rows.assign(
        end_at=rows["batch_id"].map(ground.end_at),
        failed=rows["batch_id"].map(ground.labels["failed"]).astype(bool),
        failure_probability=expit(found.log_odds),
        log_odds=found.log_odds,
        may_fail=judged.may_fail,
        may_succeed=judged.may_succeed,
        decision=list(judged.decisions),
        cause=list(judged.causes),
    )
    expected = found.seen.expected
    if expected is None:
        return Scored(predictor, rows, judged.X)
    names, (value, low, high) = [a.name for a in expected.attributes], expected.in_units
    seen = ground.plant.observations_of([q.parameter for q in ground.process.quality_attribute])
    actual = final_results(ground.process, seen)
    for i, name in enumerate(names):
        parts = {"expected": value[:, i], "low": low[:, i], "high": high[:, i]}
        rows = rows.assign(**{f"{name}.{part}": values for part, values in parts.items()})
        rows[f"{name}.actual"] = rows["batch_id"].map(actual[expected.attributes[i].parameter])
    return Scored(predictor, rows, judged.X)


def worst_additivity(scores: Scored) -> float:
    """Largest |base + sum of contributions - log-odds| over all rows."""
    worst = 0.0
    for first in range(0, len(scores.X), ROWS_AT_ONCE):
        part = slice(first, first + ROWS_AT_ONCE)
        found = scores.predictor.assess(scores.X[part], scores.hours[part])
        if found.contributions is None:
            raise ValueError("contributions were asked for")
        gap = found.base_log_odds + found.contributions.sum(axis=1) - scores.rows["log_odds"].to_numpy()[part]
        worst = max(worst, float(np.abs(gap).max()))
    return worst
