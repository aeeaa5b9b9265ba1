"""One batch's row of numbers to all that a model says of it, as plain JSON values and without a frame.

The same steps as a figure of the sealed test takes (`models.judge`), and the same numbers as `serving.scorer` gives for a
frame of snapshots (`tests/serving/test_engine.py`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit

from features.live import Columns
from features.process import ProcessDefinition
from models.explain.attributes import attribute_forecasts
from models.judge import Judged, judge_rows
from models.predictor import Predictor, mean_slope
from serving.speech.joined import Joined
from serving.speech.why import Why

OUTCOMES = ("failed", "succeeded")


class Speaker:
    """A predictor and the columns that a state gives it, joined once by name.

    Args:
        predictor: Frozen.
        process: For labels, normal ranges and phases.
        columns: Of the rows that will come.
    """

    def __init__(self, predictor: Predictor, process: ProcessDefinition, columns: Columns) -> None:
        self._predictor, self._process, self.columns = predictor, process, columns
        self.joined = Joined(predictor, columns)
        self._why = Why(self.joined, process, reference=predictor.evidence)

    def say(self, values: np.ndarray, as_of_us: int, *, reasons: bool = True) -> dict[str, Any]:
        """What the model says of one row of `columns`, asked at a time in microseconds UTC.

        Without `reasons`, which take most of the time, they are None.

        Raises:
            ContractError: A value is infinite.
        """
        predictor = self._predictor
        judged = judge_rows(predictor, self.joined.rows(values), contributions=reasons)
        found, hours = judged.assessment, values[:1]
        low, high = found.interval
        return {
            "failure_probability": float(found.probability[0]),
            "interval": [float(low[0]), float(high[0])],
            "base_probability": float(expit(found.base_log_odds)[0]),
            "decision": judged.decisions[0],
            "cause": judged.causes[0] or None,
            "possible": [name for name, may in zip(OUTCOMES, _possible(judged), strict=True) if may],
            "modes": {mode: float(p[0]) for mode, p in predictor.mode_probabilities(found, hours).items()},
            "attributes": self._attributes(judged),
            "reasons": self._reasons(judged, values, _timestamp(as_of_us)),
            "missing": judged.missing[0],
            "stale": judged.stale[0],
            "sensors": [finding.to_json() for finding in judged.sensors[0]],
            "domain": [finding.to_json() for finding in judged.domains[0].findings] if judged.domains else [],
        }

    def _reasons(self, judged: Judged, values: np.ndarray, as_of: pd.Timestamp) -> list[dict[str, Any]] | None:
        found = judged.assessment
        if found.contributions is None:
            return None
        change, base = found.contributions[0], found.base_log_odds
        points = 100.0 * mean_slope(base, base + change.sum()) * change
        group = self._predictor.evidence.groups(judged.X)[0]
        return self._why.reasons(points, values, as_of, findings=judged.sensors[0], group=group)

    def _attributes(self, judged: Judged) -> list[dict[str, Any]]:
        expected = judged.assessment.seen.expected
        return [] if expected is None else [a.to_json() for a in attribute_forecasts(expected, 0, self._process)]


def _timestamp(at_us: int) -> pd.Timestamp:
    return pd.Timestamp(at_us, unit="us", tz="UTC").as_unit("us")  # ty: ignore[invalid-explicit-return]


def _possible(judged: Judged) -> tuple[bool, bool]:
    """Whether failure and success are in the conformal set at the nominal level."""
    return bool(judged.may_fail[0]), bool(judged.may_succeed[0])
