"""shap's own plots of a predictor's contributions, as PNG."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from functools import partial
from textwrap import shorten
from types import ModuleType

import pandas as pd

from models.explain.words import in_words
from models.predictor import Predictor
from models.report.style import BLUE

_LONGEST = 60  # characters of a feature beside a picture


def shap_plots(predictor: Predictor, rows: pd.DataFrame, *, dependence: int = 4, top: int = 12) -> dict[str, bytes]:
    """The beeswarm of shap over all features and its dependence plot of the strongest ones, as PNG.

    Args:
        predictor: Its own TreeSHAP contributions are drawn, in calibrated log-odds.
        rows: Snapshots, best one per batch.
        dependence: Number of dependence plots.
        top: Features in the beeswarm.

    Returns:
        By caption: `Beeswarm`, and `Dependence: <feature in words>` of the strongest features, strongest first.
    """
    plt, shap = _shap()
    contributions = predictor.contributions(rows)
    order = contributions.abs().mean().sort_values(ascending=False, kind="stable").index
    words = {feature.name: in_words(feature) for feature in predictor.features}
    explained = shap.Explanation(
        values=contributions.to_numpy(),
        base_values=predictor.base_log_odds(rows["checkpoint_h"].to_numpy(float)),
        data=predictor.encoder.encode(rows),
        feature_names=[shorten(words[name], _LONGEST, placeholder=" …") for name in contributions.columns],
    )

    def beeswarm() -> None:
        shap.plots.beeswarm(explained, max_display=top, show=False, group_remaining_features=False)
        plt.xlabel("Contribution to the log-odds of failure")

    def dependence_on(name: str) -> None:
        shap.plots.scatter(explained[:, contributions.columns.get_loc(name)], show=False, color=BLUE)
        plt.ylabel("Contribution to the log-odds")
        categories = predictor.encoder.categories.get(name)
        if categories:
            plt.xticks(range(len(categories)), list(categories), rotation=90)

    plots = {"Beeswarm": _png(plt, beeswarm)}
    for name in order[:dependence]:
        plots[f"Dependence: {words[name]}"] = _png(plt, partial(dependence_on, str(name)))
    return plots


def _shap() -> tuple[ModuleType, ModuleType]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)  # shap 0.51 sets colours as matplotlib once did
        import shap
    return plt, shap


def _png(plt: ModuleType, draw: Callable[[], object]) -> bytes:
    draw()
    buffer = io.BytesIO()
    plt.gcf().savefig(buffer, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
    plt.close("all")
    return buffer.getvalue()
