"""Figures of one method's scores, and of the difference of two methods on the same batches.

A score frame has one row per (batch, checkpoint): `batch_id`, `checkpoint_h`, `as_of`, `failed`, and `score` (any finite
number, higher means riskier) or `failure_probability`; with both, ranks are taken from `score`. Every interval is 95 %
over resampled whole batches, and the same batches are drawn for every figure and both sides of a difference.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from features.errors import ContractError
from models.evaluation.figures import last_checkpoint
from models.evaluation.intervals import RESAMPLES, Interval, batch_weights, percentiles, with_interval
from models.evaluation.metrics import (
    auroc,
    calibration_floor,
    expected_calibration_error,
    weighted_calibration_error,
)
from models.evaluation.recall import paired_difference, recall_at_shares
from models.evaluation.trajectories import Trajectories, require, trajectories

SHARES = (0.05, 0.2)
PROBABILITY = "failure_probability"


def measured(scores: pd.DataFrame, *, shares: Sequence[float] = SHARES, resamples: int = RESAMPLES) -> pd.DataFrame:
    """All figures of one method.

    Args:
        scores: A score frame.
        shares: Of the good batches ever alarmed, realised on these very batches.
        resamples: Of whole batches, for AUROC and recall.

    Returns:
        `measure`, `value`, `low`, `high`, `n` (batches), `n_failed`: `auroc_last`, `recall_at_<share>` for each share
        and, where there are probabilities, `ece_above_floor`.
    """
    ranks = ranked(scores)
    arranged = arrange(ranks)
    rows = [_row("auroc_last", auroc_at_last(ranks, resamples=resamples))]
    for found in recall_at_shares(arranged, shares, resamples=resamples).to_dict("records"):
        span = Interval(found["recall"], found["recall_low"], found["recall_high"])
        rows.append(_row(_name(found["share"]), span))
    if PROBABILITY in scores:
        rows.append(_row("ece_above_floor", calibration_above_floor(scores)))
    return pd.DataFrame(rows).assign(n=len(arranged.failed), n_failed=int(arranged.failed.sum()))


def differences(
    ours: pd.DataFrame, theirs: pd.DataFrame, *, shares: Sequence[float] = SHARES, resamples: int = RESAMPLES
) -> pd.DataFrame:
    """Ours minus theirs on the same batches, each share's threshold set by each side in each resample.

    Args:
        ours: A score frame.
        theirs: A score frame of the same batches with the same outcomes; checkpoints may differ.
        shares: Of the good batches ever alarmed.
        resamples: Of whole batches.

    Returns:
        `measure`, `ours`, `theirs`, `difference`, `low`, `high`, `n`, `n_failed`, rows as in `measured`, without the
        calibration.

    Raises:
        ContractError: The batches or their outcomes differ.
    """
    a, b = ranked(ours), ranked(theirs)
    columns = ["measure", "ours", "theirs", "difference", "low", "high", "n", "n_failed"]
    arranged = arrange(a), arrange(b)
    rows = []
    for share in shares:  # refuses other batches first
        found = paired_difference(*arranged, share, resamples=resamples)
        rows.append(found[found["figure"] == "recall"].assign(measure=_name(share))[columns])
    values, drawn = zip(*(_auroc_drawn(side, resamples) for side in (a, b)), strict=True)
    span = percentiles(values[0] - values[1], drawn[0] - drawn[1])
    head = {"measure": "auroc_last", "ours": values[0], "theirs": values[1], "difference": span.value}
    count = {"n": len(arranged[0].failed), "n_failed": int(arranged[0].failed.sum())}
    area = pd.DataFrame([head | {"low": span.low, "high": span.high} | count])
    return pd.concat([area, *rows], ignore_index=True)


def auroc_at_last(scores: pd.DataFrame, *, resamples: int = RESAMPLES) -> Interval:
    """AUROC of each batch's score at its last checkpoint; NaN where a class is absent."""
    return percentiles(*_auroc_drawn(ranked(scores), resamples))


def calibration_above_floor(scores: pd.DataFrame) -> Interval:
    """Calibration error less that of a perfect model with these probabilities; about 0 where calibration is perfect.

    Every score counts once. The bounds move with the bias that resampling adds to a mean absolute error.

    Args:
        scores: A score frame with `failure_probability`, 0 to 1.
    """
    require(scores, ("batch_id", "failed", PROBABILITY))
    failed, p = scores["failed"].to_numpy(bool), scores[PROBABILITY].to_numpy(float)
    if not ((p >= 0) & (p <= 1)).all():
        raise ContractError("a failure_probability is missing or outside 0 to 1", expected="probabilities")
    batch = scores["batch_id"].to_numpy()
    span = with_interval(weighted_calibration_error, failed, p, batch, centred=True)
    floor = calibration_floor(p, batch=batch)
    return Interval(expected_calibration_error(failed, p) - floor, span.low - floor, span.high - floor)


def ranked(scores: pd.DataFrame) -> pd.DataFrame:
    """`batch_id`, `checkpoint_h`, `as_of`, `failed`, `score`, in order of batch and checkpoint.

    Raises:
        ContractError: A column is missing, a score is not finite, or a batch stands twice at a checkpoint.
    """
    given = scores if "score" in scores or PROBABILITY not in scores else scores.assign(score=scores[PROBABILITY])
    columns = ["batch_id", "checkpoint_h", "as_of", "failed", "score"]
    require(given, columns)
    if not np.isfinite(given["score"].to_numpy(float)).all():
        raise ContractError("a score is missing or infinite", expected="a finite number for every row")
    if given.duplicated(["batch_id", "checkpoint_h"]).any():
        raise ContractError("a batch has two scores at one checkpoint", expected="one score")
    return given[columns].sort_values(["batch_id", "checkpoint_h"], ignore_index=True)


def arrange(scores: pd.DataFrame) -> Trajectories:
    """For `models.evaluation`; a batch ends at its last score, so that lead times mean nothing here."""
    end = scores.groupby("batch_id")["as_of"].transform("max")
    return trajectories(scores.assign(end_at=end).rename(columns={"score": PROBABILITY}))


def _auroc_drawn(scores: pd.DataFrame, resamples: int) -> tuple[float, np.ndarray]:
    """AUROC on all batches, and on each resample; batches ascending, as `trajectories` has them."""
    last = last_checkpoint(scores).sort_values("batch_id")
    failed, score = last["failed"].to_numpy(bool), last["score"].to_numpy(float)
    value = float(auroc(failed, score, np.ones((1, len(score))))[0])
    with np.errstate(invalid="ignore"):
        drawn = [auroc(failed, score, w.astype(float)) for w in batch_weights(len(score), resamples=resamples)]
    return value, np.concatenate(drawn)


def _row(measure: str, span: Interval) -> dict[str, object]:
    return {"measure": measure, "value": span.value, "low": span.low, "high": span.high}


def _name(share: float) -> str:
    return f"recall_at_{share:g}"
