"""What changed since the last score of a batch, parameter by parameter, in percentage points that add up.

The risk moves from the last score to this one along the straight line between the two in log-odds, and each parameter
takes the share of the change that its own contribution has of it (integrated gradients along that line, Sundararajan
et al., 2017; the rule of `AssessedRows.points` with the last score in the place of the base). So the points sum to
the change of the risk, and a parameter whose contribution did not change has none. The difference of the points that two
records show would sum to the same, and would be wrong for a single parameter: a contribution that stayed as it was
weighs other points once the rest has moved the risk to where the logistic curve is steeper.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
from scipy.special import expit

from features.errors import ContractError
from models.explain.words import Value, duration, number, percent, with_unit
from models.predictor import mean_slope
from models.scoring.newest import IsoTime, Newest

BASE = "model"  # the row of a change of the base: another model scored
_SMALLEST = 0.05  # percentage points: what would read as 0.0 is not named
_SUMS_TO = 1e-6  # log-odds: base and contributions must give the probability to this
_SAME_TIME = timedelta(seconds=1)  # ages are rounded: times closer than this are one


@dataclass(frozen=True)
class ScoreParts:
    """One score of a batch, with what it was made of.

    Attributes:
        as_of: When, UTC.
        probability: Calibrated risk.
        base_log_odds: Calibrated log-odds before anything is known.
        contributions: Log-odds by parameter; a parameter that is not named contributes 0.
        newest: Newest values by parameter, from `models.scoring.newest`.
    """

    as_of: datetime
    probability: float
    base_log_odds: float
    contributions: Mapping[str, float]
    newest: Mapping[str, Newest]

    @property
    def log_odds(self) -> float:
        """Base and contributions together."""
        return math.fsum((self.base_log_odds, *self.contributions.values()))  # the same in whatever order they come


@dataclass(frozen=True)
class ParameterChange:
    """What one parameter did to the risk since the last score.

    Attributes:
        parameter: Parameter or subject; `BASE` for another model.
        label: In the process's words.
        unit: Unit of the values.
        points: Percentage points that it moved the risk by.
        value: Its newest value now; None where it has none.
        before: Its newest value at the last score; None where it had none.
        measured_at: When the newest value was measured; None where that is not known.
        sentence: All of it, to read.
    """

    parameter: str
    label: str
    unit: str
    points: float
    value: Value
    before: Value
    measured_at: IsoTime | None
    sentence: str


@dataclass(frozen=True)
class Changes:
    """What changed between two scores.

    Attributes:
        hours: Between the two.
        before: Risk at the last score.
        probability: Risk now.
        rows: Every parameter, largest change first; their points sum to 100 (probability - before).
        sentence: The largest of them, and the rest together.
    """

    hours: float
    before: float
    probability: float
    rows: tuple[ParameterChange, ...]
    sentence: str

    def rounded(self) -> Changes:
        """The same with points to a hundredth, without the parameters that have none."""
        rows = (replace(row, points=round(row.points, 2)) for row in self.rows)
        return replace(self, rows=tuple(row for row in rows if row.points))


def changes(last: ScoreParts, now: ScoreParts, *, labels: Mapping[str, str] | None = None, top: int = 5) -> Changes:
    """What changed since the last score.

    Args:
        last: The earlier score of the same batch.
        now: The score to explain.
        labels: Words for parameters and subjects without a newest value of their own; their name where not given.
        top: Parameters that the sentence names at most.

    Raises:
        ContractError: The scores are not in order of time, or the contributions of one do not sum to its probability.
    """
    _check(last, now)
    points = _points(last, now)
    order = sorted(points, key=lambda name: (-abs(points[name]), name))
    rows = [_row(name, points[name], last, now, labels or {}) for name in order]
    hours = (now.as_of - last.as_of).total_seconds() / 3600
    return Changes(hours, last.probability, now.probability, tuple(rows), _sentence(last, now, hours, rows, top))


def _check(last: ScoreParts, now: ScoreParts) -> None:
    if last.as_of > now.as_of:
        raise ContractError(
            f"the last score is of {last.as_of}, this one of {now.as_of}", expected="scores in order of time"
        )
    for score in (last, now):
        gap = abs(float(expit(score.log_odds)) - score.probability)
        if not gap <= _SUMS_TO:
            raise ContractError(
                f"score of {score.as_of}: base and contributions give {expit(score.log_odds):.6f}",
                expected=f"its probability {score.probability:.6f}",
                remedy="Give all contributions of the model that made the score.",
            )


def _points(last: ScoreParts, now: ScoreParts) -> dict[str, float]:
    slope = 100.0 * float(mean_slope(last.log_odds, np.asarray(now.log_odds)))
    names = sorted({*last.contributions, *now.contributions})
    moved = {name: now.contributions.get(name, 0.0) - last.contributions.get(name, 0.0) for name in names}
    if now.base_log_odds != last.base_log_odds:
        moved[BASE] = now.base_log_odds - last.base_log_odds
    return {name: slope * float(change) for name, change in moved.items()}


def _row(name: str, points: float, last: ScoreParts, now: ScoreParts, labels: Mapping[str, str]) -> ParameterChange:
    new, old = now.newest.get(name), last.newest.get(name)
    known = new or old
    label = known.label if known else labels.get(name, "another model" if name == BASE else name)
    unit = known.unit if known else ""
    return ParameterChange(
        parameter=name,
        label=label,
        unit=unit,
        points=points,
        value=new.value if new else None,
        before=old.value if old else None,
        measured_at=new.at if new else None,
        sentence=_in_words(label, unit, points, new, old),
    )


def _in_words(label: str, unit: str, points: float, new: Newest | None, old: Newest | None) -> str:
    moved = f"{points:+.1f} points"
    value, before = new.value if new else None, old.value if old else None
    if new is not None and value is not None and before is None and not new.at_start:
        return f"result of {label} arrived ({_value(value, unit)}): {moved}"
    if value is None and before is None:
        return f"{label} {moved}" + (" (no value yet)" if new is not None and not new.at_start else "")
    if value is None:
        return f"{label} {moved} (no value any more, was {_value(before, unit)})"
    if value == before:
        return f"{label} {moved} ({'still' if _is_same(new, old) else 'newest again'} {_value(value, unit)})"
    return f"{label} {moved} (newest {_value(value, unit)}, was {_bare(before)})"


def _is_same(new: Newest | None, old: Newest | None) -> bool:
    """Whether two equal values are one reading, as far as their times are known."""
    if new is None or old is None or new.at is None or old.at is None:
        return True
    return abs(new.at - old.at) < _SAME_TIME


def _value(value: Value, unit: str) -> str:
    return _bare(value) if value is None or isinstance(value, str) else with_unit(number(value), unit)


def _bare(value: Value) -> str:
    return "nothing" if value is None else value if isinstance(value, str) else number(value)


def _sentence(last: ScoreParts, now: ScoreParts, hours: float, rows: list[ParameterChange], top: int) -> str:
    named = [row for row in rows[:top] if abs(row.points) >= _SMALLEST]
    rest = sum(row.points for row in rows) - sum(row.points for row in named)
    parts = [row.sentence for row in named]
    if parts and abs(rest) >= _SMALLEST:
        parts.append(f"all others {rest:+.1f} points")
    before, risk = percent(last.probability), percent(now.probability)
    head = (
        f"Risk {before} -> {risk} since {duration(hours)} ago"
        if before != risk
        else f"Risk {risk} as {duration(hours)} ago"
    )
    return f"{head}: {', '.join(parts)}" if parts else head
