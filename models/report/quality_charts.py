"""Charts of calibration by stage, of subgroups and of expected release attributes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from models.evaluation.subgroups import NOT_SUPPORTED
from models.report.axes import robust_span
from models.report.style import BLUE, GREY, RED, altair, dashed, themed

if TYPE_CHECKING:
    from models.report.style import Chart

_PANEL = 170
_MOST_POINTS = 600
_RIBBONS = 12  # stretches of expected values over which the interval's sides are averaged
METRIC_NAMES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "brier": "Brier score",
    "ece": "Calibration error",
    "alarm_rate": "Good batches alarmed",
    "recall": "Failures alarmed",
}


def calibration_by_band(reliability: pd.DataFrame, figures: pd.DataFrame) -> Chart:
    """Observed failure rate against stated probability, one panel per maturity band; on the dashed line both agree.

    Args:
        reliability: `models.evaluation.reliability.reliability_by_band`.
        figures: `models.evaluation.calibration.calibration_by_band` of the same bands.
    """
    alt = altair()
    most = float(np.clip(reliability[["stated", "high"]].to_numpy().max() * 1.05, 0.05, 1))
    ticks = [t for t in (0, 0.01, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1) if t <= most]
    span = alt.Scale(type="sqrt", domain=[0, most], nice=False)
    axis = alt.Axis(format="~%", values=ticks, grid=True)
    panels = []
    for place, figure in enumerate(figures.to_dict("records")):
        table = reliability[reliability["band"] == figure["band"]]
        side = axis if place == 0 else alt.Axis(values=ticks, labels=False, ticks=False, domain=False)
        x = alt.X("stated:Q", title="Stated probability", axis=axis, scale=span)
        y = alt.Y("failed:Q", title="Share that failed" if place == 0 else None, axis=side, scale=span)
        ends = pd.DataFrame({"stated": [0.0, most], "failed": [0.0, most]})
        ideal = alt.Chart(ends).mark_line(strokeDash=[5, 4], color=GREY).encode(x=x, y=y)
        bars = alt.Chart(table).mark_rule(color=BLUE).encode(x=x, y=alt.Y("low:Q", scale=span), y2="high:Q")
        points = alt.Chart(table).mark_circle(color=BLUE, opacity=1, size=45).encode(x=x, y=y)
        title = alt.TitleParams(text=figure["band"], subtitle=_subtitle(figure), anchor="start")
        panels.append((ideal + bars + points).properties(width=_PANEL, height=_PANEL, title=title))
    return themed(alt.hconcat(*panels, spacing=16))


def _subtitle(figure: Mapping[str, float]) -> list[str]:
    slope = "no slope" if np.isnan(figure["slope"]) else f"slope {figure['slope']:.2f}"
    if not np.isnan(figure["slope_low"]):
        slope += f" ({figure['slope_low']:.2f}-{figure['slope_high']:.2f})"
    error = f"error {figure['ece']:.3f} ({figure['ece_floor']:.3f} by chance)"
    return [slope, error, f"{figure['n_failed']:.0f} of {figure['n_batches']:.0f} batches failed"]


def subgroups(
    table: pd.DataFrame, metrics: Sequence[str] = ("auroc", "ece", "alarm_rate", "recall"), *, names: Mapping[str, str]
) -> Chart:
    """A forest plot: every group's figures with 95 % intervals; dashed: all batches; a group that is too small carries its verdict instead.

    Args:
        table: `models.evaluation.subgroups.subgroup_table`.
        metrics: Of `models.evaluation.subgroups.METRICS`, one column of the picture each.
        names: What the attributes are called, for example `{"site_id": "Site"}`.
    """
    alt = altair()
    table = table.assign(label=_labels(table, names))
    order = table["label"].unique().tolist()
    panels = []
    for place, metric in enumerate(metrics):
        rows = table[table["metric"] == metric]
        whole = rows.loc[rows["attribute"] == "all", "value"]
        axis = alt.Axis(labelLimit=330, ticks=False, domain=False, grid=False, labels=place == 0)
        y = alt.Y("label:N", sort=order, title=None, axis=axis, scale=alt.Scale(domain=order))
        numbers = alt.Axis(tickCount=4, format="~%" if metric in ("alarm_rate", "recall") else "~g")
        x = alt.X(
            "value:Q", title=METRIC_NAMES[metric], axis=numbers, scale=alt.Scale(zero=False, nice=True, padding=8)
        )
        known = rows[rows["verdict"] != NOT_SUPPORTED]
        line = dashed(pd.DataFrame({"value": whole}), x=x)
        bars = alt.Chart(known.dropna(subset=["low"])).mark_rule(color=BLUE).encode(x="low:Q", x2="high:Q", y=y)
        points = alt.Chart(known).mark_circle(color=BLUE, opacity=1, size=50).encode(x=x, y=y)
        without = alt.Chart(rows[rows["verdict"] == NOT_SUPPORTED])
        texts = without.mark_text(color=GREY, fontSize=10).encode(y=y, x=alt.value(65), text="verdict:N")
        panels.append((line + bars + points + texts).properties(width=130, height=alt.Step(20)))
    return themed(alt.hconcat(*panels, spacing=14))


def _labels(table: pd.DataFrame, names: Mapping[str, str]) -> list[str]:
    """Site A (1000, 90 failed): the counts of the group's batches, the same beside every metric."""
    most = table.groupby(["attribute", "group"])[["n", "n_failed"]].transform("max")
    texts = []
    for attribute, group, n, failed in zip(
        table["attribute"], table["group"], most["n"], most["n_failed"], strict=True
    ):
        head = "All batches" if attribute == "all" else f"{names.get(attribute, attribute)} {group}"
        texts.append(f"{head} ({n}, {failed} failed)")
    return texts


