"""In which stage of a batch the evidence of a contribution lies: before the start, in a phase, or spread over the batch.

A contribution belongs to a feature, and a feature covers a span of time. The rule of the span is plain:

- **before start**: what was fixed or known when the batch began: attributes, donor, tests of raw-material lots, and the
  record of lots, suppliers, site, equipment and donor.
- **a phase**: a recent window, what is open now and the progress of the current phase count to the phase running at the
  snapshot, even where a window reaches back into the phase before; the length of a phase counts to that phase; a newest
  value counts to the phase in which it was measured, by the planned times of the recipe.
- **since start**: statistics over the whole batch so far, which belong to no single phase, and features without a time,
  such as the number of missing parameters.

A process without phases has one, `running`.
"""

from __future__ import annotations

import numpy as np

from features.course import LAG
from features.dictionary import Feature
from features.process import ProcessDefinition
from models.predictor import AGE
from models.scoring.rows import FeatureColumns

BEFORE_START = "before_start"
SINCE_START = "since_start"
RUNNING = "running"
_BEFORE_WINDOWS = frozenset({"before_start", "lot", "last_90d"})
_RECORD = frozenset({"site", "equipment", "subject", "product", "operators", "process_version", "scale_l"})
_RECORD_OF = ("lot.", "supplier.")
_NO_TIME = frozenset({"progress", "completeness"})
_NOW, _MEASURED = "", None  # of a feature without a fixed stage: the phase running, or that of its newest value
CURRENT = "phase.now.name"  # the recorded name of the phase that is running


def stage_labels(process: ProcessDefinition) -> dict[str, str]:
    """Every stage with its words, in order of time."""
    phases = {phase.name: phase.label for phase in process.phase} or {RUNNING: "Running"}
    return {BEFORE_START: "Before the start", **phases, SINCE_START: "Since the start"}


class Stages:
    """Stages of features in one row.

    Args:
        features: The features, k of them.
        columns: Columns of the rows.
        process: Gives the phases.
    """

    def __init__(self, features: tuple[Feature, ...], columns: FeatureColumns, process: ProcessDefinition) -> None:
        self.names = sorted(stage_labels(process))
        phases = sorted(process.phase, key=lambda phase: phase.starts_h)
        self._starts_h = np.array([phase.starts_h for phase in phases])
        self._planned = np.array([self.names.index(phase.name) for phase in phases] or [self.names.index(RUNNING)])
        self._phases = {phase.name: self.names.index(phase.name) for phase in phases}
        self._before, self._since = self.names.index(BEFORE_START), self.names.index(SINCE_START)
        rules = [self._rule(feature, columns) for feature in features]
        self._fixed = np.array([self.names.index(rule) if rule else 0 for rule in rules], np.int64)
        self._now = np.flatnonzero([rule == _NOW for rule in rules])
        self._measured = np.flatnonzero([rule is _MEASURED for rule in rules])
        self._ages = np.array([columns.place[_age_of(features[i])] for i in self._measured], np.int64)
        self._columns = columns

    def at(self, row: np.ndarray, elapsed_h: float) -> np.ndarray:
        """Place of each feature's stage among `names`, shape (k,)."""
        places = self._fixed.copy()
        recorded = self._columns.value(CURRENT, row)
        planned = self._phase_at(np.array([elapsed_h]))[0]
        places[self._now] = self._phases.get(recorded, planned) if isinstance(recorded, str) else planned
        if len(self._measured):
            measured_h = elapsed_h - row[self._ages]
            phase = np.where(measured_h <= 0, self._before, self._phase_at(np.nan_to_num(measured_h)))
            places[self._measured] = np.where(np.isnan(measured_h), self._since, phase)
        return places

    def _phase_at(self, elapsed_h: np.ndarray) -> np.ndarray:
        """Place of the phase planned at hours since the start; before the first one begins, the first."""
        return self._planned[np.maximum(np.searchsorted(self._starts_h, elapsed_h, side="right") - 1, 0)]

    def _rule(self, feature: Feature, columns: FeatureColumns) -> str | None:
        """The fixed stage of a feature, `_NOW` or `_MEASURED`."""
        subject = feature.parameter
        if feature.window in _BEFORE_WINDOWS or subject in _RECORD or subject.startswith(_RECORD_OF):
            return BEFORE_START
        phase = subject.removeprefix("phase.")
        if phase != subject:
            return phase if phase in self.names else SINCE_START
        recent = feature.window.startswith(("last_", LAG))
        if recent or (feature.window == "now" and subject not in _NO_TIME):
            return _NOW
        if feature.statistic in ("last", AGE) and _age_of(feature) in columns.place:
            return _MEASURED
        return SINCE_START


def _age_of(feature: Feature) -> str:
    """Name of the feature that is the age of the newest value of the same parameter."""
    return f"{feature.parameter}.since_start.{AGE}"
