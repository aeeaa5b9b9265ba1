"""In which stage of a batch the evidence of a contribution lies: before the start, in a phase, or spread over the batch.

A contribution belongs to a feature, and a feature looks at a span of time. The rule is the span's, and plain:

- **before start**: what was fixed or known when the batch began: attributes, donor, tests of raw-material lots, and the
  record of lots, suppliers, site, equipment and donor.
- **a phase**: a recent window, what is open now and how the current phase goes count to the phase running at the
  snapshot, even where a window reaches back into the phase before; how long a phase took counts to that phase; a newest
  value counts to the phase in which it was measured, by the planned times of the recipe.
- **since start**: statistics over the whole batch so far, which no phase can be held to, and what is no time at all,
  such as how much is missing.

A process without phases has one, `running`.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.dictionary import Feature
from features.process import ProcessDefinition
from models.predictor import AGE

BEFORE_START = "before_start"
SINCE_START = "since_start"
RUNNING = "running"
_BEFORE_WINDOWS = frozenset({"before_start", "lot", "last_90d"})
_RECORD = frozenset({"site", "equipment", "subject", "product", "operators", "process_version", "scale_l"})
_RECORD_OF = ("lot.", "supplier.")
_NO_TIME = frozenset({"progress", "completeness"})
CURRENT = "phase.now.name"  # the phase that the events say is running


def stage_labels(process: ProcessDefinition) -> dict[str, str]:
    """Every stage with its words, in order of time."""
    phases = {phase.name: phase.label for phase in process.phase} or {RUNNING: "Running"}
    return {BEFORE_START: "Before the start", **phases, SINCE_START: "Since the start"}


@dataclass(frozen=True)
class StageRule:
    """Where the evidence of a feature lies: in a fixed stage, in the phase running, or where a value was measured.

    Attributes:
        stage: A key of `stage_labels`; empty where it depends on the snapshot.
        age: Feature that says how old the newest value is; with it, the stage is that in which it was measured.
    """

    stage: str = ""
    age: str = ""


def stage_rule(feature: Feature, columns: Container[str], process: ProcessDefinition) -> StageRule:
    """The rule of one feature.

    Args:
        feature: One entry of the dictionary.
        columns: Names of all columns of the snapshots.
        process: Gives the phases.
    """
    subject = feature.parameter
    if feature.window in _BEFORE_WINDOWS or subject in _RECORD or subject.startswith(_RECORD_OF):
        return StageRule(BEFORE_START)
    phase = subject.removeprefix("phase.")
    if phase != subject:
        return StageRule(phase if phase in stage_labels(process) else SINCE_START)
    if feature.window.startswith("last_") or (feature.window == "now" and subject not in _NO_TIME):
        return StageRule()
    age = f"{subject}.since_start.{AGE}"
    if feature.statistic in ("last", AGE) and age in columns:
        return StageRule(age=age)
    return StageRule(SINCE_START)


def stages(feature: Feature, snapshots: pd.DataFrame, process: ProcessDefinition) -> np.ndarray:
    """The stage of one feature at each snapshot.

    Args:
        feature: One entry of the dictionary.
        snapshots: `features.contracts.SNAPSHOT`; with `phase.now.name` the phase running is the recorded one where
            there is one, else the planned one.
        process: Gives the phases.

    Returns:
        Keys of `stage_labels`, shape (n,), object.
    """
    rule = stage_rule(feature, snapshots, process)
    if rule.stage:
        return np.full(len(snapshots), rule.stage, object)
    elapsed_h = snapshots["checkpoint_h"].to_numpy(float)
    if rule.age:
        return measured_in(elapsed_h, snapshots[rule.age].to_numpy(float), process)
    recorded = snapshots[CURRENT].to_numpy(object) if CURRENT in snapshots else None
    return running(elapsed_h, recorded, process)


def running(elapsed_h: np.ndarray, recorded: np.ndarray | None, process: ProcessDefinition) -> np.ndarray:
    """The phase running at each hour since the start, as recorded where it is a phase of the recipe, else as planned.

    Args:
        elapsed_h: Hours, shape (n,).
        recorded: Names that the events say (`CURRENT`), shape (n,), object; None where nothing is recorded.
        process: Gives the phases.
    """
    planned = planned_phase(elapsed_h, process)
    if recorded is None:
        return planned
    known = np.isin(np.asarray([str(name) for name in recorded], object), [phase.name for phase in process.phase])
    return np.where(known, recorded, planned)


def planned_phase(elapsed_h: np.ndarray, process: ProcessDefinition) -> np.ndarray:
    """The phase planned for each hour since the start; before the first one begins, the first.

    Returns:
        Names of phases, shape (n,), object; `RUNNING` where the process has none.
    """
    phases = sorted(process.phase, key=lambda phase: phase.starts_h)
    if not phases:
        return np.full(len(elapsed_h), RUNNING, object)
    place = np.searchsorted([phase.starts_h for phase in phases], elapsed_h, side="right") - 1
    return np.asarray([phase.name for phase in phases], object)[np.maximum(place, 0)]


def by_parameter_and_stage(
    contributions: pd.DataFrame, snapshots: pd.DataFrame, features: tuple[Feature, ...], process: ProcessDefinition
) -> pd.DataFrame:
    """Contributions summed over the features of each parameter and stage.

    Args:
        contributions: One column per feature, rows as the snapshots; log-odds or percentage points.
        snapshots: `features.contracts.SNAPSHOT`.
        features: One entry per column of the contributions.
        process: Gives the phases.

    Returns:
        Index of the contributions, columns (parameter, stage) in order of name; a row sums to what it summed to before.
    """
    sums: dict[tuple[str, str], np.ndarray] = {}
    for feature in features:
        values, where = contributions[feature.name].to_numpy(float), stages(feature, snapshots, process)
        for stage in np.unique(where.astype(str)):
            key = (feature.parameter, str(stage))
            sums[key] = sums.get(key, np.zeros(len(values))) + np.where(where == stage, values, 0.0)
    keys = sorted(sums)
    columns = pd.MultiIndex.from_tuples(keys, names=["parameter", "stage"])
    values = np.column_stack([sums[key] for key in keys]) if keys else np.empty((len(contributions), 0))
    return pd.DataFrame(values, index=contributions.index, columns=columns)


def measured_in(elapsed_h: np.ndarray, age_h: np.ndarray, process: ProcessDefinition) -> np.ndarray:
    """The phase in which a value of an age was measured; before the start, or since it where nothing was measured."""
    measured_h = elapsed_h - age_h
    phase = np.where(measured_h <= 0, BEFORE_START, planned_phase(np.nan_to_num(measured_h), process))
    return np.where(np.isnan(measured_h), SINCE_START, phase)
