"""Grouped folds of data sets without dates: the product and its rivals learn from the same batches and score the same ones.

The product trains on a calendar, so the batches of a fold get one that means nothing: they start one hour apart in the order
of the table, those of the test fold after all others. No feature is made of it; but what the product does forward in time
inside the training part (blend, calibration, thresholds) follows it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from benchmarks.field.rivals import RIVALS, TestRows, TrainRows
from benchmarks.field.undated import UndatedSet
from features.dictionary import feature
from features.errors import TrainingError
from features.process import ProcessDefinition
from models.backtest.calendar import Retraining
from models.backtest.fits import Fits
from models.backtest.history import History, LookAheadError
from models.backtest.replay import replay
from models.policy import Policy

PRODUCT = "batchguard"
ORDER = "batchguard's own forward folds follow the order of the table, which is not one of time"
FOLDS, REPEATS = 5, 2
_FIRST, _APART, _KNOWN_AFTER = pd.Timestamp("2000-01-01", tz="UTC"), pd.Timedelta(hours=1), pd.Timedelta(minutes=30)
_WINDOW, _STATISTIC = "before_start", "value"


@dataclass(frozen=True, eq=False)
class FoldScores:
    """Scores of a data set, each batch by models that saw no batch of its group.

    Attributes:
        frames: By method, the product first: `batch_id`, `checkpoint_h`, `failure_probability` of the product or `score`
            of a rival (means over the repeats), `failed`, `as_of`. Where the product refused a fold it is left out: figures
            on the batches of the other folds would compare with none.
        refused: Why, for each training part of which the product makes no model.
    """

    frames: dict[str, pd.DataFrame]
    refused: tuple[str, ...]


def fold_scores(data: UndatedSet, folder: Path) -> FoldScores:
    """Score a data set by the product and every rival; `folder` keeps the models of the product."""
    parts: dict[str, list[pd.DataFrame]] = {method: [] for method in (PRODUCT, *RIVALS)}
    refused = []
    rows, failed = data.rows, data.failed
    for train, test in _folds(data):
        mine, theirs = (rows[rows["batch_id"].isin(ids)] for ids in (train, test))
        for method, score in RIVALS.items():
            found = score(TrainRows(mine, failed[train]), TestRows(theirs))
            parts[method].append(theirs[["batch_id", "checkpoint_h"]].assign(score=found))
        ours = product_scores(data, train, test, folder)
        if isinstance(ours, TrainingError):
            refused.append(ours.what)
        else:
            parts[PRODUCT].append(ours)
    if refused:
        del parts[PRODUCT]
    return FoldScores({method: _mean(each, failed) for method, each in parts.items()}, tuple(refused))


def _folds(data: UndatedSet) -> Iterator[tuple[pd.Index, pd.Index]]:
    """Ids that train and ids that test, fold by fold of every repeat."""
    order, y, groups = data.X.index, data.failed.to_numpy(bool), data.groups.to_numpy()
    for repeat in range(REPEATS):
        split = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=repeat)
        for train, test in split.split(np.zeros(len(order)), y, groups):
            yield order[train], order[test]


def _mean(parts: list[pd.DataFrame], failed: pd.Series) -> pd.DataFrame:
    each = pd.concat(parts).groupby(["batch_id", "checkpoint_h"], as_index=False).mean()
    return each.assign(failed=each["batch_id"].map(failed).astype(bool), as_of=pd.Timestamp(0, tz="UTC"))


def product_scores(data: UndatedSet, train: pd.Index, test: pd.Index, folder: Path) -> pd.DataFrame | TrainingError:
    """Scores of the test batches under the default policy, or why the product makes no model of the training batches.

    Args:
        data: The data set.
        train: Ids of the training batches; the outcomes of no others are known to the model.
        test: Ids of the test batches, with no group among those of `train`.
        folder: Keeps the model.

    Returns:
        `batch_id`, `checkpoint_h` (0), `failure_probability`.
    """
    history = fold_history(data, train, test)
    moment = history.started[test].min()
    policy = Policy()
    try:
        once = replay(history, policy, Fits(folder, policy), dates=[Retraining(1, moment, moment)])
    except LookAheadError:
        raise
    except TrainingError as error:
        return error
    return once.scores[["batch_id", "checkpoint_h", "failure_probability"]]


def fold_history(data: UndatedSet, train: pd.Index, test: pd.Index) -> History:
    """A history in the order of the table, first of the training batches and then of the test batches.

    The outcome of each batch is known before the next one starts. A group is a subject, so that the product's own folds keep
    its batches on one side as well.
    """
    order = data.X.index
    ids = [*order[order.isin(train)], *order[order.isin(test)]]
    start = pd.Series(pd.date_range(_FIRST, periods=len(ids), freq=_APART, unit="us"))
    batches = pd.DataFrame({
        "batch_id": pd.Series(ids, dtype="str"), "started_at": start, "subject_key": data.groups[ids].astype("str").to_numpy(),
    })  # fmt: skip
    process = _process(data)
    features = tuple(
        feature(p.name, _WINDOW, _STATISTIC, label=p.label, meaning=f"{p.label} before the outcome")
        for p in process.parameter
    )
    values = data.X.loc[ids].set_axis([entry.name for entry in features], axis=1).reset_index(drop=True)
    at = batches[["batch_id", "started_at"]].assign(checkpoint_h=0.0, as_of=start)
    snapshots = pd.concat([at, values], axis=1)
    log = pd.DataFrame({
        "batch_id": batches["batch_id"], "failed": data.failed[ids].to_numpy(bool), "label_available_at": start + _KNOWN_AFTER,
        "censored": False, "revision": 0,
    })  # fmt: skip
    return History(process, snapshots, snapshots.iloc[:0], features, batches, log.astype({"revision": "int32"}))


def _process(data: UndatedSet) -> ProcessDefinition:
    """One checkpoint, at the start, budgets as by default, and the columns as parameters, which are numbered."""
    head = {"id": data.name, "name": data.name, "version": "1", "planned_duration_h": 1, "checkpoints_h": [0]}
    columns = [
        {"name": f"x{place}", "label": name, "unit": "1", "kind": "assay"} for place, name in enumerate(data.X, start=1)
    ]
    return ProcessDefinition.model_validate({"process": head, "parameter": columns})
