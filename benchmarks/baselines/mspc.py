"""Golden-batch MSPC: a principal-component model of the good batches at each hour, with T2 and SPE.

Time-sliced PCA (Ramaker et al., J. Chemometrics 2005): at every hour the deviations of all parameters from the usual
are one row a batch. A statistic is divided by its 95th percentile among good training batches at that hour and must
hold for three hours. Parameters, clipping of deviations and share of variance kept are chosen on forward folds.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
import pandas as pd

from benchmarks.baselines.folds import folds_of, recall_at_budgets
from benchmarks.baselines.golden_limits import ON_DELAY_H, PARAMETERS
from benchmarks.baselines.reference import Reference, fit_reference
from benchmarks.baselines.signals import Signals, comes_in_series, signals
from pipelines.plant import Plant

Statistic = Literal["t2", "spe"]
STATISTICS: tuple[Statistic, ...] = ("t2", "spe")
_VARIANCES = (0.5, 0.8)
_LIMIT_SHARE = 0.95
_FIT_CLIP = 5.0  # a slip of the pen in a good batch must not become a component


@dataclass(frozen=True)
class Choice:
    """How the model is built: `parameters` as in golden limits, clipping of scored deviations, variance kept."""

    parameters: str
    clip: float
    variance: float


@dataclass(frozen=True)
class Model:
    """A model for each hour.

    Attributes:
        used: Which parameters, shape (parameters,).
        vectors: Eigenvectors, ascending, shape (H, used, used).
        values: Eigenvalues, same order, shape (H, used).
        kept: Which components are in the model, shape (H, used).
        limits: 95th percentiles of good training batches of `t2` and `spe`, shape (H,) each.
    """

    reference: Reference
    choice: Choice
    used: np.ndarray
    vectors: np.ndarray
    values: np.ndarray
    kept: np.ndarray
    limits: dict[Statistic, np.ndarray]


def scores_t2(plant: Plant, train: pd.Series, test: tuple[str, ...]) -> pd.DataFrame:
    """Hourly T2 of test batches over its limit: `batch_id, checkpoint_h, score`."""
    return _scores(plant, train, test, "t2")


def scores_spe(plant: Plant, train: pd.Series, test: tuple[str, ...]) -> pd.DataFrame:
    """Hourly SPE of test batches over its limit: `batch_id, checkpoint_h, score`."""
    return _scores(plant, train, test, "spe")


def spe_contributions(plant: Plant, train: pd.Series, at: pd.DataFrame) -> pd.DataFrame:
    """What each parameter adds to the SPE (its squared residual).

    Args:
        plant: The plant.
        train: Outcome by batch, as known at the cut.
        at: `batch_id`, `checkpoint_h`: where it is wanted, for example at first alarms; whole hours of the plan.

    Returns:
        `batch_id, checkpoint_h, parameter, contribution`, one row per parameter in the model.
    """
    data, model = signals(plant), _fit_best(plant, train, "spe")
    rows, step = data.rows(at["batch_id"]), np.searchsorted(data.hours, at["checkpoint_h"].to_numpy())
    z = model_input(model, data, rows, model.choice.clip)[step, np.arange(len(rows))]  # (asked, used)
    vectors = model.vectors[step] * model.kept[step][:, None, :]
    residual = z - np.einsum("nij,nj->ni", vectors, np.einsum("ni,nij->nj", z, vectors))
    names = np.array(data.parameters)[model.used]
    return pd.DataFrame(
        {
            "batch_id": np.repeat(at["batch_id"].to_numpy(), len(names)),
            "checkpoint_h": np.repeat(at["checkpoint_h"].to_numpy(), len(names)),
            "parameter": np.tile(names, len(at)),
            "contribution": (residual**2).ravel(),
        }
    )


def fit(data: Signals, good: np.ndarray, choice: Choice) -> Model:
    """Learn the model of every hour from good batches."""
    model = _components(data, good, choice.parameters)
    return _with_limits(model, choice, (model_input(model, data, good, choice.clip) @ model.vectors) ** 2)


def _components(data: Signals, good: np.ndarray, parameters: str) -> Model:
    reference = fit_reference(data, good, ("process_version",))
    used = comes_in_series(data, good) if parameters == PARAMETERS[0] else np.ones(len(data.parameters), bool)
    none = np.zeros((len(data.hours), int(used.sum())), bool)
    model = Model(reference, Choice(parameters, _FIT_CLIP, 0.0), used, none, none, none, {})
    z = model_input(model, data, good, _FIT_CLIP)
    values, vectors = np.linalg.eigh(np.swapaxes(z, 1, 2) @ z / len(good))
    return replace(model, vectors=vectors, values=np.maximum(values, 1e-6))


def _with_limits(model: Model, choice: Choice, squared: np.ndarray) -> Model:
    """Keep the components that explain so much, and set limits from the good batches' squared scores."""
    share = model.values / model.values.sum(axis=1, keepdims=True)
    by_larger = np.cumsum(share[:, ::-1], axis=1)[:, ::-1] - share
    model = replace(model, choice=choice, kept=by_larger < choice.variance)
    limits = {name: np.quantile(s, _LIMIT_SHARE, axis=1) for name, s in statistics(model, squared).items()}
    return replace(model, limits=limits)


