"""Outcomes of batches with the time from which they were known.

A label is never a property of a batch alone: it becomes known, and may be corrected, at a time. Everything that
counts failures, and every fold that trains on them, reads the log as of a time.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from features.contracts import LABELS
from features.process import LabelRule, ProcessDefinition

_COLUMNS = list(LABELS.names)


def label_log(
    process: ProcessDefinition,
    dispositions: pd.DataFrame,
    observations: pd.DataFrame | None = None,
    *,
    rule: LabelRule | None = None,
) -> pd.DataFrame:
    """Every label a batch ever had, one row per change of knowledge.

    With `label_from = "disposition"` the newest revision of the disposition known at a time decides. With a rule the
    newest result of the rule's parameter decides, and a censoring disposition censors the batch from then on.

    Args:
        process: Says which dispositions failed, which are censored, and the rule.
        dispositions: `features.contracts.DISPOSITIONS`; may be empty.
        observations: `features.contracts.OBSERVATIONS`; needed only for a rule. Results of bad quality never count.
        rule: Another rule than the process's own, to compare ways to split on.

    Returns:
        `features.contracts.LABELS`, ordered by batch and time; `revision` counts the changes from 0.
    """
    rule = rule or process.label_rule
    if rule is None:
        changes = _from_dispositions(process, dispositions)
    else:
        changes = _from_rule(process, rule, dispositions, observations)
    changes = changes.sort_values(["batch_id", "label_available_at"], kind="stable")
    changes = changes.drop_duplicates(["batch_id", "label_available_at"], keep="last")
    changes["revision"] = changes.groupby("batch_id").cumcount().astype("int32")
    changes["failed"] = changes["failed"] & ~changes["censored"]
    return changes[_COLUMNS].astype({"failed": "bool", "censored": "bool"}).reset_index(drop=True)


def labels_as_of(log: pd.DataFrame, as_of: pd.Timestamp | None = None) -> pd.DataFrame:
    """The label of each batch as it was known at a time.

    Args:
        log: `features.contracts.LABELS`.
        as_of: Labels that became available later do not count; None takes the newest of all.

    Returns:
        Indexed by batch_id: `failed`, `censored`, `label_available_at` of the label that counts and
        `first_available_at` of the batch's first label. Batches without a label are absent.
    """
    known = log if as_of is None else log[log["label_available_at"] <= as_of]
    newest = known.sort_values(["batch_id", "revision"]).groupby("batch_id").tail(1).set_index("batch_id")
    first = known.groupby("batch_id")["label_available_at"].min()
    return newest[["failed", "censored", "label_available_at"]].assign(first_available_at=first)


def _from_dispositions(process: ProcessDefinition, dispositions: pd.DataFrame) -> pd.DataFrame:
    rows = dispositions.sort_values(["batch_id", "decided_at", "revision"])
    rows = rows[rows["revision"] == rows.groupby("batch_id")["revision"].cummax()]
    return pd.DataFrame(
        {
            "batch_id": rows["batch_id"],
            "failed": rows["outcome"].isin(process.outcome.failed),
            "censored": rows["outcome"].isin(process.outcome.censored),
            "label_available_at": rows["decided_at"],
        }
    )


def _from_rule(
    process: ProcessDefinition, rule: LabelRule, dispositions: pd.DataFrame, observations: pd.DataFrame | None
) -> pd.DataFrame:
    if observations is None:
        raise ValueError(f"the label rule {rule} needs observations")
    decided = _from_dispositions(process, dispositions)
    measured = _newest_results(observations[observations["parameter"] == rule.parameter])
    results = pd.DataFrame(
        {
            "batch_id": measured["batch_id"],
            "result": measured["value"],
            "withdrawn": measured["quality"] == "bad" if "quality" in measured else False,
            "label_available_at": measured["available_at"],
        }
    )
    both = pd.concat([results, decided[["batch_id", "censored", "label_available_at"]]], ignore_index=True)
    both = both.sort_values(["batch_id", "label_available_at"], kind="stable")
    # a result does not change censoring and a disposition does not change the result: each holds until changed
    both["result"] = both.groupby("batch_id")["result"].ffill()
    for name in ("censored", "withdrawn"):
        both[name] = both[name].astype("boolean").groupby(both["batch_id"]).ffill().fillna(False).astype(bool)
    both = both[both["result"].notna() | both["censored"]]
    both["censored"] |= both["withdrawn"]  # a result that was taken back is neither success nor failure
    return both.assign(failed=np.asarray(rule.failed(both["result"].to_numpy(float)), dtype=bool))


def _newest_results(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows that were the newest result (by sampling time, then revision) when they became available."""
    if "quality" in rows:  # a bad first report never counted; a bad correction takes a result back
        rows = rows[(rows["quality"] != "bad") | (rows["revision"] > 0)]
    age = rows.sort_values(["observed_at", "revision"]).groupby("batch_id").cumcount()
    rows = rows.assign(_age=age).sort_values(["batch_id", "available_at", "_age"])
    return rows[rows["_age"] == rows.groupby("batch_id")["_age"].cummax()]