def attribute(
    last: pd.DataFrame,
    name: str,
    *,
    label: str,
    lower: float | None = None,
    upper: float | None = None,
    log: bool = False,
) -> Chart:
    """Actual against expected value of a release attribute; shaded: its interval; red: its specification limits.

    Both axes are one stretch that holds every limit (`models.report.axes`); batches beyond it are counted below the title.

    Args:
        last: One row per batch: `batch_id`, `failed`, and the attribute's `.expected`, `.low`, `.high`, `.actual`. Of
            more than 600 batches the good ones are thinned out evenly; failed ones are all drawn.
        name: Of the attribute.
        label: With its unit, for the axes.
        lower: Specification limit.
        upper: Specification limit.
        log: Logarithmic axes, for values above 0.
    """
    alt = altair()
    columns = {f"{name}.{part}": part for part in ("expected", "low", "high", "actual")}
    table = last.rename(columns=columns)[["failed", *columns.values()]].dropna()
    limits = [v for v in (lower, upper) if v is not None]
    stretch = robust_span(table[["expected", "actual"]].to_numpy(), limits, log=log)
    inside = table[stretch.holds(table["expected"].to_numpy()) & stretch.holds(table["actual"].to_numpy())]
    ribbon = _ribbon(inside, log=log)
    shown = _thinned(inside).assign(batches=lambda t: np.where(t["failed"], "failed", "good"))
    ends = stretch.ends
    span = alt.Scale(type="log" if log else "linear", zero=False, domain=ends, nice=False)
    shape = "~r" if ends[1] < 1e4 else ".0e"  # plain digits, as many as the ticks need
    axis = alt.Axis(format=shape, values=_log_ticks(*ends)) if log else alt.Axis(format=shape, tickCount=5)
    x = alt.X("expected:Q", title=f"Expected {label}", scale=span, axis=axis)
    y = alt.Y("actual:Q", title=f"Actual {label}", scale=span, axis=axis)
    band = (
        alt.Chart(ribbon)
        .mark_area(color=BLUE, opacity=0.22, clip=True)
        .encode(x=x, y=alt.Y("low:Q", title=f"Actual {label}"), y2="high:Q")
    )
    same = alt.Chart(pd.DataFrame({"expected": ends, "actual": ends})).mark_line(strokeDash=[5, 4], color=GREY)
    points = alt.Chart(shown).mark_circle(size=14, opacity=0.7).encode(
        x=x,
        y=y,
        color=alt.Color(
            "batches:N", title=None, sort=None, scale=alt.Scale(domain=["failed", "good"], range=[RED, BLUE])
        ),
    )  # fmt: skip
    lines = pd.DataFrame({"actual": limits}, dtype=float)
    lines = lines.assign(text="specification limit", expected=ends[1])
    rule = alt.Chart(lines).mark_rule(color=RED).encode(y=y)
    texts = alt.Chart(lines).mark_text(color=RED, align="right", dy=-6).encode(x=x, y=y, text="text:N")
    drawn = band + same.encode(x=x, y=y) + points + rule + texts
    title = alt.TitleParams(text=_outside(len(table) - len(inside)), anchor="start")
    return themed(drawn.properties(width=300, height=300, title=title))


def _outside(n: int) -> str:
    """How many batches are not drawn; empty where all are."""
    return f"{n} {'batch lies' if n == 1 else 'batches lie'} outside the axes" if n else ""


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten between two positive values."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    return [m * 10.0**k for k in powers for m in (1, 2, 5) if low <= m * 10.0**k <= high]


def _ribbon(table: pd.DataFrame, *, log: bool) -> pd.DataFrame:
    """Mean sides of the interval over stretches of the expected value; geometric means on logarithmic axes."""
    there, back = (np.log, np.exp) if log else (np.positive, np.positive)
    ordered = table.sort_values("expected", kind="stable")[["expected", "low", "high"]]
    places = np.arange(len(ordered))
    parts = [p for p in (places[:1], *np.array_split(places, _RIBBONS), places[-1:]) if len(p)]
    means = [back(there(ordered.iloc[part].to_numpy(float)).mean(axis=0)) for part in parts]
    return pd.DataFrame(means, columns=["expected", "low", "high"])


def _thinned(table: pd.DataFrame) -> pd.DataFrame:
    failed, good = table[table["failed"].astype(bool)], table[~table["failed"].astype(bool)]
    step = max(1, -(-len(good) // _MOST_POINTS))
    return pd.concat([good.iloc[::step], failed])
