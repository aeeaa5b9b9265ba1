"""Reasons in the process's own words, from fixed templates: no text is generated, every number is the model's.

"Glucose, newest value: 2.1 mmol/L (normal 3 to 25, usual 8.4-12.6 at this hour), 4 h ago; +9.1 points"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from features.dictionary import Feature
from features.process import Interval, ProcessDefinition
from models.explain.completeness import by_parameter
from models.explain.evidence import ReferenceTrajectory, SensorFinding, kinds_by_parameter
from models.explain.newest import STATISTICS, Newest, newest
from models.explain.stages import by_parameter_and_stage
from models.explain.words import Value, duration, in_words, limits, number, plain, said, span
from models.predictor import Predictor

_LEVELS = frozenset({"value", "first", "last", "mean", "min", "max", "median"})  # comparable with the normal range
_HOUR = pd.Timedelta(hours=1)
SMALLEST = 0.05  # percentage points: what would read as 0.0 is no reason


@dataclass(frozen=True)
class Reason:
    """Why a probability is not the base probability: one parameter.

    Attributes:
        parameter: Parameter of the process, or a subject such as a lot.
        label: In the process's words.
        feature: The feature with the largest contribution; the sentence speaks of it.
        value: Its value, a number or a category; None where not known.
        unit: Unit of the value.
        normal: Normal operating range of the parameter; None on a side that is open.
        usual: What 90 % of successful batches show at this hour, for the parameter's newest value; None where not known.
        points: Percentage points that the parameter adds to the probability, all its features together.
        stages: The same points by stage of the batch (`models.explain.stages`), largest first.
        newest: Newest value of the parameter, in its own unit, where the snapshot has it; None otherwise.
        newest_at: When that value was measured; None where that is not known.
        sensor: What its sensor was found to be, such as `drifting`; empty where nothing was found.
        sentence: All of it, to read.
    """

    parameter: str
    label: str
    feature: str
    value: Value
    unit: str
    normal: Interval
    usual: tuple[float, float] | None
    points: float
    stages: dict[str, float]
    newest: float | None
    newest_at: pd.Timestamp | None
    sensor: str
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; contributions are rounded to a hundredth of a point."""
        return vars(self) | {
            "normal": list(self.normal),
            "usual": list(self.usual) if self.usual else None,
            "points": round(self.points, 2),
            "stages": {stage: round(points, 2) for stage, points in self.stages.items()},
            "newest_at": self.newest_at.isoformat() if self.newest_at is not None else None,
        }


def reasons(
    predictor: Predictor,
    snapshots: pd.DataFrame,
    process: ProcessDefinition,
    *,
    top: int = 5,
    features: tuple[Feature, ...] = (),
    reference: ReferenceTrajectory | None = None,
    groups: Sequence[str | None] | None = None,
    findings: Sequence[Sequence[SensorFinding]] | None = None,
) -> list[tuple[Reason, ...]]:
    """The parameters that move each snapshot's probability most, largest first.

    Args:
        predictor: Frozen.
        snapshots: `features.contracts.SNAPSHOT`.
        process: For normal ranges and phases.
        top: Reasons per snapshot at most.
        features: Dictionary of all columns of the snapshots, for newest values that are no feature of the model; empty
            takes the predictor's own.
        reference: Says what is usual; None leaves it out.
        groups: The reference's group of each snapshot; None takes all batches.
        findings: What was found about the sensors at each snapshot; None is nothing.

    Returns:
        One tuple per snapshot, in its order; parameters that add nothing are not named.
    """
    points = predictor.percentage_points(predictor.contributions(snapshots), snapshots["checkpoint_h"].to_numpy(float))
    staged = by_parameter_and_stage(points, snapshots, predictor.features, process)
    totals = staged.T.groupby(level="parameter", sort=True).sum().T
    known = newest(snapshots, features or predictor.features)
    places = by_parameter(predictor.features)
    out = []
    for i in range(len(snapshots)):
        total, hours = totals.iloc[i], float(snapshots["checkpoint_h"].iloc[i])
        group = groups[i] if groups is not None else None
        sensors = kinds_by_parameter(findings[i]) if findings is not None else {}
        moment = Moment(staged.iloc[i], snapshots.iloc[i], known[i], sensors, reference, hours, group, process)
        order = total.abs().sort_values(ascending=False, kind="stable").index[:top]
        out.append(
            tuple(
                reason_of(
                    str(name),
                    _spoken(places[str(name)], points.iloc[i], float(total[name])),
                    float(total[name]),
                    moment,
                )
                for name in order
                if abs(total[name]) >= SMALLEST
            )
        )
    return out


