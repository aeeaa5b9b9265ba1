"""One data set replayed: the product under several policies, and rivals on the same dates, batches and rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from benchmarks.field.rivals import Rival, TestRows, TrainRows
from models.backtest.calendar import Retraining, retrainings
from models.backtest.fits import Fits
from models.backtest.history import History
from models.backtest.replay import replay
from models.backtest.versions import LEAST
from models.policy import Policy

KEYS = ["batch_id", "checkpoint_h", "as_of"]


def product(
    history: History, policy: Policy, folder: Path, dates: tuple[Retraining, ...] | None = None
) -> pd.DataFrame:
    """Scores of the product under a policy (`models.backtest.replay.Replayed.scores`)."""
    return replay(history, policy, Fits(folder, policy), dates=dates).scores


def rival(history: History, policy: Policy, method: Rival, *, between: bool = True) -> pd.DataFrame:
    """Scores of a rival that learns at the same dates from all that was known, for the batches of each block.

    Returns:
        `batch_id`, `checkpoint_h`, `as_of`, `failed`, `score` at checkpoints and, if wanted, between them.
    """
    dates = dates_of(history, policy)
    ends = [*(date.at for date in dates), pd.Timestamp.max.tz_localize("UTC")][1:]
    outcomes = history.outcomes.set_index("batch_id")["failed"]
    rows = (
        history.scored
        if between
        else history.scored[history.scored["checkpoint_h"].isin(history.process.checkpoints_h)]
    )
    parts = []
    for date, end in zip(dates, ends, strict=True):
        known = history.at(date.at)
        block = rows[
            (rows["started_at"] >= date.at) & (rows["started_at"] < end) & rows["batch_id"].isin(outcomes.index)
        ]
        if block.empty:
            continue
        failed = known.outcomes.set_index("batch_id")["failed"]
        score = method(TrainRows(known.snapshots(failed.index), failed), TestRows(block))
        parts.append(block[KEYS].assign(score=score, failed=block["batch_id"].map(outcomes).astype(bool)))
    return pd.concat(parts, ignore_index=True)


def dates_of(history: History, policy: Policy) -> tuple[Retraining, ...]:
    """The trainings that a policy asks for."""
    return retrainings(history.first_outcomes, policy, least=LEAST, started=history.started)


def newest_batches(scores: pd.DataFrame, history: History, first: int) -> pd.DataFrame:
    """Scores of the batches from a place in the order of start on, the first batch being 1."""
    order = history.batches.sort_values(["started_at", "batch_id"])["batch_id"]
    return scores[scores["batch_id"].isin(order.iloc[first - 1 :])].reset_index(drop=True)


def alike(frames: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The frames, each with the batches that all of them scored."""
    common = set.intersection(*(set(frame["batch_id"]) for frame in frames.values()))
    return {name: frame[frame["batch_id"].isin(common)].reset_index(drop=True) for name, frame in frames.items()}


def largest_deviation(train: TrainRows, test: TestRows) -> np.ndarray:
    """Alarm limits: the largest distance of any level from the good batches of its checkpoint, in their robust spreads.

    A limit on each parameter alone, all equally far from usual, is what alarm limits amount to; the share of good batches
    alarmed moves them together.
    """
    from benchmarks.field.golden import levels

    rows, failed = train.labelled()
    good = rows[~failed]
    names, hours = levels(good), np.unique(good["checkpoint_h"])
    out = np.zeros(len(test.rows))
    place = np.clip(np.searchsorted(hours, test.rows["checkpoint_h"], side="right") - 1, 0, None)
    for i, hour in enumerate(hours):
        at = np.flatnonzero(place == i)
        usual = good.loc[good["checkpoint_h"] == hour, names].astype(float)
        middle = usual.median()
        spread = np.maximum(1.4826 * (usual - middle).abs().median(), usual.std() / 3)
        far = ((test.rows.iloc[at][names].astype(float) - middle) / spread.where(spread > 0)).abs()
        out[at] = far.max(axis=1).fillna(0.0)
    return out


def as_probability(scores: pd.DataFrame) -> pd.DataFrame:
    """Log-odds of a rival as stated probabilities."""
    return scores.assign(failure_probability=expit(scores["score"]))
