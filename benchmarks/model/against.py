"""The predictor beside what people use today, on the same later batches: a table, and paired differences.

Baselines look at the batch every hour, where they can; the predictor at its checkpoints, every six. That favours them: an hourly
score may alarm up to five hours earlier.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from benchmarks.baselines.compare import METHODS
from benchmarks.model.alarms import SHARES
from benchmarks.model.measures import Counts, Measure
from benchmarks.model.plant import Ground, Say
from benchmarks.model.stages import AT_H
from features.errors import BatchguardError
from models.evaluation.recall import paired_difference, recall_at_shares
from models.evaluation.trajectories import trajectories

SECTION, PAIRED = "Beside what is used today", "Against limits, on the same batches"
OURS = "the predictor"
RIVALS = ("equal-share limits", "combined limits")
TO_BEAT = RIVALS[0]
_MORE_RECALL, _MORE_WARNED = 0.08, 0.15


def against(
    ground: Ground,
    rows: pd.DataFrame,
    known: pd.DataFrame,
    strict: pd.DataFrame,
    methods: Sequence[str],
    say: Say = print,
) -> list[Measure]:
    """The table of all methods, and ours minus each rival with a paired bootstrap of whole batches.

    Args:
        ground: The plant.
        rows: Our scores.
        known: `benchmarks.model.cases.cases`.
        strict: The same in the strict reading.
        methods: Of `METHODS`.
        say: Told what goes on.
    """
    observable = known.index[known["observable"]]
    out = _row(OURS, rows.assign(score=rows["log_odds"]), observable)
    for name in methods:
        began = time.perf_counter()
        try:
            theirs = METHODS[name](ground.plant, ground.train, ground.seal.batch_ids)
        except BatchguardError as error:
            say(f"seed {ground.seed}: {name} could not run: {error}")
            continue
        scores = as_scores(theirs, rows, ground)
        say(f"seed {ground.seed}: {name}, {time.perf_counter() - began:.0f} s")
        out += _row(name, scores, observable)
        if name in RIVALS:
            out += _paired(name, rows, scores, observable)
            lost = strict["failed"]
            out += _strict(name, *(s.assign(failed=s["batch_id"].map(lost)) for s in (rows, scores)), strict)
    return out


def as_scores(theirs: pd.DataFrame, rows: pd.DataFrame, ground: Ground) -> pd.DataFrame:
    """A baseline's scores with the outcomes and ends of our batches; before harvest, and one NaN for a batch without any."""
    batches = rows.drop_duplicates("batch_id").set_index("batch_id")[["failed", "end_at"]]
    planned = ground.process.process.planned_duration_h
    kept = theirs[theirs["batch_id"].isin(batches.index) & (theirs["checkpoint_h"] < planned)]
    silent = batches.index.difference(pd.Index(kept["batch_id"].unique()))
    none = pd.DataFrame({"batch_id": silent, "checkpoint_h": 0.0, "score": np.nan})
    whole = pd.concat([kept, none], ignore_index=True) if len(silent) else kept.reset_index(drop=True)
    started = ground.batches.set_index("batch_id")["started_at"]
    as_of = whole["batch_id"].map(started) + pd.to_timedelta(whole["checkpoint_h"], unit="h")
    return whole.assign(
        as_of=as_of.astype("datetime64[us, UTC]"),
        failed=whole["batch_id"].map(batches["failed"]).astype(bool),
        end_at=whole["batch_id"].map(batches["end_at"]),
        failure_probability=whole["score"],
    )


def _row(name: str, scores: pd.DataFrame, observable: pd.Index) -> list[Measure]:
    out = []
    for row in recall_at_shares(trajectories(scores).counting(observable), SHARES, resamples=10).to_dict("records"):
        at, counts = f"{name}, at {row['share']:.0%}", Counts(n=int(row["n"]), n_failed=int(row["n_failed"]))
        out += [
            Measure(SECTION, f"{at}, recall", row["recall"], **counts),
            Measure(SECTION, f"{at}, warned 48 h ahead", row["warned"], **counts),
            Measure(SECTION, f"{at}, median lead", row["median_lead_h"], "h", **counts),
        ]
    return out + [_auroc(name, scores, hours) for hours in AT_H]


def _auroc(name: str, scores: pd.DataFrame, hours: float) -> Measure:
    part = scores[(scores["checkpoint_h"] == hours) & scores["score"].notna()]
    both = 0 < part["failed"].sum() < len(part)
    value = float(roc_auc_score(part["failed"], part["score"])) if both else math.nan
    return Measure(SECTION, f"{name}, AUROC at {hours:g} h", value, n=len(part), n_failed=int(part["failed"].sum()))


def _strict(name: str, ours: pd.DataFrame, theirs: pd.DataFrame, strict: pd.DataFrame) -> list[Measure]:
    """The same differences where only lost batches failed; without bounds."""
    found = _paired(name, ours, theirs, strict.index[strict["observable"]])
    return [replace(m, section=f"{PAIRED}, strict", bound=None) for m in found if "the better" not in m.name]


def _paired(name: str, ours: pd.DataFrame, theirs: pd.DataFrame, observable: pd.Index) -> list[Measure]:
    out = []
    mine, other = (trajectories(scores).counting(observable) for scores in (ours, theirs))
    for share in SHARES:
        found = paired_difference(mine, other, share).set_index("figure")
        counts = Counts(n=int(found["n"].iloc[0]), n_failed=int(found["n_failed"].iloc[0]))
        at = f"{name}, at {share:.0%}"
        asked = 0.0 if name == TO_BEAT and share == SHARES[0] else None
        for figure, words in (("recall", "recall"), ("warned", "warned 48 h ahead")):
            row = found.loc[figure]
            out.append(
                Measure(PAIRED, f"{at}, {words}, ours minus theirs", row["difference"], **counts, bound=asked if figure == "recall" else None,
                        against=f"{row['ours']:.3f} and {row['theirs']:.3f}", note=f"one plant's paired 95 % interval {row['low']:+.3f} to {row['high']:+.3f}"))  # fmt: skip
        if name == TO_BEAT and share == SHARES[1]:
            recall, warned = found.loc["recall"], found.loc["warned"]
            in_bounds = (recall["difference"] / _MORE_RECALL, warned["difference"] / _MORE_WARNED)
            won = max(in_bounds)
            lower = recall["low"] if in_bounds[0] == won else warned["low"]
            out += [
                Measure(PAIRED, f"{at}, the better of recall over .08 and warned over .15", float(won), **counts, bound=1.0),
                Measure(PAIRED, f"{at}, lower end of the paired interval of the better one", float(lower), **counts, bound=0.0),
            ]  # fmt: skip
    return out
