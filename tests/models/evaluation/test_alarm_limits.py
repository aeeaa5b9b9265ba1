import numpy as np
import pandas as pd
import pytest

from features.process import ProcessDefinition
from models.evaluation.alarm_limits import against_limits, limit_scores
from models.evaluation.plant_summary import against_limits as in_words
from tests.models.evaluation.frames import trail

PROCESS = ProcessDefinition.model_validate({
    "process": {
        "id": "p", "name": "P", "version": "1", "planned_duration_h": 100, "every_h": 12, "windows_h": [6, 24],
    },
    "parameter": [
        {"name": "temperature_c", "label": "T", "unit": "degC", "kind": "sensor", "normal": [36, 38]},
        {"name": "viability_pct", "label": "V", "unit": "%", "kind": "assay", "normal": [80, float("nan")]},
        {"name": "site", "label": "S", "unit": "category", "kind": "attribute"},
        {"name": "dose", "label": "D", "unit": "1", "kind": "assay", "normal": [2, 3], "excluded": True},
    ],
})  # fmt: skip


def test_the_score_is_the_worst_distance_in_widths_of_the_normal_range() -> None:
    rows = pd.DataFrame({
        "temperature_c.last_6h.mean": [37.0, 39.0, np.nan, np.nan],
        "temperature_c.since_start.last": [60.0, 60.0, 60.0, 60.0],  # a moment's excess is no alarm
        "viability_pct.since_start.last": [np.nan, 84.0, 72.0, np.nan],
        "dose.since_start.last": [90.0] * 4,  # decides the outcome
    })  # fmt: skip
    # 1 degC inside of a range of 2; 1 degC outside; 8 % below 80 %; nothing known
    assert limit_scores(rows, PROCESS).tolist() == pytest.approx([-0.5, 0.5, 0.1, np.nan], nan_ok=True)


def test_the_predictor_and_the_limits_are_compared_at_the_same_share_of_good_batches() -> None:
    good = {f"G{i:02d}": [0.1, i / 100] for i in range(20)}
    bad = {f"F{i:02d}": [0.1, 0.9 if i < 8 else 0.0] for i in range(10)}
    scores = trail(good | bad, set(bad))
    limits = scores[["batch_id", "checkpoint_h"]].assign(
        limit_score=[0.3 if b in ("F00", "F01", "G05") else -0.2 for b in scores["batch_id"]]
    )
    table = against_limits(scores, limits, share=0.05, ahead_h=48)
    recall = table.set_index("figure").loc["recall"]
    assert (recall["ours"], recall["theirs"], recall["n_failed"]) == (0.8, 0.2, 10)
    assert recall["low"] > 0
    assert (recall["plain_n_caught"], recall["plain_n_good_alarmed"]) == (2, 1)
    said = in_words(table)
    assert "find 20 % of 10 failures; the predictor at that share finds 80 %" in said
    assert said.endswith("better).")


def test_without_limits_or_without_failures_there_is_nothing_to_compare() -> None:
    scores = trail({"A": [0.1], "B": [0.2]}, {"B"})
    limits = scores[["batch_id", "checkpoint_h"]].assign(limit_score=np.nan)
    assert against_limits(scores, limits, share=0.05, ahead_h=48).empty
    assert in_words(pd.DataFrame()) == ""
    known = limits.assign(limit_score=0.1)
    assert against_limits(scores.assign(failed=False), known, share=0.05, ahead_h=48).empty
