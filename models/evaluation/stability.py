"""How steady calls are, how often and why there is none yet, and how often and why the support is not sufficient."""

from __future__ import annotations

import numpy as np
import pandas as pd

from models.evaluation.bands import counts, per_checkpoint
from models.evaluation.intervals import Interval, share_with_interval
from models.evaluation.trajectories import require
from models.scoring.call import CALLS, NONE_YET


def flips(scores: pd.DataFrame, *, of: str | None = None) -> pd.DataFrame:
    """Changes between successive calls of each batch.

    Args:
        scores: `batch_id`, `as_of`, `failed`, `call`.
        of: Count only moves into or out of this call, for example `high`; None counts every change.

    Returns:
        Indexed by batch_id: `failed`, `n_pairs` (successive calls), `n_flips`.
    """
    require(scores, ("batch_id", "as_of", "failed", "call"))
    ordered = scores.sort_values(["batch_id", "as_of"], kind="stable")
    batch, call = ordered["batch_id"], ordered["call"]
    state = call if of is None else call == of
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
    """Share of successive calls that differ.

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


def calls_by_checkpoint(scores: pd.DataFrame) -> pd.DataFrame:
    """Shares of the calls at each checkpoint.

    Args:
        scores: `batch_id`, `checkpoint_h`, `failed`, `call`.

    Returns:
        `checkpoint_h`, `n`, `n_batches`, `n_failed`, the shares `none yet`, `low`, `elevated`, `high` of the scores, and
        `no_call` (the share without a call yet) with `_low`, `_high` and `n_no_call`.
    """
    require(scores, ("batch_id", "checkpoint_h", "failed", "call"))

    def of(part: pd.DataFrame) -> dict[str, float]:
        shares = {name: float((part["call"] == name).mean()) for name in CALLS}
        return counts(part) | shares | _share(part, part["call"] == NONE_YET, "no_call")

    return per_checkpoint(scores, of)


def no_call_causes(scores: pd.DataFrame) -> pd.DataFrame:
    """Why scores have no call yet, at each checkpoint.

    Args:
        scores: `checkpoint_h`, `failed`, `call`, `call_cause` (empty where there is a call).

    Returns:
        `checkpoint_h`, `cause`, `n` (scores of the checkpoint), `n_failed`, `n_found` (without a call for this cause),
        `share` (of the scores): the shares of a checkpoint sum to its share without a call.
    """
    require(scores, ("checkpoint_h", "failed", "call", "call_cause"))
    return _by_cause(scores, scores["call_cause"].where(scores["call"] == NONE_YET))


def support_by_checkpoint(scores: pd.DataFrame) -> pd.DataFrame:
    """Shares of the scores with limited and with no support at each checkpoint.

    Args:
        scores: `batch_id`, `checkpoint_h`, `failed`, `support`.

    Returns:
        `checkpoint_h`, `n`, `n_batches`, `n_failed`, and `limited` and `unsupported` (no support), each with `_low`,
        `_high` and `n_...`.
    """
    require(scores, ("batch_id", "checkpoint_h", "failed", "support"))

    def of(part: pd.DataFrame) -> dict[str, float]:
        limited, none = (
            _share(part, part["support"] == s, n) for s, n in (("limited", "limited"), ("none", "unsupported"))
        )
        return counts(part) | limited | none

    return per_checkpoint(scores, of)


def support_causes(scores: pd.DataFrame) -> pd.DataFrame:
    """Why the support is limited, or there is none, at each checkpoint, by the cause that weighs most.

    Args:
        scores: `checkpoint_h`, `failed`, `support`, `support_causes` (separated by "; "; empty where it is sufficient).

    Returns:
        As `no_call_causes`, and `support`: the shares of a checkpoint and a kind of support sum to that of its scores.
    """
    require(scores, ("checkpoint_h", "failed", "support", "support_causes"))
    first = scores["support_causes"].fillna("").str.split("; ").str[0]
    tables = [
        _by_cause(scores, first.where(scores["support"] == kind)).assign(support=kind) for kind in ("limited", "none")
    ]
    return pd.concat(
        [t for t in tables if len(t)] or tables[:1], ignore_index=True
    )  # an empty one would widen the counts


def _by_cause(scores: pd.DataFrame, cause: pd.Series) -> pd.DataFrame:
    """Scores by checkpoint and cause; one is missing where the score does not count. An empty cause is counted, and seen."""
    found = cause.notna()
    named = cause[found].replace("", "no cause given")
    hours = np.sort(scores["checkpoint_h"].unique())
    table = pd.crosstab(scores.loc[found, "checkpoint_h"], named).reindex(hours, fill_value=0)
    per = scores.groupby("checkpoint_h")["failed"].agg(n="size", n_failed="sum")
    table.index.name, table.columns.name = "checkpoint_h", "cause"
    long = table.reset_index().melt("checkpoint_h", value_name="n_found").join(per, on="checkpoint_h")
    ordered = long.assign(share=long["n_found"] / long["n"]).sort_values(["checkpoint_h", "cause"], ignore_index=True)
    return ordered[["checkpoint_h", "cause", "n", "n_failed", "n_found", "share"]]


def _share(part: pd.DataFrame, hit: pd.Series, name: str) -> dict[str, float]:
    share = share_with_interval(hit.to_numpy(bool), part["batch_id"].to_numpy())
    return {f"n_{name}": int(hit.sum())} | share.named(name)


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
