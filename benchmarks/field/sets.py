"""All public data sets at hand, replayed with the product's defaults and at most twenty trainings, beside the rivals.

Sets without dates have no calendar: grouped folds, shown and held to no bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.field.dated import DATA_SETS, DataSet, data_folder, ingested
from benchmarks.field.histories import history_of_set
from benchmarks.field.measures import differences, measured
from benchmarks.field.replays import alike, as_probability, product, rival
from benchmarks.field.rivals import RIVALS, Rival
from benchmarks.field.series import of_series
from benchmarks.field.undated import UNDATED, UndatedSet
from benchmarks.field.undated_folds import FOLDS, ORDER, PRODUCT, REPEATS, fold_scores
from benchmarks.record import figure
from models.policy import Policy

Figures = list[dict[str, object]]
PLAIN = "plain LightGBM"
_LOG_ODDS = frozenset({PLAIN, "logistic regression", "tsfresh + LightGBM"})  # the others give no probability


def figures(folder: Path, names: tuple[str, ...] = ()) -> Figures:
    """Figures of every data set, or of those named."""
    out: Figures = []
    for data in DATA_SETS:
        if not names or data.name in names:
            out += _dated(data, folder)
    for name, load in UNDATED.items():
        if not names or name in names:
            out += _undated(load(data_folder() / name), folder / "fits")
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


def _undated(data: UndatedSet, folder: Path) -> Figures:
    """Grouped folds: no batch of a group is predicted by a model that saw another of it."""
    title, found = f"{data.name} (no dates: grouped folds)", fold_scores(data, folder)
    frames = {method: _stated(method, scores) for method, scores in found.frames.items()}
    out = _compared(title, frames, data.note, order=ORDER)
    if found.refused:
        note = f"refused, so it has no figures here: {found.refused[0]}"
        name, unit = f"{title}, {PRODUCT}, folds refused", f"of {FOLDS * REPEATS}"
        n, n_failed = len(data.failed), int(data.failed.sum())
        out.append(figure(name, len(found.refused), unit, n=n, n_failed=n_failed, note=note))
    return out


def _stated(method: str, scores: pd.DataFrame) -> pd.DataFrame:
    return as_probability(scores) if method in _LOG_ODDS else scores


def _compared(title: str, frames: Mapping[str, pd.DataFrame], note: str, *, order: str = "") -> Figures:
    """Figures of each method and its differences to plain LightGBM; `order` is added to the notes of the product."""
    out: Figures = []
    notes = {method: "; ".join(filter(None, (note, order if method == PRODUCT else ""))) for method in frames}
    for method, scores in frames.items():
        for row in measured(scores).to_dict("records"):
            out.append(_figure(f"{title}, {method}, {row['measure']}", row["value"], "", row, notes[method]))
    for method, scores in frames.items():
        if method != PLAIN:
            for row in differences(scores, frames[PLAIN]).to_dict("records"):
                name = f"{title}, {method} less {PLAIN}, {row['measure']}"
                out.append(_figure(name, row["difference"], "difference", row, notes[method]))
    return out


def _figure(name: str, value: float, unit: str, row: Mapping[str, float], note: str) -> dict[str, object]:
    low, high = (None if np.isnan(row[end]) else float(row[end]) for end in ("low", "high"))
    return figure(
        name, float(value), unit, low=low, high=high, n=int(row["n"]), n_failed=int(row["n_failed"]), note=note
    )
