import numpy as np
import pandas as pd
import pytest

from benchmarks.baselines.logistic import fit_scaling

ROWS = pd.DataFrame(
    {
        "batch_id": ["A", "B", "C", "A", "B", "C"],
        "checkpoint_h": [12.0] * 3 + [24.0] * 3,
        "started_at": pd.Timestamp("2025-01-01T00:00Z"),
        "as_of": pd.Timestamp("2025-01-01T12:00Z"),
        "glucose_mm.since_start.last": [9.0, 11.0, np.nan, 2.0, 6.0, 4.0],
        "integrity_test.before_start.value": pd.Series(["passed", "retest"] * 3, dtype="str"),
    }
)


def test_at_each_checkpoint_a_value_is_compared_with_its_own_hour() -> None:
    X = fit_scaling(ROWS, by_checkpoint=True).matrix(ROWS)
    # 12 h: 9, 11 and the median 10 in the gap, deviation sqrt(2/3); 24 h: 2, 6, 4, deviation sqrt(8/3)
    assert X[:, 0] == pytest.approx([-1.2247, 1.2247, 0, -1.2247, 1.2247, 0], abs=1e-4)


def test_gaps_are_marked_and_categories_have_a_column_each() -> None:
    X = fit_scaling(ROWS, by_checkpoint=False).matrix(ROWS)
    assert X[:, 1].tolist() == [1, 0, 1, 0, 1, 0]
    assert X[:, 2].tolist() == [0, 1, 0, 1, 0, 1]
    assert X[:, 3].tolist() == [0, 0, 1, 0, 0, 0]
    assert X.shape[1] == 4


def test_a_slip_of_the_pen_counts_for_five_deviations() -> None:
    scaling = fit_scaling(ROWS, by_checkpoint=True)
    wrong = ROWS.assign(**{"glucose_mm.since_start.last": 1000.0})
    assert (scaling.matrix(wrong)[:, 0] == 5).all()
