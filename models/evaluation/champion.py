"""Challenger and champion on the same later batches: is the challenger better, not worse by a margin, worse, or unknown?

Both score the same snapshots of batches that neither has learnt from. Whole batches are resampled, both sides together, so
what makes a batch easy or hard for both cancels. The AUROC decides, each batch at its last checkpoint; recall and lead at
the alarm budget stand beside it.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import pandas as pd

from models.evaluation.figures import last_checkpoint
from models.evaluation.intervals import Interval, batch_weights, percentiles
from models.evaluation.metrics import auroc
from models.evaluation.recall import WARNED_AHEAD_H, paired_difference

Verdict = Literal["better", "not worse by the margin", "worse", "not enough failures to say"]
BETTER, NOT_WORSE, WORSE, UNKNOWN = get_args(Verdict)
LEAST = 5  # batches of each outcome below which nothing is said
_TABLE, _HEAD = "comparison.csv", "comparison.json"
COLUMNS = ["figure", "challenger", "champion", "difference", "low", "high", "n", "n_good", "n_failed"]


@dataclass(frozen=True)
class Comparison:
    """A challenger beside a champion.

    Attributes:
        champion: Version of the champion.
        verdict: On the challenger.
        margin: By how much its AUROC may be lower and it still counts as not worse.
        since: The batches started at this time or later, ISO text.
        n: Batches.
        n_failed: How many of them failed.
        why: What the verdict rests on, in one sentence.
        table: `COLUMNS`, one row per figure; empty where nothing could be compared.
    """

    champion: str
    verdict: Verdict
    margin: float
    since: str
    n: int
    n_failed: int
    why: str
    table: pd.DataFrame

    @property
    def words(self) -> str:
        """One sentence for the model card and the console."""
        return f"Against champion version {self.champion}: {self.verdict}. {self.why}"

    def save(self, folder: Path) -> None:
        """Write it as JSON, and the figures as CSV."""
        folder.mkdir(parents=True, exist_ok=True)
        head = asdict(self) | {"table": None}
        del head["table"]
        (folder / _HEAD).write_text(json.dumps(head, indent=1) + "\n", encoding="utf-8")
        self.table.to_csv(folder / _TABLE, index=False)


def compare(
    ours: pd.DataFrame,
    theirs: pd.DataFrame,
    *,
    champion: str,
    since: pd.Timestamp,
    margin: float,
    budget: float,
    ahead_h: float = WARNED_AHEAD_H,
) -> Comparison:
    """Judge a challenger by its scores and those of the champion.

    Args:
        ours: The challenger's, `models.evaluation.sealed_test.Scored.rows` of batches from `since` on.
        theirs: The champion's; snapshots that only one side scored are left out.
        champion: Its version.
        since: Both had been made before these batches started.
        margin: Of the AUROC, `[policy] not_worse_by`.
        budget: Share of the good batches that may ever be alarmed.
        ahead_h: Hours ahead that count as an early warning.
    """
    keys = ["batch_id", "checkpoint_h"]
    both = ours[keys].merge(theirs[keys], on=keys)
    a, b = (side.merge(both, on=keys).sort_values(keys, ignore_index=True) for side in (ours, theirs))
    outcomes = a.groupby("batch_id")["failed"].first().to_numpy(bool)
    n, n_failed = len(outcomes), int(outcomes.sum())
    start = since.isoformat()
    if min(n_failed, n - n_failed) < LEAST:
        why = f"{n_failed} of {n} batches since {since:%Y-%m-%d} failed; at least {LEAST} of each outcome are needed."
        return Comparison(champion, UNKNOWN, margin, start, n, n_failed, why, pd.DataFrame(columns=COLUMNS))
    last_a, last_b = last_checkpoint(a), last_checkpoint(b)
    failed = last_a["failed"].to_numpy(bool)
    found = paired_auroc(failed, *(side["failure_probability"].to_numpy(float) for side in (last_a, last_b)))
    head = {"figure": "auroc", "challenger": found[0], "champion": found[1]}
    head |= {"difference": found[2].value, "low": found[2].low, "high": found[2].high}
    rest = paired_difference(a, b, budget, ahead_h=ahead_h).rename(columns={"ours": "challenger", "theirs": "champion"})
    counted = {"n": n, "n_good": n - n_failed, "n_failed": n_failed}
    table = pd.concat([pd.DataFrame([head | counted]), rest], ignore_index=True)[COLUMNS]
    return Comparison(
        champion, verdict_of(found[2], margin), margin, start, n, n_failed, _why(found, table, margin, since), table
    )


def verdict_of(difference: Interval, margin: float) -> Verdict:
    """The verdict on challenger minus champion, larger being better.

    Args:
        difference: With its 95 % interval.
        margin: By how much the challenger may be worse, above 0.
    """
    if difference.low > 0:
        return BETTER
    if difference.low >= -margin:
        return NOT_WORSE
    return WORSE if difference.high < 0 else UNKNOWN


def paired_auroc(failed: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float, Interval]:
    """AUROC of two scores of the same batches, and ours minus theirs with its interval over resampled batches.

    Args:
        failed: Outcomes, one row per batch, shape (n,).
        ours: Scores, shape (n,).
        theirs: Scores, shape (n,).
    """
    n, values, drawn = len(failed), [], []
    for score in (ours, theirs):
        values.append(float(auroc(failed, score, np.ones((1, n)))[0]))
        with np.errstate(invalid="ignore"):  # a resample of one class
            drawn.append(np.concatenate([auroc(failed, score, w.astype(float)) for w in batch_weights(n)]))
    return values[0], values[1], percentiles(values[0] - values[1], drawn[0] - drawn[1])


def _why(found: tuple[float, float, Interval], table: pd.DataFrame, margin: float, since: pd.Timestamp) -> str:
    ours, theirs, span = found
    recall = table[table["figure"] == "recall"].iloc[0]
    return (
        f"AUROC {ours:.3f} against {theirs:.3f}, difference {span.value:+.3f} (95 % interval {span.low:+.3f} to "
        f"{span.high:+.3f}; margin {margin:g}), recall {100 * recall['challenger']:.0f} % against "
        f"{100 * recall['champion']:.0f} %, on the same {recall['n']:.0f} batches since {since:%Y-%m-%d}, "
        f"{recall['n_failed']:.0f} of them failed."
    )
