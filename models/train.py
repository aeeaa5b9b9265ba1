"""From snapshots and labels to a frozen predictor; the sealed test is not read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import expit
from threadpoolctl import threadpool_limits

from features.dictionary import Feature
from features.process import ProcessDefinition
from models.cohort.course import course_of
from models.cohort.encode import fit_encoder
from models.cohort.folds import Fold, most_folds
from models.cohort.splits import Seal, enough_failures, known_before, seal_test, subject_groups
from models.cohort.table import TrainingTable, before_the_label, end_of_batches, exclusions, training_table
from models.evaluation.bands import equal_bands
from models.learners.applicability.columns import DomainPlan
from models.learners.applicability.fit import fit_applicability
from models.learners.bag import fit_bag, stages_of
from models.learners.boundary import fit_boundary
from models.learners.conformal import fit_conformal
from models.learners.evidence import version_codes, versions_of
from models.learners.failure_modes import modes_before
from models.learners.join import FastRows
from models.learners.residuals import Residuals, fit_residuals, level_columns
from models.learners.stack import ModesAt, bins_of, fit_layers, fit_modes, forward
from models.learners.trees import Plan, Progress, Settings
from models.predictor import Predictor, usual_ages
from models.scoring.alignment import FeatureAligner
from models.scoring.call import Thresholds, fit_thresholds
from models.scoring.rows import FeatureRows


@dataclass(frozen=True)
class Trained:
    """A predictor and the records of its training.

    Attributes:
        predictor: The frozen predictor.
        seal: The test set it has not seen.
        folds: Forward folds of the number of trees and of the calibration.
        settings: Of the trees.
        out_of_fold: `batch_id`, `checkpoint_h`, `as_of`, `end_at`, `fold`, `failed`, `weight`, `raw` (log-odds),
            `failure_probability` (calibrated; the calibration was fitted on these rows).
        excluded: Where every snapshot went (`models.cohort.table.exclusions`).
        failed: Outcome of the training batches as known at the cut, indexed by batch_id.
        plan: How it was made.
    """

    predictor: Predictor
    seal: Seal
    folds: tuple[Fold, ...]
    settings: Settings
    out_of_fold: pd.DataFrame
    excluded: pd.DataFrame
    failed: pd.Series
    plan: Plan

    @property
    def prequential(self) -> bool:
        """Whether the seal's batches tested the versions before this one, which has learnt from them."""
        return self.seal.learnt


