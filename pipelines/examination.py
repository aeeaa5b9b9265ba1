"""A trained predictor examined: on its test where the documents are signed, else out of fold; and the report about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import pandas as pd

from features.contracts import RUN_HISTORY
from features.process import LabelRule
from models.acceptance.criteria import check
from models.acceptance.justification import assess_features
from models.backtest.figures import field_table
from models.backtest.history import History
from models.backtest.replay import Replayed
from models.cohort.labels import label_log
from models.cohort.ledger import evaluates, readings, record_reading
from models.cohort.splits import Seal, seal_of, subject_groups
from models.evaluation.compare import compare_splits
from models.evaluation.development import as_development, without_the_test
from models.evaluation.evaluate import Evaluation, evaluate
from models.evaluation.sealed_test import Scored, score_test, sealed_rows
from models.train import Trained
from pipelines.filing import Report, software
from pipelines.history import last_report
from pipelines.plant import Plant, wall_clock
from pipelines.signed_documents import SignedBefore

Progress = Callable[[str], None]
_LOOKED_AT = 200  # newest batches from which the importance is computed


@dataclass(frozen=True, eq=False)
class Examination:
    """What was found, and the report about it.

    Attributes:
        evaluation: The figures.
        report: Both forms.
        images: Charts as PNG, by file name.
    """

    evaluation: Evaluation
    report: Report
    images: Mapping[str, bytes]


def examine(
    plant: Plant,
    trained: Trained,
    history: History,
    replayed: Replayed | None,
    signed: SignedBefore | None,
    progress: Progress,
) -> Examination:
    """Evaluate a predictor and write its report; the test is read, and the reading recorded, only with signed documents.

    Args:
        plant: The process.
        trained: The predictor and how it came about.
        history: What was known.
        replayed: The replay whose scores are the test of a prequential policy.
        signed: Intended use and criteria; None: the figures are those of development, out of fold.
        progress: Receives lines.
    """
    progress("comparing a random split with forward in time")
    splits = _splits(plant, trained, history, whole=signed is not None)
    if signed is None:
        progress("evaluating out-of-fold scores: the test is not read")
        evaluation, looked_at = _development(plant, trained, history, splits)
    else:
        record_readings(plant, trained, replayed, signed)
        progress(f"evaluating the test of {len(trained.seal.batch_ids)} batches, once")
        evaluation, looked_at = _on_test(plant, trained, history, replayed, splits, signed), trained.seal
    progress("drawing figures and writing the report")
    return _reported(plant, trained, history, evaluation, looked_at, signed)


def _on_test(
    plant: Plant,
    trained: Trained,
    history: History,
    replayed: Replayed | None,
    splits: pd.DataFrame,
    signed: SignedBefore,
) -> Evaluation:
    found = evaluate(
        plant.process, trained, history.snapshots, history.features, history.batches, history.log,
        observations=history.observations, dispositions=history.dispositions, splits=splits, between=history.between,
        field=None if replayed is None else field_table(replayed.scores, history.started, plant.process),
        tested=_tested(history, trained, replayed) if trained.prequential and replayed else None,
    )  # fmt: skip
    test = trained.seal.sha256
    n_readings = sum(reading.test_sha256 == test for reading in readings(plant.ledger))
    return replace(found, criteria_sha256=signed.acceptance_sha256, readings=n_readings)


def _development(plant: Plant, trained: Trained, history: History, splits: pd.DataFrame) -> tuple[Evaluation, Seal]:
    """Figures of development, and the newest training batches, which stand for the test in what is looked at."""
    looked_at = _newest(history, trained, trained.failed.index)
    scored = score_test(
        plant.process, trained.predictor, history.snapshots, history.features, history.batches, history.log, looked_at
    )
    found = evaluate(
        plant.process, trained, history.snapshots, history.features, history.batches, history.log,
        splits=splits, looked_at=looked_at,
        tested=as_development(scored, trained, history.batches, history.log),
    )  # fmt: skip
    return without_the_test(found), looked_at


def _newest(history: History, trained: Trained, batch_ids: pd.Index) -> Seal:
    last = history.started.reindex(batch_ids).sort_values(kind="stable").index[-_LOOKED_AT:]
    return seal_of(history.process.id, trained.seal.cut, tuple(last))


def _tested(history: History, trained: Trained, replayed: Replayed) -> Scored:
    """The scores as they were given, and what the newest predictor looks at in the newest batches."""
    last = replayed.scores["batch_id"].drop_duplicates().tail(_LOOKED_AT)
    seal = seal_of(history.process.id, trained.seal.cut, tuple(last))
    looked_at = score_test(
        history.process, trained.predictor, history.snapshots, history.features, history.batches, history.log, seal
    )
    return replace(looked_at, rows=replayed.scores)


def _splits(plant: Plant, trained: Trained, history: History, *, whole: bool) -> pd.DataFrame:
    """Ways to split compared; without the test only on what the training part knew."""
    logs, batches, snapshots = labels_by_rule(plant, history), history.batches, history.snapshots
    if not whole:
        ids = trained.failed.index
        logs = {name: log[log["label_available_at"] < trained.seal.cut] for name, log in logs.items()}
        batches, snapshots = (frame[frame["batch_id"].isin(ids)] for frame in (batches, snapshots))
    return compare_splits(
        snapshots, batches, logs, groups=subject_groups(batches), settings=trained.settings, plan=trained.plan
    )


def record_readings(plant: Plant, trained: Trained, replayed: Replayed | None, signed: SignedBefore) -> None:
    """Record the reading of a test; of prequential scores also the block of each version, an open one again as it grows."""
    ledger, now = plant.ledger, wall_clock()
    blocks: list[tuple[Seal, str]] = []
    if trained.prequential and replayed is not None:
        begins = replayed.versions.set_index("number")["made_at"]
        blocks = [
            (seal_of(plant.process.id, begins[version], tuple(ids)), f"block scored by version {version} of the replay")
            for version, ids in replayed.scores.groupby("version")["batch_id"].unique().items()
        ]
    known = {reading.test_sha256 for reading in readings(ledger)}
    tests = [(seal, purpose) for seal, purpose in blocks if seal.sha256 not in known]
    for seal, purpose in [*tests, (trained.seal, evaluates(trained.predictor.sha256))]:
        record_reading(
            ledger, seal, reader="make_challenger", purpose=purpose, at=now, criteria_sha256=signed.acceptance_sha256
        )


def _reported(
    plant: Plant,
    trained: Trained,
    history: History,
    evaluation: Evaluation,
    looked_at: Seal,
    signed: SignedBefore | None,
) -> Examination:
    from models.report.html import html_report
    from models.report.imprint import Imprint
    from models.report.pdf import pdf_report
    from models.report.pictures import charts_of
    from models.report.shap_plots import shap_plots
    from models.report.style import to_png

    process, predictor = plant.process, trained.predictor
    pictures = shap_plots(predictor, sealed_rows(history.snapshots, history.log, looked_at, only_last=True))
    imprint = Imprint(wall_clock(), software())
    reasons = () if signed is None else signed.acceptance.feature
    html = html_report(
        process, trained, evaluation, images=pictures, more=_history_facts(plant), imprint=imprint,
        mode_labels=process.mode_labels, assessed=assess_features(evaluation.top_features, reasons),
        results=None if signed is None else check(signed.acceptance.criterion, evaluation),
        intended_use=None if signed is None else signed.intended_use,
    )  # fmt: skip
    footer = f"{process.id} · predictor {predictor.sha256[:16]} · {imprint.date} · {imprint.software}"
    report = Report(html, pdf_report(html, made_at=imprint.made_at, footer=footer))
    drawn = {f"{name}.png": to_png(chart) for name, chart in charts_of(process, predictor, evaluation).items()}
    return Examination(evaluation, report, drawn | {f"{_file_name(n)}.png": p.png for n, p in pictures.items()})


def labels_by_rule(plant: Plant, history: History) -> dict[str, pd.DataFrame]:
    """Label logs by rule: the process's own, and the further rules on which its report compares ways to split."""
    process = plant.process
    rules = process.outcome.compare_splits_on
    values = plant.observations_of([LabelRule.parse(rule).parameter for rule in rules])
    own = str(process.label_rule) if process.label_rule else "batch failed"
    others = {
        rule: label_log(process, plant.table("dispositions"), values, rule=LabelRule.parse(rule)) for rule in rules
    }
    return {own: history.log} | others


def _history_facts(plant: Plant) -> Mapping[str, str]:
    counts = {f"rows of {name}": f"{plant.history.rows(name):,}" for name in RUN_HISTORY if plant.history.exists(name)}
    return {"rows": last_report(plant.history).in_a_line()} | counts | {"data version": plant.data_version()[:16]}


def _file_name(caption: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in caption.lower()).strip("_")
