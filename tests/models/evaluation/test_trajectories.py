import numpy as np
import pandas as pd
import pytest

from features.errors import ContractError
from models.evaluation.trajectories import trajectories
from tests.models.evaluation.frames import trail

INF = float("-inf")


def test_batches_of_different_length_keep_their_highest_score() -> None:
    found = trajectories(trail({"B": [0.2, 0.7, 0.1], "A": [0.4]}))
    assert found.batch_id.tolist() == ["A", "B"]
    assert found.running_max.tolist() == [[0.4, 0.4, 0.4], [0.2, 0.7, 0.7]]
    assert found.highest.tolist() == [0.4, 0.7]
    assert found.lead_h[1].tolist() == [100, 88, 76]
    assert np.isnan(found.lead_h[0, 1:]).all()


def test_the_order_of_the_rows_does_not_matter() -> None:
    frame = trail({"A": [0.4, 0.1], "B": [0.2, 0.7, 0.1]}, {"B"})
    mixed = trajectories(frame.sample(frac=1, random_state=3))
    for name in ("batch_id", "failed", "running_max", "elapsed_h", "lead_h"):
        assert np.array_equal(getattr(mixed, name), getattr(trajectories(frame), name), equal_nan=name.endswith("_h"))


def test_only_scores_early_enough_count_as_a_warning() -> None:
    found = trajectories(trail({"A": [0.1, 0.5, 0.9]}, end_h=72))  # 72, 60 and 48 hours ahead
    assert [found.highest_until(h)[0] for h in (48, 48.5, 60, 72, 73)] == [0.9, 0.5, 0.5, 0.1, INF]


def test_an_on_delay_needs_scores_in_a_row_and_a_gap_starts_anew() -> None:
    frame = trail({"A": [0.9, 0.1, 0.6, 0.7], "B": [0.9, None, 0.9, 0.2], "C": [0.8]})
    found = trajectories(frame, on_delay=2)
    assert found.running_max[0].tolist() == [INF, 0.1, 0.1, 0.6]
    assert found.highest.tolist() == [0.6, 0.2, INF]  # B: .9 then nothing, .9 then .2; C: one score only


def test_a_score_after_the_end_of_its_batch_warns_of_nothing() -> None:
    found = trajectories(trail({"A": [0.1, 0.2, 0.9], "B": [0.5, 0.5, 0.5]}, end_h={"A": 12, "B": -1}))
    assert found.highest.tolist() == [0.2, INF]


def test_a_frame_that_cannot_be_counted_says_why() -> None:
    frame = trail({"A": [0.1, 0.2]})
    with pytest.raises(ContractError, match="scores without end_at"):
        trajectories(frame.drop(columns="end_at"))
    with pytest.raises(ContractError, match="batch A: its rows disagree on its outcome"):
        trajectories(frame.assign(failed=[True, False]))
    with pytest.raises(ContractError, match="batch A: its rows disagree on its end_at, or lack it"):
        trajectories(frame.assign(end_at=pd.to_datetime([None, None], utc=True)))
    with pytest.raises(ContractError, match="on_delay is 0"):
        trajectories(frame, on_delay=0)


def test_failures_that_do_not_count_are_left_out_and_good_batches_stay() -> None:
    found = trajectories(trail({"A": [0.1], "B": [0.2], "C": [0.3]}, {"B", "C"}))
    assert found.counting({"C", "A", "elsewhere"}).batch_id.tolist() == ["A", "C"]
    assert found.counting(None) is found
