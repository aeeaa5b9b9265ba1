"""Equal-share golden limits: each parameter and side may alarm the same share of good batches.

What an engineer sets up with care and without knowing the faults: per parameter and hour an upper and a lower limit
around the good batches, sensors held for three hours, all limits at the same probability of a false alarm per batch.
The probability at which a batch first breaks a limit orders all budgets at once: the score is -log of the least tail
probability of the running maxima so far.

What else such an engineer would decide is decided on forward folds inside the training part: usual values by process
version and site or not; limits for what is measured or known once a batch or not; one result of an assay or two in a
row; how the tail goes on beyond the training batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np
import pandas as pd

from benchmarks.baselines.folds import folds_of, recall_at_budgets
from benchmarks.baselines.reference import fit_reference
from benchmarks.baselines.signals import Signals, comes_in_series, held, running_maximum, signals, with_covariates
from benchmarks.baselines.tails import TAILS, surprise
from pipelines.plant import Plant

ON_DELAY_H = 3.0
GROUPS = ((), ("process_version",), ("process_version", "site_id"))
AT_ONCE = (1, 2, 3, 4, 6, 8, 12, 100)  # 100: all there are
PARAMETERS = ("in series", "of the batch", "known before, too")


@dataclass(frozen=True)
class Choice:
    """How limits are set.

    Attributes:
        parameters: `in series`: sensors and assays measured again and again; `of the batch`: with those measured once;
            `known before, too`: with numbers known of donor, start and lots.
        by: What splits the batches for their usual values.
        two_results: Whether an assay in series needs two results in a row beyond a limit.
        tail: One of `tails.TAILS`.
    """

    parameters: str
    by: tuple[str, ...]
    two_results: bool
    tail: str


def scores(plant: Plant, train: pd.Series, test: tuple[str, ...]) -> pd.DataFrame:
    """Hourly scores of test batches: `batch_id, checkpoint_h, score`."""
    choice, _ = search(plant, train, at_once=(1,))
    data = signals_for(plant, choice.parameters)
    of_parameters = surprises(data, data.rows(train.index[~train]), data.rows(test), choice)
    return data.frame(data.rows(test), of_parameters.max(axis=1))


def surprises(data: Signals, good: np.ndarray, rows: np.ndarray, choice: Choice) -> np.ndarray:
    """Surprise so far of each parameter on its worse side, shape (len(rows), parameters, H)."""
    usual, later = _highest(data, good, rows, choice)
    return _worse_side(surprise(usual[..., -1], choice.tail)(later))


def search(plant: Plant, train: pd.Series, *, at_once: tuple[int, ...]) -> tuple[Choice, int]:
    """The choice, and the number of parameters taken together, with the best recall over forward folds.

    Args:
        plant: The plant.
        train: Outcome by batch, as known at the cut.
        at_once: Of `AT_ONCE`: numbers of parameters whose largest surprises may be added; 1 is an equal-share limit.
    """
    found = _caught(plant, tuple(train.items()))
    return max((key for key in found if key[1] in at_once), key=lambda key: found[key])


def most_surprising(of_parameters: np.ndarray, at_once: int) -> np.ndarray:
    """Sum of the largest surprises along axis 1."""
    n = of_parameters.shape[1]
    if at_once >= n:
        return of_parameters.sum(axis=1)
    return np.partition(of_parameters, n - at_once, axis=1)[:, n - at_once :].sum(axis=1)


def signals_for(plant: Plant, parameters: str) -> Signals:
    """The held values a choice looks at; `in series` leaves the others in place, without limits."""
    return with_covariates(plant) if parameters == PARAMETERS[2] else signals(plant)


@lru_cache(maxsize=2)
def _caught(plant: Plant, outcomes: tuple[tuple[str, bool], ...]) -> dict[tuple[Choice, int], float]:
    """Failures caught over the folds, averaged over budgets, by choice; simpler choices first."""
    found: dict[tuple[Choice, int], float] = {}
    train = pd.Series(dict(outcomes), dtype=bool)
    for then, now in folds_of(plant, train):
        failed = now.to_numpy(bool)
        for choice, of_parameters in _choices(plant, then, now):
            for at_once in AT_ONCE:
                caught = recall_at_budgets(most_surprising(of_parameters, at_once), failed) * failed.sum()
                found[choice, at_once] = found.get((choice, at_once), 0.0) + float(caught)
    return found


def _choices(plant: Plant, then: pd.Series, now: pd.Series) -> Iterator[tuple[Choice, np.ndarray]]:
    """Each choice with the surprises of later batches at their end, shape (batches, parameters)."""
    data = with_covariates(plant)
    good, rows = data.rows(then.index[~then]), data.rows(now.index)
    of_batch = len(signals(plant).parameters)
    wanted = {PARAMETERS[0]: comes_in_series(data, good), PARAMETERS[1]: np.arange(len(data.parameters)) < of_batch}
    for by, two_results in product(GROUPS, (False, True)):
        usual, later = (a[..., -1] for a in _highest(data, good, rows, Choice(PARAMETERS[2], by, two_results, "")))
        for tail in TAILS:
            of_all = _worse_side(surprise(usual, tail)(later))
            for parameters in PARAMETERS:
                yield Choice(parameters, by, two_results, tail), of_all[:, wanted.get(parameters, slice(None))]


def _highest(data: Signals, good: np.ndarray, rows: np.ndarray, choice: Choice) -> tuple[np.ndarray, np.ndarray]:
    """Running maxima of good batches and of others, shape (batches, 2 x parameters, H): upper sides, then lower."""
    reference = fit_reference(data, good, choice.by)
    series = comes_in_series(data, good)
    both = series if choice.two_results else np.zeros_like(series)
    out = []
    for some in (good, rows):
        z = reference.z(data, some)
        if choice.parameters == PARAMETERS[0]:
            z[:, ~series] = np.nan
        sides = [held(side, data, some, hours=ON_DELAY_H, two_results=both) for side in (z, -z)]
        out.append(running_maximum(np.concatenate(sides, axis=1)))
    return out[0], out[1]


def _worse_side(of_sides: np.ndarray) -> np.ndarray:
    n = of_sides.shape[1] // 2
    return np.maximum(of_sides[:, :n], of_sides[:, n:])
