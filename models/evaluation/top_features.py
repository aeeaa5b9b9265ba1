"""The features that move a predictor's scores most, and the sign that it learnt for each."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from models.explain.words import in_words
from models.predictor import Predictor

TOP = 20
_MOST_ROWS = 3000  # contributions of so many rows are held at once
_LEAST_ROWS = 10  # known values from which on a sign is looked at
_CLEAR = 0.2  # absolute rank correlation below which a feature has no clear sign
COLUMNS = ("feature", "parameter", "words", "mean_abs_log_odds", "learned_sign", "is_category", "n_rows")


def top_features(predictor: Predictor, rows: pd.DataFrame, *, top: int = TOP) -> pd.DataFrame:
    """Features by their mean absolute contribution (SHAP) to the log-odds, largest first; those without any are left out.

    Args:
        predictor: Its own TreeSHAP contributions.
        rows: `features.contracts.SNAPSHOT`; more than 3000 are thinned out evenly.
        top: How many.

    Returns:
        `feature`, `parameter`, `words`, `mean_abs_log_odds`, `learned_sign` (+ where the contribution rises with the value,
        - where it falls, "unclear" where neither, and for categories), `is_category`, `n_rows` (with a value).
    """
    step = max(1, -(-len(rows) // _MOST_ROWS))
    rows = rows.iloc[::step]
    contributions = predictor.contributions(rows)
    values = pd.DataFrame(predictor.encoder.encode(rows), columns=list(predictor.encoder.columns))
    size = contributions.abs().mean().sort_values(ascending=False, kind="stable")
    known = {entry.name: entry for entry in predictor.features}
    table = [
        {
            "feature": name, "parameter": known[name].parameter, "words": in_words(known[name]),
            "mean_abs_log_odds": float(size[name]),
            "learned_sign": "unclear" if is_category else _sign(values[name].to_numpy(), contributions[name].to_numpy()),
            "is_category": is_category, "n_rows": int(values[name].notna().sum()),
        }
        for name in map(str, size[size > 0].index[:top])
        for is_category in (name in predictor.encoder.categories,)
    ]  # fmt: skip
    return pd.DataFrame(table, columns=list(COLUMNS))


def _sign(values: np.ndarray, contributions: np.ndarray) -> str:
    """The sign of the rank correlation of a feature's value with its contribution."""
    seen = ~np.isnan(values)
    x, y = values[seen], contributions[seen]
    if len(x) < _LEAST_ROWS or x.min() == x.max() or y.min() == y.max():
        return "unclear"
    rho = float(spearmanr(x, y).statistic)
    return "unclear" if abs(rho) < _CLEAR else "+" if rho > 0 else "-"
