"""Figures of development: out-of-fold scores of the training batches, where the test must not be read.

Blend, calibration and thresholds were chosen on these very scores, so the figures are a little too good. Support is not
assessed: the domain was fitted on these batches.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from models.cohort.labels import labels_as_of
from models.evaluation.evaluate import Evaluation
from models.evaluation.sealed_test import Scored
from models.evaluation.subgroups import BY
from models.scoring.call import calls_of
from models.train import Trained

NOT_READ = "The test was not read."


def out_of_fold_scores(trained: Trained, batches: pd.DataFrame, log: pd.DataFrame) -> pd.DataFrame:
    """Out-of-fold scores in the form of a test's.

    Args:
        trained: With its out-of-fold scores.
        batches: `features.contracts.BATCHES`.
        log: `features.contracts.LABELS`; only what was known at the cut counts.

    Returns:
        The columns of `models.evaluation.sealed_test.Scored.rows` without release attributes and modes; `support` is
        "not assessed".
    """
    rows, predictor = trained.out_of_fold.reset_index(drop=True), trained.predictor
    log_odds, hours = rows["log_odds"].to_numpy(float), rows["checkpoint_h"].to_numpy(float)
    calls, causes = calls_of(log_odds, hours, predictor.thresholds, predictor.decision_sets)
    known = batches.set_index("batch_id")
    labels = labels_as_of(log[log["label_available_at"] < trained.seal.cut])
    groups = {name: rows["batch_id"].map(known[name]) if name in known else None for name in BY}
    groups["scale_l"] = pd.to_numeric(groups["scale_l"]) if groups["scale_l"] is not None else np.nan
    return rows[["batch_id", "checkpoint_h", "as_of", "end_at", "failed", "failure_probability"]].assign(
        label_available_at=rows["batch_id"].map(labels["first_available_at"]),
        failed=rows["failed"].astype(bool),
        probability_low=np.nan,
        probability_high=np.nan,
        call=pd.array(calls, dtype="str"),
        call_cause=pd.array(causes, dtype="str"),
        support=pd.array(["not assessed"] * len(rows), dtype="str"),
        support_causes=pd.array([""] * len(rows), dtype="str"),
        may_fail=predictor.sets.may_fail(log_odds, hours),
        may_succeed=predictor.sets.may_succeed(log_odds, hours),
        sensors=pd.array([""] * len(rows), dtype="str"),
        **groups,
    )


def as_development(scored: Scored, trained: Trained, batches: pd.DataFrame, log: pd.DataFrame) -> Scored:
    """What a predictor looks at in training batches, with out-of-fold scores instead of its own."""
    return replace(scored, rows=out_of_fold_scores(trained, batches, log))


def without_the_test(evaluation: Evaluation) -> Evaluation:
    """An evaluation of out-of-fold scores that says so, and claims nothing of support or of the test's failures."""
    support = evaluation.support.assign(**{
        name: np.nan for name in evaluation.support.columns if name.startswith(("limited", "unsupported"))
    })  # fmt: skip
    counts = evaluation.counts | {"test_scored": 0, "test_failed": 0}
    absent = evaluation.absent | dict.fromkeys(("field", "between", "sensors", "attributes", "modes"), NOT_READ)
    return replace(evaluation, support=support, counts=counts, absent=absent, read_test=False)
