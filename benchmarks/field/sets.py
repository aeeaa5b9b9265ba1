"""All public data sets at hand, replayed with the product's defaults and at most twenty trainings, beside the rivals.

Sets without dates have no calendar: grouped folds, shown and held to no bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from benchmarks.field.dated import DATA_SETS, DataSet, data_folder, ingested
from benchmarks.field.histories import history_of_set
from benchmarks.field.measures import differences, measured
from benchmarks.field.replays import alike, as_probability, product, rival
from benchmarks.field.rivals import RIVALS, Rival, TestRows, TrainRows
from benchmarks.field.series import of_series
from benchmarks.field.undated import UNDATED, UndatedSet
from benchmarks.record import figure
from models.policy import Policy

Figures = list[dict[str, object]]
PRODUCT, PLAIN = "batchguard", "plain LightGBM"
_LOG_ODDS = frozenset({PLAIN, "logistic regression", "tsfresh + LightGBM"})  # the others give no probability
_FOLDS, _REPEATS = 5, 2


def figures(folder: Path, names: tuple[str, ...] = ()) -> Figures:
    """Figures of every data set, or of those named."""
    out: Figures = []
    for data in DATA_SETS:
        if not names or data.name in names:
            out += _dated(data, folder)
    for name, load in UNDATED.items():
        if not names or name in names:
            out += _undated(name, load(data_folder() / name))
    return out


def _dated(data: DataSet, folder: Path) -> Figures:
    history, policy = history_of_set(data, folder), Policy()
    rivals: dict[str, Rival] = dict(RIVALS)
    if data.name == "indpensim":
        rivals |= of_series(ingested(data, folder))
    frames = {PRODUCT: product(history, policy, folder / "fits")}
    frames |= {name: _stated(name, rival(history, policy, method, between=False)) for name, method in rivals.items()}
    at = frames[PRODUCT]["checkpoint_h"].isin(history.process.checkpoints_h)
    frames[PRODUCT] = frames[PRODUCT][at]
    return _compared(data.title, alike(frames), data.note)


def _undated(name: str, data: UndatedSet) -> Figures:
    """Grouped folds: no batch of a group is predicted by a model that saw another of it."""
    rows, failed, groups = data.rows, data.failed, data.groups
    order = pd.Index(rows["batch_id"].drop_duplicates())
    y, group = failed.reindex(order).to_numpy(bool), groups.reindex(order).to_numpy()
    frames: dict[str, list[pd.DataFrame]] = {method: [] for method in RIVALS}
    for repeat in range(_REPEATS):
        folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=repeat)
        for train, test in folds.split(np.zeros(len(order)), y, group):
            mine, theirs = (rows[rows["batch_id"].isin(order[places])] for places in (train, test))
            for method, score in RIVALS.items():
                found = score(TrainRows(mine, failed.reindex(order[train])), TestRows(theirs))
                frames[method].append(theirs[["batch_id", "checkpoint_h"]].assign(score=found))
    made = {}
    for method, parts in frames.items():
        each = pd.concat(parts).groupby(["batch_id", "checkpoint_h"], as_index=False)["score"].mean()
        each = each.assign(failed=each["batch_id"].map(failed).astype(bool), as_of=pd.Timestamp(0, tz="UTC"))
        made[method] = _stated(method, each)
    return _compared(f"{name} (no dates: grouped folds)", made, data.note)


def _stated(method: str, scores: pd.DataFrame) -> pd.DataFrame:
    return as_probability(scores) if method in _LOG_ODDS else scores


def _compared(title: str, frames: Mapping[str, pd.DataFrame], note: str) -> Figures:
    out: Figures = []
    for method, scores in frames.items():
        for row in measured(scores).to_dict("records"):
            out.append(_figure(f"{title}, {method}, {row['measure']}", row["value"], "", row, note))
    for method, scores in frames.items():
        if method != PLAIN:
            for row in differences(scores, frames[PLAIN]).to_dict("records"):
                name = f"{title}, {method} less {PLAIN}, {row['measure']}"
                out.append(_figure(name, row["difference"], "difference", row, note))
    return out


def _figure(name: str, value: float, unit: str, row: Mapping[str, float], note: str) -> dict[str, object]:
    low, high = (None if np.isnan(row[end]) else float(row[end]) for end in ("low", "high"))
    return figure(
        name, float(value), unit, low=low, high=high, n=int(row["n"]), n_failed=int(row["n_failed"]), note=note
    )
