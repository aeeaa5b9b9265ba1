"""The figures of a run: about ten that versions are compared by, and curves over the hours of a batch."""

from __future__ import annotations

import math

import pandas as pd

from models.evaluation.calls import CALL
from models.evaluation.evaluate import Evaluation

_CURVES = ("auroc", "auprc", "brier", "ece", "ece_floor", "n_failed")


def top_metrics(evaluation: Evaluation) -> dict[str, float]:
    """Figures that versions are compared by.

    Returns:
        `failures` and `batches` of the test; `auroc` with `auroc_low` and `auroc_high`; of the calls of high `recall`,
        `median_lead_h` and `alarm_share` (good batches ever called); `weak_support_share` (scores with limited or no
        support); `ece_above_floor` (how far the calibration error of the worst stage exceeds what a perfect model would
        show; negative where it does not) and `saved_per_batch` (against never acting, in the process's currency). A figure
        that the test does not allow is left out.
    """
    alarms = evaluation.alarms[evaluation.alarms["call"] == "high"].iloc[0]
    out = {
        "failures": evaluation.overall["n_failed"],
        "batches": evaluation.overall["n_batches"],
        **{
            name: evaluation.overall[name]
            for name in ("auroc", "auroc_low", "auroc_high")
            if name in evaluation.overall
        },
        "recall": alarms["recall"],
        "median_lead_h": alarms["median_lead_h"],
        "alarm_share": alarms["good_alarmed"],
        "ece_above_floor": float((evaluation.calibration["ece"] - evaluation.calibration["ece_floor"]).max()),
    }
    if evaluation.read_test:  # out of fold it is not assessed
        out["weak_support_share"] = float((evaluation.scores["support"] != "sufficient").mean())
    if not evaluation.costs.empty:
        by_call = evaluation.costs[evaluation.costs["by"] == CALL].iloc[0]
        out["saved_per_batch"] = by_call["saved_against_never"]
    return {name: float(value) for name, value in out.items() if not math.isnan(value)}


def curves(evaluation: Evaluation) -> list[tuple[str, float, int]]:
    """Figures per checkpoint as name, value and step: the hour of the batch, or its minute where hours are not whole.

    Returns:
        `by_hour/auroc`, `by_hour/weak_support_share`, `by_hour/called_high_failed`, ...; in order of name and step. A
        figure that a checkpoint does not allow has no point there.
    """
    table = evaluation.checkpoints[["checkpoint_h", *_CURVES]].copy()
    support = evaluation.support.set_index("checkpoint_h")
    table["weak_support_share"] = table["checkpoint_h"].map(support["limited"] + support["unsupported"])
    high = evaluation.scores.assign(high=evaluation.scores["call"] == "high")
    for name, part in (("failed", high[high["failed"]]), ("good", high[~high["failed"]])):
        table[f"called_high_{name}"] = table["checkpoint_h"].map(part.groupby("checkpoint_h")["high"].mean())
    whole = bool((table["checkpoint_h"] % 1 == 0).all())
    prefix, scale = ("by_hour", 1) if whole else ("by_minute", 60)
    points = [
        (f"{prefix}/{name}", float(value), round(hours * scale))
        for name in table.columns[1:]
        for hours, value in zip(table["checkpoint_h"], table[name], strict=True)
        if not math.isnan(value)
    ]
    return sorted(points, key=lambda point: (point[0], point[2]))


def tables(evaluation: Evaluation) -> dict[str, pd.DataFrame]:
    """The tables of the report that a reviewer reads in MLflow, by file name; empty ones are left out."""
    named = {
        "calls": evaluation.alarms, "recall_at_shares": evaluation.shares, "by_checkpoint": evaluation.checkpoints,
        "calibration": evaluation.calibration, "support": evaluation.support, "support_causes": evaluation.support_causes,
        "no_call_causes": evaluation.no_call_causes, "failure_modes": evaluation.modes, "subgroups": evaluation.subgroups,
        "data_and_exclusions": evaluation.excluded, "ways_to_split": evaluation.splits, "sensors": evaluation.sensors,
        "field_replay": evaluation.field, "parameters": evaluation.importance,
    }  # fmt: skip
    rounded = {}
    for name, frame in named.items():
        if len(frame):
            numbers = frame.select_dtypes("float").columns
            rounded[f"{name}.csv"] = frame.assign(**{column: frame[column].round(4) for column in numbers})
    return rounded
