"""What residuals of the sensors add to the slow score: a logistic regression with the slow score as its offset.

The slow score learns from checkpoints, each batch counting once; a fault that ends a batch within hours is lost among them.
The head learns from rows every few hours, with slopes that cannot be negative: departing from what is expected never
lowers a risk.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import expit

from models.learners.blend import Blend

PENALTY = 0.3


def fit_fast_head(offset: np.ndarray, columns: np.ndarray, failed: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Intercept and slopes, shape (1 + columns,).

    Args:
        offset: Log-odds of the slow score, of batches that neither it nor the residuals had seen, shape (n,).
        columns: Of the residuals, each 0 where nothing departs, shape (n, columns).
        failed: Outcomes, shape (n,).
        weight: Of each row, shape (n,); the rows of a batch sum to at most 1.
    """
    from scipy.optimize import minimize

    y = failed.astype(float)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        z = offset + parameters[0] + columns @ parameters[1:]
        residual = weight * (expit(z) - y)
        value = weight @ (np.logaddexp(0, z) - y * z) + 0.5 * PENALTY * (parameters[1:] @ parameters[1:])
        return value, np.r_[residual.sum(), columns.T @ residual + PENALTY * parameters[1:]]

    bounds = [(None, None)] + [(0.0, None)] * columns.shape[1]
    return minimize(loss, x0=np.zeros(1 + columns.shape[1]), jac=True, bounds=bounds, method="L-BFGS-B").x


def pays(offset: np.ndarray, columns: np.ndarray, failed: np.ndarray, weight: np.ndarray, fold: np.ndarray) -> bool:
    """Whether the slopes of a head fitted without a fold lower the log-loss of that fold, over all folds together.

    It is compared with a head of an intercept alone, so that a failure rate that differs between folds decides nothing. With one
    fold nothing can be held out, and nothing is added.
    """
    gain, folds = 0.0, np.unique(fold)
    for name in folds if len(folds) > 1 else ():
        own = fold == name
        if not failed[~own].any():
            continue
        losses = []
        for part in (columns[:, :0], columns):
            made = fit_fast_head(offset[~own], part[~own], failed[~own], weight[~own])
            losses.append(_loss(offset[own] + made[0] + part[own] @ made[1:], failed[own]))
        gain += float(weight[own] @ (losses[0] - losses[1]))
    return gain > 0.0


def with_head(blend: Blend, names: tuple[str, ...], head: np.ndarray) -> Blend:
    """A blend that adds the columns of the residuals by the slopes of a head."""
    nothing, one = (0.0,) * len(names), (1.0,) * len(names)
    return replace(
        blend,
        names=(*blend.names, *names),
        usual=(*blend.usual, *nothing),
        scale=(*blend.scale, *one),
        slopes=(*blend.slopes, *(float(slope) for slope in head[1:])),
        intercept=blend.intercept + float(head[0]),
    )


def _loss(log_odds: np.ndarray, failed: np.ndarray) -> np.ndarray:
    return np.logaddexp(0, log_odds) - failed * log_odds
