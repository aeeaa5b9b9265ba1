"""How steady decisions are, and how often and why there is none."""

from __future__ import annotations

import numpy as np
import pandas as pd

from models.evaluation.bands import counts, per_checkpoint
from models.evaluation.intervals import Interval, share_with_interval
from models.evaluation.trajectories import require


def flips(scores: pd.DataFrame, *, of: str | None = None) -> pd.DataFrame:
    """Changes between successive decisions of each batch.

    Args:
        scores: `batch_id`, `as_of`, `failed`, `decision`.
        of: Count only moves into or out of this decision, for example `high`; None counts every change.

    Returns:
        Indexed by batch_id: `failed`, `n_pairs` (successive decisions), `n_flips`.
    """
    require(scores, ("batch_id", "as_of", "failed", "decision"))
    ordered = scores.sort_values(["batch_id", "as_of"], kind="stable")
    batch, decision = ordered["batch_id"], ordered["decision"]
    state = decision if of is None else decision == of
    paired = batch == batch.shift()
    frame = pd.DataFrame({"paired": paired, "flipped": paired & (state != state.shift()), "failed": ordered["failed"]})
    grouped = frame.groupby(batch)
    return pd.DataFrame(
        {
            "failed": grouped["failed"].first().astype(bool),
            "n_pairs": grouped["paired"].sum(),
            "n_flips": grouped["flipped"].sum(),
        }
    )


def flip_rate(scores: pd.DataFrame, *, of: str | None = None) -> pd.DataFrame:
    """Share of successive decisions that differ.

    Args:
        scores: As in `flips`.
        of: As in `flips`.

    Returns:
        Rows `all`, `good`, `failed` batches: `batches`, `n` (batches), `n_failed`, `n_pairs`, `n_flips`, `flip_rate`
        with `_low` and `_high` over resampled batches, `flips_per_batch`. NaN without a pair.
    """
    table = flips(scores, of=of)
    kinds = {
        "all": np.ones(len(table), bool),
        "good": ~table["failed"].to_numpy(),
        "failed": table["failed"].to_numpy(),
    }
    rows = []
    for kind, mask in kinds.items():
        part = table[mask]
        pairs, changed = int(part["n_pairs"].sum()), int(part["n_flips"].sum())
        row: dict[str, object] = {"batches": kind, "n": len(part), "n_failed": int(part["failed"].sum())}
        row |= {"n_pairs": pairs, "n_flips": changed} | _rate(part).named("flip_rate")
        rows.append(row | {"flips_per_batch": changed / len(part) if len(part) else np.nan})
    return pd.DataFrame(rows)


def undecided_by_checkpoint(scores: pd.DataFrame) -> pd.DataFrame:
    """Share of scores without a decision at each checkpoint.

    Args:
        scores: `batch_id`, `checkpoint_h`, `failed`, `decision`.

    Returns:
        `checkpoint_h`, `n`, `n_batches`, `n_failed`, `n_undecided`, `undecided` with `_low` and `_high`.
    """
    require(scores, ("batch_id", "checkpoint_h", "failed", "decision"))

    def of(part: pd.DataFrame) -> dict[str, float]:
        open_ = (part["decision"] == "undecided").to_numpy()
        share = share_with_interval(open_, part["batch_id"].to_numpy())
        return counts(part) | {"n_undecided": int(open_.sum())} | share.named("undecided")

    return per_checkpoint(scores, of)


def undecided_causes(scores: pd.DataFrame) -> pd.DataFrame:
    """Why scores have no decision, at each checkpoint.

    Args:
        scores: `batch_id`, `checkpoint_h`, `failed`, `decision`, `cause` (one text; empty unless undecided).

    Returns:
        `checkpoint_h`, `cause`, `n` (scores of the checkpoint), `n_failed`, `n_undecided`, `undecided` (share of the
        scores), for every cause at every checkpoint: the shares of a checkpoint sum to its share undecided. An
        undecided score without a cause is counted as "no cause given", so that it is seen.
    """
    require(scores, ("batch_id", "checkpoint_h", "failed", "decision", "cause"))
    open_ = scores[scores["decision"] == "undecided"]
    cause = open_["cause"].fillna("").replace("", "no cause given")
    table = pd.crosstab(open_["checkpoint_h"], cause).reindex(np.sort(scores["checkpoint_h"].unique()), fill_value=0)
    per = scores.groupby("checkpoint_h")["failed"].agg(n="size", n_failed="sum")
    table.index.name, table.columns.name = "checkpoint_h", "cause"
    long = table.reset_index().melt("checkpoint_h", value_name="n_undecided").join(per, on="checkpoint_h")
    long["undecided"] = long["n_undecided"] / long["n"]
    ordered = long.sort_values(["checkpoint_h", "cause"], ignore_index=True)
    return ordered[["checkpoint_h", "cause", "n", "n_failed", "n_undecided", "undecided"]]


def set_sizes(scores: pd.DataFrame) -> pd.DataFrame:
    """What the conformal sets hold at each checkpoint.

    Args:
        scores: `batch_id`, `checkpoint_h`, `failed`, `may_fail`, `may_succeed`.

    Returns:
        `checkpoint_h`, `n`, `n_batches`, `n_failed`, and shares of the scores that sum to 1: `both` (nothing is
        excluded), `fails`, `succeeds` (one class only), `neither` (unlike either class).
    """
    require(scores, ("batch_id", "checkpoint_h", "failed", "may_fail", "may_succeed"))

    def of(part: pd.DataFrame) -> dict[str, float]:
        fail, pass_ = part["may_fail"].to_numpy(bool), part["may_succeed"].to_numpy(bool)
        shares = {"both": fail & pass_, "fails": fail & ~pass_, "succeeds": ~fail & pass_, "neither": ~fail & ~pass_}
        return counts(part) | {name: float(hit.mean()) for name, hit in shares.items()}

    return per_checkpoint(scores, of)


def _rate(table: pd.DataFrame) -> Interval:
    """Flips by pairs, both repeated as rows so that batches of any length are resampled whole."""
    pairs = table["n_pairs"].to_numpy()
    place = np.arange(pairs.sum()) - np.repeat(np.cumsum(pairs) - pairs, pairs)
    hit = place < np.repeat(table["n_flips"].to_numpy(), pairs)
    return share_with_interval(hit, np.repeat(np.arange(len(table)), pairs))
