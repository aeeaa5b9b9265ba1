import numpy as np
import pandas as pd
import pytest

from features.process import load_process
from pipelines.sources.policy import PlantDefinition
from pipelines.target_leakage import area_error, check_target_leakage, final_results, rank_correlation

PROCESS = load_process("processes/cart.toml", PlantDefinition)
DOSE = "dose_viable_car_e8"
N = 200


@pytest.fixture
def batches() -> tuple[pd.DataFrame, pd.Series, pd.DataFrame, pd.Series]:
    """200 batches, the 20 of lowest dose failed; snapshots at 6 h and 12 h with an honest feature."""
    rng = np.random.default_rng(0)
    ids = [f"B{i:03d}" for i in range(N)]
    dose = pd.Series(rng.lognormal(size=N), ids)
    failed = dose.rank() <= 20
    training = pd.DataFrame(
        {
            "batch_id": np.repeat(ids, 2),
            "checkpoint_h": np.tile([6.0, 12.0], N),
            "honest": np.repeat(rng.normal(size=N), 2),
        }
    )
    observations = pd.DataFrame(
        {
            "batch_id": ids,
            "parameter": DOSE,
            "observed_at": pd.Timestamp("2026-01-10", tz="UTC"),
            "revision": 0,
            "value": dose.to_numpy(),
        }
    )
    return training, failed, observations, dose


def test_a_plant_without_a_leak_passes(batches) -> None:
    training, failed, observations, _ = batches
    found = check_target_leakage(PROCESS, training, failed, observations)
    assert (found.passed, found.copies, found.suspicious, found.n_batches, found.n_failed) == (True, (), (), N, 20)


def test_a_feature_that_is_the_release_result_in_disguise_is_a_copy(batches) -> None:
    training, failed, observations, dose = batches
    leaky = training.assign(**{"inline.now": -np.log(training["batch_id"].map(dose))})
    found = check_target_leakage(PROCESS, leaky, failed, observations)
    assert not found.passed
    (copy,) = found.copies
    assert copy.startswith("inline.now at 6 h has the order of the release result dose_viable_car_e8")
    assert "-1.000 over 200 batches" in copy


def test_a_feature_that_gives_the_outcome_by_itself_is_to_be_explained_but_does_not_stop(batches) -> None:
    training, failed, observations, _ = batches
    noise = np.random.default_rng(1).normal(size=len(training)) / 10
    telling = training.assign(sign=training["batch_id"].map(failed).astype(float) + noise)
    found = check_target_leakage(PROCESS, telling, failed, observations)
    assert found.passed
    (line,) = found.suspicious
    assert line.startswith("sign at 6 h by itself tells the outcome: AUROC 1.000, 20 of 200 batches failed")


def test_a_copy_after_the_planned_end_is_no_leak(batches) -> None:
    training, failed, observations, dose = batches
    late = training.assign(checkpoint_h=216.0, result=training["batch_id"].map(dose))
    assert check_target_leakage(PROCESS, late, failed, observations).passed


def test_batches_outside_the_training_are_not_looked_at(batches) -> None:
    training, failed, observations, dose = batches
    few = failed.iloc[:50]  # below the 60 results that a rank correlation needs
    leaky = training.assign(copy=training["batch_id"].map(dose))
    found = check_target_leakage(PROCESS, leaky, few, observations)
    assert (found.passed, found.n_batches) == (True, 50)


def test_of_several_results_the_latest_revision_counts() -> None:
    rows = pd.DataFrame(
        {
            "batch_id": ["A", "A", "B"],
            "parameter": DOSE,
            "observed_at": pd.Timestamp("2026-01-10", tz="UTC"),
            "revision": [1, 0, 0],
            "value": [5.0, 50.0, 3.0],
        }
    )
    results = final_results(PROCESS, rows)
    assert results[DOSE].to_dict() == {"A": 5.0, "B": 3.0}
    assert results["vcn"].isna().all()


def test_a_rank_correlation_leaves_out_what_is_not_known() -> None:
    rho, n = rank_correlation(np.array([1.0, 2.0, np.nan, 4.0]), np.array([10.0, 30.0, 0.0, 20.0]))
    assert (round(rho, 12), n) == (0.5, 3)  # ranks 1 2 3 and 1 3 2: 1 - 6 * 2 / (3 * 8)


def test_a_constant_has_no_rank_correlation() -> None:
    assert rank_correlation(np.ones(5), np.arange(5.0)) == (0.0, 5)


def test_the_error_of_a_perfect_area_is_zero_and_that_of_chance_is_known() -> None:
    assert area_error(1.0, 10, 10) == 0.0
    # a = .5: q1 = q2 = 1/3; (.25 + 9/12 + 9/12) / 100
    assert area_error(0.5, 10, 10) == pytest.approx(np.sqrt(1.75 / 100))
