"""Pictures of alarms: how early they come, what they are worth, and where there is no decision."""

from __future__ import annotations

from typing import Any

import pandas as pd

from models.report.style import BLUE, CAUSES, GREY, INK, RED, altair, percent, styled


def first_alarms(curve: pd.DataFrame) -> Any:
    """Share of failed and of good batches alarmed by each hour, with pointwise 95 % intervals.

    Args:
        curve: `models.evaluation.alarms.first_alarm_curve`.
    """
    alt = altair()
    names = {kind: f"{kind} ({rows['n'].iloc[0]})" for kind, rows in curve.groupby("batches")}
    table = curve.assign(line=curve["batches"].map(names))
    color = alt.Color(
        "line:N",
        title="Batches",
        sort=None,
        scale=alt.Scale(domain=[names[k] for k in ("failed", "good")], range=[RED, BLUE]),
    )
    x = alt.X("hour:Q", title="Hours since the start", scale=alt.Scale(nice=False, zero=False, padding=6))
    y = alt.Y("share:Q", title="Batches alarmed so far", axis=percent(), scale=alt.Scale(domain=[0, 1]))
    spans = (
        alt.Chart(table)
        .mark_area(interpolate="step-after", opacity=0.16)
        .encode(x=x, y=alt.Y("share_low:Q", title=y.title), y2="share_high:Q", color=color)
    )
    lines = alt.Chart(table).mark_line(interpolate="step-after", strokeWidth=2).encode(x=x, y=y, color=color)
    ends = table.groupby("batches").tail(1).assign(said=lambda t: (100 * t["share"]).map("{:.0f} %".format))
    said = alt.Chart(ends).mark_text(align="right", dy=-9, fontSize=12).encode(x=x, y=y, text="said:N", color=color)
    return styled(spans + lines + said)


def net_cost(curve: pd.DataFrame, *, currency: str, threshold: float | None = None) -> Any:
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
    edge = float(curve["threshold"].max())
    marks = pd.DataFrame({"y": [0.0, always], "said": ["never alarming", "always alarming"], "threshold": edge})
    rules = alt.Chart(marks).mark_rule(color=GREY, strokeDash=[5, 4]).encode(y="y:Q")
    said = alt.Chart(marks).mark_text(align="right", dy=-7, color=INK).encode(x=x, y="y:Q", text="said:N")
    layers = [spans, rules, line, said]
    if threshold is not None:
        used = pd.DataFrame({"threshold": [threshold], "said": ["in use"]})
        layers.append(alt.Chart(used).mark_rule(color=RED).encode(x=x))
        name = alt.Chart(used).mark_text(align="left", dx=4, color=RED, baseline="top").encode(x=x, text="said:N")
        layers.append(name.encode(y=alt.value(2)))
    return styled(alt.layer(*layers))


def undecided(causes: pd.DataFrame) -> Any:
    """Share of the scores without a decision at each checkpoint, stacked by cause.

    Args:
        causes: `models.evaluation.stability.undecided_causes`.
    """
    alt = altair()
    order = causes.groupby("cause")["n_undecided"].sum().sort_values(ascending=False, kind="stable").index.tolist()
    table = causes.assign(rank=causes["cause"].map({name: place for place, name in enumerate(order)}))
    chart = (
        alt.Chart(table)
        .mark_bar()
        .encode(
            x=alt.X("checkpoint_h:O", title="Hours since the start", axis=alt.Axis(labelAngle=0, labelOverlap=True)),
            y=alt.Y("undecided:Q", title="Scores without a decision", axis=percent()),
            color=alt.Color("cause:N", title=None, sort=order, scale=alt.Scale(domain=order, range=CAUSES)),
            order="rank:Q",
        )
    )
    return styled(chart)
