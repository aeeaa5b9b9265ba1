"""How well the models of single failure modes rank batches, and which modes have too few cases for a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from models.evaluation.bands import banded
from models.evaluation.metrics import auroc_with_interval
from models.evaluation.sealed_test import MODE
from models.learners.failure_modes import ModeModel

ANSWERED, TOO_FEW, NO_MODEL_THEN = "answered", "not enough cases", "no model when the test was scored"


def mode_table(
    scores: pd.DataFrame, models: Sequence[ModeModel], few_cases: Mapping[str, int], modes: pd.DataFrame
) -> pd.DataFrame:
    """Whether batches that failed in a mode score above all others by that mode's own model.

    Each batch counts once per maturity band, with the mean of its probabilities there: batches that end early have
    fewer, not lower ones.

    Args:
        scores: `models.evaluation.sealed_test.score_test`.
        models: Models of the modes with enough cases.
        few_cases: Training cases of the modes without a model.
        modes: Pairs `batch_id`, `mode` of all failed batches (`models.learners.failure_modes.modes_before`).

    Returns:
        `mode`, `training_cases`, `verdict` (answered; not enough cases; no model when the test was scored, as by versions
        before the present one), `band` (empty where not answered), `n_batches`,
        `n_failed` (test batches that failed in this mode), `auroc` with `_low` and `_high`; most training cases first.
    """
    rows = []
    tested = pd.Index(scores["batch_id"].unique())
    unanswered = [(mode, n_cases, TOO_FEW) for mode, n_cases in few_cases.items()]
    for model in sorted(models, key=lambda m: (-m.n_cases, m.mode)):
        cases = modes.loc[modes["mode"] == model.mode, "batch_id"]
        head = {"mode": model.mode, "training_cases": model.n_cases, "verdict": ANSWERED}
        asked = scores if MODE + model.mode in scores else scores.iloc[:0].assign(**{MODE + model.mode: np.nan})
        asked = asked.dropna(subset=MODE + model.mode)
        if asked.empty:
            unanswered.append((model.mode, model.n_cases, NO_MODEL_THEN))
            continue
        for band, part in banded(asked):
            mean = part.groupby("batch_id")[MODE + model.mode].mean()
            case = mean.index.isin(cases)
            span = auroc_with_interval(case, mean.to_numpy(), mean.index.to_numpy(str))
            counts = {"n_batches": len(mean), "n_failed": int(case.sum())}
            rows.append(head | {"band": band["band"]} | counts | span.named("auroc"))
    for mode, n_cases, verdict in sorted(unanswered, key=lambda item: (-item[1], item[0])):
        n_failed = int(tested.isin(modes.loc[modes["mode"] == mode, "batch_id"]).sum())
        head = {"mode": mode, "training_cases": n_cases, "verdict": verdict, "band": ""}
        none = dict.fromkeys(("auroc", "auroc_low", "auroc_high"), np.nan)
        rows.append(head | {"n_batches": len(tested), "n_failed": n_failed} | none)
    return pd.DataFrame(rows)