def model_input(model: Model, data: Signals, rows: np.ndarray, clip: float) -> np.ndarray:
    """Clipped deviations, float32 of shape (H, len(rows), used); 0 where nothing is known."""
    return np.clip(_hourly(model.reference.z(data, rows)[:, model.used]), -clip, clip)


def _scores(plant: Plant, train: pd.Series, test: tuple[str, ...], name: Statistic) -> pd.DataFrame:
    data, model = signals(plant), _fit_best(plant, train, name)
    rows = data.rows(test)
    squared = (model_input(model, data, rows, model.choice.clip) @ model.vectors) ** 2
    return data.frame(rows, _over_limit(model, squared, data, rows, name))


def _fit_best(plant: Plant, train: pd.Series, name: Statistic) -> Model:
    caught = _caught(plant, tuple(train.items()))
    choice = max((choice for choice, of in caught if of == name), key=lambda choice: caught[choice, name])
    data = signals(plant)
    return fit(data, data.rows(train.index[~train]), choice)


@lru_cache(maxsize=2)
def _caught(plant: Plant, outcomes: tuple[tuple[str, bool], ...]) -> dict[tuple[Choice, Statistic], float]:
    """Failures caught over the folds, averaged over budgets, by choice and statistic."""
    data, caught = signals(plant), {}
    for then, now in folds_of(plant, pd.Series(dict(outcomes), dtype=bool)):
        good, rows, failed = data.rows(then.index[~then]), data.rows(now.index), now.to_numpy(bool)
        for parameters in PARAMETERS[:2]:
            components = _components(data, good, parameters)
            for clip in (np.inf, _FIT_CLIP, _FIT_CLIP / 2):
                squared = [(model_input(components, data, r, clip) @ components.vectors) ** 2 for r in (good, rows)]
                for choice in (Choice(parameters, clip, variance) for variance in _VARIANCES):
                    model = _with_limits(components, choice, squared[0])
                    for name in STATISTICS:
                        highest = np.fmax.reduce(_over_limit(model, squared[1], data, rows, name), axis=1)
                        recall = recall_at_budgets(highest, failed)
                        caught[choice, name] = caught.get((choice, name), 0.0) + recall * failed.sum()
    return caught


def _over_limit(model: Model, squared: np.ndarray, data: Signals, rows: np.ndarray, name: Statistic) -> np.ndarray:
    """Least ratio of the statistic to its limit over the last three hours, shape (len(rows), H); NaN past the end."""
    ratio = (statistics(model, squared)[name] / model.limits[name][:, None]).T
    ratio[data.hours[None, :] > data.end_h[rows][:, None]] = np.nan
    steps = max(1, round(ON_DELAY_H / (data.hours[1] - data.hours[0])))
    out = np.full_like(ratio, np.nan)
    out[:, steps - 1 :] = np.lib.stride_tricks.sliding_window_view(ratio, steps, axis=1).min(axis=2)
    return out


def statistics(model: Model, squared: np.ndarray) -> dict[Statistic, np.ndarray]:
    """T2 and SPE, shape (H, batches), from squared scores on all components, shape (H, batches, used)."""
    inside, outside = model.kept / model.values, (~model.kept).astype(float)
    return {"t2": (squared @ inside[..., None])[..., 0], "spe": (squared @ outside[..., None])[..., 0]}


def _hourly(z: np.ndarray) -> np.ndarray:
    hourly = np.ascontiguousarray(np.moveaxis(z, 2, 0))  # in one piece: matrix products of strided views are slow
    return np.nan_to_num(hourly, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
