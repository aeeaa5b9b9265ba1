"""Film-coated tablets replayed from batch 251 on, retraining every 25 outcomes: the product beside what it is compared with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.field.dated import DATA_SETS
from benchmarks.field.histories import history_of_set
from benchmarks.field.measures import differences, measured
from benchmarks.field.replays import as_probability, dates_of, largest_deviation, newest_batches, product, rival
from benchmarks.field.rivals import RIVALS
from benchmarks.record import figure
from models.backtest.figures import field_table, side_by_side
from models.backtest.history import History
from models.policy import Policy

FIRST, AFTER = 251, 400  # batches, in order of start
_OUTCOMES = Policy(retrain_every_outcomes=25, most_retrainings=40)
RECALIBRATED = "recalibrated every 10 outcomes"
Figures = list[dict[str, object]]


def figures(folder: Path) -> Figures:
    """All figures; `folder` keeps ingested data and models."""
    history = history_of_set(DATA_SETS[0], folder)
    replays = _product(history, folder / "fits")
    plain = newest_batches(rival(history, _OUTCOMES, RIVALS["plain LightGBM"]), history, FIRST)
    limits = newest_batches(rival(history, _OUTCOMES, largest_deviation), history, FIRST)
    table = field_table(replays["served"], history.started, history.process)
    out = _bounds(table, replays["served"], history)
    for name, scores in replays.items():
        out += _shown(f"tablets, {name}", scores, history)
    out += _ranked("tablets, plain LightGBM on all known", as_probability(plain))
    out += _ranked("tablets, alarm limits", limits)
    for name, other in (
        ("today's layers", replays["layers, prequential"]),
        ("plain LightGBM on all known", as_probability(plain)),
    ):
        out += _paired(f"tablets, the policy served against {name}", replays["served"], other)
    out += _paired(
        "tablets, today's layers against plain LightGBM on all known",
        replays["layers, prequential"],
        as_probability(plain),
    )
    out += _side_by_side(replays)
    return out


def _product(history: History, folder: Path) -> dict[str, pd.DataFrame]:
    """The product under the policy of the process definition, and under others."""
    once = tuple(date for date in dates_of(history, _OUTCOMES) if len(history.at(date.at).outcomes) >= FIRST - 1)[:1]
    policies = {
        "served": (_OUTCOMES, None),
        "layers, prequential": (_OUTCOMES.model_copy(update={"learner": "layers"}), None),
        "former policy (layers, newest quarter sealed)": (
            _OUTCOMES.model_copy(update={"learner": "layers", "test": "newest_quarter", "alarm_from_h": 0.0}), None
        ),
        "trained once and held": (_OUTCOMES, once),
        RECALIBRATED: (_OUTCOMES.model_copy(update={"recalibrate_every_outcomes": 10}), None),
        "young batches left out": (_OUTCOMES.model_copy(update={"follow_up": "leave_out"}), None),
        "young batches weighed": (_OUTCOMES.model_copy(update={"follow_up": "weight"}), None),
    }  # fmt: skip
    return {
        name: newest_batches(product(history, policy, folder, dates), history, FIRST)
        for name, (policy, dates) in policies.items()
    }


def _bounds(table: pd.DataFrame, scores: pd.DataFrame, history: History) -> Figures:
    """The figures with bounds, of the policy that is served."""
    pooled, blocks = table.iloc[0], table.iloc[1:]
    n, n_failed, n_good = int(pooled["n_batches"]), int(pooled["n_failed"]), int(pooled["n_good"])
    out = []
    for call, words, least, most, found in (
        ("high", "high", 0.03, 0.07, 0.28),
        ("watched", "high or elevated", 0.15, 0.25, 0.62),
    ):
        for bound, side in ((least, "min"), (most, "max")):
            out.append(
                figure(
                    f"tablets, good batches called {words}, {'at least' if side == 'min' else 'at most'}",
                    float(pooled[f"{call}_realised"]), "share", low=float(pooled[f"{call}_realised_low"]),
                    high=float(pooled[f"{call}_realised_high"]), n=n_good, n_failed=0, bound=bound, side=side,
                    against=f"{pooled[f'{call}_asked']:.0%} asked",
                )
            )  # fmt: skip
        named = [f"block {row['block']}: {row[f'{call}_alarmed']} of {row['n_good']}" for row in blocks.to_dict("records")
                 if not row[f"{call}_as_asked"]]  # fmt: skip
        out.append(
            figure(f"tablets, blocks outside the exact range of what was asked, {words}", len(named), "of 5", n=n,
                   n_failed=n_failed, against="exact binomial 95 % range", note="; ".join(named) or "none")
        )  # fmt: skip
        out.append(
            figure(f"tablets, failures called {words}", float(pooled[f"{call}_found"]), "share", bound=found,
                   low=float(pooled[f"{call}_found_low"]), high=float(pooled[f"{call}_found_high"]), n=n, n_failed=n_failed)
        )  # fmt: skip
    gap = abs(pooled["stated"] / pooled["observed"] - 1)
    out.append(
        figure("tablets, stated against observed failures", float(gap), "share off", bound=0.15, side="max", n=n, n_failed=n_failed,
               note=f"{pooled['stated']:.1f} stated, {pooled['observed']} observed")
    )  # fmt: skip
    later = newest_batches(scores, history, AFTER + 1)
    weak = float((later["support"] != "sufficient").mean())
    out.append(
        figure("tablets, scores with limited or no support after batch 400", weak, "share", bound=0.25, side="max",
               n=later["batch_id"].nunique(), n_failed=int(later.drop_duplicates("batch_id")["failed"].sum()),
               note=f"{len(later)} scores")
    )  # fmt: skip
    return out


def _shown(name: str, scores: pd.DataFrame, history: History) -> Figures:
    """A replay as it was lived, without bounds."""
    table = field_table(scores, history.started, history.process)
    out = _ranked(name, scores)
    for row in table.to_dict("records"):
        where = "pooled" if row["block"] == "all" else f"block {row['block']}"
        counts = {"n": row["n_batches"], "n_failed": row["n_failed"]}
        for call, words in (("high", "high"), ("watched", "high or elevated")):
            note = f"{row[f'{call}_alarmed']} of {row['n_good']} good, {row[f'{call}_n_found']} of {row['n_failed']} failed"
            out.append(figure(f"{name}, {where}, good batches called {words}", row[f"{call}_realised"], "share", note=note,
                              low=row[f"{call}_realised_low"], high=row[f"{call}_realised_high"], **counts,
                              against=f"{row[f'{call}_asked']:.0%} asked"))  # fmt: skip
            if row["n_failed"]:
                out.append(figure(f"{name}, {where}, failures called {words}", row[f"{call}_found"], "share",
                                  low=row[f"{call}_found_low"], high=row[f"{call}_found_high"], **counts))  # fmt: skip
        out.append(figure(f"{name}, {where}, stated failures", row["stated"], f"of {row['observed']}", **counts))
        out.append(
            figure(f"{name}, {where}, limited or no support", row["limited"] + row["no_support"], "share", **counts)
        )
        out.append(figure(f"{name}, {where}, no call yet", row["no_call"], "share", **counts))
    return out


def _ranked(name: str, scores: pd.DataFrame) -> Figures:
    ranks = scores[["batch_id", "checkpoint_h", "as_of", "failed", *_given(scores)]]
    return [
        figure(f"{name}, {row['measure']}", row["value"], "", low=_number(row["low"]), high=_number(row["high"]),
               n=row["n"], n_failed=row["n_failed"])
        for row in measured(ranks).to_dict("records")
    ]  # fmt: skip


def _given(scores: pd.DataFrame) -> list[str]:
    return [name for name in ("score", "failure_probability") if name in scores]


def _paired(name: str, ours: pd.DataFrame, theirs: pd.DataFrame) -> Figures:
    common = set(ours["batch_id"]) & set(theirs["batch_id"])
    a, b = (side[side["batch_id"].isin(common)] for side in (ours, theirs))
    return [
        figure(f"{name}, {row['measure']}", row["difference"], "difference", low=_number(row["low"]), high=_number(row["high"]),
               n=row["n"], n_failed=row["n_failed"], note=f"{row['ours']:.3f} and {row['theirs']:.3f}")
        for row in differences(a, b).to_dict("records")
    ]  # fmt: skip


def _side_by_side(replays: dict[str, pd.DataFrame]) -> Figures:
    out = []
    for name, other in replays.items():
        if name != "served":
            for row in side_by_side(replays["served"], other).to_dict("records"):
                out.append(
                    figure(f"tablets, as called, served against {name}: {row['figure']}", row["difference"], "difference",
                           low=_number(row["low"]), high=_number(row["high"]), n=row["n"], n_failed=row["n_failed"],
                           note=f"{row['ours']:.3f} and {row['theirs']:.3f}")
                )  # fmt: skip
    return out


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
