"""An engine without a model: the probability is the share of readings above 6, so every expected value is worked by hand.

Rows are checked by the real rules. What the endpoint keeps, refuses and answers does not depend on how good a score is.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from features.contracts import RUN_HISTORY
from features.digests import features_digest, process_digest
from models.explain.changes import Changes
from models.explain.what_if import WhatIf
from models.learners.applicability.domain import Cause, Support
from models.scoring.call import Call, decision_of
from models.scoring.newest import utc
from models.scoring.reasons import Reason
from models.scoring.score import VERSION, Model, Score
from serving.ids import microseconds
from serving.interfaces import Row, UnscorableError
from tests.serving.bulk_engine import BulkEngine
from tests.serving.small_plant import PROCESS

SHA256 = "ab" * 32


@dataclass(frozen=True)
class CountedView:
    probability: float

    def changes_since(self, earlier: "CountedView") -> Changes:
        return Changes(1.0, earlier.probability, self.probability, (), "")

    def what_if(self) -> WhatIf:
        return WhatIf(self.probability, 0.5, 6.0, (), (), "")


class CountingEngine(BulkEngine):
    support: tuple[Support, tuple[Cause, ...]] = ("sufficient", ())

    def __init__(self) -> None:
        self._process = PROCESS
        self._rows: dict[str, dict[tuple, Row]] = {name: {} for name in RUN_HISTORY}
        self._model = Model(
            "soup", "3", SHA256, "unreviewed", "soup", process_digest(PROCESS), features_digest()
        )  # fmt: skip

    def _apart(self) -> "CountingEngine":
        return CountingEngine()

    def released_for(self) -> Mapping[str, None]:
        return {"intended_use": None, "thresholds": None}

    def view(self, batch_id: str, as_of_us: int) -> CountedView:
        return CountedView(self._score(self._rows, batch_id, as_of_us).failure_probability)

    def decides_outcomes(self) -> None:
        return None

    def _score(self, rows: Mapping[str, Mapping[tuple, Row]], batch_id: str, as_of_us: int) -> Score:
        batch = rows["batches"][(batch_id,)]
        elapsed_us = as_of_us - microseconds(batch["started_at"])
        if elapsed_us < 0:
            raise UnscorableError(f"batch {batch_id} had not started")
        values = [
            row["value"]
            for row in rows["observations"].values()
            if row["batch_id"] == batch_id and microseconds(row["available_at"]) <= as_of_us
        ]
        share = sum(value > 6 for value in values) / len(values) if values else 0.0
        largest = max(values, default=None)
        reason = Reason("force_kn", "Force", "force_kn.since_start.max", largest, "kN", (4.0, 6.0), None, 100 * share, {},
                        largest, None, "", f"Force: {len(values)} readings")  # fmt: skip
        call: Call = "high" if share > 0.5 else "low"
        support, causes = self.support
        decision, cause = decision_of(call, None, support, causes)
        return Score(
            version=VERSION, batch_id=batch_id, as_of=utc(as_of_us), elapsed_h=elapsed_us / 3.6e9, failure_probability=share,
            base_probability=0.0, interval=[share, share], call=call, call_cause=None,
            support=support, support_causes=list(causes), decision=decision, cause=cause,
            possible=[], modes={}, attributes=[], reasons=[reason], missing=[], stale={}, sensors=[], domain=[],
            data_sha256=f"{len(values):064d}", process_version="1", model=self._model,
        )  # fmt: skip


def make_counting_engine(model: Row | None = None) -> CountingEngine:
    assert model is None or model["sha256"] == SHA256
    return CountingEngine()
