"""The look of every chart of the report: Altair, one typeface, three colours, no network."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING, TypeAlias

import pandas as pd

if TYPE_CHECKING:
    import altair as alt

    Chart: TypeAlias = alt.Chart | alt.LayerChart | alt.HConcatChart

BLUE, GREY, RED, INK = "#1f5a8c", "#8a949e", "#b3402e", "#3b444c"
CAUSES = ["#1f5a8c", "#d08c2e", "#6c9a5b", "#8a5a8f", "#8a949e", "#b3402e", "#4fa3a5"]  # one a cause, biggest first
SIZE = {"width": 380, "height": 230}


def altair() -> ModuleType:
    """The library, imported late because that takes a second; its methods are made at run time."""
    import altair

    return altair


def percent() -> alt.Axis:
    """An axis of shares."""
    return altair().Axis(format=".0%", grid=True, tickCount=5)


def unit() -> alt.Scale:
    """A scale from 0 to 1."""
    return altair().Scale(domain=[0, 1])


def dashed(table: pd.DataFrame, **where: object) -> alt.Chart:
    """Dashed lines to compare with, one for each row."""
    return altair().Chart(table).mark_rule(strokeDash=[5, 4], color=GREY).encode(**where)


def styled(chart: Chart) -> Chart:
    """A single chart at the report's size."""
    return themed(chart.properties(**SIZE))


def themed(chart: Chart) -> Chart:
    """Typeface and colours, for charts that bring their own size."""
    return (
        chart.configure(font="Helvetica, Arial, sans-serif", background="white")
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=INK,
            titleColor=INK,
            gridColor="#e6eaed",
            domainColor="#9aa4ad",
            titleFontWeight="normal",
        )
        .configure_legend(labelColor=INK, titleColor=INK, titleFontWeight="normal", orient="bottom")
        .configure_title(color=INK, fontSize=11, fontWeight="normal", subtitleColor=INK, subtitleFontSize=10)
    )


def to_svg(chart: Chart) -> str:
    """SVG text."""
    import vl_convert as vlc

    return vlc.vegalite_to_svg(chart.to_dict())


def to_png(chart: Chart) -> bytes:
    """PNG at twice the screen's size."""
    import vl_convert as vlc

    return vlc.vegalite_to_png(chart.to_dict(), scale=2)
