"""Every metric per site, process version and scale, or the plain statement that too few batches support one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import pandas as pd

from models.evaluation.alarms import first_alarms
from models.evaluation.calls import CALLED, as_alarms
from models.evaluation.figures import last_checkpoint
from models.evaluation.intervals import Interval, share_with_interval, with_interval
from models.evaluation.metrics import auprc, auroc, brier, calibration_floor, weighted_calibration_error
from models.evaluation.trajectories import COLUMNS, require

BY = ("site_id", "process_version", "scale_l")
MIN_BATCHES, MIN_FAILED = 20, 5
SUPPORTED, NOT_SUPPORTED = "supported", "not supported"
METRICS = ("auroc", "auprc", "brier", "ece", "alarm_rate", "recall")


def subgroup_table(
    scores: pd.DataFrame,
    *,
    by: Sequence[str] = BY,
    at_h: float | None = None,
    min_batches: int = MIN_BATCHES,
) -> pd.DataFrame:
    """Figures of all batches and of each subgroup.

    AUROC, AUPRC, Brier and ECE take each batch once: at one checkpoint, or at its last. The last one reveals when a
    batch was stopped (`models.evaluation.figures.auroc_of_timing`); where many are, pass a checkpoint.

    Args:
        scores: `batch_id`, `checkpoint_h`, `as_of`, `failed`, `end_at`, `failure_probability`, `call`, and the columns of `by`.
            A batch without a value in one of them belongs to the group "unknown".
        by: Columns that make subgroups, each for itself.
        at_h: Checkpoint at which batches are compared, in hours; None takes each batch's last.
        min_batches: Fewer, or fewer failures than `MIN_FAILED`, and the group is not supported.

    Returns:
        `attribute` ("all" in the first rows), `group`, `metric` (`METRICS`: `alarm_rate` is the share of the good
        batches ever called high, `recall` of the failed ones), `n` (batches), `n_failed`, `value`, `low`, `high` (95 %
        over resampled batches), `floor` (of `ece`: what a perfect model would show), `verdict`. Value and bounds are
        NaN where the group is not supported; `n` and `n_failed` of `alarm_rate` and `recall` are all batches of the
        group, those of the others the batches with a score at the checkpoint.
    """
    require(scores, (*COLUMNS, "call", *by))
    alarmed = first_alarms(as_alarms(scores), CALLED)
    compared = last_checkpoint(scores if at_h is None else scores[scores["checkpoint_h"] == at_h])
    rows = []
    for attribute, group, batches in _groups(scores, by):
        one = compared[compared["batch_id"].isin(batches)]
        every = alarmed.loc[batches]
        for metric, count, measure in (*_of_scores(one), *_of_alarms(every)):
            n, n_failed = count
            head = {"attribute": attribute, "group": group, "metric": metric, "n": n, "n_failed": n_failed}
            enough = n >= min_batches and n_failed >= MIN_FAILED
            span = measure() if enough else Interval(np.nan, np.nan, np.nan)
            floor = calibration_floor(one["failure_probability"].to_numpy()) if enough and metric == "ece" else np.nan
            found = {"value": span.value, "low": span.low, "high": span.high, "floor": floor}
            rows.append(head | found | {"verdict": SUPPORTED if enough else NOT_SUPPORTED})
    return pd.DataFrame(rows)


Measured = tuple[str, tuple[int, int], Callable[[], Interval]]


def _groups(scores: pd.DataFrame, by: Sequence[str]) -> Iterator[tuple[str, str, pd.Index]]:
    batches = scores.drop_duplicates("batch_id").set_index("batch_id")
    yield "all", "all", batches.index
    for attribute in by:
        names = batches[attribute].map(lambda v: f"{v:g}" if isinstance(v, float) else str(v), na_action="ignore")
        names = names.astype("object").where(batches[attribute].notna(), "unknown")
        for group in sorted(names.unique(), key=_natural):
            yield attribute, str(group), batches.index[names == group]


def _natural(name: str) -> tuple[int, float, str]:
    """Numbers by size, before words by letter."""
    try:
        return 0, float(name), name
    except ValueError:
        return 1, 0.0, name


def _of_scores(one: pd.DataFrame) -> list[Measured]:
    failed, p, batch = (one[c].to_numpy() for c in ("failed", "failure_probability", "batch_id"))
    count = (len(one), int(failed.sum()))
    plain = {"auroc": auroc, "auprc": auprc, "brier": brier}
    found: list[Measured] = [(name, count, partial(with_interval, f, failed, p, batch)) for name, f in plain.items()]
    return [*found, ("ece", count, partial(_ece, failed, p, batch))]


def _ece(failed: np.ndarray, p: np.ndarray, batch: np.ndarray) -> Interval:
    span = with_interval(weighted_calibration_error, failed, p, batch, centred=True)
    return Interval(span.value, max(0.0, span.low), span.high)


def _of_alarms(every: pd.DataFrame) -> list[Measured]:
    failed = every["failed"].to_numpy(bool)
    count = (len(every), int(failed.sum()))
    out: list[Measured] = []
    for name, rows in (("alarm_rate", ~failed), ("recall", failed)):
        hit, batch = every["alarmed"].to_numpy()[rows], every.index.to_numpy()[rows]
        out.append((name, count, partial(share_with_interval, hit, batch)))
    return out
