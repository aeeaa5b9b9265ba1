"""A bag of models, one for all hours or one for each stage of a batch: the same rows and settings, seeds one after the other.

Trees that stand alone see the same columns at every checkpoint, and what a column says changes with the stage: with few
checkpoints each has models of its own. Between two checkpoints the models of the earlier one score.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from models.learners.forest import Forest
from models.learners.trees import Bins, Settings, portable_text

if TYPE_CHECKING:
    import lightgbm as lgb

MOST_STAGES = 6  # with more checkpoints than that one model serves all hours
LEAST_OUTCOMES = 5  # batches of each outcome at a checkpoint that has models of its own
_LEAST_ROWS = 5  # in a leaf of a stage's trees
Made = Callable[[Forest, np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Bag:
    """Grown trees.

    Attributes:
        from_h: Hour from which the models of each stage score, increasing; the first ones score before it, too.
        stages: The members of each stage.
    """

    from_h: tuple[float, ...]
    stages: tuple[tuple[lgb.Booster, ...], ...]

    def log_odds(self, X: np.ndarray, checkpoint_h: np.ndarray) -> np.ndarray:
        """Mean raw log-odds of rows, shape (n,)."""
        out, stage = np.empty(len(X)), stage_of(checkpoint_h, self.from_h)
        for number in np.unique(stage):
            rows = stage == number
            each = [b.predict(X[rows], raw_score=True, num_threads=1) for b in self.stages[number]]
            out[rows] = np.mean(each, axis=0)
        return out

    @property
    def texts(self) -> tuple[str, ...]:
        """Models as text, stage by stage."""
        return tuple(portable_text(booster) for members in self.stages for booster in members)


@dataclass(frozen=True, eq=False)
class Forests:
    """The frozen trees of a bag.

    Attributes:
        from_h: As in `Bag`.
        of_stage: The forest of each stage.
    """

    from_h: tuple[float, ...]
    of_stage: tuple[Forest, ...]

    @classmethod
    def of(cls, texts: tuple[str, ...], from_h: tuple[float, ...]) -> Forests:
        """From the texts of a bag; every stage has as many members."""
        size = len(texts) // len(from_h)
        return cls(from_h, tuple(Forest.of(texts[i * size : (i + 1) * size]) for i in range(len(from_h))))

    def log_odds(self, inputs: np.ndarray, checkpoint_h: np.ndarray) -> np.ndarray:
        """Raw log-odds of rows by each member, shape (n, members)."""
        return self._each(inputs, checkpoint_h, Forest.log_odds, len(self.of_stage[0].base))

    def contributions(self, inputs: np.ndarray, checkpoint_h: np.ndarray) -> np.ndarray:
        """What each input adds to the mean raw log-odds, shape (n, inputs); with `base` a row sums to the mean."""
        return self._each(inputs, checkpoint_h, Forest.contributions, inputs.shape[1])

    def base(self, checkpoint_h: np.ndarray) -> np.ndarray:
        """Mean raw log-odds of which nothing but the hour is known, shape (n,)."""
        return self._bases[stage_of(checkpoint_h, self.from_h)]

    @cached_property
    def _bases(self) -> np.ndarray:
        return np.array([float(forest.base.mean()) for forest in self.of_stage])

    def _each(self, inputs: np.ndarray, checkpoint_h: np.ndarray, made: Made, width: int) -> np.ndarray:
        if len(self.of_stage) == 1:
            return made(self.of_stage[0], inputs)
        out, stage = np.empty((len(inputs), width)), stage_of(checkpoint_h, self.from_h)
        for number in np.unique(stage):
            rows = stage == number
            out[rows] = made(self.of_stage[number], inputs[rows])
        return out


def stage_of(checkpoint_h: np.ndarray, from_h: tuple[float, ...]) -> np.ndarray:
    """Stage of each hour: that of the newest checkpoint up to it; the first before any."""
    return np.maximum(np.searchsorted(from_h, np.asarray(checkpoint_h, float), side="right") - 1, 0)


def stages_of(checkpoint_h: np.ndarray, failed: np.ndarray, *, apart: bool = True) -> tuple[float, ...]:
    """Hours from which stages have models of their own.

    A checkpoint at which few batches of an outcome have a row belongs to the stage before it.

    Args:
        checkpoint_h: Of training rows, shape (n,); a batch has one row at each.
        failed: Outcomes, shape (n,).
        apart: Whether stages may have models of their own at all.

    Returns:
        The first checkpoint alone where they may not, where there are more than `MOST_STAGES`, or where it has too few
        batches of an outcome.
    """
    hours = np.unique(checkpoint_h)
    enough = [h for h in hours if min((at := failed[checkpoint_h == h]).sum(), (~at).sum()) >= LEAST_OUTCOMES]
    if not apart or len(hours) > MOST_STAGES or not enough or enough[0] != hours[0]:
        return (float(hours[0]),)
    return tuple(float(h) for h in enough)


def fit_bag(
    bins: Bins, places: np.ndarray, failed: np.ndarray, settings: Settings, members: int, from_h: tuple[float, ...]
) -> Bag:
    """Grow the trees of every stage.

    Args:
        bins: Of the table.
        places: Rows that train, ascending.
        failed: Their outcomes.
        settings: Of the trees; those of a stage may have smaller leaves.
        members: Models of each stage.
        from_h: From `stages_of`, maybe of more rows: a stage in which an outcome is missing here learns from all rows.
    """
    stage = stage_of(bins.table.rows["checkpoint_h"].to_numpy(float)[places], from_h)
    grown = []
    for number in range(len(from_h)):
        own = np.flatnonzero(stage == number)
        alone = len(from_h) > 1 and 0 < failed[own].sum() < len(own)
        rows = own if alone else np.arange(len(places))
        shape = replace(settings, least_rows=_LEAST_ROWS) if alone else settings
        data = bins.rows(places[rows], failed[rows], times=len(from_h) if alone else 1)
        grown.append(tuple(bins.fit(data, shape, seed=bins.plan.seed + i)[0] for i in range(members)))
    return Bag(from_h, tuple(grown))
