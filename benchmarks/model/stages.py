"""Calibration, sets, intervals, calls, support and costs of the scores, at every stage of a batch."""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks.model.cases import UNEXPLAINED, observable_by
from benchmarks.model.measures import Counts, Measure
from features.process import ProcessDefinition
from models.evaluation.calibration import calibration_by_band, recalibration
from models.evaluation.calls import CALLED, as_alarms
from models.evaluation.costs import cost_curve
from models.evaluation.coverage import interval_coverage, set_coverage
from models.evaluation.intervals import with_interval
from models.evaluation.metrics import auroc, calibration_floor, expected_calibration_error
from models.evaluation.stability import flip_rate, no_call_causes, set_sizes, support_causes

AT_H = (24.0, 84.0, 132.0, 204.0)
SUSPICIOUS_AUROC, DAY_7_H = 0.9, 168.0
RANKING, CALIBRATED, SETS, CALLS, COSTS = (
    "Ranking by hour", "Calibration", "Sets and intervals", "Calls and support", "Costs"
)  # fmt: skip
EXPLAINED = "above .9: late, most faults show, and a missed specification follows from day-5 %CAR+ and the cell count, which are known then; a leak would also lift failures that never show (below)"
_RESAMPLES = 200


def ranking(rows: pd.DataFrame, known: pd.DataFrame) -> list[Measure]:
    """AUROC at some hours, beside that of a noise-free observer who ranks the faults that show first and knows nothing else.

    Args:
        rows: Scores.
        known: `benchmarks.model.cases.cases`.
    """
    out = []
    for hours in AT_H:
        part = rows[rows["checkpoint_h"] == hours]
        failed, p = part["failed"].to_numpy(bool), part["log_odds"].to_numpy(float)
        span = with_interval(auroc, failed, p, part["batch_id"].to_numpy())
        first = part["batch_id"].map(known["first_observable_at"])
        shows = float((first <= part["as_of"])[failed].mean())
        note = f"one plant's 95 % interval {span.low:.3f} to {span.high:.3f}"
        if span.value > SUSPICIOUS_AUROC:
            note += f"; {EXPLAINED}"
        out.append(
            Measure(RANKING, f"AUROC at {hours:g} h", span.value, n=len(part), n_failed=int(failed.sum()), bound=SUSPICIOUS_AUROC,
                    side="max", against=f"a noise-free observer: {shows + (1 - shows) / 2:.3f}", note=note))  # fmt: skip
    return [*out, _hidden(rows[rows["checkpoint_h"] == AT_H[-1]], known)]


def _hidden(part: pd.DataFrame, known: pd.DataFrame) -> Measure:
    """AUROC of failures by one fault that never shows before the end, against good batches: a leak would show here first."""
    unseen = known["failed"] & (known["mode"] != UNEXPLAINED) & ~observable_by(known, ahead_h=0)
    kept = part[~part["failed"] | part["batch_id"].isin(known.index[unseen])]
    failed = kept["failed"].to_numpy(bool)
    span = with_interval(auroc, failed, kept["log_odds"].to_numpy(float), kept["batch_id"].to_numpy())
    note = f"mostly wash shock after harvest: only a small margin foretells it; one plant's 95 % interval {span.low:.3f} to {span.high:.3f}"
    name = f"AUROC at {AT_H[-1]:g} h of failures that never show, against good batches"
    return Measure(RANKING, name, span.value, n=len(kept), n_failed=int(failed.sum()), note=note)


def calibrated(rows: pd.DataFrame) -> list[Measure]:
    """Calibration error pooled and by maturity band, with slope and intercept."""
    failed, p = rows["failed"].to_numpy(bool), rows["failure_probability"].to_numpy(float)
    batch = rows["batch_id"].to_numpy()
    n = Counts(n=rows["batch_id"].nunique(), n_failed=rows.loc[failed, "batch_id"].nunique())
    floor = calibration_floor(p, batch=batch)
    line = recalibration(failed, p, batch, resamples=_RESAMPLES)
    pooled = Measure(CALIBRATED, "ECE over all scores", expected_calibration_error(failed, p), **n, bound=0.02, side="max",
                     note=f"a perfect model on so few batches: {floor:.3f}")  # fmt: skip
    out = [pooled, *(_line("over all scores", line, name, n) for name in ("slope", "intercept"))]
    for row in calibration_by_band(rows, resamples=_RESAMPLES).to_dict("records"):
        counts = Counts(n=int(row["n_batches"]), n_failed=int(row["n_failed"]))
        out.append(
            Measure(CALIBRATED, f"{row['band']}, ECE above the sampling floor", row["ece"] - row["ece_floor"], **counts, bound=0.01,
                    side="max", note=f"ECE {row['ece']:.3f}, floor {row['ece_floor']:.3f}, stated {row['stated']:.3f}, came {row['base_rate']:.3f}"))  # fmt: skip
        out += [_line(str(row["band"]), row, name, counts) for name in ("slope", "intercept")]
    return out


