"""The field replay in HTML: as a page of its own, and as a part of every validation report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from features.process import ProcessDefinition
from models.policy import Policy
from models.report.style import BLUE, RED, altair, dashed, percent, styled, to_svg

if TYPE_CHECKING:
    from models.report.style import Chart

_WHEN_NONE = {"window_outcomes": "all", "recalibrate_every_outcomes": "with each training only"}
CALLS = {"high": "called high", "watched": "called high or elevated"}


def field_report(
    process: ProcessDefinition,
    policy: Policy,
    versions: pd.DataFrame,
    table: pd.DataFrame,
    other: pd.DataFrame | None = None,
    pairs: pd.DataFrame | None = None,
    *,
    note: str = "",
) -> str:
    """One HTML file about a replay.

    Args:
        process: The process.
        policy: The rules that were replayed.
        versions: `models.backtest.replay.Replayed.versions`.
        table: `models.backtest.figures.field_table`.
        other: The same of another policy; None: there is none.
        pairs: `models.backtest.figures.side_by_side` of the two.
        note: What must stand beside the figures, for example that batches were simulated.
    """
    from models.report.html import interval, page_environment

    return page_environment().get_template("field_report.html").render(
        process=process, policy=policy, versions=versions, note=note, interval=interval, field=field_context(table), when_none=_WHEN_NONE,
        other=None if other is None else field_context(other),
        pairs=[] if pairs is None else pairs.to_dict("records"),
    )  # fmt: skip


def field_context(table: pd.DataFrame) -> dict[str, object]:
    """What the template `field.html` needs: rows, calls and charts."""
    from markupsafe import Markup

    blocks = table[table["block"] != "all"]
    # our own drawing: its texts were escaped by the SVG writer
    drawn = {name: Markup(to_svg(realised(blocks, name))) for name in CALLS} if len(blocks) > 1 else {}  # noqa: S704
    return {"rows": table.to_dict("records"), "calls": CALLS, "charts": drawn}


def realised(blocks: pd.DataFrame, call: str) -> Chart:
    """Good batches called so and failures found, block by block, with exact 95 % intervals; dashed: what was asked."""
    alt = altair()
    kinds = (("good batches", "realised", BLUE), ("failures found", "found", RED))
    parts = [
        blocks[["block", f"{call}_{key}", f"{call}_{key}_low", f"{call}_{key}_high"]]
        .set_axis(["block", "share", "low", "high"], axis=1).assign(batches=kind)
        for kind, key, _ in kinds
    ]  # fmt: skip
    rows = pd.concat(parts, ignore_index=True).dropna(subset=["share"])
    x = alt.X("block:O", title="Block of the calendar", axis=alt.Axis(labelAngle=0))
    offset = alt.XOffset("batches:N", sort=[kind for kind, *_ in kinds])
    color = alt.Color(
        "batches:N", title=None,
        scale=alt.Scale(domain=[kind for kind, *_ in kinds], range=[color for *_, color in kinds]),
    )  # fmt: skip
    y = alt.Y("share:Q", title=f"Share {CALLS[call]}", axis=percent(), scale=alt.Scale(domain=[0, 1]))
    spans = alt.Chart(rows).mark_rule().encode(x=x, xOffset=offset, y=alt.Y("low:Q"), y2="high:Q", color=color)
    points = alt.Chart(rows).mark_circle(opacity=1, size=60).encode(x=x, xOffset=offset, y=y, color=color)
    asked = dashed(pd.DataFrame({"asked": [float(blocks[f"{call}_asked"].iloc[0])]}), y="asked:Q")
    return styled(asked + spans + points)
