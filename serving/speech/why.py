"""The reasons of one row, by the rules of `models.explain`, without a frame."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from features.dictionary import Feature
from features.process import ProcessDefinition
from models.explain.evidence import ReferenceTrajectory, SensorFinding, kinds_by_parameter
from models.explain.newest import STATISTICS, Newest, newest_of
from models.explain.reasons import SMALLEST, Moment, reason_of
from models.explain.stages import CURRENT, measured_in, running, stage_labels, stage_rule
from models.predictor import AGE
from serving.speech.joined import Joined


class Why:
    """Makes the reasons of rows.

    Args:
        joined: The predictor and the columns of the rows.
        process: For normal ranges and phases.
        top: Reasons at most.
        reference: Says what is usual; None leaves it out.
    """

    def __init__(
        self, joined: Joined, process: ProcessDefinition, *, top: int = 5, reference: ReferenceTrajectory | None = None
    ) -> None:
        self._joined, self._process, self._top, self._reference = joined, process, top, reference
        features = joined.predictor.features
        self._parameters = sorted({f.parameter for f in features})  # the order in which equal contributions stand
        code = {name: i for i, name in enumerate(self._parameters)}
        self._parameter = np.array([code[f.parameter] for f in features], np.int64)
        by_name = np.array(sorted(range(len(features)), key=lambda i: features[i].name, reverse=True), np.int64)
        self._features, self._features_of = features, [by_name[self._parameter[by_name] == i] for i in code.values()]
        self._stages = _Stages(joined, process)
        known = list(enumerate(joined.columns.features))
        self._newest_places = {f.parameter: i for i, f in known if f.statistic in STATISTICS}
        self._age_places = {f.parameter: i for i, f in known if f.statistic == AGE}

    def reasons(
        self,
        points: np.ndarray,
        values: np.ndarray,
        as_of: pd.Timestamp,
        *,
        findings: tuple[SensorFinding, ...] = (),
        group: str | None = None,
    ) -> list[dict[str, Any]]:
        """The parameters that move the probability most, largest first, as JSON values.

        Args:
            points: Percentage points of each feature of the model.
            values: The row.
            as_of: When it was asked for.
            findings: What was found about sensors.
            group: The reference's group of the batch.
        """
        stages, n = self._stages.at(values), len(self._stages.names)
        place = self._parameter * n + stages
        staged = np.bincount(place, points, minlength=len(self._parameters) * n).reshape(-1, n)
        total = staged.sum(axis=1)
        order = [int(i) for i in np.argsort(-np.abs(total), kind="stable")[: self._top] if abs(total[i]) >= SMALLEST]
        named = [(i, self._parameters[i]) for i in order]
        moment = Moment(
            staged={name: dict(zip(self._stages.names, staged[i].tolist(), strict=True)) for i, name in named},
            snapshot=_Snapshot(self._joined, values, as_of),
            newest={name: known for _, name in named if (known := self._newest(name, values, as_of))},
            sensors=kinds_by_parameter(findings),
            reference=self._reference,
            checkpoint_h=float(values[0]),
            group=group,
            process=self._process,
        )
        return [
            reason_of(name, self._spoken(i, points, total[i]), float(total[i]), moment).to_json() for i, name in named
        ]

    def _spoken(self, i: int, points: np.ndarray, total: float) -> Feature:
        """The feature of a parameter that pulls hardest in the direction of the sum; of equal ones the last by name."""
        own = self._features_of[i]
        return self._features[int(own[np.argmax(points[own] * np.sign(total))])]

    def _newest(self, parameter: str, values: np.ndarray, as_of: pd.Timestamp) -> Newest | None:
        place, age = self._newest_places.get(parameter), self._age_places.get(parameter)
        if place is None:
            return None
        age_h = None if age is None else float(values[age])
        return newest_of(self._joined.columns.features[place], self._joined.value(place, values), age_h, as_of)


@dataclass(frozen=True)
class _Snapshot(Mapping[str, Any]):
    """A row by the names of its columns, looked up when they are asked for."""

    joined: Joined
    row: np.ndarray
    as_of: pd.Timestamp

    def __getitem__(self, name: str) -> Any:
        return self.as_of if name == "as_of" else self.joined.value(self.joined.place.get(name, -1), self.row)

    def __iter__(self) -> Iterator[str]:
        return iter(("as_of", *self.joined.place))

    def __len__(self) -> int:
        return len(self.joined.place) + 1


class _Stages:
    """`models.explain.stages` of the model's features in one row."""

    def __init__(self, joined: Joined, process: ProcessDefinition) -> None:
        place = joined.place
        rules = [stage_rule(feature, place, process) for feature in joined.predictor.features]
        self.names = sorted({*stage_labels(process), *(rule.stage for rule in rules if rule.stage)})
        self._process, self._code = process, {name: i for i, name in enumerate(self.names)}
        self._fixed = np.array([self._code.get(rule.stage, 0) for rule in rules], np.int64)
        self._running = np.flatnonzero([not rule.stage and not rule.age for rule in rules])
        self._measured = np.flatnonzero([bool(rule.age) for rule in rules])
        self._ages = np.array([place[rule.age] for rule in rules if rule.age], np.int64)
        self._joined, self._current = joined, place.get(CURRENT)

    def at(self, values: np.ndarray) -> np.ndarray:
        """Place of each feature's stage among `names`."""
        codes, elapsed_h, recorded = self._fixed.copy(), values[:1], None
        if self._current is not None:
            recorded = np.array([self._joined.value(self._current, values)], object)
        codes[self._running] = self._code[str(running(elapsed_h, recorded, self._process)[0])]
        if len(self._measured):
            found = measured_in(elapsed_h, values[self._ages], self._process)
            codes[self._measured] = [self._code[str(name)] for name in found]
        return codes