def _line(where: str, row: dict, name: str, counts: Counts) -> Measure:
    note = f"one plant's 95 % interval {row[f'{name}_low']:.2f} to {row[f'{name}_high']:.2f}"
    return Measure(CALIBRATED, f"{where}, {name}", row[name], **counts, note=note)


def covered(rows: pd.DataFrame) -> list[Measure]:
    """Coverage of nominal 90 % sets per class, and of the attributes' 90 % intervals."""
    out = []
    for row in set_coverage(rows).to_dict("records"):
        counts = Counts(n=int(row["n_batches"]), n_failed=int(row["n_failed"]))
        distance = abs(row["coverage"] - 0.9)
        name = f"{row['band']}, 90 % sets hold the outcome, {row['outcome']} batches"
        out.append(Measure(SETS, name, row["coverage"], **counts))
        if row["band"] == "all":
            out.append(Measure(SETS, f"{name}, distance from .90", distance, **counts, bound=0.02, side="max"))
    attributes = interval_coverage(rows)
    for row in attributes[attributes["band"] == "all"].to_dict("records"):
        out.append(
            Measure(SETS, f"90 % interval of {row['attribute']}", row["coverage"], n=int(row["n_batches"]), n_failed=int(row["n_failed"]),
                    note=f"below it {row['below']:.3f}, above it {row['above']:.3f}"))  # fmt: skip
    return out


def called(rows: pd.DataFrame) -> list[Measure]:
    """Shares without a call yet and without sufficient support at day 7 and why, sets of both classes, changes of mind."""
    at = rows[rows["checkpoint_h"] == DAY_7_H]
    counts = Counts(n=len(at), n_failed=int(at["failed"].sum()))
    open_ = float((at["call"] == "none yet").mean())
    out = [Measure(CALLS, "no call yet at day 7", open_, **counts, bound=0.15, side="max")]
    out += [
        Measure(CALLS, f"no call yet at day 7: {row['cause']}", row["share"], **counts)
        for row in no_call_causes(at).to_dict("records")
    ]
    weak = float((at["support"] != "sufficient").mean())
    out.append(Measure(CALLS, "limited or no support at day 7", weak, **counts, bound=0.05, side="max"))
    out += [
        Measure(CALLS, f"support at day 7 {row['support']}, first cause: {row['cause']}", row["share"], **counts)
        for row in support_causes(at).to_dict("records")
    ]
    sizes = set_sizes(at).iloc[0]
    out += [Measure(CALLS, f"90 % set at day 7 holds {w}", float(sizes[k]), **counts)
            for k, w in (("both", "both outcomes"), ("neither", "neither"))]  # fmt: skip
    for name, of in (("between any calls", None), ("into or out of high", "high")):
        row = flip_rate(rows, of=of).iloc[0]
        out.append(
            Measure(CALLS, f"changes {name}, share of successive scores", row["flip_rate"], n=int(row["n"]), n_failed=int(row["n_failed"]))
        )  # fmt: skip
    return out


def costs(rows: pd.DataFrame, process: ProcessDefinition) -> list[Measure]:
    """Money per batch of acting on calls of high against never and always alarming."""
    if process.cost is None:
        return []
    row = cost_curve(as_alarms(rows), process.cost, np.array([CALLED]), resamples=_RESAMPLES).iloc[0]
    counts = Counts(n=int(row["n"]), n_failed=int(row["n_failed"]))
    note = "assumes that a batch alarmed in time is saved"
    return [
        Measure(COSTS, f"saved against {name} alarming", float(row[f"saved_against_{name}"]), f"{process.cost.currency} a batch", **counts,
                note=f"{note}; one plant's 95 % interval {row[f'saved_against_{name}_low']:.0f} to {row[f'saved_against_{name}_high']:.0f}")
        for name in ("never", "always")
    ]  # fmt: skip
