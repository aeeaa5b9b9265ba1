"""Pictures of the figures: Altair specifications (to SVG and PNG without a browser or network), and shap's own plots."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from functools import partial
from textwrap import shorten
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import betaincinv

from models.evaluation.figures import false_alarm_threshold, last_checkpoint, lead_times
from models.explain.words import in_words
from models.predictor import Predictor

_BLUE, _GREY, _RED = "#1f5a8c", "#8a949e", "#b3402e"
_SIZE = {"width": 380, "height": 230}
_LONGEST = 60  # characters of a feature beside a picture


def auroc_by_checkpoint(checkpoints: pd.DataFrame) -> Any:
    """AUROC with its 95 % interval at every checkpoint; dashed: chance. Takes `models.evaluation.figures.by_checkpoint`."""
    alt = _altair()
    table = checkpoints[["checkpoint_h", "auroc", "auroc_low", "auroc_high"]].dropna(subset=["auroc"])
    low = float(min(0.4, table[["auroc", "auroc_low"]].min().min()))
    x = alt.X("checkpoint_h:Q", title="Hours since the start", scale=alt.Scale(nice=False, padding=12))
    span = alt.Scale(domain=[low, 1], nice=False, zero=False)
    y, y_low = (alt.Y(f"{name}:Q", title="AUROC", scale=span) for name in ("auroc", "auroc_low"))
    line = alt.Chart(table).mark_line(color=_BLUE, strokeWidth=1).encode(x=x, y=y)
    spans = alt.Chart(table.dropna()).mark_rule(color=_BLUE).encode(x=x, y=y_low, y2="auroc_high:Q")
    points = alt.Chart(table).mark_circle(color=_BLUE, opacity=1, size=55).encode(x=x, y=y)
    chance = alt.Chart(pd.DataFrame({"auroc": [0.5]})).mark_rule(strokeDash=[5, 4], color=_GREY).encode(y=y)
    return _styled(chance + line + spans + points)


def precision_recall(scores: pd.DataFrame) -> Any:
    """Precision against recall over all thresholds, each batch at its last checkpoint; dashed: the share that failed."""
    alt = _altair()
    curve = precision_recall_curve(last_checkpoint(scores))
    rate = float(last_checkpoint(scores)["failed"].mean())
    line = (
        alt.Chart(curve)
        .mark_line(interpolate="step-before", color=_BLUE)
        .encode(
            x=alt.X("recall:Q", title="Failed batches found", axis=_percent(), scale=_unit()),
            y=alt.Y("precision:Q", title="Flagged batches that failed", axis=_percent(), scale=_unit()),
            order="recall:Q",
        )
    )
    base = alt.Chart(pd.DataFrame({"rate": [rate]})).mark_rule(strokeDash=[5, 4], color=_GREY).encode(y="rate:Q")
    return _styled(line + base)


def precision_recall_curve(last: pd.DataFrame) -> pd.DataFrame:
    """`recall` and the best `precision` at that recall, over all distinct scores."""
    ordered = last.sort_values("failure_probability", ascending=False)
    found, flagged = ordered["failed"].cumsum(), np.arange(1, len(ordered) + 1)
    curve = pd.DataFrame({"recall": found / max(1, ordered["failed"].sum()), "precision": found / flagged})
    curve = curve[~ordered["failure_probability"].duplicated(keep="last").to_numpy()]
    return curve.groupby("recall", as_index=False)["precision"].max()


def reliability(scores: pd.DataFrame, *, bins: int = 8) -> Any:
    """Observed failure rate against stated probability in bins of equal size, with 95 % Clopper-Pearson intervals."""
    alt = _altair()
    table = reliability_table(last_checkpoint(scores), bins=bins)
    most = float(max(0.05, table[["stated", "high"]].to_numpy().max()))
    span = alt.Scale(domain=[0, min(1.0, most * 1.05)], nice=False)
    x = alt.X("stated:Q", title="Stated probability", axis=_percent(), scale=span)
    ideal = alt.Chart(pd.DataFrame({"stated": [0.0, span.domain[1]], "failed": [0.0, span.domain[1]]}))
    bars = alt.Chart(table).mark_rule(color=_BLUE).encode(x=x, y="low:Q", y2="high:Q")
    points = (
        alt.Chart(table)
        .mark_circle(color=_BLUE, opacity=1, size=55)
        .encode(x=x, y=alt.Y("failed:Q", title="Share that failed", axis=_percent(), scale=span))
    )
    diagonal = ideal.mark_line(strokeDash=[5, 4], color=_GREY).encode(x=x, y=alt.Y("failed:Q", scale=span))
    return _styled(diagonal + bars + points)


def reliability_table(last: pd.DataFrame, *, bins: int = 8) -> pd.DataFrame:
    """`stated`, `failed`, `low`, `high`, `n`, `n_failed` per bin of equal numbers of batches."""
    ordered = last.sort_values("failure_probability", kind="stable")
    rows = []
    for places in np.array_split(np.arange(len(ordered)), min(bins, len(ordered))):
        part = ordered.iloc[places]
        n, k = len(part), int(part["failed"].sum())
        low = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, 0.025))
        high = 1.0 if k == n else float(betaincinv(k + 1, n - k, 0.975))
        rows.append(
            {
                "stated": part["failure_probability"].mean(),
                "failed": k / n,
                "low": low,
                "high": high,
                "n": n,
                "n_failed": k,
            }
        )
    return pd.DataFrame(rows)


def lead_time(scores: pd.DataFrame, out_of_fold: pd.DataFrame, rates: tuple[float, ...] = (0.05, 0.1, 0.2)) -> Any:
    """Share of the failed batches already flagged, against the hours left until their label, per false-alarm rate."""
    alt = _altair()
    curve = lead_time_curve(scores, out_of_fold, rates)
    chart = (
        alt.Chart(curve)
        .mark_line(interpolate="step-after")
        .encode(
            x=alt.X(
                "hours_left:Q", title="Hours before the outcome is known", scale=alt.Scale(reverse=True, zero=False)
            ),
            y=alt.Y("share:Q", title="Failed batches flagged", axis=_percent(), scale=_unit()),
            color=alt.Color(
                "false alarms:N",
                title="False alarms in training folds",
                sort=None,
                scale=alt.Scale(range=[_GREY, _BLUE, _RED]),
            ),
        )
    )
    return _styled(chart)


def lead_time_curve(scores: pd.DataFrame, out_of_fold: pd.DataFrame, rates: tuple[float, ...]) -> pd.DataFrame:
    """`hours_left`, `share`, `false alarms` (as text): what `lead_time` draws; empty without failures."""
    blocks = []
    for rate in rates:
        leads = lead_times(scores, false_alarm_threshold(out_of_fold, rate))
        lead = leads.loc[leads["failed"], "lead_h"]
        failed = scores[scores["failed"]]
        left = (failed["label_available_at"] - failed["as_of"]) / pd.Timedelta(hours=1)
        hours = np.unique(left.to_numpy(float))
        share = [float((lead >= hour - 1e-9).mean()) for hour in hours]
        blocks.append(pd.DataFrame({"hours_left": hours, "share": share, "false alarms": f"{rate:.0%}"}))
    return pd.concat(blocks, ignore_index=True)


def importance(table: pd.DataFrame, *, top: int = 15) -> Any:
    """Parameters by the mean absolute percentage points they move test scores."""
    alt = _altair()
    chart = (
        alt.Chart(table.head(top))
        .mark_bar(color=_BLUE, height=11)
        .encode(
            x=alt.X("mean_abs_points:Q", title="Mean contribution, percentage points (absolute)"),
            y=alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelLimit=240, ticks=False, domain=False)),
        )
    )
    return _styled(chart).properties(width=430, height=alt.Step(18))


def to_svg(chart: Any) -> str:
    """SVG text."""
    import vl_convert as vlc

    return vlc.vegalite_to_svg(chart.to_dict())


def to_png(chart: Any) -> bytes:
    """PNG at twice the screen's size."""
    import vl_convert as vlc

    return vlc.vegalite_to_png(chart.to_dict(), scale=2)


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
        base_values=np.full(len(rows), predictor.base_log_odds),
        data=predictor.encoder.encode(rows),
        feature_names=[shorten(words[name], _LONGEST, placeholder=" …") for name in contributions.columns],
    )

    def beeswarm() -> None:
        shap.plots.beeswarm(explained, max_display=top, show=False, group_remaining_features=False)
        plt.xlabel("Contribution to the log-odds of failure")

    def dependence_on(name: str) -> None:
        shap.plots.scatter(explained[:, contributions.columns.get_loc(name)], show=False, color=_BLUE)
        plt.ylabel("Contribution to the log-odds")
        categories = predictor.encoder.categories.get(name)
        if categories:
            plt.xticks(range(len(categories)), list(categories), rotation=90)

    plots = {"Beeswarm": _png(plt, beeswarm)}
    for name in order[:dependence]:
        plots[f"Dependence: {words[name]}"] = _png(plt, partial(dependence_on, str(name)))
    return plots


def _shap() -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PendingDeprecationWarning)  # shap 0.51 sets colours as matplotlib once did
        import shap
    return plt, shap


def _png(plt: Any, draw: Callable[[], Any]) -> bytes:
    draw()
    buffer = io.BytesIO()
    plt.gcf().savefig(buffer, format="png", dpi=110, bbox_inches="tight", metadata={"Software": None})
    plt.close("all")
    return buffer.getvalue()


def _altair() -> Any:
    # its methods are made at run time: no type checker can follow them
    import altair

    return altair


def _percent() -> Any:
    return _altair().Axis(format=".0%", grid=True, tickCount=5)


def _unit() -> Any:
    return _altair().Scale(domain=[0, 1])


def _styled(chart: Any) -> Any:
    return (
        chart.properties(**_SIZE)
        .configure(font="Helvetica, Arial, sans-serif", background="white")
        .configure_view(stroke=None)
        .configure_axis(
            labelColor="#3b444c",
            titleColor="#3b444c",
            gridColor="#e6eaed",
            domainColor="#9aa4ad",
            titleFontWeight="normal",
        )
        .configure_legend(labelColor="#3b444c", titleColor="#3b444c", titleFontWeight="normal", orient="bottom")
    )
