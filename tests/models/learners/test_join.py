import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from models.learners.join import joined


def folds(*parts: tuple[float, int, int]) -> pd.DataFrame:
    """One row a batch: folds whose linear score is the level of the rate that they learnt from, with failures in n."""
    made = []
    for number, (rate, n_failed, n) in enumerate(parts):
        names = [f"{number}-{i}" for i in range(n)]
        rows = pd.DataFrame({"batch_id": pd.array(names, dtype="str"), "checkpoint_h": 12.0, "fold": f"fold {number}"})
        made.append(rows.assign(weight=1.0, linear=logit(rate), trees=0.0, failed=np.arange(n) < n_failed, rate=rate))
    return pd.concat(made, ignore_index=True)


def level(scored: pd.DataFrame, *, rate: float) -> float:
    """What a final linear score of the level of all training batches is calibrated to."""
    found = joined(scored, None, n_failed=20, rate=rate)
    stack = found.join.stack if found.join else (0.0, 0.0, 0.0)
    raw = stack[0] + stack[1] * logit(rate)
    return float(expit(found.calibration.log_odds(np.array([raw]), np.array([12.0]))[0]))


@pytest.mark.parametrize("validated", [(4, 100), (16, 100)])
def test_the_level_of_calibrated_scores_is_the_failure_rate_of_all_training_batches(validated) -> None:
    assert level(folds((0.2, *validated)), rate=0.08) == pytest.approx(0.08, abs=1e-4)


def test_folds_that_learnt_from_other_failure_rates_are_raised_or_lowered_to_that_of_all() -> None:
    scored = folds((0.2, 10, 100), (0.05, 10, 100))
    found = joined(scored, None, n_failed=20, rate=0.1)
    assert np.ptp(found.raw) == pytest.approx(0, abs=1e-9)  # the folds say nothing but their rates
    assert level(scored, rate=0.1) == pytest.approx(0.1, abs=1e-4)
