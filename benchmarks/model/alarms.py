"""Failures found and how early, at a realised share of good batches ever alarmed, beside what anyone could have seen."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from benchmarks.model.cases import UNEXPLAINED, observable_by
from benchmarks.model.measures import Measure
from models.evaluation.alarms import threshold_at_share
from models.evaluation.calls import CALLED, ELEVATED, HIGH, as_alarms
from models.evaluation.intervals import share_with_interval
from models.evaluation.recall import WARNED_AHEAD_H, recall_at_shares, recall_at_threshold
from models.evaluation.trajectories import trajectories
from models.predictor import Predictor

SHARES = (0.05, 0.02)
RECALL_BOUND = {0.05: 0.94, 0.02: 0.86}
WARNED_BOUND = {0.05: 0.93, 0.02: 0.78}  # of what a noise-free observer could warn of
FAST, FAST_BOUND = "M4", 0.8
REALISED = (0.04, 0.065)  # of good batches, where 5 % were asked
WIDE, STRICT = "Failures found: out of specification or stopped", "Failures found, strict: lost batches only"
CEILING, CARRIED = "What can be seen at all", "Asked against realised"
_SURE = 1.96


def found_at_shares(rows: pd.DataFrame, known: pd.DataFrame, section: str, *, bounds: bool) -> list[Measure]:
    """Recall, warning and lead at each share.

    Args:
        rows: Scores.
        known: `cases.cases` in the reading that `rows` has under `failed`.
        section: Table.
        bounds: Whether the bounds are asked.
    """
    arranged, out = trajectories(rows), []
    observable = known.index[known["observable"]]
    at_best = float(observable_by(known.loc[observable], ahead_h=WARNED_AHEAD_H).mean())
    mine = recall_at_shares(arranged.counting(observable), SHARES, resamples=50)
    every = recall_at_shares(arranged, SHARES, resamples=50)
    for share, row, all_of_them in zip(SHARES, mine.to_dict("records"), every.to_dict("records"), strict=True):
        at, n, n_failed = f"at {share:.0%}", int(row["n"]), int(row["n_failed"])
        against = f"a noise-free observer: {at_best:.3f}"
        asked = (RECALL_BOUND[share], WARNED_BOUND[share]) if bounds else (None, None)
        out += [
            Measure(section, f"{at}, recall of observable failures", row["recall"], n=n, n_failed=n_failed, bound=asked[0]),
            Measure(section, f"{at}, of these warned 48 h ahead", row["warned"], n=n, n_failed=n_failed, note=against),
            Measure(section, f"{at}, warned 48 h ahead, of what a noise-free observer could warn of", row["warned"] / at_best, n=n, n_failed=n_failed, bound=asked[1]),
            Measure(section, f"{at}, median lead", row["median_lead_h"], "h", n=n, n_failed=int(row["n_caught"])),
            Measure(section, f"{at}, recall of all failures before harvest", all_of_them["recall"], n=int(all_of_them["n"]), n_failed=int(all_of_them["n_failed"])),
            Measure(section, f"{at}, realised share of good batches", row["good_alarmed"], n=int(row["n_good"]), n_failed=0),
        ]  # fmt: skip
    return out


def ceiling(known: pd.DataFrame, section: str = CEILING) -> list[Measure]:
    """What an observer without noise could have seen, of the observable failures and of all."""
    failed, mine = known[known["failed"]], known[known["observable"]]
    n = len(known)
    unexplained = int((failed["mode"] == UNEXPLAINED).sum())
    note = f"{unexplained} failures that no single fault explains count as not seen"
    return [
        Measure(section, "observable failures that show before the end", float(observable_by(mine, ahead_h=0).mean()), n=n, n_failed=len(mine)),
        Measure(section, "observable failures that show 48 h before the end", float(observable_by(mine, ahead_h=WARNED_AHEAD_H).mean()), n=n, n_failed=len(mine)),
        Measure(section, "all failures that show before the end", float(observable_by(failed, ahead_h=0).mean()), n=n, n_failed=len(failed), note=note),
    ]  # fmt: skip


def too_good(rows: pd.DataFrame, known: pd.DataFrame) -> Measure:
    """Recall of all failures at 5 % over the most that can be seen: above 1 there is a leak.

    The most that can be seen: the failures that show to a noise-free observer, those that no single fault explains (none of
    them counted as hidden), the budget's share of the hidden ones by mere chance, and twice the sampling error.
    """
    failed = known[known["failed"]]
    seen = float((observable_by(failed, ahead_h=0) | (failed["mode"] == UNEXPLAINED)).mean())
    most = seen + SHARES[0] * (1 - seen)
    most = min(1.0, most + _SURE * math.sqrt(most * (1 - most) / len(failed)))
    recall = float(recall_at_shares(rows, SHARES[:1], resamples=10)["recall"].iloc[0])
    return Measure(CEILING, "recall of all failures at 5 % over the most that can be seen", recall / most, n=len(known), n_failed=len(failed),
                   bound=1.0, side="max", note=f"above 1 the benchmark fails; seed's own ceiling {most:.3f}")  # fmt: skip


def hidden_ones(rows: pd.DataFrame, known: pd.DataFrame) -> Measure:
    """Alarmed share of the failures by wash shock, which strikes after harvest: only what makes a batch fragile can show."""
    arranged = trajectories(rows)
    after = arranged.failed & np.isin(arranged.batch_id, list(known.index[known["mode"] == "M11"]))
    hit = arranged.highest[after] > threshold_at_share(arranged, SHARES[0])
    return Measure(CEILING, "wash shocks (M11) alarmed before harvest at 5 %", float(hit.mean()) if len(hit) else math.nan, n=len(hit), n_failed=len(hit),
                   note="night, inexperience and a low margin foretell some")  # fmt: skip


def carried_over(rows: pd.DataFrame, predictor: Predictor) -> list[Measure]:
    """Share of later good batches called by thresholds that were set on out-of-fold scores of training batches."""
    out, t = [], predictor.thresholds
    for name, calls, asked in (("high", HIGH, t.alarm_budget), ("elevated", ELEVATED, t.watch_budget)):
        row = recall_at_threshold(as_alarms(rows, calls), CALLED, resamples=200)
        bounds = (
            ((", at least", REALISED[0], "min"), (", at most", REALISED[1], "max"))
            if name == "high"
            else (("", None, "min"),)
        )
        out += [
            Measure(CARRIED, f"good batches ever {name}, {asked:.0%} asked{words}", row["good_alarmed"], n=int(row["n_good"]), n_failed=0, bound=bound, side=side)
            for words, bound, side in bounds
        ]  # fmt: skip
    return out


def fast_ones(rows: pd.DataFrame, known: pd.DataFrame) -> Measure:
    """Fast contaminations alarmed at 5 %."""
    arranged = trajectories(rows)
    own = arranged.failed & np.isin(arranged.batch_id, list(known.index[known["observable"] & (known["mode"] == FAST)]))
    hit = arranged.highest[own] > threshold_at_share(arranged, SHARES[0])
    found = float(hit.mean()) if len(hit) else math.nan
    return Measure(
        WIDE,
        f"at {SHARES[0]:.0%}, fast contaminations (M4) found",
        found,
        n=len(hit),
        n_failed=len(hit),
        bound=FAST_BOUND,
    )


def drifting_probes(rows: pd.DataFrame, known: pd.DataFrame) -> list[Measure]:
    """M12 alone, benign: alarmed no more often than good batches are, within what so few batches can tell."""
    arranged = trajectories(rows)
    drifting = ~arranged.failed & np.isin(arranged.batch_id, list(known.index[known["only_m12"]]))
    out = []
    for share in SHARES:
        hit = arranged.highest > threshold_at_share(arranged, share)
        span = share_with_interval(hit[drifting], arranged.batch_id[drifting])
        others = float(hit[~arranged.failed & ~drifting].mean())
        out.append(
            Measure("Benign probe drift (M12)", f"at {share:.0%}, good batches with nothing but a drifting probe alarmed", span.value,
                    n=int(drifting.sum()), n_failed=0, bound=share, side="max", against=f"other good batches {others:.3f}",
                    note=f"one plant's 95 % interval {span.low:.3f} to {span.high:.3f}"))  # fmt: skip
    return out
