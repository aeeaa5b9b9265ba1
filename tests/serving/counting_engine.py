"""An engine without a model: the probability is the share of readings above 6, so every expected value is worked by hand.

Rows are checked by the real rules. What the endpoint keeps, refuses and answers does not depend on how good a score is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from features.contracts import RUN_HISTORY
from features.digests import features_digest, process_digest
from serving.ids import microseconds
from serving.interfaces import ModelInfo, ScoreBody, UnscorableError
from tests.serving.bulk_engine import BulkEngine
from tests.serving.small_plant import PROCESS

SHA256 = "ab" * 32


@dataclass(frozen=True)
class CountedLook:
    probability: float

    def changes_since(self, earlier: "CountedLook") -> ScoreBody:
        return {"before": earlier.probability, "probability": self.probability}

    def what_if(self) -> ScoreBody:
        return {"probability": self.probability}


class CountingEngine(BulkEngine):
    def __init__(self) -> None:
        self._process = PROCESS
        self._rows: dict[str, dict[tuple, Mapping[str, Any]]] = {name: {} for name in RUN_HISTORY}
        self._info = ModelInfo(
            "soup", "3", SHA256, "unreviewed", "soup", process_digest(PROCESS), features_digest()
        )  # fmt: skip

    def _apart(self) -> "CountingEngine":
        return CountingEngine()

    def released_for(self) -> Mapping[str, Any]:
        return {"intended_use": None, "thresholds": None}

    def look(self, batch_id: str, as_of_us: int) -> "CountedLook":
        return CountedLook(self._score(self._rows, batch_id, as_of_us)["failure_probability"])

    def decides_outcomes(self) -> None:
        return None

    def _score(self, rows: Mapping[str, Mapping[tuple, Mapping[str, Any]]], batch_id: str, as_of_us: int) -> ScoreBody:
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
        reason = {"parameter": "force_kn", "label": "Force", "value": max(values, default=None), "unit": "kN",
                  "normal": [4.0, 6.0], "points": 100 * share, "sentence": f"Force: {len(values)} readings"}  # fmt: skip
        return {
            "version": 1, "elapsed_h": elapsed_us / 3.6e9, "failure_probability": share, "base_probability": 0.0,
            "decision": "high" if share > 0.5 else "low", "reasons": [reason], "missing": [], "stale": {},
            "data_sha256": f"{len(values):064d}", "process_version": "1", "model": self._info.to_json(),
        }  # fmt: skip


def make_counting_engine(model: Mapping[str, Any] | None = None) -> CountingEngine:
    assert model is None or model["sha256"] == SHA256
    return CountingEngine()
