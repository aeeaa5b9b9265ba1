"""The validation report: one HTML file with everything in it, readable without a network and printable.

The first page is for the process engineer, the others are for the statistician.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import expit

from features.process import ProcessDefinition
from models.acceptance.criteria import Result
from models.acceptance.intended_use import IntendedUse
from models.acceptance.justification import AssessedFeature
from models.evaluation import findings, plant_summary
from models.evaluation.evaluate import Evaluation
from models.evaluation.figures import last_checkpoint
from models.explain.words import in_words
from models.predictor import Predictor
from models.report.field import field_context
from models.report.imprint import Imprint, facts, kind_of_report
from models.report.labels import attribute_label, mode_label, rule_in_words
from models.report.pictures import ATTRIBUTE, charts_of
from models.report.shap_plots import Picture
from models.report.style import to_svg
from models.train import Trained

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES = Path(__file__).parent / "templates"


def html_report(
    process: ProcessDefinition,
    trained: Trained,
    evaluation: Evaluation,
    *,
    images: Mapping[str, Picture] | None = None,
    more: Mapping[str, str] | None = None,
    imprint: Imprint | None = None,
    mode_labels: Mapping[str, str] | None = None,
    intended_use: IntendedUse | None = None,
    results: Sequence[Result] | None = None,
    assessed: Sequence[AssessedFeature] = (),
) -> str:
    """Write the report.

    Args:
        process: The process.
        trained: The predictor and how it came about.
        evaluation: Its figures.
        images: Pictures by caption, for example from `models.report.shap_plots.shap_plots`.
        more: Lines under "The data", for example the counts of the run history.
        imprint: When and by which software the report is made; None leaves both out.
        mode_labels: Labels of failure modes by name; a mode without one is named in plain words.
        intended_use: As signed; None: not signed.
        results: Acceptance criteria held against the figures; None: none are signed.
        assessed: The features that move scores most, with their justification.
    """
    from markupsafe import Markup

    drawn = charts_of(process, trained.predictor, evaluation)
    # our own drawing: its texts were escaped by the SVG writer
    svg = {name: Markup(to_svg(chart)) for name, chart in drawn.items()}  # noqa: S704
    return (
        page_environment()
        .get_template("report.html")
        .render(
            process=process,
            evaluation=evaluation,
            trained=trained,
            predictor=trained.predictor,
            summary=summary_of(process, evaluation),
            findings=findings_of(trained.predictor, evaluation),
            questions=by_question(evaluation.splits),
            excluded=evaluation.excluded.sort_values(["used", "rows"], ascending=False),
            calls=rows_of(evaluation.alarms),
            base=base_probabilities(trained.predictor, evaluation),
            by_checkpoint=list(zip(rows_of(evaluation.calls_by_checkpoint), rows_of(evaluation.support), strict=True)),
            attribute_charts=[name for name in svg if name.startswith(ATTRIBUTE)],
            svg=svg,
            images={name: (base64.b64encode(p.png).decode(), p.note) for name, p in (images or {}).items()},
            more=dict(more or {}),
            field=field_context(evaluation.field) if len(evaluation.field) else None,
            interval=interval,
            kind=kind_of_report(evaluation),
            intended_use=intended_use,
            results=results,
            assessed=assessed,
            facts=facts(imprint, trained.predictor, evaluation),
            attribute_label=partial(attribute_label, process),
            mode_label=lambda name: mode_label(name, mode_labels or {}),
            rule_in_words=partial(rule_in_words, process),
            words={entry.name: in_words(entry) for entry in trained.predictor.evidence.features},
            as_hours=hours,
            as_percent=percent,
        )
    )


def page_environment() -> Environment:
    """Templates with the filters and functions that they use."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"figure": figure, "percent": percent, "rows": rows_of, "hours": hours, "plain": plain}
    return environment


def summary_of(process: ProcessDefinition, evaluation: Evaluation) -> list[str]:
    """The first page's sentences; one without figures is left out."""
    sentences = [
        plant_summary.failures_found(evaluation.alarms),
        plant_summary.lead_times(evaluation.alarms),
        plant_summary.false_alarms(evaluation.alarms),
        plant_summary.savings(evaluation.costs, process.cost),
        plant_summary.no_call_yet(evaluation.calls_by_checkpoint, evaluation.no_call_causes),
        plant_summary.support(evaluation.support, evaluation.support_causes) if evaluation.read_test else "",
        plant_summary.missed_failures(evaluation.calls),
        plant_summary.against_limits(evaluation.against_limits),
    ]
    return [sentence for sentence in sentences if sentence]


def findings_of(predictor: Predictor, evaluation: Evaluation) -> dict[str, str]:
    """The statistician's sentences: `ranking`, `calibration`, `budgets`, `coverage`, `split_gap`; some may be empty."""
    return {
        "ranking": findings.ranking(evaluation.overall),
        "calibration": findings.calibration(last_checkpoint(evaluation.scores), evaluation.overall),
        "budgets": findings.budgets(evaluation.alarms),
        "coverage": findings.coverage(evaluation.sets, 1 - predictor.sets.error_failed),
        "split_gap": findings.split_gap(evaluation.splits),
    }


def base_probabilities(predictor: Predictor, evaluation: Evaluation) -> list[tuple[float, float]]:
    """Hours and the probability of a batch of which only the hour is known, at the first and the last checkpoint."""
    at = np.unique(evaluation.checkpoints["checkpoint_h"].to_numpy(float)[[0, -1]])
    return [(float(h), float(p)) for h, p in zip(at, expit(predictor.base_log_odds(at)), strict=True)]


def by_question(splits: pd.DataFrame) -> list[dict]:
    """One entry per question, the process's own first: `question`, and the row of each split under its name."""
    if splits.empty:
        return []
    return [
        {"question": question} | {row["split"]: row for row in rows.to_dict("records")}
        for question, rows in splits.groupby("question", sort=False)
    ]


def rows_of(table: pd.DataFrame) -> list[dict]:
    """A table's rows for a template."""
    return table.to_dict("records")


def _or_dash(template: str, factor: float = 1.0) -> Callable[[float | None], str]:
    """Writes a number by a template; a dash where it is NaN or None."""
    return lambda value: "–" if value is None or math.isnan(value) else template.format(factor * value)


figure, percent = _or_dash("{:.3f}"), _or_dash("{:.1f} %", 100)
plain, hours = _or_dash("{:.3g}"), _or_dash("{:.0f} h")


def interval(row: Mapping[str, float], name: str, *, as_percent: bool = False) -> str:
    """The interval of a figure, in words that fit a table."""
    low, high = row.get(f"{name}_low", math.nan), row.get(f"{name}_high", math.nan)
    if math.isnan(low):
        return "no interval"
    return f"{100 * low:.0f} to {100 * high:.0f} %" if as_percent else f"{_below_one(low)} to {high:.3f}"


def _below_one(value: float) -> str:
    """A bound below 1 is not rounded to 1: it would claim certainty."""
    return ">0.999" if 0.9995 <= value < 1 else f"{value:.3f}"
