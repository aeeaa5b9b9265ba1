"""Charts of how well batches are ranked, and of what moves their scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from models.evaluation.figures import last_checkpoint
from models.report.style import BLUE, altair, dashed, percent, styled, unit

if TYPE_CHECKING:
    from models.report.style import Chart


def auroc_by_checkpoint(checkpoints: pd.DataFrame) -> Chart:
    """AUROC with its 95 % interval at every checkpoint; dashed: chance. Takes `models.evaluation.figures.by_checkpoint`."""
    alt = altair()
    table = checkpoints[["checkpoint_h", "auroc", "auroc_low", "auroc_high"]].dropna(subset=["auroc"])
    low = float(min(0.4, table[["auroc", "auroc_low"]].min().min()))
    x = alt.X("checkpoint_h:Q", title="Hours since the start", scale=alt.Scale(nice=False, padding=12))
    span = alt.Scale(domain=[low, 1], nice=False, zero=False)
    y, y_low = (alt.Y(f"{name}:Q", title="AUROC", scale=span) for name in ("auroc", "auroc_low"))
    line = alt.Chart(table).mark_line(color=BLUE, strokeWidth=1).encode(x=x, y=y)
    spans = alt.Chart(table.dropna()).mark_rule(color=BLUE).encode(x=x, y=y_low, y2="auroc_high:Q")
    points = alt.Chart(table).mark_circle(color=BLUE, opacity=1, size=55).encode(x=x, y=y)
    chance = dashed(pd.DataFrame({"auroc": [0.5]}), y=y)
    return styled(chance + line + spans + points)


def precision_recall(scores: pd.DataFrame) -> Chart:
    """Precision against recall over all thresholds, each batch at its last checkpoint; dashed: the share that failed."""
    alt = altair()
    curve = precision_recall_curve(last_checkpoint(scores))
    rate = float(last_checkpoint(scores)["failed"].mean())
    line = (
        alt.Chart(curve)
        .mark_line(interpolate="step-before", color=BLUE)
        .encode(
            x=alt.X("recall:Q", title="Failed batches found", axis=percent(), scale=unit()),
            y=alt.Y("precision:Q", title="Flagged batches that failed", axis=percent(), scale=unit()),
            order="recall:Q",
        )
    )
    base = dashed(pd.DataFrame({"rate": [rate]}), y="rate:Q")
    return styled(line + base)


def precision_recall_curve(last: pd.DataFrame) -> pd.DataFrame:
    """`recall` and the best `precision` at that recall, over all distinct scores."""
    ordered = last.sort_values("failure_probability", ascending=False)
    found, flagged = ordered["failed"].cumsum(), np.arange(1, len(ordered) + 1)
    curve = pd.DataFrame({"recall": found / max(1, ordered["failed"].sum()), "precision": found / flagged})
    curve = curve[~ordered["failure_probability"].duplicated(keep="last").to_numpy()]
    return curve.groupby("recall", as_index=False)["precision"].max()


def importance(table: pd.DataFrame, *, top: int = 15) -> Chart:
    """Parameters by the mean absolute percentage points they move test scores."""
    alt = altair()
    chart = (
        alt.Chart(table.head(top))
        .mark_bar(color=BLUE, height=11)
        .encode(
            x=alt.X(
                "mean_abs_points:Q",
                title="Mean contribution, percentage points (absolute)",
                axis=alt.Axis(tickCount=5),
            ),
            y=alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelLimit=240, ticks=False, domain=False)),
        )
    )
    return styled(chart).properties(width=430, height=alt.Step(18))
