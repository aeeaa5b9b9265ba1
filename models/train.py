"""From snapshots and labels to a frozen predictor, without a look at the sealed test."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.dictionary import Feature
from features.process import ProcessDefinition
from models.cohort.encode import fit_encoder
from models.cohort.splits import Fold, Seal, enough_failures, known_before, most_folds, seal_test, subject_groups
from models.cohort.table import TrainingTable, before_the_label, exclusions, training_table
from models.learners.calibrate import Calibration, fit_calibration
from models.learners.trees import Bins, Plan, Progress, Settings, Tuned, fold_places, portable_text, tune
from models.predictor import Predictor, usual_ages


@dataclass(frozen=True)
class Trained:
    """A predictor and all that is needed to judge how it came about.

    Attributes:
        predictor: The frozen predictor.
        seal: The test set it has not seen.
        folds: Forward folds of tuning and calibration.
        tuned: Trials and the settings taken.
        out_of_fold: `batch_id`, `checkpoint_h`, `as_of`, `fold`, `failed`, `weight`, `raw` (log-odds),
            `failure_probability` (calibrated; the calibration was fitted on these rows).
        excluded: Where every snapshot went (`models.cohort.table.exclusions`).
        failed: Outcome of the training batches as known at the cut, indexed by batch_id.
        plan: How it was made.
    """

    predictor: Predictor
    seal: Seal
    folds: tuple[Fold, ...]
    tuned: Tuned
    out_of_fold: pd.DataFrame
    excluded: pd.DataFrame
    failed: pd.Series
    plan: Plan


def train(
    process: ProcessDefinition,
    snapshots: pd.DataFrame,
    features: tuple[Feature, ...],
    batches: pd.DataFrame,
    log: pd.DataFrame,
    *,
    seal: Seal | None = None,
    plan: Plan | None = None,
    groups: pd.DataFrame | None = None,
    progress: Progress | None = None,
) -> Trained:
    """Seal the newest batches, tune and calibrate on forward folds of the rest, fit once on all of it.

    Args:
        process: The process.
        snapshots: `features.contracts.SNAPSHOT` of all batches; those in progress are left aside.
        features: Feature dictionary of the snapshots' columns.
        batches: `batch_id`, `started_at`, `subject_key`.
        log: `features.contracts.LABELS`.
        seal: The test set to stay away from; None seals the newest share of the batches.
        plan: How; None takes the defaults.
        groups: Pairs `batch_id`, `group` that must not stand on both sides of a split; None takes the subjects.
        progress: Told after every step.

    Raises:
        TrainingError: No or too few failures, or one class only in a fold.
        ContractError: A snapshot that cannot be encoded.
    """
    plan = plan or Plan()
    groups = subject_groups(batches) if groups is None else groups
    seal = seal or seal_test(batches, log, process_id=process.id, share=plan.test_share)
    failed = known_before(batches, log, seal.cut, away_from=seal.batch_ids, groups=groups)
    usable = before_the_label(snapshots, log)
    rows = usable[usable["batch_id"].isin(failed.index)]
    failed = failed[failed.index.isin(rows["batch_id"])]
    enough_failures(failed, at_least=plan.min_failures, where=f"{process.id}, training part")
    past = log[log["label_available_at"] < seal.cut]
    folds = most_folds(batches, past, failed.index, groups=groups, at_most=plan.folds, warm_up=plan.warm_up)
    table = training_table(rows, fit_encoder(rows))
    bins = Bins(table, plan, failed_share=float(failed.mean()))
    tuned = tune(bins, folds, past, progress=progress)
    out_of_fold = forward_scores(bins, folds, past, tuned.settings)
    calibration = fit_calibration(*(out_of_fold[name].to_numpy() for name in ("raw", "failed", "weight")))
    predictor = _final(process, features, rows, bins, failed, tuned.settings, calibration, seal)
    out_of_fold["failure_probability"] = calibration.probability(out_of_fold["raw"].to_numpy())
    used = {"training": tuple(failed.index), "sealed test": seal.batch_ids}
    return Trained(predictor, seal, folds, tuned, out_of_fold, exclusions(snapshots, log, used), failed, plan)


def forward_scores(bins: Bins, folds: tuple[Fold, ...], log: pd.DataFrame, settings: Settings) -> pd.DataFrame:
    """Raw log-odds of every validated row, each by a model that knew only what was known at the fold's cut.

    Returns:
        `batch_id`, `checkpoint_h`, `as_of`, `weight`, `fold`, `failed`, `raw`.
    """
    blocks = []
    for fold in folds:
        train_rows, train_failed, rows, failed = fold_places(bins.table, fold, log)
        booster, _ = bins.fit(bins.rows(train_rows, train_failed), settings)
        raw = booster.predict(bins.table.X[rows], raw_score=True)
        blocks.append(bins.table.rows.iloc[rows].assign(fold=fold.name, failed=failed, raw=raw))
    return pd.concat(blocks, ignore_index=True)


def _final(
    process: ProcessDefinition,
    features: tuple[Feature, ...],
    rows: pd.DataFrame,
    bins: Bins,
    failed: pd.Series,
    settings: Settings,
    calibration: Calibration,
    seal: Seal,
) -> Predictor:
    table = bins.table
    y = table.rows["batch_id"].map(failed).to_numpy(bool)
    booster, _ = bins.fit(bins.rows(np.arange(len(y)), y), settings)
    known = {feature.name: feature for feature in features}
    return Predictor(
        model_text=portable_text(booster),
        encoder=table.encoder,
        calibration=calibration,
        features=tuple(known[name] for name in table.encoder.columns),
        process_id=process.id,
        process_version=process.process.version,
        training_sha256=training_digest(table, y),
        test_sha256=seal.sha256,
        usual_ages=usual_ages(rows, features),
    )


def training_digest(table: TrainingTable, failed: np.ndarray) -> str:
    """SHA-256 over everything the trees were made from: ids, checkpoints, columns, values and outcomes."""
    digest = hashlib.sha256("\n".join(table.encoder.columns).encode())
    digest.update("\n".join(table.rows["batch_id"]).encode())
    for values in (table.rows["checkpoint_h"].to_numpy(), table.X, failed):
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
