"""The way in which a batch would fail: one model per failure mode with enough cases, all over the same inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from pydantic import JsonValue

from features.process import ProcessDefinition
from models.learners.calibrate import Calibration
from models.learners.forest import Forest

SEPARATOR = ";"


@dataclass(frozen=True)
class ModeModel:
    """Whether a batch fails in one mode, frozen.

    Attributes:
        mode: As dispositions name it.
        n_cases: Failed batches of that mode in training.
        model_text: LightGBM's own text format, over the same inputs as the model of any failure.
        calibration: Raw log-odds to probability.
    """

    mode: str
    n_cases: int
    model_text: str
    calibration: Calibration

    @cached_property
    def forest(self) -> Forest:
        """The trees."""
        return Forest.of((self.model_text,))

    def probability(self, inputs: np.ndarray, checkpoint_h: np.ndarray) -> np.ndarray:
        """Calibrated probability of a failure in this mode, shape (n,)."""
        return self.calibration.probability(self.forest.log_odds(inputs)[:, 0], checkpoint_h)

    def head(self) -> dict[str, JsonValue]:
        """All but the trees, as plain JSON values."""
        return {"mode": self.mode, "n_cases": self.n_cases, "calibration": self.calibration.to_json()}


def modes_before(
    process: ProcessDefinition, dispositions: pd.DataFrame | None, cut: pd.Timestamp | None = None
) -> pd.DataFrame:
    """Failure modes of the batches that failed, as known at a cut.

    Args:
        process: Says which dispositions failed.
        dispositions: `features.contracts.DISPOSITIONS`; None: no modes.
        cut: Only dispositions decided before it count; None takes all.

    Returns:
        Pairs `batch_id`, `mode`; a batch may have several, and none where its disposition names none.
    """
    if dispositions is None:
        return pd.DataFrame({"batch_id": pd.Series(dtype="str"), "mode": pd.Series(dtype="str")})
    known = dispositions if cut is None else dispositions[dispositions["decided_at"] < cut]
    known = known.sort_values(["batch_id", "revision"])
    newest = known.groupby("batch_id").tail(1)
    failed = newest[newest["outcome"].isin(process.outcome.failed)]
    pairs = failed[["batch_id"]].assign(mode=failed["failure_modes"].fillna("").str.split(SEPARATOR)).explode("mode")
    pairs["mode"] = pairs["mode"].str.strip()
    return pairs[pairs["mode"] != ""].drop_duplicates().reset_index(drop=True)


def enough_cases(
    modes: pd.DataFrame, batch_ids: Sequence[str] | pd.Index, minimum: int
) -> tuple[list[str], dict[str, int]]:
    """Modes with at least `minimum` cases among these batches, in alphabetical order, and the counts of the others."""
    counts = modes.loc[modes["batch_id"].isin(batch_ids), "mode"].value_counts()
    return sorted(counts.index[counts >= minimum]), {str(m): int(n) for m, n in counts.items() if n < minimum}
