"""The report's first page: fixed sentences for the process engineer, each with its numbers and failures."""

from __future__ import annotations

import math

import pandas as pd

from features.process import Cost
from models.evaluation.calls import CALL
from models.evaluation.findings import FEW, failures

_CAUSES_NAMED = 2


def failures_found(alarms: pd.DataFrame) -> str:
    """How many failing batches were called high before they ended.

    Args:
        alarms: `models.evaluation.calls.alarm_table`.
    """
    row = _high(alarms)
    n, k = int(row["n_failed"]), int(row["n_caught"])
    if not n:
        return "No batch of the test failed: nothing can be said of what it catches."
    text = f"It called {k} of {failures(n)} high before the batch ended ({_share(row, 'recall')})."
    return f"{text} With {failures(n)} this says little." if n < FEW else text


def lead_times(alarms: pd.DataFrame) -> str:
    """How long before the end failing batches were called high, and how many calls came in time."""
    row = _high(alarms)
    n, k = int(row["n_failed"]), int(row["n_caught"])
    if not k:
        return "No failing batch was called high, so there is no lead time."
    text = f"Half of these {k} calls came {row['median_lead_h']:.0f} h or more before the end"
    if row["ahead_h"] > row["useful_lead_h"]:
        text += f"; {int(row['n_warned'])} of {failures(n)} were called {row['ahead_h']:g} h ahead or earlier"
    lead_h = row["useful_lead_h"]
    if not lead_h:
        return f"{text}."
    return f"{text}, and {int(row['n_in_time'])} while something could still be done, {lead_h:g} h before the end."


def false_alarms(alarms: pd.DataFrame) -> str:
    """How many good batches were called high, beside the alarm budget, and how many calls were right."""
    row = _high(alarms)
    n, k, right = int(row["n_good"]), int(row["n_good_alarmed"]), int(row["n_caught"])
    if not n:
        return "No batch of the test succeeded: nothing can be said of false alarms."
    budget = f"asked for: {100 * row['asked']:g} %"
    text = (
        f"The price: {k} of {n} good batches were called high at some time ({_share(row, 'good_alarmed')}; {budget})."
    )
    if k + right:
        text += f" Of {k + right} batches called high, {right} failed."
    return text


def savings(costs: pd.DataFrame, cost: Cost | None) -> str:
    """Savings per batch against never and always alarming; empty without costs.

    Args:
        costs: `models.evaluation.calls.cost_table`.
        cost: `[cost]` of the process.
    """
    if cost is None or costs.empty:
        return ""
    row = costs[costs["by"] == CALL].iloc[0]
    never, always = row["saved_against_never"], row["saved_against_always"]
    text = (
        f"At {cost.failed_batch:,.0f} {cost.currency} for a failed batch and {cost.false_alarm:,.0f} for a false alarm, acting "
        f"on these calls {_saved(never, cost)} per batch against never acting "
        f"(95 % interval {row['saved_against_never_low']:,.0f} to {row['saved_against_never_high']:,.0f}) and "
        f"{_saved(always, cost)} against acting on every batch "
        f"({row['saved_against_always_low']:,.0f} to {row['saved_against_always_high']:,.0f})."
    )
    assumed = " This assumes that a batch called in time is saved whole: it is the most that could be gained."
    doubt = " The interval includes a loss." if row["saved_against_never_low"] < 0 < never else ""
    return text + doubt + _what_follows(never, always) + assumed


def _what_follows(never: float, always: float) -> str:
    """What a loss means for whoever has to decide; empty where acting on the calls is the best of the three."""
    if never < 0:
        return " So with these costs it is better not to act on these calls."
    if always < 0:
        return (
            " So with these costs acting on every batch alike would pay more, without any predictor: check what a false "
            "alarm really costs, and whether every batch could be acted on, before these calls decide anything."
        )
    return ""


