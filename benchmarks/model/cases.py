"""What the truth says of the later batches: which failed, by what cause, and from when on anyone could have seen it.

Two readings of failure stand side by side, because figures move with them. The wide one is the question of the process:
rejected, terminated, or out of specification whether or not the product was supplied. In the strict one only batches that
were lost failed, and an out-of-specification batch that was supplied is a good batch, also in the alarm budget.
"""

from __future__ import annotations

import pandas as pd

from benchmarks.model.plant import Ground

OBSERVABLE_MODES = ("M1", "M2", "M3", "M4", "M6", "M7", "M8", "M10")
LOST = ("rejected", "terminated")
UNEXPLAINED = "none"


def cases(ground: Ground, failing: tuple[str, ...] | None = None) -> pd.DataFrame:
    """One row per sealed batch.

    Args:
        ground: The plant.
        failing: Outcomes that count as failed; None takes the process's own.

    Returns:
        Indexed by batch_id: `failed`; `mode` (of the fault without which the batch passes; "none" for a failure that no
        single fault explains, "" for a good batch); `observable` (failed by a fault of `OBSERVABLE_MODES`); `affected`
        (tuple of parameters); `first_observable_at` (by a noise-free observer, of the faults that caused it; NaT where
        nothing shows); `only_m12` (struck by nothing but a drifting probe); `end_at`.
    """
    outcomes = tuple(ground.process.outcome.failed) if failing is None else failing
    final = (
        ground.plant.table("dispositions").sort_values(["batch_id", "revision"]).groupby("batch_id")["outcome"].last()
    )
    ids = pd.Index(ground.seal.batch_ids, name="batch_id")
    out = pd.DataFrame({"failed": final.reindex(ids).isin(outcomes)}, index=ids)
    causing = _causing(ground.truth, outcomes)
    first = causing.groupby("batch_id").agg(
        mode=("mode", "first"), affected=("affected_parameters", ";".join), first_observable_at=("first_observable_at", "min")
    )  # fmt: skip
    seen = causing.loc[causing["mode"].isin(OBSERVABLE_MODES), "batch_id"]
    out = out.join(first)
    out["mode"] = out["mode"].fillna(UNEXPLAINED).where(out["failed"], "")
    out["observable"] = out["failed"] & out.index.isin(seen)
    out["affected"] = [tuple(a.split(";")) if isinstance(a, str) else () for a in out["affected"]]
    struck = ground.truth[ground.truth["mode"] != UNEXPLAINED].groupby("batch_id")["mode"].agg(set)
    out["only_m12"] = pd.Series([modes == {"M12"} for modes in struck.reindex(ids)], ids) & ~out["failed"]
    return out.assign(end_at=ground.end_at.reindex(ids))


def affected_in_training(ground: Ground) -> pd.Series:
    """How often each parameter was affected among the caused failures of the training batches, most often first."""
    causing = _causing(ground.truth, tuple(ground.process.outcome.failed))
    mine = causing.loc[causing["batch_id"].isin(ground.train.index), "affected_parameters"]
    return mine.str.split(";").explode().value_counts()


def _causing(truth: pd.DataFrame, failing: tuple[str, ...]) -> pd.DataFrame:
    """Faults of failed batches that would have passed without them."""
    failed, without = (truth[name].isin(failing) for name in ("outcome", "counterfactual_outcome"))
    return truth[failed & ~without & (truth["mode"] != UNEXPLAINED)].sort_values(["batch_id", "mode"])


def observable_by(known: pd.DataFrame, *, ahead_h: float) -> pd.Series:
    """Whether a noise-free observer sees each batch's fault at least so many hours before the batch ends."""
    seen = known["first_observable_at"]
    return seen.notna() & (seen <= known["end_at"] - pd.Timedelta(hours=ahead_h))
