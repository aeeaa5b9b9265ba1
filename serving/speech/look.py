"""One batch at one moment as a snapshot, and what a shift lead asks about it: what changed, what could still be done.

Slower than a score and made only when asked for: the same functions as for published scores (`serving.scorer`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import orjson
import pandas as pd

from features.live import Columns
from features.process import ProcessDefinition
from models.explain.changes import Scored, changes
from models.explain.what_if import what_if
from models.judge import judge
from models.predictor import Predictor
from serving.interfaces import ScoreBody
from serving.scorer import labels_of, scored_of

_US_PER_H = 3_600_000_000


@dataclass(frozen=True, eq=False)
class Look:
    """What a model sees of one batch at one moment.

    Attributes:
        predictor: Frozen.
        process: For labels, normal ranges and what is controllable.
        columns: Of the values.
        values: One number per column, NaN where nothing is known.
        batch_id: The batch.
        as_of_us: The moment, microseconds UTC.
    """

    predictor: Predictor
    process: ProcessDefinition
    columns: Columns
    values: np.ndarray
    batch_id: str
    as_of_us: int

    @property
    def probability(self) -> float:
        """Calibrated probability of failure, as a score of this moment says it."""
        return self._own.probability

    def changes_since(self, earlier: Look) -> ScoreBody:
        """What moved the risk since an earlier moment of the batch, said by this look's model, as plain JSON values."""
        then = earlier._own if earlier.predictor is self.predictor else earlier._scored(self.predictor)
        return _plain(changes(then, self._own, labels=labels_of(self.predictor, self.process)).to_json())

    def what_if(self) -> ScoreBody:
        """The smallest change of what can still be changed that ends the alarm, as plain JSON values."""
        limit = self.predictor.thresholds.high
        [found] = what_if(self.predictor.predict, self.snapshot, self.process, self.columns.features, threshold=limit)
        return _plain(found.to_json())

    @cached_property
    def snapshot(self) -> pd.DataFrame:
        """`features.contracts.SNAPSHOT`, one row; columns of the model that the state lacks are not known."""
        elapsed_us = round(float(self.values[0]) * _US_PER_H)
        times = pd.to_datetime([self.as_of_us - elapsed_us, self.as_of_us], unit="us", utc=True).as_unit("us")
        head = {
            "batch_id": _text(self.batch_id),
            "checkpoint_h": self.values[:1],
            "started_at": times[:1],
            "as_of": times[1:],
        }
        own = {feature.name: self._column(place) for place, feature in enumerate(self.columns.features)}
        encoder = self.predictor.encoder
        absent = {
            n: _text(None) if n in encoder.categories else np.full(1, np.nan) for n in encoder.columns if n not in own
        }
        return pd.DataFrame({**head, **own, **absent})

    def _column(self, place: int) -> Any:
        names, value = self.columns.categories.get(place), self.values[place]
        if names is None:
            return self.values[place : place + 1]
        return _text(None if np.isnan(value) else names[int(value)])

    @cached_property
    def _own(self) -> Scored:
        return self._scored(self.predictor)

    def _scored(self, predictor: Predictor) -> Scored:
        features = self.columns.features
        return scored_of(predictor, judge(predictor, self.snapshot, features), self.snapshot, features)[0]


def _text(value: str | None) -> Any:
    return pd.array([value], dtype="str")


def _plain(said: Any) -> ScoreBody:
    return orjson.loads(orjson.dumps(said, option=orjson.OPT_SERIALIZE_NUMPY))
