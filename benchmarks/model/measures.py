"""Figures of one plant, and of several pooled, with lowest and highest beside them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, TypedDict

from benchmarks.record import figure


class Counts(TypedDict, total=False):
    """Batches that a figure rests on, and the failed ones among them."""

    n: int
    n_failed: int


@dataclass(frozen=True)
class Measure:
    """A figure on one plant.

    Attributes:
        section: Table it stands in.
        name: What it is.
        value: NaN where it could not be taken.
        unit: Of the value; "" for a share.
        n: Batches (or scores, where the name says so).
        n_failed: Failed batches among them.
        bound: What is asked of the pooled figure.
        side: `min` or `max`.
        against: What it is compared with.
        note: What must be known beside it.
    """

    section: str
    name: str
    value: float
    unit: str = ""
    n: int | None = None
    n_failed: int | None = None
    bound: float | None = None
    side: str = "min"
    against: str = ""
    note: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether it keeps its bound; None where there is none, False for NaN."""
        if self.bound is None:
            return None
        return self.value >= self.bound if self.side == "min" else self.value <= self.bound

    def to_json(self) -> dict[str, object]:
        """As plain JSON values; NaN is null."""
        return asdict(self) | {"value": None if math.isnan(self.value) else self.value}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Measure:
        """Back from `to_json`."""
        value = math.nan if data["value"] is None else float(data["value"])
        return cls(**{name: found for name, found in data.items() if name != "value"}, value=value)


def together(plants: list[list[Measure]]) -> list[dict[str, object]]:
    """Figures over plants, in the order of the first one that has each; n and n_failed are summed.

    A pooled figure weighs each plant by its failed batches, by its batches where none failed, and all alike without a count:
    a share of failures is that of all failures together.
    """
    by_name: dict[tuple[str, str], list[Measure]] = {}
    for measures in plants:
        for m in measures:
            by_name.setdefault((m.section, m.name), []).append(m)
    return [_together(found, len(plants)) for found in by_name.values()]


def _together(found: list[Measure], n_plants: int) -> dict[str, object]:
    values = [m.value for m in found if not math.isnan(m.value)]
    head = found[0]
    if not values:
        made = figure(head.name, math.nan, head.unit, note=head.note) | {"value": None, "holds": None}
        return made | {"section": head.section, "by_plant": [None] * len(found)}
    notes = [head.note]
    if head.bound is not None and len(values) > 1:
        notes.append(f"holds on {sum(bool(m.holds) for m in found)} of {len(values)} plants")
    if len(values) < n_plants:
        notes.append("on one plant only" if len(values) == 1 else f"on {len(values)} of {n_plants} plants only")
    made = figure(
        head.name, _pooled(found), head.unit, low=min(values), high=max(values), n=_sum([m.n for m in found]),
        n_failed=_sum([m.n_failed for m in found]), bound=head.bound, side=head.side, against=head.against,
        note="; ".join(note for note in notes if note),
    )  # fmt: skip
    return made | {"section": head.section, "by_plant": [None if math.isnan(m.value) else m.value for m in found]}


def _pooled(found: list[Measure]) -> float:
    known = [m for m in found if not math.isnan(m.value)]
    weights = [m.n_failed or m.n or 1 for m in known]
    return sum(w * m.value for w, m in zip(weights, known, strict=True)) / sum(weights)


def _sum(counts: list[int | None]) -> int | None:
    known = [n for n in counts if n is not None]
    return sum(known) if known else None
