"""Thresholds, calibration and limits of the domain from the scores that were really given.

Each batch is scored by the newest model made before it started (prequential evaluation; Dawid, 1984). What a model does next
resembles what its predecessors did last, so these scores, the newest counting most, set where the next version calls a
batch high, what its log-odds mean, and how far a good batch may stray.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
from scipy.special import expit

from features.process import ProcessDefinition
from models.backtest.fits import GROUP, RATIO, Fit
from models.evaluation.bands import equal_bands
from models.learners.applicability.model import Applicability
from models.learners.calibrate import fit_intercept
from models.learners.conformal import fit_conformal
from models.learners.subgroup_offsets import SubgroupOffsets, fit_offsets
from models.policy import Policy
from models.predictor import Predictor
from models.scoring.call import thresholds_of


def finished(fit: Fit, given: pd.DataFrame, process: ProcessDefinition, policy: Policy) -> Predictor:
    """The predictor with what prequential scores say of its like.

    Of batches that started before the first version, and of those that another learner scored, the scores of the model's own
    forward folds stand in: one learner's log-odds say nothing of another's.

    Args:
        fit: The model.
        given: `batch_id`, `checkpoint_h`, `as_of`, `end_at`, `failed`, `known_at`, `log_odds` (before any such correction),
            `learner`, ratios and subgroups (`models.backtest.fits.raw_scores`), of batches whose outcome was known; may be empty.
        process: Budgets and costs.
        policy: Half-life, shares, first hour of an alarm.
    """
    if len(given):
        given = given[given["learner"] == fit.predictor.learner]
    earlier = fit.out_of_fold.assign(known_at=fit.out_of_fold["end_at"])
    rows = pd.concat([earlier[~earlier["batch_id"].isin(given["batch_id"])], given], ignore_index=True)
    rows = rows[rows["as_of"] <= rows["end_at"]]
    weight = newest_weigh_most(rows, policy.half_life_batches)
    each = 1.0 / rows.groupby("batch_id")["batch_id"].transform("size").to_numpy(float)
    failed = rows["failed"].to_numpy(bool)
    shift = fit_intercept(rows["log_odds"].to_numpy(float), failed, weight * each)
    log_odds = rows["log_odds"].to_numpy(float) + shift.intercepts[0]
    offsets, of_rows = _offsets(rows.assign(stated=expit(log_odds), weight=weight), fit.predictor.applicability)
    log_odds = log_odds + of_rows
    hours, batch_id = rows["checkpoint_h"].to_numpy(float), rows["batch_id"].to_numpy(str)
    edges, own = equal_bands(rows["checkpoint_h"]), fit.predictor
    stated = process.decision.missed_failures
    from_h = policy.alarms_from_h(process)
    boundary = own.thresholds.boundary
    alarming = rows.assign(p=expit(log_odds - boundary.at(hours)), weight=weight)[hours >= from_h]
    decision = process.decision
    high, elevated = (budget_threshold(alarming, share) for share in (decision.alarm_budget, decision.watch_budget))
    calibration = replace(
        own.calibration,
        intercepts=tuple(a + shift.intercepts[0] for a in own.calibration.intercepts),
        covariances=tuple((v + shift.covariances[0][0], c, s) for v, c, s in own.calibration.covariances),
    )
    return replace(
        own,
        calibration=calibration,
        offsets=offsets,
        sets=fit_conformal(log_odds, failed, hours, edges, batch_id),
        decision_sets=fit_conformal(log_odds, failed, hours, edges, batch_id, error_failed=stated),
        thresholds=thresholds_of(high, elevated, decision, process.cost, alarm_from_h=from_h, boundary=boundary),
        applicability=own.applicability and widened(own.applicability, rows.assign(weight=weight), policy.domain_share),
    )


def newest_weigh_most(rows: pd.DataFrame, half_life_batches: float) -> np.ndarray:
    """Weight of each row's batch: 1 for the one whose outcome was known last, half of it `half_life_batches` before."""
    known = rows.groupby("batch_id")["known_at"].first().reset_index().sort_values(["known_at", "batch_id"])
    age = pd.Series(np.arange(len(known))[::-1], index=known["batch_id"])
    return 0.5 ** (rows["batch_id"].map(age).to_numpy(float) / half_life_batches)


