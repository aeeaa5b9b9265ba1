"""Figures of an evaluation that a criterion may bound, each with the batches and failures behind it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

from models.evaluation.calls import CALL
from models.evaluation.evaluate import Evaluation


@dataclass(frozen=True)
class Figure:
    """A figure.

    Attributes:
        value: NaN where the evaluation gives none.
        n: Batches behind it.
        n_failed: Failed ones among them.
    """

    value: float
    n: int
    n_failed: int


def _overall(name: str) -> Callable[[Evaluation], Figure]:
    return lambda e: _figure(e.overall.get(name, math.nan), e)


def _high(name: str) -> Callable[[Evaluation], Figure]:
    return lambda e: _figure(e.alarms.loc[e.alarms["call"] == "high", name].iloc[0], e)


def _limits(column: str) -> Callable[[Evaluation], Figure]:
    def of(e: Evaluation) -> Figure:
        rows = e.against_limits
        found = rows.loc[rows["figure"] == "recall", column] if len(rows) else rows
        return _figure(found.iloc[0] if len(found) else math.nan, e)

    return of


def _saved(column: str) -> Callable[[Evaluation], Figure]:
    def of(e: Evaluation) -> Figure:
        found = e.costs.loc[e.costs["by"] == CALL, column] if len(e.costs) else e.costs
        return _figure(found.iloc[0] if len(found) else math.nan, e)

    return of


def _ece_above_floor(e: Evaluation) -> Figure:
    return _figure(e.overall.get("ece", math.nan) - e.overall.get("ece_floor", math.nan), e)


def _support_share(*kinds: str) -> Callable[[Evaluation], Figure]:
    return lambda e: _figure(float(e.scores["support"].isin(kinds).mean()), e)


def _figure(value: float, e: Evaluation) -> Figure:
    return Figure(float(value), int(e.overall["n_batches"]), int(e.overall["n_failed"]))


FIGURES: MappingProxyType[str, Callable[[Evaluation], Figure]] = MappingProxyType({
    "auroc": _overall("auroc"),
    "auroc_low": _overall("auroc_low"),
    "recall": _high("recall"),
    "recall_low": _high("recall_low"),
    "in_time": _high("in_time"),
    "median_lead_h": _high("median_lead_h"),
    "alarm_share": _high("good_alarmed"),
    "alarm_share_low": _high("good_alarmed_low"),
    "ece_above_floor": _ece_above_floor,
    "weak_support_share": _support_share("limited", "none"),
    "no_support_share": _support_share("none"),
    "recall_above_limits": _limits("difference"),
    "recall_above_limits_low": _limits("low"),
    "saved_per_batch": _saved("saved_against_never"),
    "saved_per_batch_low": _saved("saved_against_never_low"),
})  # fmt: skip
WORDS = MappingProxyType({
    "auroc": "AUROC of each batch at its last checkpoint",
    "auroc_low": "lower 95 % bound of the AUROC",
    "recall": "share of the failures called high",
    "recall_low": "lower 95 % bound of the share of the failures called high",
    "in_time": "share of the failures called high in time",
    "median_lead_h": "median hours from the first call of high to the end",
    "alarm_share": "share of the good batches ever called high",
    "alarm_share_low": "lower 95 % bound of the share of the good batches ever called high",
    "ece_above_floor": "calibration error above that of a perfect model",
    "weak_support_share": "share of the scores with limited or no support",
    "no_support_share": "share of the scores without support",
    "recall_above_limits": "failures found above those of the alarm limits, at the same false alarms",
    "recall_above_limits_low": "lower 95 % bound of the failures found above those of the alarm limits",
    "saved_per_batch": "saved per batch against never acting",
    "saved_per_batch_low": "lower 95 % bound of what is saved per batch against never acting",
})  # fmt: skip
