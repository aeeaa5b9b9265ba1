"""The validation report: one HTML file with everything in it, readable without a network and printable."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from features.process import ProcessDefinition
from models import charts
from models.evaluate import Evaluation
from models.train import Trained

_TEMPLATES = Path(__file__).parent / "templates"


def charts_of(evaluation: Evaluation, out_of_fold: pd.DataFrame) -> dict:
    """The report's charts as Altair objects: `precision_recall`, `reliability`, `lead_time`, `importance`."""
    return {
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
        images: PNG by caption, for example from `models.charts.shap_plots`.
        more: Further lines under "How it was made", for example the counts of the run history.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined)
    environment.filters["figure"] = figure
    # our own drawing: its texts were escaped by the SVG writer
    svg = {name: Markup(charts.to_svg(chart)) for name, chart in charts_of(evaluation, trained.out_of_fold).items()}  # noqa: S704
    return environment.get_template("report.html").render(
        process=process,
        evaluation=evaluation,
        seal=trained.seal,
        folds=trained.folds,
        tuned=trained.tuned,
        predictor=trained.predictor,
        svg=svg,
        images={name: base64.b64encode(data).decode() for name, data in (images or {}).items()},
        more=dict(more or {}),
        interval=interval,
        hours=hours,
    )


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