@threadpool_limits.wrap(limits=1, user_api="blas")  # BLAS rounds a sum by the number of its threads
def train(
    process: ProcessDefinition,
    snapshots: pd.DataFrame,
    features: tuple[Feature, ...],
    batches: pd.DataFrame,
    log: pd.DataFrame,
    *,
    observations: pd.DataFrame | None = None,
    dispositions: pd.DataFrame | None = None,
    seal: Seal | None = None,
    plan: Plan | None = None,
    groups: pd.DataFrame | None = None,
    between: pd.DataFrame | None = None,
    progress: Progress | None = None,
    weights: pd.Series | None = None,
    course: pd.DataFrame | None = None,
) -> Trained:
    """Seal the newest batches, calibrate on forward folds of the rest, fit once on all of it.

    Args:
        process: The process.
        snapshots: `features.contracts.SNAPSHOT` of all batches; those in progress are left aside.
        features: Feature dictionary of the snapshots' columns.
        batches: `batch_id`, `started_at`, `subject_key`, and `planned_end_at` where there is one.
        log: `features.contracts.LABELS`.
        observations: `features.contracts.OBSERVATIONS` of the release attributes; None forecasts none.
        dispositions: `features.contracts.DISPOSITIONS`, for failure modes; None: no models of modes.
        seal: The test set to stay away from; None seals the newest share of the batches.
        plan: How; None takes the defaults.
        groups: Pairs `batch_id`, `group` that must not stand on both sides of a split; None takes the subjects.
        between: `features.contracts.SNAPSHOT` at times between the checkpoints (`models.cohort.between`), for the
            applicability domain; None: it knows the checkpoints only.
        progress: Called after every step.
        weights: Of the training batches, by batch_id (`models.cohort.follow_up`); None: all alike.
        course: Levels of the sensors every few hours (`models.cohort.course.course_rows`); None: those of the snapshots.

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
    table = training_table(rows, fit_encoder(rows), weights)
    known = {feature.name: feature for feature in features}
    entries = tuple(known[name] for name in table.encoder.columns)
    residuals, fast = None, None
    if layered := plan.learner == "layers" or (plan.learner == "auto" and bool(process.quality_attribute)):
        residuals, fast = _residuals(process, table, rows if course is None else before_the_label(course, log), failed)
    y, asked, from_h = table.rows["batch_id"].map(failed).to_numpy(bool), plan, ()
    for learner in dict.fromkeys(("layers", asked.learner) if layered else (asked.learner,)):
        plan = replace(asked, learner=learner)
        from_h = stages_of(table.rows["checkpoint_h"].to_numpy(float), y, apart=learner != "layers")
        folded = forward(
            process, table, entries, past, folds, observations, plan,
            n_failed=int(failed.sum()), progress=progress, fast=fast, from_h=from_h,
        )  # fmt: skip
        if learner == "layers" and folded.forecast:  # without forecasts the layers have little to stand on
            break
    settings, everything = folded.settings, np.arange(len(table.rows))
    # blend and calibration were not fitted with forecasts where no fold could make them
    tried = observations if folded.forecast else None
    expected = residuals if folded.scores.fast is not None else None
    layers = fit_layers(
        process, table, entries, everything, everything[:0], failed, tried, seal.cut, plan.learner, expected
    )
    bins = bins_of(layers, plan)
    bag = fit_bag(bins, everything, y, settings, plan.members, from_h)
    ends = end_of_batches(batches, log, process)
    out_of_fold = folded.out_of_fold.merge(ends, on="batch_id", how="left")
    modes, few = fit_modes(
        folded, bins, _named(process, dispositions, failed), failed, seal.cut, process.decision.cases_per_mode
    )
    log_odds, happened, hours = (out_of_fold[name].to_numpy() for name in ("log_odds", "failed", "checkpoint_h"))
    edges, batch_id = equal_bands(out_of_fold["checkpoint_h"]), out_of_fold["batch_id"].to_numpy(str)
    stated = process.decision.missed_failures
    predictor = Predictor(
        model_texts=bag.texts,
        from_h=from_h,
        inputs=layers.inputs.encoder.columns,
        encoder=table.encoder,
        sensors=layers.sensors,
        evidence=layers.evidence,
        blend=folded.blend(layers),
        calibration=folded.calibration,
        sets=fit_conformal(log_odds, happened, hours, edges, batch_id),
        decision_sets=fit_conformal(log_odds, happened, hours, edges, batch_id, error_failed=stated),
        thresholds=_thresholds(process, folded.scores.fast, out_of_fold, ends),
        modes=modes,
        few_cases=few,
        applicability=None,
        features=entries,
        process_id=process.id,
        process_version=process.process.version,
        training_sha256=training_digest(table, y),
        test_sha256=seal.sha256,
        usual_ages=usual_ages(rows, features),
        choice=folded.scores.choice,
    )
    later = rows.iloc[:0] if between is None else before_the_label(between, log)
    predictor = _with_domain(process, predictor, rows, later[later["batch_id"].isin(failed.index)], features, failed)
    used = {"training": tuple(failed.index), "sealed test": seal.batch_ids}
    return Trained(predictor, seal, folds, folded.settings, out_of_fold, exclusions(snapshots, log, used), failed, plan)


def _residuals(
    process: ProcessDefinition, table: TrainingTable, frame: pd.DataFrame, failed: pd.Series
) -> tuple[Residuals | None, FastRows | None]:
    """Expectations of the sensors from the successful batches, and the residuals of all training batches."""
    if not level_columns(process):
        return None, None
    codes = pd.Series(version_codes(table.encoder, table.X), index=table.rows["batch_id"])
    course = course_of(frame, process, codes.groupby(level=0, sort=False).first())
    found = fit_residuals(process, course, failed, versions_of(table.encoder))
    if found is None:
        return None, None
    model, z = found
    return model, FastRows(course.rows, model.columns_of(z), tuple(feature.name for feature in model.features))


def _thresholds(
    process: ProcessDefinition, fast: pd.DataFrame | None, out_of_fold: pd.DataFrame, ends: pd.DataFrame
) -> Thresholds:
    """Thresholds on the scores of the forward folds: with a fast head on those every few hours, held against the hour."""
    if fast is None:
        return fit_thresholds(out_of_fold, process.decision, process.cost)
    good = fast[~fast["failed"].astype(bool)]
    boundary = fit_boundary(good["log_odds"].to_numpy(float), good["checkpoint_h"].to_numpy(float))
    scores = fast.assign(failure_probability=expit(fast["log_odds"])).merge(ends, on="batch_id", how="left")
    return fit_thresholds(scores, process.decision, process.cost, boundary)


def _named(process: ProcessDefinition, dispositions: pd.DataFrame | None, failed: pd.Series) -> ModesAt:
    """Failure modes of the training batches that failed, as known at a cut."""

    def at(cut: pd.Timestamp) -> pd.DataFrame:
        known = modes_before(process, dispositions, cut)
        return known[known["batch_id"].isin(failed.index[failed.astype(bool)])]

    return at


def _with_domain(
    process: ProcessDefinition,
    predictor: Predictor,
    rows: pd.DataFrame,
    between: pd.DataFrame,
    features: tuple[Feature, ...],
    failed: pd.Series,
) -> Predictor:
    """The same predictor with limits on where it applies, from the rows of training batches alone."""
    is_between = np.repeat([False, True], [len(rows), len(between)])
    rows = pd.concat([rows, between], ignore_index=True) if len(between) else rows
    aligned = FeatureRows.of_frame(rows, features)
    aligner = FeatureAligner(predictor, aligned.columns)
    domain = fit_applicability(
        rows,
        features,
        predictor.encoder,
        failed,
        missing=aligner.missing(aligned.values),
        stale=aligner.stale(aligned.values, aligned.elapsed_h),
        between=is_between,
        plan=DomainPlan(
            min_batches=process.decision.batches_per_subgroup, planned_h=process.process.planned_duration_h
        ),
    )
    return replace(predictor, applicability=domain)


def training_digest(table: TrainingTable, failed: np.ndarray) -> str:
    """SHA-256 over everything the trees were made from: ids, checkpoints, columns, values and outcomes."""
    digest = hashlib.sha256("\n".join(table.encoder.columns).encode())
    digest.update("\n".join(table.rows["batch_id"]).encode())
    for values in (table.rows["checkpoint_h"].to_numpy(), table.X, failed):
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
