"""The charts of a report: those for which the process and the test have data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from features.process import ProcessDefinition, QualityAttribute
from models.evaluation.calls import PROBABILITY
from models.evaluation.evaluate import Evaluation
from models.evaluation.figures import last_checkpoint
from models.explain.words import with_unit
from models.predictor import Predictor
from models.report import alarm_charts, charts, quality_charts

if TYPE_CHECKING:
    from models.report.style import Chart

GROUPS = {"site_id": "Site", "process_version": "Version", "scale_l": "Scale (L)"}
ATTRIBUTE = "attribute_"  # before the name of a release attribute: its chart


def charts_of(process: ProcessDefinition, predictor: Predictor, evaluation: Evaluation) -> dict[str, Chart]:
    """The report's charts as Altair objects, by name.

    Args:
        process: The process.
        predictor: For the threshold in use.
        evaluation: The figures to draw.

    Returns:
        `importance`, and where there are data: `first_alarms`, `net_cost`, `no_call`, `support`, `by_checkpoint`,
        `precision_recall`, `calibration`, `subgroups`, `attribute_<name>`.
    """
    drawn = {"importance": charts.importance(evaluation.importance)}
    curve = evaluation.first_calls[evaluation.first_calls["n"] > 0]
    if len(evaluation.checkpoints) > 1 and len(curve):
        drawn["first_alarms"] = alarm_charts.first_alarms(curve)
    if process.cost is not None and len(evaluation.costs):
        by_probability = evaluation.costs[evaluation.costs["by"] == PROBABILITY]
        drawn["net_cost"] = alarm_charts.net_cost(
            by_probability, currency=process.cost.currency, threshold=predictor.thresholds.high
        )
    drawn["no_call"] = alarm_charts.no_call(evaluation.no_call_causes)
    drawn["support"] = alarm_charts.support(evaluation.support_causes)
    if evaluation.checkpoints["auroc"].notna().sum() > 1:
        drawn["by_checkpoint"] = charts.auroc_by_checkpoint(evaluation.checkpoints)
    if evaluation.overall["n_failed"]:
        drawn["precision_recall"] = charts.precision_recall(evaluation.scores)
    drawn["calibration"] = quality_charts.calibration_by_band(evaluation.reliability, evaluation.calibration)
    if len(evaluation.subgroups):
        drawn["subgroups"] = quality_charts.subgroups(evaluation.subgroups, names=GROUPS)
    return drawn | _attributes(process, evaluation)


def _attributes(process: ProcessDefinition, evaluation: Evaluation) -> dict[str, Chart]:
    """Actual against expected value of each forecast release attribute, where results vary."""
    at_h = evaluation.compared_at_h
    rows = evaluation.scores[evaluation.scores["checkpoint_h"] == at_h]
    rows = rows if len(rows) else last_checkpoint(evaluation.scores)
    drawn = {}
    for attribute in process.quality_attribute:
        columns = [f"{attribute.name}.{part}" for part in ("expected", "low", "high", "actual")]
        if not set(columns) <= set(rows.columns):
            continue
        known = rows.dropna(subset=columns)
        log = attribute.transform == "log" and bool((known[columns] > 0).to_numpy().all())
        if known[f"{attribute.name}.actual"].nunique() > 1:  # noqa: PD101 - one value alone spans no axis
            drawn[ATTRIBUTE + attribute.name] = _attribute(known, process, attribute, log=log)
    return drawn


def _attribute(known: pd.DataFrame, process: ProcessDefinition, attribute: QualityAttribute, *, log: bool) -> Chart:
    parameter = process[attribute.parameter]
    unit = with_unit("", parameter.unit).strip()
    label = f"{parameter.label}, {unit}" if unit else parameter.label
    label = label[0].lower() + label[1:] if label[:2].istitle() else label
    return quality_charts.attribute(
        known, attribute.name, label=label, lower=attribute.lower, upper=attribute.upper, log=log
    )
