"""The predictor trained on a plant's older batches, and its scores of the later ones, with calls, support and intervals."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit

from benchmarks.model.plant import Ground, Say
from models.learners.trees import Plan
from models.predictor import Predictor
from models.scoring.assessment import AssessedRows, assess_frame
from models.train import Trained, train
from pipelines.target_leakage import final_results

EVERY_H = 6.0  # rows at which the sum of the contributions is looked at


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores of the later batches.

    Attributes:
        predictor: Made them.
        rows: `batch_id`, `checkpoint_h`, `as_of`, `end_at`, `failed`, `failure_probability`, `log_odds`, `may_fail`,
            `may_succeed` (nominal sets), `call`, `call_cause`, `support`, `support_causes`, and per release attribute `.expected`, `.low`, `.high`, `.actual`.
        worst_gap: Largest |base + sum of contributions - log-odds| of a score at a checkpoint.
    """

    predictor: Predictor
    rows: pd.DataFrame
    worst_gap: float

    @property
    def held(self) -> pd.DataFrame:
        """The rows with probabilities held against the hour: what a threshold for all hours is compared with."""
        raised = self.predictor.thresholds.boundary.at(self.rows["checkpoint_h"].to_numpy(float))
        return self.rows.assign(failure_probability=expit(self.rows["log_odds"] - raised))

    @property
    def at_checkpoints(self) -> pd.DataFrame:
        """The rows at the checkpoints."""
        hours = self.predictor.evidence.deviations.reference.checkpoints_h
        return self.rows[self.rows["checkpoint_h"].isin(hours)].reset_index(drop=True)


def trained_on(ground: Ground, snapshots: pd.DataFrame, plan: Plan, say: Say = print) -> Trained:
    """Train as the product does: attributes, dispositions, the same seal."""
    attributes = [q.parameter for q in ground.process.quality_attribute]
    return train(
        ground.process, snapshots, ground.features, ground.batches, ground.log,
        observations=ground.plant.observations_of(attributes), dispositions=ground.plant.table("dispositions"),
        seal=ground.seal, plan=plan, course=ground.levels(), progress=lambda what, i, n: say(f"seed {ground.seed}: {what} {i} of {n}"),
    )  # fmt: skip


def scored(ground: Ground, predictor: Predictor, say: Say = print) -> Scored:
    """Score the later batches every hour.

    Args:
        ground: The plant.
        predictor: Frozen.
        say: Told what goes on.
    """
    hours = ground.each_hour()
    say(f"seed {ground.seed}: {len(hours):,} scores, with calls")
    parts, gaps, expected = [], [0.0], None
    for frame in ground.snapshots_at(hours):
        for part in assess_frame(predictor, frame, ground.features, contributions=False):
            parts.append(_rows(part))
            gaps.append(_gap(predictor, part))
            expected = part.assessment.seen.expected
    rows = pd.concat(parts, ignore_index=True)
    rows = rows.assign(
        end_at=rows["batch_id"].map(ground.end_at), failed=rows["batch_id"].map(ground.labels["failed"]).astype(bool)
    )
    say(f"seed {ground.seed}: SHA-256 of (batch, as_of, probability) {digest_of(rows)}, {len(rows)} scores")
    if expected is not None:
        seen = ground.plant.observations_of([q.parameter for q in ground.process.quality_attribute])
        actual = final_results(ground.process, seen)
        for attribute in expected.attributes:
            rows[f"{attribute.name}.actual"] = rows["batch_id"].map(actual[attribute.parameter])
    return Scored(predictor, rows, max(gaps))


def digest_of(rows: pd.DataFrame) -> str:
    """SHA-256 over batch, as-of time and probability to the last bit, sorted: equal where all scores are."""
    ordered = rows.sort_values(["batch_id", "as_of"])
    each = zip(ordered["batch_id"], ordered["as_of"], ordered["failure_probability"], strict=True)
    text = "".join(f"{batch},{as_of.isoformat()},{p.hex()}\n" for batch, as_of, p in each)
    return hashlib.sha256(text.encode()).hexdigest()


def _rows(part: AssessedRows) -> pd.DataFrame:
    """Scores of some rows, without outcomes."""
    found, rows = part.assessment, part.rows
    frame = pd.DataFrame(
        {
            "batch_id": pd.array(rows.batch_ids, dtype="str"),
            "checkpoint_h": rows.elapsed_h,
            "as_of": pd.to_datetime(rows.as_of_us, unit="us", utc=True).as_unit("us"),
            "failure_probability": expit(found.log_odds),
            "log_odds": found.log_odds,
            "may_fail": part.may_fail,
            "may_succeed": part.may_succeed,
            "call": pd.array(part.calls, dtype="str"),
            "call_cause": pd.array(part.call_causes, dtype="str"),
            "support": pd.array(part.supports, dtype="str"),
            "support_causes": pd.array(["; ".join(causes) for causes in part.support_causes], dtype="str"),
        }
    )
    if found.seen.expected is None:
        return frame
    for name, values in zip(("expected", "low", "high"), found.seen.expected.in_units, strict=True):
        for i, attribute in enumerate(found.seen.expected.attributes):
            frame[f"{attribute.name}.{name}"] = values[:, i]
    return frame


def _gap(predictor: Predictor, part: AssessedRows) -> float:
    """Largest |base + sum of contributions - log-odds| of the rows at every sixth hour."""
    at = np.flatnonzero(part.rows.elapsed_h % EVERY_H == 0)
    if not len(at):
        return 0.0
    found = predictor.assess(part.X[at], part.rows.elapsed_h[at])
    if found.contributions is None:
        raise ValueError("contributions were asked for")
    return float(np.abs(found.base_log_odds + found.contributions.sum(axis=1) - found.log_odds).max())
