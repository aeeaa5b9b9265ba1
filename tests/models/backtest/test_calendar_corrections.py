"""The dates of a replay count failures as they were known at each moment: a correction is not known before it comes."""

import numpy as np
import pandas as pd

from models.backtest.calendar import retrainings
from models.backtest.history import outcomes_of
from models.policy import Policy
from tests.models.plant import labels, utc

POLICY = Policy(learner="trees", retrain_every_outcomes=1)
START, DAY, US = utc("2026-01-01"), pd.Timedelta(days=1), pd.Timedelta(microseconds=1)


def _dates(*changes: tuple, log_given: bool = True, n: int = 8) -> list[float]:
    """Days at which trainings fall; batch i starts on day i and is decided a day later, and the odd ones fail."""
    ids = [f"B{i}" for i in range(n)]
    batches = pd.DataFrame({"batch_id": ids, "started_at": START + pd.to_timedelta(np.arange(n), unit="D")})
    first = [(batch_id, i % 2 == 1, START + (i + 1) * DAY) for i, batch_id in enumerate(ids)]
    log = labels(*first, *((b, failed, START + day * DAY, False, 1) for b, failed, day in changes))
    found = retrainings(
        outcomes_of(batches, log), POLICY, least=2, started=batches.set_index("batch_id")["started_at"],
        log=log if log_given else None,
    )  # fmt: skip
    return [(date.at - US - START).total_seconds() / 86_400 for date in found]


def test_the_first_training_waits_for_enough_of_both_kinds() -> None:
    assert _dates() == [4.0, 5.0, 6.0]


def test_without_corrections_the_log_changes_nothing() -> None:
    assert _dates() == _dates(log_given=False)


def test_a_success_that_is_a_failure_only_later_is_none_before() -> None:
    assert _dates(("B0", True, 20), ("B2", True, 20)) == _dates()
    assert _dates(("B0", True, 20), ("B2", True, 20), log_given=False) != _dates()


def test_no_training_falls_where_a_correction_has_left_too_few() -> None:
    assert _dates(("B1", False, 4.5)) == [4.0, 6.0]
