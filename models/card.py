"""The model card: what a reviewer reads of a version in MLflow, as Markdown of at most 5 000 characters."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from features.process import ProcessDefinition
from models.acceptance.intended_use import IntendedUse
from models.evaluation.champion import Comparison
from models.evaluation.evaluate import Evaluation
from models.evaluation.plant_summary import failures_found, false_alarms, lead_times, savings
from models.run_metrics import top_metrics
from models.train import Trained

MOST = 5000  # characters of a description in MLflow's database
_SIGN = (
    "An author submits this version and signs; another person approves it and signs; it is served when it is made effective. "
    "Aliases and tags in MLflow release nothing: they mirror the signed records."
)
_NOT_FOR = "Not for release or rejection of a batch, and not in the place of an in-process control."
_CUT = "\n\n(cut: the rest is in the report)"


def model_card(
    process: ProcessDefinition,
    trained: Trained,
    evaluation: Evaluation,
    comparison: Comparison | None,
    *,
    made_from: Mapping[str, str],
    intended_use: IntendedUse | None = None,
    exclusions: pd.DataFrame | None = None,
    rows_read: str = "",
) -> str:
    """Write the card of a version.

    Args:
        process: The process.
        trained: The predictor and how it came about.
        evaluation: Its figures.
        comparison: With the champion; None: there is none.
        made_from: What it was made from, as the run records it: tables with their versions, code, Dagster run.
        intended_use: Of the process; None: what the process definition says.
        exclusions: `models.cohort.table.exclusions` of all stored snapshots; None: of those that the training was given.
        rows_read: What became of the rows of the source, in a line.
    """
    where = evaluation.excluded if exclusions is None else exclusions
    title = "Figures on the test" if evaluation.read_test else "Development figures, out of fold: the test was not read"
    parts = [
        f"# {process.process.name}: predictor {trained.predictor.sha256[:12]}",
        f"**{evaluation.note}**" if evaluation.note else "",
        _section("Intended use", [_stated(intended_use) if intended_use else _use(process, trained)]),
        _section("Champion", [comparison.words if comparison else "There is no effective version to compare with."]),
        _section(title, [*_figures(process, evaluation), _metrics(evaluation)]),
        _section("Data and exclusions", [_data(trained, evaluation, where), rows_read, _table(where)]),
        _section("Limits", _limits(process, trained, evaluation, intended_use)),
        _section("Made from", _made_from(trained, made_from)),
        _section("Who must sign", [_SIGN]),
    ]  # fmt: skip
    text = "\n\n".join(part for part in parts if part)
    return text if len(text) <= MOST else text[: MOST - len(_CUT)] + _CUT


def _section(title: str, paragraphs: list[str]) -> str:
    return "\n\n".join([f"## {title}", *(text for text in paragraphs if text)])


def _stated(intended_use: IntendedUse) -> str:
    at = ", ".join(f"{hours:g}" for hours in intended_use.decision_points_h)
    return (
        f"{intended_use.question} {intended_use.product}; process versions {', '.join(intended_use.process_versions)}, sites "
        f"{', '.join(intended_use.sites)}; decided on at {at} h. It is for: {'; '.join(intended_use.users)}."
    )


def _use(process: ProcessDefinition, trained: Trained) -> str:
    outcome, domain = process.outcome, trained.predictor.applicability
    known = {} if domain is None else {name: ", ".join(sizes) for name, sizes in domain.support.items() if sizes}
    where = "; ".join(f"{name.split('.')[0]} {values}" for name, values in known.items())
    at = process.checkpoints_h
    return (
        f"Will the batch in progress fail ({outcome.label_rule or ', '.join(outcome.failed)})? Decision support beside the "
        f"plant's own rules, from {at[0]:g} h to {at[-1]:g} h of a batch of process version "
        f"{process.process.version}{f' ({where})' if where else ''}. It never changes a batch's status: a person decides."
    )


def _figures(process: ProcessDefinition, evaluation: Evaluation) -> list[str]:
    alarms = evaluation.alarms
    sentences = (
        failures_found(alarms),
        lead_times(alarms),
        false_alarms(alarms),
        savings(evaluation.costs, process.cost),
    )
    return [" ".join(sentence for sentence in sentences if sentence)]


def _metrics(evaluation: Evaluation) -> str:
    overall, top = evaluation.overall, top_metrics(evaluation)
    low, high = overall.get("auroc_low", math.nan), overall.get("auroc_high", math.nan)
    span = "" if math.isnan(low) else f" (95 % interval {low:.3f} to {high:.3f})"
    lines = [
        "| figure | value |",
        "|---|---|",
        f"| failures of batches | {top['failures']:.0f} of {top['batches']:.0f} |",
    ]
    if "auroc" in top:
        lines.append(f"| AUROC, each batch at its last checkpoint | {top['auroc']:.3f}{span} |")
    if "weak_support_share" in top:
        lines.append(f"| scores with limited or no support | {100 * top['weak_support_share']:.1f} % |")
    lines += [
        f"| calibration error above its floor, worst stage | {top['ece_above_floor']:+.3f} |",
    ]
    return "\n".join(lines)


def _data(trained: Trained, evaluation: Evaluation, where: pd.DataFrame) -> str:
    counts, rows = evaluation.counts, int(where["rows"].sum())
    used = int(where.loc[where["used"].astype(bool), "rows"].sum())
    tested = (
        "scored as they came by the versions before, and learnt from since" if trained.prequential else "sealed away"
    )
    return (
        f"{counts['training_batches']} training batches, {counts['training_failed']} of them failed; a test of "
        f"{counts['test_batches']} batches, {counts['test_failed']} of {counts['test_scored']} scored ones failed, {tested}. "
        f"Of {rows:,} snapshots {used:,} were used and {rows - used:,} were not."
    )


def _table(frame: pd.DataFrame) -> str:
    lines = ["| snapshots | batches | rows | used |", "|---|---|---|---|"]
    lines += [
        f"| {row['reason']} | {row['batches']} | {row['rows']:,} | {'yes' if row['used'] else 'no'} |"
        for row in frame.to_dict("records")
    ]
    total = f"| all | | {int(frame['rows'].sum()):,} | |"
    return "\n".join([*lines, total])


def _limits(
    process: ProcessDefinition, trained: Trained, evaluation: Evaluation, intended_use: IntendedUse | None
) -> list[str]:
    few, asked = trained.predictor.few_cases, process.decision
    budget = f"at most {100 * asked.alarm_budget:g} % of the good batches ever called high"
    stated = intended_use.limits if intended_use else (_NOT_FOR,)
    lines = [
        *(f"- {limit}" for limit in stated),
        "- Outside the range of the training batches, with too much missing or stale, the support is limited or none.",
        f"- Asked: {budget}, at most {100 * asked.missed_failures:g} % of the failing ones called low at any stage.",
    ]
    if few:
        lines.append(f"- Too few cases for a model: {', '.join(f'{mode} ({n})' for mode, n in list(few.items())[:8])}.")
    lines += [f"- {why}" for why in list(evaluation.absent.values())[:5]]
    return ["\n".join(lines)]


def _made_from(trained: Trained, made_from: Mapping[str, str]) -> list[str]:
    lines = [f"- {name}: `{value[:400]}`" for name, value in sorted(made_from.items())]
    digests = {"training rows": trained.predictor.training_sha256, "test": trained.seal.sha256}
    lines += [f"- digest of the {name}: `{value[:16]}`" for name, value in digests.items()]
    return ["\n".join(lines)]
