"""The rivals of the field benchmark: each learns from snapshot rows of past batches and scores those of a block.

A rival is called with the training rows as they stood at the block's date and the rows of the block; it returns one
finite risk score per row of the block, higher meaning riskier. It learns one model for all checkpoints, ignores the
order of the rows, and returns the same numbers every time, on any number of cores. Where the training rows have one
class only, nothing can be learned and every score is 0.

`RIVALS` needs nothing but rows. `benchmarks.field.series` adds those that read the hourly series of a plant.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from benchmarks.baselines import logistic
from benchmarks.field import golden
from models.cohort.encode import fit_encoder

KEYS = ["batch_id", "checkpoint_h"]
SEEDS = (1, 2, 3, 4, 5)
ROUNDS = 120
TREES = {  # as found to do best on later tablets without tuning; never tuned here
    "objective": "binary",
    "learning_rate": 0.05,
    "num_leaves": 7,
    "feature_fraction": 0.3,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 10.0,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbose": -1,
}
_BLOCKS, _WARM_UP = 3, 0.4  # forward blocks in which the penalty of the regression is chosen


@dataclass(frozen=True)
class TrainRows:
    """What may be learned from.

    Attributes:
        rows: Snapshots: `batch_id`, `checkpoint_h`, maybe `started_at` and `as_of`, and feature columns: numbers, or
            names of categories (`str` or `category`); NaN where not known.
        failed: Outcome by batch_id as known at the block's date, without censored batches; rows of batches that it does
            not name are left out.
    """

    rows: pd.DataFrame
    failed: pd.Series

    def labelled(self) -> tuple[pd.DataFrame, np.ndarray]:
        """Rows of batches with an outcome, in order of start, batch and checkpoint, and the outcome of each."""
        known = self.rows[self.rows["batch_id"].isin(self.failed.index)]
        by = [name for name in ("started_at", *KEYS) if name in known]
        known = plain_categories(known.sort_values(by, kind="stable", ignore_index=True))
        return known, known["batch_id"].map(self.failed).to_numpy(bool)


@dataclass(frozen=True)
class TestRows:
    """Snapshots of a block's batches, columns as in `TrainRows.rows`."""

    __test__ = False  # no class of tests, whatever its name
    rows: pd.DataFrame


Rival = Callable[[TrainRows, TestRows], np.ndarray]


def plain_lightgbm(train: TrainRows, test: TestRows) -> np.ndarray:
    """Log-odds of LightGBM, averaged over five seeds: no class weights, no tuning."""
    rows, failed = train.labelled()
    if one_class(failed):
        return np.zeros(len(test.rows))
    return boosted(rows, failed, plain_categories(test.rows))


@threadpool_limits.wrap(limits=1, user_api="blas")
def logistic_regression(train: TrainRows, test: TestRows) -> np.ndarray:
    """Log-odds of a ridge-penalised logistic regression, standardised at each checkpoint.

    The penalty is the one of `logistic.PENALTIES` with the best AUROC over forward blocks of the training batches.
    """
    rows, failed = train.labelled()
    if one_class(failed):
        return np.zeros(len(test.rows))
    return _regression(rows, failed, plain_categories(test.rows), [_best_penalty(rows, failed)])[0]


@threadpool_limits.wrap(limits=1, user_api="blas")
def mspc_t2(train: TrainRows, test: TestRows) -> np.ndarray:
    """Hotelling's T2 in a principal-component model of the good batches, over its limit at the checkpoint."""
    rows, failed = train.labelled()
    return golden.over_limit(rows[~failed], test.rows, "t2")


@threadpool_limits.wrap(limits=1, user_api="blas")
def mspc_spe(train: TrainRows, test: TestRows) -> np.ndarray:
    """Squared prediction error beside that model, over its limit at the checkpoint."""
    rows, failed = train.labelled()
    return golden.over_limit(rows[~failed], test.rows, "spe")


RIVALS: dict[str, Rival] = {
    "plain LightGBM": plain_lightgbm,
    "logistic regression": logistic_regression,
    "MSPC T2": mspc_t2,
    "MSPC SPE": mspc_spe,
}


def boosted(rows: pd.DataFrame, failed: np.ndarray, others: pd.DataFrame) -> np.ndarray:
    """Mean log-odds of other rows by one booster per seed."""
    import lightgbm as lgb

    encoder = fit_encoder(rows)
    places = [i for i, name in enumerate(encoder.columns) if name in encoder.categories]
    data = lgb.Dataset(encoder.encode(rows), failed.astype(float), categorical_feature=places, params=TREES)
    X = encoder.encode(others)
    boosters = (lgb.train(TREES | {"seed": seed}, data, num_boost_round=ROUNDS) for seed in SEEDS)
    drawn = [np.asarray(booster.predict(X, raw_score=True, num_threads=1)) for booster in boosters]
    return np.stack(drawn).mean(axis=0)


def plain_categories(rows: pd.DataFrame) -> pd.DataFrame:
    """Columns of pandas categories as text, which the encoder takes for categories."""
    coded = [name for name, dtype in rows.dtypes.items() if isinstance(dtype, pd.CategoricalDtype)]
    return rows.astype(dict.fromkeys(coded, "str")) if coded else rows


def one_class(failed: np.ndarray) -> bool:
    """Whether there is nothing to tell apart."""
    return bool(failed.all() or not failed.any())


def _regression(
    rows: pd.DataFrame, failed: np.ndarray, others: pd.DataFrame, penalties: list[float]
) -> list[np.ndarray]:
    """Log-odds of other rows at each penalty."""
    scaling = logistic.fit_scaling(rows, by_checkpoint=True)
    X, theirs = scaling.matrix(rows), scaling.matrix(_at_known(others, scaling.checkpoints_h))
    return [logistic.fit(X, failed, rows, penalty).decision_function(theirs) for penalty in penalties]


def _at_known(rows: pd.DataFrame, checkpoints_h: np.ndarray) -> pd.DataFrame:
    """A checkpoint that no training batch has is read as the newest one before it."""
    place = np.searchsorted(checkpoints_h, rows["checkpoint_h"].to_numpy(float), side="right") - 1
    return rows.assign(checkpoint_h=checkpoints_h[np.maximum(place, 0)])


def _best_penalty(rows: pd.DataFrame, failed: np.ndarray) -> float:
    """Outcomes that became known only after a block began count as known: this decides the penalty, no score."""
    penalties = list(logistic.PENALTIES)
    place, batches = pd.factorize(rows["batch_id"])  # in order of start
    right = np.zeros(len(penalties))
    edges = np.linspace(len(batches) * _WARM_UP, len(batches), _BLOCKS + 1).astype(int)
    for begin, end in pairwise(edges):
        before, block = place < begin, (place >= begin) & (place < end)
        if not before.any() or one_class(failed[before]) or not block.any() or one_class(failed[block]):
            continue
        mine, theirs = (rows[chosen].reset_index(drop=True) for chosen in (before, block))
        scores = _regression(mine, failed[before], theirs, penalties)
        right += [failed[block].sum() * roc_auc_score(failed[block], score) for score in scores]
    return penalties[int(np.argmax(right))]
