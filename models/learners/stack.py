"""The layers of the predictor put on one another: sensors, evidence, trees, blend, calibration by stage.

Every layer is fitted inside the rows it may learn from: on a forward fold from what was known at the fold's cut, in the end
from all training batches. What an upper layer learns from a lower one is always out of fold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from scipy.special import expit

from features.course import is_course
from features.dictionary import Feature
from features.process import ProcessDefinition
from features.series import PREVIOUS
from models.cohort.encode import Encoder
from models.cohort.folds import Fold
from models.cohort.table import TrainingTable
from models.learners.bag import fit_bag
from models.learners.blend import Blend, fit_linear
from models.learners.calibrate import Calibration, fit_calibration
from models.learners.deviations import LARGEST
from models.learners.evidence import Evidence, fit_evidence, numeric_frame
from models.learners.failure_modes import ModeModel, enough_cases
from models.learners.forecasts import final_results
from models.learners.join import FastRows, OutOfFold, chosen, joined
from models.learners.residuals import Residuals
from models.learners.sensor_limits import KIND_OF
from models.learners.sensors import SensorChecks, fit_sensor_checks
from models.learners.trees import (
    BINS,
    PLAIN,
    PLAIN_BINS,
    Bins,
    Block,
    Learner,
    Plan,
    Progress,
    Settings,
    fold_places,
    portable_text,
    rounds_of,
)

ModesAt = Callable[[pd.Timestamp], pd.DataFrame]  # pairs `batch_id`, `mode` as known at a time
ELAPSED = "progress.now.elapsed_h"
_NO_RESULTS = pd.DataFrame(index=pd.Index([], name="batch_id", dtype="str"))


@dataclass(frozen=True, eq=False)
class Layers:
    """What lies below the trees, and their inputs for some training rows.

    Attributes:
        sensors: Checks of the sensors.
        evidence: Margins and deviations.
        inputs: Columns the trees see, as a table of its own: rows that train, then rows that are predicted.
        evidence_columns: The evidence of the same rows: out of fold where they train.
        linear: Score of the evidence alone, from which the trees start; None for trees alone.
    """

    sensors: SensorChecks
    evidence: Evidence
    inputs: TrainingTable
    evidence_columns: np.ndarray
    linear: Blend | None = None

    @property
    def start(self) -> np.ndarray | None:
        """Log-odds of the linear score of all rows, shape (n,)."""
        return (
            None
            if self.linear is None
            else self.linear.log_odds(np.zeros(1), self.ranking(np.arange(len(self.inputs.rows))))
        )

    def deviation(self, places: np.ndarray) -> np.ndarray:
        """The largest deviation of some rows, shape (n,)."""
        return self.evidence_columns[places, [f.name for f in self.evidence.features].index(LARGEST)]

    def ranking(self, places: np.ndarray) -> np.ndarray:
        """The columns of the evidence that order batches by themselves, of some rows."""
        return self.evidence_columns[places][:, list(self.evidence.ranking)]


@dataclass(frozen=True, eq=False)
class Forward:
    """What the forward folds gave.

    Attributes:
        settings: Of the trees.
        blocks: The folds, ready to train on: for further questions.
        out_of_fold: `batch_id`, `checkpoint_h`, `as_of`, `weight`, `fold`, `failed`, `raw` (log-odds of the blend),
            `log_odds` (calibrated), `failure_probability`.
        scores: What the parts of these scores were put together by.
        forecast: Whether any fold could forecast release attributes.
    """

    settings: Settings
    blocks: tuple[Block, ...]
    out_of_fold: pd.DataFrame
    scores: OutOfFold
    forecast: bool

    @property
    def calibration(self) -> Calibration:
        """Fitted on the rows."""
        return self.scores.calibration

    def blend(self, made: Layers) -> Blend:
        """The blend of the final layers."""
        join = self.scores.join
        return self.scores.alone if join is None or made.linear is None else join.blend(made.linear)


def fit_layers(
    process: ProcessDefinition,
    table: TrainingTable,
    features: Sequence[Feature],
    train: np.ndarray,
    predicted: np.ndarray,
    failed: pd.Series,
    observations: pd.DataFrame | None,
    cut: pd.Timestamp,
    learner: Learner = "layers",
    residuals: Residuals | None = None,
) -> Layers:
    """Fit everything below the trees on some rows, and make the inputs of these and of others.

    Args:
        process: Gives the release attributes.
        table: All rows, encoded.
        features: One entry per column of the table.
        train: Places of the rows to learn from, ascending.
        predicted: Places of the rows that are only predicted, ascending.
        failed: Outcome of the batches of `train` as known at the cut, by batch_id in order of start.
        observations: `features.contracts.OBSERVATIONS` of the release attributes; None forecasts none.
        cut: Results that became available at or after it are not known.
        learner: Trees alone see no evidence; it stays for the words of the reasons.
        residuals: Of the sensors; None: left out.
    """
    encoder, rows = table.encoder, table.rows.iloc[train].reset_index(drop=True)
    frame = numeric_frame(rows, table.X[train], encoder)
    succeeded = failed.index[~failed.astype(bool)]
    sensors = fit_sensor_checks(frame, [f for f in features if f.name in frame], succeeded)
    masked = _hidden(sensors, encoder, table.X, table.rows["checkpoint_h"].to_numpy(float))
    results = _NO_RESULTS
    if observations is not None and learner == "layers":
        results = final_results(process.quality_attribute, observations, before=cut)
    evidence, own = fit_evidence(process, encoder, features, rows, masked[train], failed, results, residuals)
    hours = table.rows["checkpoint_h"].to_numpy(float)
    columns = np.concatenate([own, evidence.of(masked[predicted], hours[predicted]).columns])
    places = np.concatenate([train, predicted])
    plain = inputs_of(features, evidence)
    X = masked[places]
    if len(plain) > 1:  # trees that see sensors have to learn from rows without one
        also_hidden = sensors.also_hidden(rows["batch_id"].to_numpy(str)) @ sensors.hides(encoder.columns)
        X = np.concatenate([np.where(also_hidden, np.nan, X[: len(train)]), X[len(train) :]])
    kept = [encoder.columns.index(name) for name in plain]
    named = {name: encoder.categories[name] for name in plain if name in encoder.categories}
    seen = tuple(f.name for f in evidence.slow) if learner == "layers" else ()
    whole = Encoder((*plain, *seen), named)
    categorical = tuple(i for i, name in enumerate(plain) if name in named)
    inputs = TrainingTable(
        table.rows.iloc[places].reset_index(drop=True),
        np.column_stack([X[:, kept], columns[:, : len(seen)]]),
        categorical,
        whole,
    )
    made = Layers(sensors, evidence, inputs, columns)
    if learner != "layers":
        return made
    names, outcome = (
        tuple(evidence.features[i].name for i in evidence.ranking),
        rows["batch_id"].map(failed).to_numpy(bool),
    )
    own = made.ranking(np.arange(len(train)))
    return replace(made, linear=fit_linear(own, outcome, rows["weight"].to_numpy(float), names=names))


def inputs_of(features: Sequence[Feature], evidence: Evidence) -> tuple[str, ...]:
    """Features that the trees see beside the evidence.

    With forecasts of release attributes, only the hour: a hundred failures cannot choose among hundreds of columns, and
    their information about the outcome is in the margins (docs/model.md, "What the trees see"). Without, all of them but
    the signs of sensor faults and what others are only compared with.
    """
    others = (*KIND_OF, PREVIOUS)
    names = [f.name for f in features if f.statistic not in others and not is_course(f)]
    return tuple(name for name in names if name == ELAPSED) if evidence.forecasts else tuple(names)


def forward(
    process: ProcessDefinition,
    table: TrainingTable,
    features: Sequence[Feature],
    log: pd.DataFrame,
    folds: Sequence[Fold],
    observations: pd.DataFrame | None,
    plan: Plan,
    *,
    n_failed: int,
    progress: Progress | None = None,
    fast: FastRows | None = None,
    from_h: tuple[float, ...] = (0.0,),
) -> Forward:
    """Fit the number of trees on forward folds, predict each fold, and fit blend and calibration on these predictions.

    Args:
        process: The process.
        table: All rows that may train, encoded.
        features: One entry per column of the table.
        log: `features.contracts.LABELS` as known at the cut of the sealed test.
        folds: Forward folds of these batches.
        observations: `features.contracts.OBSERVATIONS` of the release attributes, or None.
        plan: How.
        n_failed: Failed batches that the final trees will learn from.
        progress: Called after every step.
        fast: Residuals of the sensors every few hours; None: no head.
        from_h: Stages with trees of their own (`models.learners.bag`).
    """
    layers, blocks = [], []
    for done, fold in enumerate(folds, start=1):
        train, train_failed, validation, validation_failed = fold_places(table, fold, log)
        failed = pd.Series(train_failed, index=table.rows["batch_id"].iloc[train]).groupby(level=0, sort=False).first()
        made = fit_layers(process, table, features, train, validation, failed, observations, fold.cut, plan.learner)
        bins = bins_of(made, plan)
        own = np.arange(len(train), len(train) + len(validation))
        layers.append(made)
        blocks.append(Block(fold.name, fold.cut, bins, np.arange(len(train)), train_failed, own, validation_failed))
        if progress:
            progress("forward folds", done, len(folds))
    settings = rounds_of(blocks, plan) if plan.learner == "layers" else PLAIN
    scored = _predicted(layers, blocks, settings, plan, from_h)
    rate = n_failed / table.rows["batch_id"].nunique()
    found = (
        joined(scored, fast, n_failed=n_failed, rate=rate) if plan.learner == "layers" else chosen(scored, plan.learner)
    )
    log_odds = found.calibration.log_odds(found.raw, scored["checkpoint_h"].to_numpy(float))
    scored = scored.drop(columns=["trees", "linear", "deviation", "rate"]).assign(
        raw=found.raw, log_odds=log_odds, failure_probability=expit(log_odds)
    )
    return Forward(settings, tuple(blocks), scored, found, any(made.evidence.forecasts for made in layers))


def _predicted(
    layers: Sequence[Layers], blocks: Sequence[Block], settings: Settings, plan: Plan, from_h: tuple[float, ...]
) -> pd.DataFrame:
    """Predicted rows of all folds with `fold`, `failed`, and what the trees, the linear score and the deviations say of each."""
    parts = []
    for made, block in zip(layers, blocks, strict=True):
        bag = fit_bag(block.bins, block.train, block.train_failed, settings, plan.fold_members, from_h)
        rows = made.inputs.rows.iloc[block.validation]
        trees = bag.log_odds(made.inputs.X[block.validation], rows["checkpoint_h"].to_numpy(float))
        said = {
            "trees": trees,
            "linear": 0.0 if made.start is None else made.start[block.validation],
            "deviation": made.deviation(block.validation),
            "rate": block.train_rate,
        }
        parts.append(rows.assign(fold=block.name, failed=block.validation_failed, **said))
    return pd.concat(parts, ignore_index=True)


def bins_of(made: Layers, plan: Plan) -> Bins:
    """The inputs of the trees, binned once."""
    bins = BINS if plan.learner == "layers" else PLAIN_BINS
    return Bins(made.inputs, plan, max_bin=bins, start=made.start)


def fit_modes(
    forward: Forward, inputs: Bins, modes: ModesAt, failed: pd.Series, cut: pd.Timestamp, minimum: int
) -> tuple[tuple[ModeModel, ...], dict[str, int]]:
    """A model for every failure mode with enough cases, calibrated on the forward folds.

    Args:
        forward: The folds.
        inputs: The final trees' rows.
        modes: Pairs `batch_id`, `mode` of the failed training batches, as known at a time.
        failed: Outcome of the training batches by batch_id.
        cut: Of the sealed test.
        minimum: Failed batches a mode needs.

    Returns:
        The models, and the number of cases of the modes without one: those that are rarer, or that no fold could try.
    """
    known = modes(cut)
    enough, few = enough_cases(known, failed.index[failed.astype(bool)], minimum)
    models = []
    for name in enough:
        cases = known.loc[known["mode"] == name, "batch_id"]
        calibration = _calibrate_mode(name, forward, modes, cases)
        if calibration is None:
            few[name] = int(cases.nunique())
            continue
        y = inputs.table.rows["batch_id"].isin(cases).to_numpy()
        alone = inputs.without_start()
        booster, _ = alone.fit(alone.rows(np.arange(len(y)), y), forward.settings)
        models.append(ModeModel(name, int(cases.nunique()), portable_text(booster), calibration))
    return tuple(models), few


def _calibrate_mode(mode: str, forward: Forward, modes: ModesAt, cases: pd.Series) -> Calibration | None:
    """Calibration on the folds that knew a case at their cut; None where there is none, or they saw none later."""
    parts = []
    for block in forward.blocks:
        rows, then = block.bins.table.rows, modes(block.cut)
        was_case = rows["batch_id"].isin(then.loc[then["mode"] == mode, "batch_id"]).to_numpy()
        was_case = was_case[block.train] & block.train_failed
        if not was_case.any():  # trees of successes alone give minus infinity, which no calibration corrects
            continue
        alone = block.bins.without_start()
        booster, _ = alone.fit(alone.rows(block.train, was_case), forward.settings)
        seen = rows.iloc[block.validation]
        hit, hours = seen["batch_id"].isin(cases).to_numpy(), seen["checkpoint_h"].to_numpy(float)
        raw = booster.predict(block.bins.table.X[block.validation], raw_score=True, num_threads=1)
        parts.append((np.asarray(raw), hit, seen["weight"].to_numpy(), hours))
    if not any(hit.any() for _, hit, *_ in parts):
        return None
    return fit_calibration(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _hidden(sensors: SensorChecks, encoder: Encoder, X: np.ndarray, hours: np.ndarray) -> np.ndarray:
    place = {name: i for i, name in enumerate(encoder.columns)}
    signs = X[:, [place[check.feature] for check in sensors.checks]] if sensors.checks else np.empty((len(X), 0))
    faulty = sensors.faulty(signs, hours)
    return np.where(faulty @ sensors.hides(encoder.columns), np.nan, X) if faulty.any() else X
