"""Which batches train and which test, decided by time alone, and their snapshots kept apart."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

from features.canonical import digest
from features.errors import StorageError
from models.backtest.newest import prequential_seal
from models.cohort.splits import Seal, known_before, seal_test, subject_groups
from models.cohort.table import before_the_label
from pipelines.backtest import known_until, training_dates
from pipelines.plant import Plant
from pipelines.target_leakage import TargetLeakage, check_target_leakage


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
    seal = test_of(plant)
    plant.models_dir.mkdir(parents=True, exist_ok=True)
    seal.save(plant.models_dir / "sealed_test.json")
    _write(plant, "test_set", _snapshots_of(plant, seal.batch_ids), seal.sha256)
    return seal


def test_of(plant: Plant) -> Seal:
    """The newest batches, sealed away from the model; or those that test the versions before it (`[policy] test`).

    Raises:
        TrainingError: Too few outcomes are known at any time before the newest batches.
    """
    policy, process_id = plant.process.policy, plant.process.id
    batches, labels = plant.table("batches"), plant.labels()
    if policy.test == "prequential":
        moment = known_until(plant)
        dates = training_dates(plant, policy, moment)
        return prequential_seal(process_id, batches, labels, dates[0].at, moment)
    failures = policy.test_failures if policy.test == "newest_failures" else None
    return seal_test(batches, labels, process_id=process_id, failures=failures)


def write_training_set(plant: Plant) -> tuple[pd.Series, Seal]:
    """Keep the snapshots of the batches that may train: label known before the cut, no subject of a sealed test.

    Returns:
        Outcome by batch, and the seal: the batches they were kept away from, or those that tested earlier versions.
    """
    seal = Seal.load(plant.models_dir / "sealed_test.json")
    batches = plant.table("batches")
    away_from = () if seal.learnt else seal.batch_ids
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


def check_seal(training: pd.DataFrame, seal: Seal, batches: pd.DataFrame, labels: pd.DataFrame) -> SealCheck:
    """Look for batches and subjects on both sides, and for training labels that were not known at the cut.

    A prequential test has tested earlier versions, so its batches train: the replay refuses a version that knew a batch.
    """
    ids, test = set(training["batch_id"]), set() if seal.learnt else set(seal.batch_ids)
    subject = batches.set_index("batch_id")["subject_key"]
    subjects = [set(subject[subject.index.isin(side)]) - {""} for side in (ids, test)]
    first_known = labels.groupby("batch_id")["label_available_at"].min()
    late = first_known.index[first_known.index.isin(ids) & (first_known >= seal.cut)]
    return SealCheck(tuple(sorted(ids & test)), tuple(sorted(subjects[0] & subjects[1])), tuple(late))