def budget_threshold(rows: pd.DataFrame, share: float) -> float:
    """The lowest threshold that the next good batch is expected to exceed with no more than a probability.

    The good batches above it and the next one, which weighs 1, weigh no more than the share of all of them and of the next
    one (split conformal prediction with weights; Barber et al., 2023). Without the next one, few batches spend more than was
    asked: of 19 good ones the one above the threshold would be 1 in 19, and the next is above it in 2 of 20 cases.

    Args:
        rows: `batch_id`, `failed`, `p`, `weight` (that of the batch, 1 for the newest).
        share: The probability.

    Returns:
        The highest score of the first good batch that the share no longer pays for; 1.0 without good batches. Where the
        batches are too few for the share it is the highest score of all, which is exceeded more often.
    """
    good = rows[~rows["failed"].astype(bool)].groupby("batch_id").agg(p=("p", "max"), weight=("weight", "first"))
    if good.empty:
        return 1.0
    good = good.sort_values("p", ascending=False)
    spent = (good["weight"].cumsum() + 1) / (good["weight"].sum() + 1)
    place = int(np.searchsorted(spent.to_numpy(), share + 1e-9, side="right"))
    return float(good["p"].iloc[min(place, len(good) - 1)])


def widened(domain: Applicability, rows: pd.DataFrame, share: float) -> Applicability:
    """The domain with limits that at most a share of the good batches left, by weight, per check and stage.

    Args:
        domain: With the limits of its own held-out batches.
        rows: `batch_id`, `checkpoint_h`, `failed`, `weight` and ratios, scored by models that did not know the batches.
        share: Of the good batches.
    """
    names = [name for name in rows if name.startswith(RATIO)]
    good = rows[~rows["failed"].astype(bool)]
    hours = good["checkpoint_h"].to_numpy(float)
    stage, between = domain.band_numbers(hours), domain.between_bands(hours)
    wider, least = [], dict.fromkeys(names, 1.0)
    for number in range(len(domain.bands)):
        own = good.loc[stage == number].groupby("batch_id")[["weight", *names]].max().reset_index()
        width = {name: max(_width(own, name, share), least[name]) for name in names}
        wider.append({name.removeprefix(RATIO): value for name, value in width.items()})
        # between two bands the wider limits of both hold: what this band keeps there, the next one has to keep as well
        later = good.loc[(stage == number) & between].groupby("batch_id")[names].max()
        left = own.set_index("batch_id").loc[later.index, names] > pd.Series(width)
        least = later.mask(left).max().fillna(1.0).clip(lower=1.0).to_dict()
    return domain.widened(wider)


def _width(worst: pd.DataFrame, ratio: str, share: float) -> float:
    """What a limit is multiplied by, at least 1, so that a share of the batches leave it."""
    known = worst.dropna(subset=[ratio])
    if known.empty:
        return 1.0
    return max(1.0, budget_threshold(known.assign(p=known[ratio], failed=False), share))


def _offsets(rows: pd.DataFrame, domain: Applicability | None) -> tuple[SubgroupOffsets, np.ndarray]:
    """Offsets of subgroups, and that of each row without its own batch.

    A batch counts once, with its mean stated probability and its newest known subgroup.
    """
    names = [name for name in rows if name.startswith(GROUP)]
    told = rows.dropna(subset=names) if names else rows[:0]
    each = told.groupby("batch_id").agg(
        {"stated": "mean", "failed": "last", "weight": "first", **dict.fromkeys(names, "last")}
    )
    subgroups = {name.removeprefix(GROUP): each[name].to_numpy(str) for name in names}
    values = (each[name].to_numpy(float) for name in ("stated", "failed", "weight"))
    offsets, without = fit_offsets(subgroups, *values, few=domain.few() if domain else {})
    return offsets, rows["batch_id"].map(pd.Series(without, index=each.index)).fillna(0.0).to_numpy(float)
