"""What could still be done: the smallest change of controllable parameters that brings a batch below the threshold.

Each parameter that can still be moved (`models.explain.changeable`) is tried over a fixed grid of values inside its normal
range, with the snapshot changed by the rule of `models.explain.counterfactual`; then the move is made as small as it can be
by bisection. Pairs are tried only where no single parameter does. Smallest means: as a share of the width of the
normal range, summed over a pair. A change is the model's view of batches that looked so, not what will happen: the
model knows what goes with failure, not what causes it. "No such change" is an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.dictionary import Feature
from features.process import ProcessDefinition
from models.explain.changeable import LeftOut, changeable
from models.explain.search import Change, Move, Predict, Search
from models.explain.words import duration, number, percent, with_unit

_VIEW = "the model's view, not a promise"


@dataclass(frozen=True)
class WhatIf:
    """What could still be done about one batch.

    Attributes:
        probability: The risk as it is.
        threshold: What it should be below.
        horizon_h: For how many hours a move is taken to have been held.
        changes: Smallest first, one for each parameter that does alone, or the best pair; empty where nothing does or
            the risk is below the threshold already.
        left_out: Controllable parameters that were not moved, and why.
        sentence: The smallest change to read, or that there is none.
    """

    probability: float
    threshold: float
    horizon_h: float
    changes: tuple[Change, ...]
    left_out: tuple[LeftOut, ...]
    sentence: str


def what_if(
    predict: Predict,
    snapshots: pd.DataFrame,
    process: ProcessDefinition,
    features: tuple[Feature, ...],
    *,
    threshold: float | Sequence[float] | np.ndarray,
    horizon_h: float | None = None,
) -> list[WhatIf]:
    """The smallest change for each snapshot; deterministic, one call of `predict` for a batch's grid and few more.

    Args:
        predict: Failure probability of snapshots, shape (n,).
        snapshots: `features.contracts.SNAPSHOT`.
        process: Says what is controllable and normal.
        features: Dictionary of all columns of the snapshots.
        threshold: What the risk should be below; one for all, or one per snapshot.
        horizon_h: For how many hours up to the snapshot a move is taken to have been held; None: the longest window.

    Returns:
        One per snapshot, in its order.
    """
    horizon = max(process.process.windows_h, default=process.process.bin_h) if horizon_h is None else horizon_h
    limits = np.broadcast_to(np.asarray(threshold, float), len(snapshots))
    now = predict(snapshots) if len(snapshots) else np.empty(0)
    out = []
    for i in range(len(snapshots)):
        row = snapshots.iloc[[i]]
        movable, left_out = changeable(row.iloc[0], process, features, horizon_h=horizon)
        search = Search(predict, row, movable, float(limits[i]), horizon)
        changes = search.changes() if now[i] >= limits[i] else ()
        held_h = min(horizon, float(row["checkpoint_h"].iloc[0]))
        sentence = _sentence(float(now[i]), float(limits[i]), held_h, changes, len(movable))
        out.append(WhatIf(float(now[i]), float(limits[i]), horizon, changes, left_out, sentence))
    return out


def _sentence(risk: float, threshold: float, held_h: float, changes: tuple[Change, ...], n_movable: int) -> str:
    if risk < threshold:
        return f"Risk {percent(risk)} is below {percent(threshold)} as it is."
    if not n_movable:
        return "No such change: no controllable parameter can still be moved."
    if not changes:
        return (
            f"No such change: no controllable parameter tried inside its normal range, alone or in a pair, brings the risk "
            f"below {percent(threshold)} ({_VIEW})."
        )
    moves = " and ".join(_in_words(move) for move in changes[0].moves)
    before, limit = percent(risk), percent(threshold)
    if before == limit:  # in whole percent there would be no change
        before, limit = f"{100 * risk:.2f} %", f"{100 * threshold:.2f} %"
    return f"{moves}, held for {duration(held_h)}: risk {before} -> below {limit} ({_VIEW})."


def _in_words(move: Move) -> str:
    return f"{move.label} from {number(move.now)} ({move.now_is}) to {with_unit(f'{move.to:g}', move.unit)}"
