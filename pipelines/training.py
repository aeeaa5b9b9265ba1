"""Stored snapshots to a registered challenger: seal, train, evaluate once, report, register."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import pandas as pd
import pyarrow as pa

from features.canonical import digest
from features.contracts import RUN_HISTORY
from features.digests import process_digest
from features.errors import StorageError, TrainingError
from features.process import LabelRule
from models.backtest.calendar import retrainings
from models.backtest.figures import field_table
from models.backtest.fits import Fits
from models.backtest.history import History
from models.backtest.newest import newest, prequential_seal
from models.backtest.replay import LEAST, Replayed, replay, too_short
from models.cohort.labels import label_log
from models.cohort.splits import Seal, known_before, readings, record_reading, seal_of, seal_test, subject_groups
from models.cohort.table import before_the_label
from models.evaluation.compare import compare_splits
from models.evaluation.evaluate import Evaluation, evaluate
from models.evaluation.sealed_test import Scored, score_test, sealed_rows
from models.registry import RegisteredModel, Registry
from models.train import Trained, train
from pipelines.backtest import fits_of, known_until
from pipelines.history import last_report
from pipelines.model_history import history_of
from pipelines.plant import Plant
from pipelines.progress import in_tenths
from pipelines.target_leakage import TargetLeakage, check_target_leakage

Progress = Callable[[str], None]
_LOOKED_AT = 200  # newest tested batches from which the importance is computed


def verified(plant: Plant) -> None:
    """Compare every stored file with its recorded SHA-256.

    Raises:
        StorageError: A file is missing or damaged; nothing is trained from it.
    """
    problems = [p for store in (plant.history, plant.features) for p in store.verify() if not p.harmless]
    if problems:
        more = f" And {len(problems) - 1} more." if len(problems) > 1 else ""
        raise StorageError(problems[0].line.removesuffix("."), remedy=f"Nothing was trained.{more}")


def write_test_set(plant: Plant) -> Seal:
    """Decide which batches are the test, by time alone, and keep their snapshots."""
    seal = _test_of(plant)
    plant.models_dir.mkdir(parents=True, exist_ok=True)
    seal.save(plant.models_dir / "sealed_test.json")
    _write(plant, "test_set", _snapshots_of(plant, seal.batch_ids), seal.sha256)
    return seal


def _test_of(plant: Plant) -> Seal:
    """The newest batches, sealed away from the model; or those that test the versions before it (`[policy] test`).

    Raises:
        TrainingError: Too few outcomes are known at any time before the newest batches.
    """
    policy, process_id = plant.process.policy, plant.process.id
    if policy.test == "prequential":
        history, moment = history_of(plant), known_until(plant)
        dates = retrainings(
            history.outcomes, policy, least=LEAST, started=history.started, until=moment, log=history.log
        )
        if not dates:
            raise too_short(history)
        return prequential_seal(history, dates, moment)
    failures = policy.test_failures if policy.test == "newest_failures" else None
    return seal_test(plant.table("batches"), plant.labels(), process_id=process_id, failures=failures)


def write_training_set(plant: Plant) -> tuple[pd.Series, Seal]:
    """Keep the snapshots of the batches that may train: label known before the cut, no subject of a sealed test.

    Returns:
        Outcome by batch, and the seal: the batches they were kept away from, or those that tested earlier versions.
    """
    seal = Seal.load(plant.models_dir / "sealed_test.json")
    batches = plant.table("batches")
    away_from = () if plant.process.policy.test == "prequential" else seal.batch_ids
    failed = known_before(batches, plant.labels(), seal.cut, away_from=away_from, groups=subject_groups(batches))
    _write(plant, "training_set", _snapshots_of(plant, tuple(failed.index)), digest(sorted(failed.index)))
    return failed, seal


def target_leakage(plant: Plant, failed: pd.Series) -> TargetLeakage:
    """Check the training set for features that contain a release result, or the outcome, before the end.

    Args:
        plant: With its training set written.
        failed: Outcome by batch of the training set.
    """
    stored = before_the_label(plant.features.read("training_set").to_pandas(), plant.labels())
    results = plant.observations_of([q.parameter for q in plant.process.quality_attribute])
    return check_target_leakage(plant.process, stored, failed, results)


def _snapshots_of(plant: Plant, batch_ids: tuple[str, ...]) -> pa.Table:
    stored = plant.features.read("snapshot_features")
    wanted = pd.Index(stored["batch_id"].to_pylist()).isin(set(batch_ids))
    return stored.filter(pa.array(wanted))


def _write(plant: Plant, table: str, rows: pa.Table, ids: str) -> None:
    inputs = digest([ids, plant.features.digest("snapshot_features")])
    plant.features.write(table, None, rows, rows.schema, inputs_digest=inputs)


@dataclass(frozen=True)
class SealCheck:
    """Whether the test set stayed apart from the training set."""

    shared_batches: tuple[str, ...]
    shared_subjects: tuple[str, ...]
    known_too_late: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing is on both sides."""
        return not (self.shared_batches or self.shared_subjects or self.known_too_late)


def check_seal(
    training: pd.DataFrame, seal: Seal, batches: pd.DataFrame, labels: pd.DataFrame, *, prequential: bool = False
) -> SealCheck:
    """Look for batches and subjects on both sides, and for training labels that were not known at the cut.

    A prequential test has tested earlier versions, so its batches train: the replay refuses a version that knew a batch.
    """
    ids, test = set(training["batch_id"]), set() if prequential else set(seal.batch_ids)
    subject = batches.set_index("batch_id")["subject_key"]
    subjects = [set(subject[subject.index.isin(side)]) - {""} for side in (ids, test)]
    first_known = labels.groupby("batch_id")["label_available_at"].min()
    late = first_known.index[first_known.index.isin(ids) & (first_known >= seal.cut)]
    return SealCheck(tuple(sorted(ids & test)), tuple(sorted(subjects[0] & subjects[1])), tuple(late))


def make_challenger(plant: Plant, progress: Progress) -> tuple[RegisteredModel, Evaluation]:
    """Train on the training set, evaluate on the sealed test, write the report, register.

    A predictor that was registered before keeps its figures: the sealed test is scored once per model.
    """
    history, policy = history_of(plant), plant.process.policy
    seal, fits = Seal.load(plant.models_dir / "sealed_test.json"), fits_of(plant, policy)
    replayed = _replayed(plant, history, seal, fits, progress)
    if policy.test == "prequential" and replayed is not None:
        progress("fitting the predictor on all that is known")
        trained = newest(history, policy, fits, replayed, seal)
    else:
        trained = train(
            plant.process, history.snapshots, history.features, history.batches, history.log,
            observations=history.observations, dispositions=history.dispositions, seal=seal, between=history.between,
            plan=policy.plan(plant.process, trials=plant.settings.trials), progress=_of_training(progress),
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
    prequential = policy.test == "prequential"
    try:
        return replay(history, policy, fits, until=seal.cut if prequential else None, progress=in_tenths(progress))
    except TrainingError:
        if prequential:
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
        groups=subject_groups(history.batches), settings=trained.tuned.settings, plan=trained.plan,
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
    """A sealed test is read once a predictor; of prequential scores each closed block of a version is read once."""
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
    """Progress of folds and trials, and what follows the last trial."""
    report = in_tenths(progress)

    def training(what: str, done: int, of: int) -> None:
        report(what, done, of)
        if (what, done) == ("tuning", of):
            progress("fitting the predictor with the best settings, and its limits")

    return training
