"""Stored snapshots to a registered challenger: seal, train, evaluate once, report, register."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import pandas as pd

from features.contracts import RUN_HISTORY
from features.digests import process_digest
from features.errors import TrainingError
from features.process import LabelRule
from models.backtest.figures import field_table
from models.backtest.fits import Fits
from models.backtest.history import History
from models.backtest.newest import newest
from models.backtest.replay import Replayed, replay
from models.cohort.labels import label_log
from models.cohort.splits import Seal, readings, record_reading, seal_of, subject_groups
from models.evaluation.compare import compare_splits
from models.evaluation.evaluate import Evaluation, evaluate
from models.evaluation.sealed_test import Scored, score_test, sealed_rows
from models.registry import RegisteredModel, Registry
from models.train import Trained, train
from pipelines.backtest import fits_of
from pipelines.history import last_report
from pipelines.model_history import history_of
from pipelines.plant import Plant
from pipelines.progress import in_tenths

Progress = Callable[[str], None]
_LOOKED_AT = 200  # newest tested batches from which the importance is computed


def make_challenger(plant: Plant, progress: Progress) -> tuple[RegisteredModel, Evaluation]:
    """Train on the training set, evaluate on the sealed test, write the report, register.

    A predictor that was registered before keeps its figures: the sealed test is scored once per model.
    """
    history, policy = history_of(plant), plant.process.policy
    seal, fits = Seal.load(plant.models_dir / "sealed_test.json"), fits_of(plant, policy)
    replayed = _replayed(plant, history, seal, fits, progress)
    if seal.learnt and replayed is not None:
        progress("fitting the predictor on all that is known")
        trained = newest(history, policy, fits, replayed, seal)
    else:
        trained = train(
            plant.process, history.snapshots, history.features, history.batches, history.log,
            observations=history.observations, dispositions=history.dispositions, seal=seal, between=history.between, course=history.course,
            plan=policy.plan(plant.process), progress=_of_training(progress),
        )  # fmt: skip
    trained.predictor.save(plant.models_dir / trained.predictor.sha256)
    registry = Registry(plant.settings.data_dir)
    known = registry.find(plant.process.id, sha256=trained.predictor.sha256)
    if known is not None:
        progress(f"the data gave model version {known.version} again; its figures stand")
        known = registry.as_challenger(known)
        evaluation, report = registry.evaluation(known), registry.report(known)
    else:
        evaluation, report, known = _evaluate(plant, trained, history, replayed, registry, progress)
    plant.report_path.parent.mkdir(parents=True, exist_ok=True)
    plant.report_path.write_text(report, encoding="utf-8")
    return known, evaluation


def _replayed(plant: Plant, history: History, seal: Seal, fits: Fits, progress: Progress) -> Replayed | None:
    """The field replay up to the moment of training; None where a sealed test leaves too little for one."""
    policy = plant.process.policy
    try:
        return replay(history, policy, fits, until=seal.cut if seal.learnt else None, progress=in_tenths(progress))
    except TrainingError:
        if seal.learnt:
            raise
        return None


def _evaluate(
    plant: Plant,
    trained: Trained,
    history: History,
    replayed: Replayed | None,
    registry: Registry,
    progress: Progress,
) -> tuple[Evaluation, str, RegisteredModel]:
    from models.report.html import html_report
    from models.report.pictures import charts_of
    from models.report.shap_plots import shap_plots
    from models.report.style import to_png

    process = plant.process
    progress("comparing a random split with forward in time")
    splits = compare_splits(
        history.snapshots, history.batches, _labels_by_rule(plant, history),
        groups=subject_groups(history.batches), settings=trained.settings, plan=trained.plan,
    )  # fmt: skip
    _record_readings(plant, trained, replayed)
    progress(f"evaluating the test of {len(trained.seal.batch_ids)} batches, once")
    evaluation = evaluate(
        process, trained, history.snapshots, history.features, history.batches, history.log,
        observations=history.observations, dispositions=history.dispositions, splits=splits,
        between=history.between, field=_field(plant, history, replayed),
        tested=_tested(history, trained, replayed) if trained.prequential and replayed else None,
    )  # fmt: skip
    progress("drawing figures and writing the report")
    shap_images = shap_plots(
        trained.predictor, sealed_rows(history.snapshots, history.log, trained.seal, only_last=True)
    )
    report = html_report(process, trained, evaluation, images=shap_images, more=_history_facts(plant))
    drawn = {f"{name}.png": to_png(chart) for name, chart in charts_of(process, trained.predictor, evaluation).items()}
    files = {f"{_file_name(name)}.png": image for name, image in shap_images.items()}
    progress("registering the model with MLflow")
    more = {"data_version": plant.data_version(), "process_digest": process_digest(plant.process)}
    model = registry.register(process, trained, evaluation, report=report, images=drawn | files, more=more)
    return evaluation, report, model


def _tested(history: History, trained: Trained, replayed: Replayed) -> Scored:
    """The scores as they were given, and what the newest predictor looks at in the newest batches."""
    last = replayed.scores["batch_id"].drop_duplicates().tail(_LOOKED_AT)
    seal = seal_of(history.process.id, trained.seal.cut, tuple(last))
    looked_at = score_test(
        history.process, trained.predictor, history.snapshots, history.features, history.batches, history.log, seal
    )
    return replace(looked_at, rows=replayed.scores)


def _field(plant: Plant, history: History, replayed: Replayed | None) -> pd.DataFrame | None:
    if replayed is None:
        return None
    return field_table(replayed.scores, history.started, plant.process)


def _record_readings(plant: Plant, trained: Trained, replayed: Replayed | None) -> None:
    """A sealed test is read once a predictor; of prequential scores the block of each version, an open one again as it grows."""
    ledger, now = plant.models_dir / "test_readings.jsonl", pd.Timestamp.now("UTC")
    tests = [(trained.seal, f"evaluate predictor {trained.predictor.sha256}")]
    if trained.prequential and replayed is not None:
        begins = replayed.versions.set_index("number")["made_at"]
        blocks = replayed.scores.groupby("version")["batch_id"].unique()
        tests = [
            (seal_of(plant.process.id, begins[version], tuple(ids)), f"block scored by version {version} of the replay")
            for version, ids in blocks.items()
        ]
    known = readings(ledger) if trained.prequential else set()
    for seal, purpose in tests:
        if seal.sha256 not in known:
            record_reading(ledger, seal, reader="make_challenger", purpose=purpose, at=now)


def _labels_by_rule(plant: Plant, history: History) -> dict[str, pd.DataFrame]:
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


def _of_training(progress: Progress) -> Callable[[str, int, int], None]:
    """Progress of folds, and what follows the last one."""
    report = in_tenths(progress)

    def training(what: str, done: int, of: int) -> None:
        report(what, done, of)
        if (what, done) == ("forward folds", of):
            progress("fitting the predictor and its limits")

    return training