@dataclass(frozen=True)
class Moment:
    """All that the reasons of one snapshot are made of.

    Attributes:
        staged: Percentage points by parameter, then by stage.
        snapshot: Values by feature, and `as_of`.
        newest: What was known last, by parameter.
        sensors: What a parameter's sensor was found to be.
        reference: Says what is usual.
        checkpoint_h: Hours since the start.
        group: The reference's group of the batch.
        process: For normal ranges.
    """

    staged: Mapping[str, Mapping[str, float]] | pd.Series
    snapshot: Mapping[str, Any] | pd.Series
    newest: Mapping[str, Newest]
    sensors: Mapping[str, str]
    reference: ReferenceTrajectory | None
    checkpoint_h: float
    group: str | None
    process: ProcessDefinition

    def usual(self, parameter: str) -> tuple[float, float] | None:
        """What is usual of a parameter here and now."""
        found = self.reference.usual(parameter, self.checkpoint_h, self.group) if self.reference else None
        return (found.low, found.high) if found is not None else None

    def stages(self, parameter: str) -> dict[str, float]:
        """Points of a parameter by stage, largest first."""
        points = {str(stage): float(value) for stage, value in self.staged[parameter].items() if value != 0}
        return dict(sorted(points.items(), key=lambda item: -abs(item[1])))


def _spoken(features: Sequence[Feature], points: pd.Series, total: float) -> Feature:
    """The feature of a parameter that pulls hardest in the direction of the sum; of equal ones the last by name."""
    way = np.sign(total).item()
    return max(features, key=lambda feature: (points[feature.name] * way, feature.name))


def reason_of(parameter: str, spoken: Feature, points: float, moment: Moment) -> Reason:
    """The reason that one parameter is.

    Args:
        parameter: Its name.
        spoken: The feature of it that pulls hardest in the direction of the sum; of equal ones the last by name.
        points: Percentage points of all its features together.
        moment: What else is known.
    """
    value = plain(moment.snapshot[spoken.name])
    known = moment.process.by_name.get(parameter)
    normal = known.normal if known else (None, None)
    last = moment.newest.get(parameter)
    number_now = last.number if last else None
    at = last.at if last else None
    usual = moment.usual(parameter) if number_now is not None else None
    sensor = moment.sensors.get(parameter, "")
    ago_h = (moment.snapshot["as_of"] - at) / _HOUR if at is not None else None
    return Reason(
        parameter=parameter,
        label=spoken.label,
        feature=spoken.name,
        value=value,
        unit=spoken.unit,
        normal=normal,
        usual=usual,
        points=points,
        stages=moment.stages(parameter),
        newest=number_now,
        newest_at=at,
        sensor=sensor,
        sentence=_sentence(spoken, value, normal, number_now, points, usual=usual, ago_h=ago_h, sensor=sensor),
    )


def _sentence(
    feature: Feature,
    value: Value,
    normal: Interval,
    newest: float | None,
    points: float,
    *,
    usual: tuple[float, float] | None = None,
    ago_h: float | None = None,
    sensor: str = "",
) -> str:
    is_newest = feature.statistic in STATISTICS
    at_this_hour = f"usual {span(*usual)} at this hour" if usual else ""
    level = value is not None and not isinstance(value, str) and feature.statistic in _LEVELS
    ranges = [f"normal {limits(normal)}" if limits(normal) else "", at_this_hour if is_newest else ""]
    unused = bool(sensor) and value is None  # the reading was there, and was taken out
    text = f"{in_words(feature)}: {'value not used' if unused else said(feature, value)}"
    text += _in_brackets(ranges) if level else ""
    if newest is not None and not is_newest:
        text += f", newest {number(newest)}{_in_brackets([at_this_hour])}"
    if newest is not None and ago_h is not None:
        text += f", {duration(ago_h)} ago"
    found = f"sensor found {sensor}{'' if unused else ': counted less'}" if sensor else ""
    return "; ".join(part for part in (text, found, f"{points:+.1f} points") if part)


def _in_brackets(parts: list[str]) -> str:
    inside = ", ".join(part for part in parts if part)
    return f" ({inside})" if inside else ""
