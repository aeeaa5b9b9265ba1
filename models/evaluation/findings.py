"""The statistician's sentences about the figures: frank where a figure is poor or rests on too few failures."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

FEW = 10  # failures below which a figure is hardly more than an anecdote
_APART = 2.0  # standard deviations between expected and observed failures beyond which calibration is poor
_FAR = 1.25  # times as many failures as stated, or as few, within which an error beyond chance is a small one
_UNEVEN = 2.0  # times the calibration error that a perfect model would show
_GAP = 0.02  # AUROC between random and forward that deserves a word


def ranking(overall: Mapping[str, float]) -> str:
    """Whether failed batches rank above good ones.

    Args:
        overall: `models.evaluation.figures.figures`.
    """
    n_failed, value = int(overall["n_failed"]), overall.get("auroc", math.nan)
    if math.isnan(value):
        return f"{n_failed} of {overall['n_batches']:.0f} test batches failed: nothing can be said of the ranking."
    text = f"A failed batch ranks above a good one in {100 * value:.0f} of 100 pairs"
    low, high = overall["auroc_low"], overall["auroc_high"]
    if math.isnan(low):
        return f"{text}; too few failures for an interval ({n_failed})."
    text += f" (95 % interval {100 * low:.0f} to {100 * high:.0f}; chance gives 50)."
    if low <= 0.5 <= high:
        text += " The interval includes chance: this test does not show that the predictor knows anything."
    if n_failed < FEW:
        text += f" It rests on {failures(n_failed)} only."
    return text


def calibration(last: pd.DataFrame, overall: Mapping[str, float]) -> str:
    """Whether the failures agree with the stated probabilities.

    The number of failures is compared with the sum of the stated probabilities, in standard deviations of a sum of
    independent draws; then the calibration error with that of a perfect model.

    Args:
        last: `failed`, `failure_probability`, one row per batch.
        overall: `models.evaluation.figures.figures` of the same rows.
    """
    if last.empty:
        return "No batch was scored: nothing can be said of the calibration."
    p, n_failed = last["failure_probability"].to_numpy(float), int(last["failed"].sum())
    expected, spread = float(p.sum()), float(np.sqrt((p * (1 - p)).sum()))
    counts = f"the stated probabilities add up to {expected:.1f} failures, and {n_failed} came"
    if abs(n_failed - expected) > _APART * spread:
        side, ratio = ("low" if n_failed > expected else "high"), n_failed / expected
        if 1 / _FAR <= ratio <= _FAR:
            text = f"Probabilities are a little too {side}, beyond chance: {counts}."
            return f"{text} For every 10 failures that were stated, {10 * ratio:.1f} came."
        return (
            f"The calibration is poor: probabilities are too {side}; {counts}. "
            f"Do not take a probability at its word{_order(overall)}."
        )
    if overall["ece"] > _UNEVEN * overall["ece_floor"]:
        return f"The calibration is uneven: {counts}, but not at the probabilities stated for them."
    weak = f" With {failures(n_failed)} this is a weak test." if n_failed < 3 * FEW else ""
    return f"Nothing speaks against the calibration: {counts}.{weak}"


def _order(overall: Mapping[str, float]) -> str:
    """Whether the order of the batches still counts where the probabilities do not."""
    low = overall.get("auroc_low", math.nan)
    return "; the order of the batches still says something" if low > 0.5 else ", nor rely on the order of the batches"


def budgets(alarms: pd.DataFrame) -> str:
    """Realised shares of good batches called, beside the shares that training set them for.

    Args:
        alarms: `models.evaluation.calls.alarm_table`.
    """
    rows = alarms[alarms["n_good"] > 0]
    if rows.empty:
        return ""
    realised = [
        f"{row['call']}: {100 * row['asked']:g} % asked, {100 * row['good_alarmed']:.1f} % came"
        for row in rows.to_dict("records")
    ]
    text = f"Of {int(rows['n_good'].iloc[0])} good batches ever called {'; of '.join(realised)}."
    off = [r for r in rows.to_dict("records") if not r["good_alarmed_low"] <= r["asked"] <= r["good_alarmed_high"]]
    more = [r["call"] for r in off if r["good_alarmed"] > r["asked"]]
    if more:
        return f"{text} More than asked, beyond chance: set the thresholds anew before any use."
    if all(r["raised_by_cost"] for r in off):
        return (
            f"{text} Fewer than asked, because below that probability an alarm costs more than it saves."
            if off
            else text
        )
    return f"{text} Fewer than asked, beyond chance: the thresholds are stricter than they need be."


def coverage(sets: pd.DataFrame, nominal: float) -> str:
    """Coverage of the conformal sets beside the nominal one, for each class.

    Args:
        sets: `models.evaluation.coverage.set_coverage`.
        nominal: Nominal coverage.
    """
    rows = sets[(sets["band"] == "all") & (sets["n"] > 0)]
    text = []
    for row in rows.to_dict("records"):
        low, high = row["coverage_low"], row["coverage_high"]
        within = "as promised" if low <= nominal <= high else ("too few" if high < nominal else "more than promised")
        n = failures(int(row["n_failed"])) if row["outcome"] == "failed" else f"{row['n_batches']} good batches"
        text.append(
            f"{100 * row['coverage']:.1f} % of the scores of {n} ({100 * low:.1f} to {100 * high:.1f}; {within})"
        )
    return f"The {100 * nominal:g} % sets hold the outcome in {' and in '.join(text)}." if text else ""


def split_gap(splits: pd.DataFrame) -> str:
    """Optimism of a random split: for the process's own label, which comes first, and for the worst one.

    Args:
        splits: `models.evaluation.compare.compare_splits`.
    """
    if splits.empty:
        return ""
    random, forward = (splits[splits["split"] == s].set_index("question")["auroc"] for s in ("random", "forward"))
    own, gaps = splits["question"].iloc[0], random - forward
    if math.isnan(gaps[own]):
        return "For the process's own question the two cannot be compared: there are too few failures."
    text = f"For the process's own question a random split claims {random[own]:.3f}, forward in time gives {forward[own]:.3f}."
    if gaps.max() < _GAP:
        return f"{text} Here the two hardly differ."
    if len(gaps) > 1:
        worst = gaps.idxmax()
        text += f" The gap is widest for {worst}: {random[worst]:.3f} against {forward[worst]:.3f}."
    return f"{text} Shuffling lets a batch be judged by its neighbours in time, which no prediction of the future has."


def failures(n: int) -> str:
    """A number of failures in words."""
    return "1 failure" if n == 1 else f"{n} failures"
