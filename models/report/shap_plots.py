"""shap's own plots of a predictor's contributions, as PNG."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from textwrap import shorten
from types import ModuleType

import numpy as np
import pandas as pd

from features.dictionary import Feature
from models.explain.words import in_words, with_unit
from models.predictor import Predictor
from models.report.axes import robust_span
from models.report.style import BLUE

_LONGEST = 60  # characters of a feature beside a picture


@dataclass(frozen=True)
class Picture:
    """A picture and what its caption has to add.

    Attributes:
        png: The picture.
        note: What is not drawn, for example "2 of 130 batches lie outside the axis"; may be empty.
    """

    png: bytes
    note: str = ""


def shap_plots(predictor: Predictor, rows: pd.DataFrame, *, dependence: int = 4, top: int = 12) -> dict[str, Picture]:
    """The beeswarm of shap over all features and its dependence plot of the strongest ones, as PNG.

    Args:
        predictor: Its own TreeSHAP contributions are drawn, in calibrated log-odds.
        rows: Snapshots, best one per batch.
        dependence: Number of dependence plots.
        top: Features in the beeswarm.

    Returns:
        Pictures by caption: `Beeswarm`, and `Dependence: <feature in words>` of the strongest features, strongest first.
    """
    plt, shap = _shap()
    contributions = predictor.contributions(rows)
    order = contributions.abs().mean().sort_values(ascending=False, kind="stable").index
    known = {feature.name: feature for feature in predictor.features}
    words = {name: in_words(feature) for name, feature in known.items()}
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
        values = explained.data[:, contributions.columns.get_loc(name)]
        categories = predictor.encoder.categories.get(name)
        ends = (None, None) if categories else tuple(robust_span(values).ends)
        column = explained[:, contributions.columns.get_loc(name)]
        shap.plots.scatter(column, show=False, color=BLUE, hist=False, xmin=ends[0], xmax=ends[1])
        plt.xlabel(_axis_title(known[name]))
        plt.ylabel("Contribution to the log-odds")
        if categories:
            plt.xticks(range(len(categories)), list(categories), rotation=90)

    plots = {"Beeswarm": Picture(_png(plt, beeswarm))}
    for name in order[:dependence]:
        values = explained.data[:, contributions.columns.get_loc(name)]
        n_outside = 0 if name in predictor.encoder.categories else robust_span(values).n_outside
        note = _not_drawn(len(values), n_outside, int(np.isnan(values).sum()))
        plots[f"Dependence: {words[name]}"] = Picture(_png(plt, partial(dependence_on, str(name))), note)
    return plots


def _axis_title(feature: Feature) -> str:
    """The feature in words, with its unit where it has one."""
    unit = with_unit("", feature.unit).strip()
    words = shorten(in_words(feature), _LONGEST, placeholder=" …")
    return f"{words}, {unit}" if unit else words


def _not_drawn(n: int, n_outside: int, n_missing: int) -> str:
    """What a dependence plot leaves out or draws at its edge; empty where it draws every batch at its place."""
    parts = [f"{n_outside} of {n} batches lie outside the axis"] if n_outside else []
    parts += [f"{n_missing} of {n} have no value: ticks at the left edge"] if n_missing else []
    return "; ".join(parts)


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
