"""Charts of alarms: how early they come, what they save, where there is no call yet, and where support is weak."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from models.report.style import BLUE, CAUSES, INK, RED, altair, dashed, percent, styled

if TYPE_CHECKING:
    from models.report.style import Chart

_DAYS = list(range(0, 2401, 24))
_HOURS = {"nice": False, "zero": False, "padding": 6}


def first_alarms(curve: pd.DataFrame) -> Chart:
    """Share of failed and of good batches alarmed by each hour, with pointwise 95 % intervals.

    Args:
        curve: `models.evaluation.alarms.first_alarm_curve`.
    """
    alt = altair()
    x = alt.X("hour:Q", title="Hours since the start", axis=alt.Axis(values=_DAYS), scale=alt.Scale(**_HOURS))
    title = "Batches alarmed so far"
    y = alt.Y("share:Q", title=title, axis=percent(), scale=alt.Scale(domain=[0, 1]))
    color = alt.Color("batches:N", legend=None, scale=alt.Scale(domain=["failed", "good"], range=[RED, BLUE]))
    spans = (
        alt.Chart(curve)
        .mark_area(interpolate="step-after", opacity=0.16)
        .encode(x=x, y=alt.Y("share_low:Q", title=title), y2="share_high:Q", color=color)
    )
    lines = alt.Chart(curve).mark_line(interpolate="step-after", strokeWidth=2).encode(x=x, y=y, color=color)
    ends = curve.groupby("batches").tail(1)
    shares = zip(ends["share"], ends["n"], ends["batches"], strict=True)
    ends = ends.assign(text=[f"{100 * s:.0f} % of {n} {kind}" for s, n, kind in shares], above=ends["share_high"])
    texts = (
        alt.Chart(ends)
        .mark_text(align="right", dy=-7, fontSize=12)
        .encode(x=x, y="above:Q", text="text:N", color=color)
    )
    return styled(spans + lines + texts)


def net_cost(curve: pd.DataFrame, *, currency: str, threshold: float | None = None) -> Chart:
    """Saved per batch against never alarming, over thresholds, with its 95 % interval; dashed: always alarming.

    Args:
        curve: `models.evaluation.costs.cost_curve`, of a predictor whose scores are probabilities.
        currency: Of `[cost]`.
        threshold: The one in use, drawn as a line of its own.
    """
    alt = altair()
    always = float((curve["never_per_batch"] - curve["always_per_batch"]).iloc[0])
    x = alt.X(
        "threshold:Q",
        title="Alarm above this failure probability",
        axis=alt.Axis(format="~%", values=[0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1], grid=False),
        scale=alt.Scale(type="sqrt", nice=False, zero=False),
    )
    title = f"Saved per batch, {currency}"
    y = alt.Y("saved_against_never:Q", title=title, axis=alt.Axis(format="~s", tickCount=5))
    spans = (
        alt.Chart(curve)
        .mark_area(color=BLUE, opacity=0.16)
        .encode(x=x, y=alt.Y("saved_against_never_low:Q", title=title), y2="saved_against_never_high:Q")
    )
    line = alt.Chart(curve).mark_line(color=BLUE, strokeWidth=2).encode(x=x, y=y)
    layers = [spans, line]
    for level, name, side, edge in (
        (0.0, "never alarming", "left", "min"),
        (always, "always alarming", "right", "max"),
    ):
        mark = pd.DataFrame({"y": [level], "text": [name], "threshold": [curve["threshold"].agg(edge)]})
        layers.append(dashed(mark, y="y:Q"))
        text = alt.Chart(mark).mark_text(align=side, dy=-7, dx=4 if side == "left" else 0, color=INK)
        layers.append(text.encode(x=x, y="y:Q", text="text:N"))
    if threshold is not None:
        used = pd.DataFrame({"threshold": [threshold], "text": ["in use"]})
        layers.append(alt.Chart(used).mark_rule(color=RED).encode(x=x))
        name = alt.Chart(used).mark_text(align="left", dx=4, color=RED, baseline="top").encode(x=x, text="text:N")
        layers.append(name.encode(y=alt.value(2)))
    return styled(alt.layer(*layers))


def no_call(causes: pd.DataFrame) -> Chart:
    """Share of the scores without a call yet at each checkpoint, stacked by cause; a plain sentence where all have one.

    Args:
        causes: `models.evaluation.stability.no_call_causes`.
    """
    return _stacked(causes, title="Scores without a call yet", otherwise="Every score has a call.")


def support(causes: pd.DataFrame) -> Chart:
    """Share of the scores with limited or no support at each checkpoint, stacked by both and by cause.

    Args:
        causes: `models.evaluation.stability.support_causes`.
    """
    found = causes[causes.groupby(["support", "cause"])["n_found"].transform("sum") > 0]
    named = found.assign(cause=found["support"] + ": " + found["cause"])
    return _stacked(named, title="Scores without sufficient support", otherwise="Every score has sufficient support.")


def _stacked(causes: pd.DataFrame, *, title: str, otherwise: str) -> Chart:
    alt = altair()
    if causes.empty:
        texts = pd.DataFrame({"text": [otherwise]})
        return styled(alt.Chart(texts).mark_text(color=INK, fontSize=13).encode(text="text:N"))
    order = causes.groupby("cause")["n_found"].sum().sort_values(ascending=False, kind="stable").index.tolist()
    table = causes.assign(rank=causes["cause"].map({name: place for place, name in enumerate(order)}))
    chart = (
        alt.Chart(table)
        .mark_bar()
        .encode(
            x=alt.X("checkpoint_h:O", title="Hours since the start", axis=alt.Axis(labelAngle=0, labelOverlap=True)),
            y=alt.Y("share:Q", title=title, axis=percent()),
            color=alt.Color(
                "cause:N",
                title=None,
                sort=order,
                scale=alt.Scale(domain=order, range=CAUSES),
                legend=alt.Legend(columns=2, labelLimit=260, symbolType="square"),
            ),
            order="rank:Q",
        )
    )
    return styled(chart)
