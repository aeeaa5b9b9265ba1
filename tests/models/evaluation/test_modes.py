import pandas as pd
import pytest

from models.evaluation.modes import mode_table
from models.learners.calibrate import Calibration
from models.learners.failure_modes import ModeModel
from tests.models.evaluation.frames import trail

COLD, SLOW = (ModeModel(mode, n_cases, "", Calibration()) for mode, n_cases in (("cold", 31), ("slow", 44)))
PAIRS = pd.DataFrame({"batch_id": ["A", "B", "C"], "mode": ["cold", "slow", "odd"]})


@pytest.fixture
def scores() -> pd.DataFrame:
    frame = trail({name: [0.5, 0.5] for name in "ABCD"}, {"A", "B", "C"}, step_h=12)
    cold = {"A": [0.4, 0.2], "B": [0.3, 0.3], "C": [0.1, 0.1], "D": [0.0, 0.0]}
    return frame.assign(**{"mode.cold": [p for b in "ABCD" for p in cold[b]], "mode.slow": 0.1})


def test_each_mode_is_ranked_against_all_other_batches_per_stage(scores) -> None:
    table = mode_table(scores, (COLD, SLOW), {}, PAIRS)
    cold = table[table["mode"] == "cold"]
    assert cold["band"].tolist() == ["0 h", "12 h"]
    assert cold["auroc"].tolist() == [1.0, pytest.approx(2 / 3)]  # at 12 h B scores above A, C and D below
    assert cold["n_failed"].tolist() == [1, 1]
    assert table["mode"].tolist() == ["slow", "slow", "cold", "cold"]  # most cases first
    assert table.loc[table["mode"] == "slow", "auroc"].tolist() == [0.5, 0.5]


def test_a_mode_with_too_few_cases_says_so_with_its_counts(scores) -> None:
    row = mode_table(scores, (), {"odd": 3, "never": 1}, PAIRS).set_index("mode")
    assert row["verdict"].unique().tolist() == ["not enough cases"]
    assert row.loc["odd", ["training_cases", "n_failed"]].tolist() == [3, 1]
    assert row.loc["never", ["training_cases", "n_failed"]].tolist() == [1, 0]
    assert row["auroc"].isna().all()


def test_a_mode_without_a_case_in_the_test_has_no_figure(scores) -> None:
    table = mode_table(scores, (COLD,), {}, PAIRS[PAIRS["mode"] != "cold"])
    assert table["auroc"].isna().all()
    assert table["n_failed"].tolist() == [0, 0]


def test_a_mode_that_no_version_could_score_then_says_so(scores) -> None:
    row = mode_table(scores.drop(columns="mode.slow"), (COLD, SLOW), {"odd": 3}, PAIRS).set_index("mode")
    assert row.loc["slow", ["training_cases", "verdict", "n_failed"]].tolist() == [
        44, "no model when the test was scored", 1,
    ]  # fmt: skip
    assert row.loc["cold", "verdict"].unique().tolist() == ["answered"]
    assert row.index.tolist() == ["cold", "cold", "slow", "odd"]


def test_batches_scored_before_a_mode_had_a_model_do_not_count(scores) -> None:
    early = scores["batch_id"] == "D"
    table = mode_table(scores.assign(**{"mode.cold": scores["mode.cold"].mask(early)}), (COLD,), {}, PAIRS)
    assert table["n_batches"].tolist() == [3, 3]
    assert table["auroc"].tolist() == [1.0, 0.5]  # at 12 h B scores above A, and C below it
