"""Expectations of sensors: what departs is found, what is handed on adds up, a row does not depend on others."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from features.process import ProcessDefinition
from models.cohort.course import Course
from models.learners.residuals import LEVELS, Residuals, blocks_of, excess, fit_residuals

HEAD = {
    "id": "p", "name": "P", "version": "1", "planned_duration_h": 12, "bin_h": 1, "checkpoints_h": [6, 12],
    "windows_h": [6, 24],
}  # fmt: skip
NAMES = ("a", "b", "c", "d", "e", "f")
PARAMETERS = [{"name": name, "label": name.upper(), "unit": "1", "kind": "sensor"} for name in NAMES]
PROCESS = ProcessDefinition.model_validate({"process": HEAD, "parameter": PARAMETERS})
S = len(NAMES)


def made_up(n: int = 400, seed: int = 1) -> np.ndarray:
    """Levels of n rows: all sensors share one cause now and had it before, each with a little noise of its own."""
    rng = np.random.default_rng(seed)
    cause = rng.normal(size=(n, 1, 1))
    return (cause + rng.normal(0, 0.1, (n, S, LEVELS))).reshape(n, S * LEVELS)


def course(levels: np.ndarray, hours: float = 6.0, version: np.ndarray | None = None) -> Course:
    """One row of every batch."""
    n = len(levels)
    rows = pd.DataFrame({"batch_id": [f"B{i:03d}" for i in range(n)], "checkpoint_h": hours})
    return Course(rows, levels, np.full(n, np.nan) if version is None else version)


def fit(given: Course, failed: tuple[int, ...] = (), groups: int = 0) -> tuple[Residuals, np.ndarray]:
    outcome = pd.Series(False, index=pd.Index(given.rows["batch_id"]))
    outcome.iloc[list(failed)] = True
    found = fit_residuals(PROCESS, given, outcome, groups)
    assert found is not None
    return found


def z_of(model: Residuals, levels: np.ndarray, hours: float = 6.0) -> np.ndarray:
    return model.z(levels, np.full(len(levels), np.nan), np.full(len(levels), hours))


RESIDUALS, _ = fit(course(made_up()))


def test_residuals_of_batches_like_those_of_training_are_standard_normal() -> None:
    z = z_of(RESIDUALS, made_up(seed=2))
    assert np.abs(np.median(z, axis=0)).max() < 0.2
    assert np.abs(z.std(axis=0) - 1).max() < 0.2


def test_a_sensor_inside_its_normal_range_that_departs_from_the_others_is_found() -> None:
    odd = made_up(1, seed=3)
    odd[:, 0] += 1.5  # well inside the spread of one sensor alone
    z = z_of(RESIDUALS, odd)[0]
    assert np.abs(z[0, 0]) > 6
    assert z[1, 0] > 6


def test_an_unknown_level_has_no_residual_and_departs_by_nothing() -> None:
    row = made_up(1, seed=4)
    row[0, 0] = np.nan
    z = z_of(RESIDUALS, row)
    assert np.isnan(z[0, :, 0]).all()
    assert np.isfinite(z[0, :, 1:]).all()
    assert RESIDUALS.columns_of(z)[0, [3, 3 + S]].tolist() == [0.0, 0.0]


def test_hours_without_training_rows_expect_nothing() -> None:
    late, _ = fit(course(made_up(), hours=12.0))
    assert np.isnan(z_of(late, made_up(5))).all()


def test_too_few_successful_batches_expect_nothing() -> None:
    good = course(made_up(60))
    assert fit(good)[0] is not None
    outcome = pd.Series([True] + [False] * 59, index=good.rows["batch_id"])
    assert fit_residuals(PROCESS, good, outcome, 0) is None


def test_a_failed_batch_teaches_nothing_and_a_successful_one_is_judged_by_the_others() -> None:
    levels = made_up()
    levels[0, 0], levels[1, 0] = 40.0, 40.0
    model, z = fit(course(levels), failed=(0,))
    without, _ = fit(course(levels[2:]))
    assert model.cross == pytest.approx(without.cross, abs=0.05)
    in_sample = z_of(model, levels)
    assert z[0].tobytes() == in_sample[0].tobytes()
    assert np.abs(z[1, 0, 0]) > np.abs(in_sample[1, 0, 0])


def test_a_block_begins_after_its_first_hour() -> None:
    assert blocks_of(np.array([0.0, 0.5, 6.0, 6.5, 12.0]), 6.0).tolist() == [0, 0, 0, 1, 1]


def test_columns_are_the_third_to_fifth_largest_excess_and_each_sensor_above_and_below() -> None:
    z = np.zeros((1, 2, S))
    z[0, 0] = [9.0, -8.0, 7.0, -6.0, 5.0, 0.0]
    z[0, 1, :2] = [4.0, -5.0]
    columns = RESIDUALS.columns_of(z)[0]
    assert columns[:3] == pytest.approx(np.log([5.0, 4.0, 3.0]))
    assert columns[3 : 3 + S] == pytest.approx([np.log(2), 0, 0, 0, 0, 0])
    assert columns[3 + S :] == pytest.approx([0, np.log(3), 0, 0, 0, 0])
    assert [f.statistic for f in RESIDUALS.features[:3]] == ["rank_3", "rank_4", "rank_5"]
    assert len(RESIDUALS.features) == len(columns)


def test_a_rank_is_handed_to_the_sensors_up_to_it_and_a_signed_excess_to_its_own() -> None:
    z = np.zeros((1, 2, S))
    z[0, 0] = [9.0, -8.0, 7.0, -6.0, 5.0, 0.0]
    shares = RESIDUALS.shares(z)[0]
    size = excess(np.abs(z[0, 0]))
    assert shares[0] == pytest.approx(np.r_[size[:3], 0, 0, 0] / size[:3].sum())
    assert shares[3 + 1].tolist() == [0, 1, 0, 0, 0, 0]
    assert shares.sum(axis=1) == pytest.approx(np.ones(3 + 2 * S))


def test_a_row_gets_the_same_bits_alone_as_among_others() -> None:
    levels = made_up(97, seed=5)
    together = z_of(RESIDUALS, levels)
    for i in (0, 41, 96):
        assert z_of(RESIDUALS, levels[i : i + 1])[0].tobytes() == together[i].tobytes()


def test_residuals_come_back_from_json_to_the_bit() -> None:
    again = Residuals.from_json(json.loads(json.dumps(RESIDUALS.to_json())))
    levels = made_up(20, seed=6)
    assert z_of(again, levels).tobytes() == z_of(RESIDUALS, levels).tobytes()


def test_nothing_is_expected_of_a_process_version_that_was_hardly_seen() -> None:
    version = np.repeat([0.0, 1.0, np.nan], [360, 29, 11])
    model, _ = fit(course(made_up(), version=version), groups=2)
    assert model.known == (True, False)
    z = model.z(made_up(3, seed=7), np.array([0.0, 1.0, np.nan]), np.full(3, 6.0))
    assert [bool(np.isfinite(row).all()) for row in z] == [True, False, False]
