"""Reasons in the process's own words, from fixed templates: no text is generated, every number is the predictor's.

"Glucose, newest value: 2.1 mmol/L (normal 3 to 25, usual 8.4-12.6 at this hour), 4 h ago; +9.1 points"
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from pydantic import WithJsonSchema

from features.dictionary import Feature
from features.process import Interval, ProcessDefinition
from models.explain.words import Value, duration, in_words, limits, number, span, value_in_words
from models.learners.sensor_words import SensorFinding
from models.scoring.alignment import FeatureAligner
from models.scoring.newest import STATISTICS, IsoTime, Newest, NewestValues, utc
from models.scoring.stages import Stages

_LEVELS = frozenset({"value", "first", "last", "mean", "min", "max", "median"})  # comparable with the normal range
SMALLEST = 0.05  # percentage points: what would read as 0.0 is no reason
_S_PER_H = 3600.0
_LIMIT = {"anyOf": [{"type": "number"}, {"type": "null"}]}
_INTERVAL = {"type": "array", "items": _LIMIT, "minItems": 2, "maxItems": 2}  # as clients of version 0.1.0 know it


@dataclass(frozen=True)
class Reason:
    """Why a probability is not the base probability: one parameter.

    Attributes:
        parameter: Parameter of the process, or a subject such as a lot.
        label: In the process's words.
        feature: The feature with the largest contribution; the sentence is about that feature.
        value: Its value, a number or a category; None where not known.
        unit: Unit of the value.
        normal: Normal operating range of the parameter; None on a side that is open.
        usual: Range of 90 % of the successful batches at this hour, for the parameter's newest value; None where not known.
        points: Percentage points that all features of the parameter add to the probability.
        stages: The same points by stage of the batch (`models.scoring.stages`), largest first.
        newest: Newest value of the parameter, in its own unit; None where it has none.
        newest_at: When that value was measured; None where that is not known.
        sensor: What its sensor was found to be, such as `drifting`; empty where nothing was found.
        sentence: All of it, to read.
    """

    parameter: str
    label: str
    feature: str
    value: Value
    unit: str
    normal: Annotated[Interval, WithJsonSchema(_INTERVAL)]
    usual: tuple[float, float] | None
    points: float
    stages: dict[str, float]
    newest: float | None
    newest_at: IsoTime | None
    sensor: str
    sentence: str

    def rounded(self) -> Reason:
        """The same with points to a hundredth."""
        stages = {stage: round(points, 2) for stage, points in self.stages.items()}
        return replace(self, points=round(self.points, 2), stages=stages)


class ReasonMaker:
    """Makes the reasons of feature rows.

    Args:
        aligner: The predictor, aligned with the columns of the rows.
        process: For normal ranges and phases.
        top: Reasons per row at most.
    """

    def __init__(self, aligner: FeatureAligner, process: ProcessDefinition, *, top: int = 5) -> None:
        self._columns, self._evidence, self._process, self._top = (
            aligner.columns, aligner.predictor.evidence, process, top,
        )  # fmt: skip
        self._features = aligner.predictor.features
        self.parameters = sorted({f.parameter for f in self._features})  # the order in which equal sums stand
        code = {name: i for i, name in enumerate(self.parameters)}
        self._parameter = np.array([code[f.parameter] for f in self._features], np.int64)
        by_name = np.array(sorted(range(len(self._features)), key=lambda i: self._features[i].name, reverse=True), int)
        self._features_of = [by_name[self._parameter[by_name] == i] for i in code.values()]
        self._stages, self.newest = Stages(self._features, aligner.columns, process), NewestValues(aligner.columns)

    def by_parameter(self, contributions: np.ndarray) -> np.ndarray:
        """Contributions of one row, shape (k,), summed over the features of each of `parameters`."""
        return np.bincount(self._parameter, contributions, minlength=len(self.parameters))

    def reasons(
        self,
        points: np.ndarray,
        row: np.ndarray,
        *,
        as_of_us: int,
        elapsed_h: float,
        group: str | None = None,
        findings: Sequence[SensorFinding] = (),
    ) -> list[Reason]:
        """The parameters that move the probability of one row most, largest first.

        Args:
            points: Percentage points of each feature of the predictor, shape (k,).
            row: The feature row, shape (columns,).
            as_of_us: Moment of the row, microseconds UTC.
            elapsed_h: Hours since the start.
            group: The reference's group of the batch; None: all batches.
            findings: On its sensors.

        Returns:
            At most `top`; parameters that add nothing are not named.
        """
        n = len(self._stages.names)
        place = self._parameter * n + self._stages.at(row, elapsed_h)
        staged = np.bincount(place, points, minlength=len(self.parameters) * n).reshape(-1, n)
        total = staged.sum(axis=1)
        order = [int(i) for i in np.argsort(-np.abs(total), kind="stable")[: self._top] if abs(total[i]) >= SMALLEST]
        sensors, known = _kinds(findings), self.newest.of(row, as_of_us, [self.parameters[i] for i in order])
        made = []
        for i in order:
            name, newest = self.parameters[i], known.get(self.parameters[i])
            range_ = self._evidence.usual(name, elapsed_h, group) if newest and newest.number is not None else None
            made.append(
                self._reason(
                    self._strongest(i, points, total[i]), float(total[i]), staged[i], row, newest=newest,
                    usual=(range_.low, range_.high) if range_ else None, as_of_us=as_of_us, sensor=sensors.get(name, ""),
                )
            )  # fmt: skip
        return made

    def _strongest(self, i: int, points: np.ndarray, total: float) -> Feature:
        """The feature of a parameter that pulls hardest in the direction of the sum; of equal ones the last by name."""
        own = self._features_of[i]
        return self._features[int(own[np.argmax(points[own] * np.sign(total))])]

    def _reason(
        self,
        feature: Feature,
        points: float,
        staged: np.ndarray,
        row: np.ndarray,
        *,
        newest: Newest | None,
        usual: tuple[float, float] | None,
        as_of_us: int,
        sensor: str,
    ) -> Reason:
        value, parameter = self._columns.value(feature.name, row), self._process.by_name.get(feature.parameter)
        normal: Interval = parameter.normal if parameter else (None, None)
        now, at = (newest.number, newest.at) if newest else (None, None)
        ago_h = (utc(as_of_us) - at).total_seconds() / _S_PER_H if at is not None else None
        largest = sorted(zip(self._stages.names, staged.tolist(), strict=True), key=lambda item: -abs(item[1]))
        return Reason(
            parameter=feature.parameter,
            label=feature.label,
            feature=feature.name,
            value=value,
            unit=feature.unit,
            normal=normal,
            usual=usual,
            points=points,
            stages={stage: part for stage, part in largest if part != 0},
            newest=now,
            newest_at=at,
            sensor=sensor,
            sentence=_sentence(feature, value, normal, now, points, usual=usual, ago_h=ago_h, sensor=sensor),
        )


def _kinds(findings: Sequence[SensorFinding]) -> dict[str, str]:
    """What each parameter's sensor was found to be, kinds in order of name."""
    kinds: dict[str, set[str]] = {}
    for finding in findings:
        kinds.setdefault(finding.parameter, set()).add(finding.kind)
    return {parameter: " and ".join(sorted(each)) for parameter, each in kinds.items()}


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
    text = f"{in_words(feature)}: {'value not used' if unused else value_in_words(feature, value)}"
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
