"""The validation report: one HTML file with everything in it, readable without a network and printable."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from features.process import ProcessDefinition
from models.evaluation import findings
from models.evaluation.evaluate import Evaluation
from models.evaluation.figures import last_checkpoint
from models.report import charts
from models.report.style import to_svg
from models.train import Trained

_TEMPLATES = Path(__file__).parent / "templates"


def charts_of(evaluation: Evaluation, out_of_fold: pd.DataFrame) -> dict:
    """The report's charts as Altair objects: `by_checkpoint`, `precision_recall`, `reliability`, `lead_time`, `importance`."""
    return {
        "by_checkpoint": charts.auroc_by_checkpoint(evaluation.checkpoints),
        "precision_recall": charts.precision_recall(evaluation.scores),
        "reliability": charts.reliability(evaluation.scores),
        "lead_time": charts.lead_time(evaluation.scores, out_of_fold),
        "importance": charts.importance(evaluation.importance),
    }


def html_report(
    process: ProcessDefinition,
    trained: Trained,
    evaluation: Evaluation,
    *,
    images: Mapping[str, bytes] | None = None,
    more: Mapping[str, str] | None = None,
) -> str:
    """Write the report.

    Args:
        process: The process.
        trained: The predictor and how it came about.
        evaluation: Its figures.
        images: PNG by caption, for example from `models.report.shap_plots.shap_plots`.
        more: Lines under "The data", for example the counts of the run history.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined)
    environment.filters["figure"] = figure
    # our own drawing: its texts were escaped by the SVG writer
    svg = {name: Markup(to_svg(chart)) for name, chart in charts_of(evaluation, trained.out_of_fold).items()}  # noqa: S704
    return environment.get_template("report.html").render(
        process=process,
        evaluation=evaluation,
        seal=trained.seal,
        folds=trained.folds,
        tuned=trained.tuned,
        predictor=trained.predictor,
        said=findings_of(evaluation),
        questions=by_question(evaluation.splits),
        excluded=evaluation.excluded.sort_values(["used", "rows"], ascending=False),
        svg=svg,
        images={name: base64.b64encode(data).decode() for name, data in (images or {}).items()},
        more=dict(more or {}),
        interval=interval,
        hours=hours,
    )


def findings_of(evaluation: Evaluation) -> dict[str, str]:
    """The report's sentences: `ranking`, `calibration`, `alarms`, `split_gap`."""
    return {
        "ranking": findings.ranking(evaluation.overall),
        "calibration": findings.calibration(last_checkpoint(evaluation.scores), evaluation.overall),
        "alarms": findings.alarms(evaluation.leads),
        "split_gap": findings.split_gap(evaluation.splits),
    }


def by_question(splits: pd.DataFrame) -> list[dict]:
    """One entry per question, the process's own first: `question`, and the row of each split under its name."""
    if splits.empty:
        return []
    return [
        {"question": question} | {row["split"]: row for row in rows.to_dict("records")}
        for question, rows in splits.groupby("question", sort=False)
    ]


def figure(value: float) -> str:
    """A figure between 0 and 1 with three decimals; a dash where it cannot be computed."""
    return "–" if value is None or math.isnan(value) else f"{value:.3f}"


def interval(row: Mapping[str, float], name: str) -> str:
    """The interval of a figure, in words that fit a table."""
    low, high = row.get(f"{name}_low", math.nan), row.get(f"{name}_high", math.nan)
    return "no interval" if math.isnan(low) else f"{low:.3f} to {high:.3f}"


def hours(value: float) -> str:
    """Hours, or a dash."""
    return "–" if math.isnan(value) else f"{value:.1f} h"