def against_limits(table: pd.DataFrame) -> str:
    """Failures found by the predictor and by the alarm limits at the same false alarms; empty without a comparison.

    Args:
        table: `models.evaluation.alarm_limits.against_limits`.
    """
    if table.empty:
        return ""
    row = table[table["figure"] == "recall"].iloc[0]
    n = int(row["n_failed"])
    text = (
        f"Alarm limits at the normal ranges, moved until they alarm {100 * row['share']:g} % of the good batches too, find "
        f"{100 * row['theirs']:.0f} % of {failures(n)}; the predictor at that share finds {100 * row['ours']:.0f} %"
    )
    if math.isnan(row["low"]):
        return f"{text}; too few failures for an interval."
    span = f"difference {100 * row['difference']:+.0f} points, 95 % interval {100 * row['low']:+.0f} to {100 * row['high']:+.0f}"
    verdict = (
        "better"
        if row["low"] > 0
        else "worse"
        if row["high"] < 0
        else "no difference can be told from so many failures"
    )
    return f"{text} ({span}: {verdict})."


def no_call_yet(table: pd.DataFrame, causes: pd.DataFrame) -> str:
    """How often there is no call yet at the start, half way and at the end, and why.

    Args:
        table: `models.evaluation.stability.calls_by_checkpoint`.
        causes: `models.evaluation.stability.no_call_causes`.
    """
    if not table["n_no_call"].sum():
        return "Every score had a call."
    why = _most_often(causes)
    return (
        f"It makes no call where it cannot tell yet: {_over_time(table, 'no_call')} of the scores. Most often: {why}."
    )


def support(table: pd.DataFrame, causes: pd.DataFrame) -> str:
    """How often the support was limited, or there was none, over the course of the batches, and why.

    Args:
        table: `models.evaluation.stability.support_by_checkpoint`.
        causes: `models.evaluation.stability.support_causes`.
    """
    if not (table["n_limited"] + table["n_unsupported"]).sum():
        return "Every score had sufficient support."
    return (
        f"Support was limited for {_over_time(table, 'limited')} of the scores, and there was none for "
        f"{_over_time(table, 'unsupported')}; calls stand beside it. Most often: {_most_often(causes)}."
    )


def missed_failures(calls: pd.DataFrame) -> str:
    """How often failing batches were called low, at the worst stage, beside the stated share.

    Args:
        calls: `models.evaluation.calls.calls_by_band`.
    """
    rows = calls[(calls["outcome"] == "failed") & (calls["band"] != "all") & (calls["n"] > 0)]
    if rows.empty:
        return ""
    worst = rows.loc[rows["low"].idxmax()]
    stated = worst["missed_asked"]
    text = (
        f"Low is not a promise: at {worst['band']} failing batches were called low in {100 * worst['low']:.0f} % of their "
        "scores "
        f"({_bounds(worst, 'low')}; {failures(int(worst['n_failed']))}; asked: at most {100 * stated:g} % at any stage)."
    )
    if not math.isnan(worst["low_low"]) and worst["low_low"] > stated:
        text += " That is more than was asked."
    return text


def _high(alarms: pd.DataFrame) -> pd.Series:
    return alarms[alarms["call"] == "high"].iloc[0]


def _share(row: pd.Series, name: str) -> str:
    return f"{100 * row[name]:.{_digits(name)}f} %, {_bounds(row, name)}"


def _digits(name: str) -> int:
    """Decimals of a share: more for the many good batches than for the few failures."""
    return 1 if name == "good_alarmed" else 0


def _bounds(row: pd.Series, name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    if math.isnan(low):
        return "no interval"
    return f"95 % interval {100 * low:.{_digits(name)}f} to {100 * high:.{_digits(name)}f}"


def _saved(value: float, cost: Cost) -> str:
    return f"saves {value:,.0f} {cost.currency}" if value >= 0 else f"loses {-value:,.0f} {cost.currency}"


def _over_time(table: pd.DataFrame, name: str) -> str:
    """A share at the first checkpoint, half way and at the last one."""
    places = sorted({0, len(table) // 2, len(table) - 1})
    return _listed([f"{100 * table[name].iloc[i]:.0f} % at {table['checkpoint_h'].iloc[i]:g} h" for i in places])


def _most_often(causes: pd.DataFrame) -> str:
    total = causes.groupby("cause")["n_found"].sum().sort_values(ascending=False, kind="stable")
    return _listed([f"{name} ({100 * n / total.sum():.0f} %)" for name, n in total.head(_CAUSES_NAMED).items()])


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
