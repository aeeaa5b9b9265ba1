import numpy as np
import pytest

from benchmarks.baselines.signals import comes_in_series, held, running_maximum, signals
from tests.benchmarks.baselines.small import SmallPlant, held_values

NAN = float("nan")


def seen(summaries, parameter: str, **more) -> list[float]:
    data = signals(SmallPlant(summaries, **more))
    return data.values[0, data.parameters.index(parameter)].tolist()


def test_a_result_is_invisible_before_it_is_available() -> None:
    rows = [("B", "glucose_mm", 1, 4, 20.0, 20.0)]
    assert seen(rows, "glucose_mm") == pytest.approx([NAN, NAN, NAN, 20, 20, 20], nan_ok=True)


def test_a_late_result_of_an_older_sample_does_not_replace_a_newer_one() -> None:
    rows = [("B", "glucose_mm", 1, 5, 20.0, 20.0), ("B", "glucose_mm", 2, 3, 18.0, 18.0)]
    assert seen(rows, "glucose_mm") == pytest.approx([NAN, NAN, 18, 18, 18, 18], nan_ok=True)


def test_a_sensor_shows_the_mean_of_its_hour_and_keeps_its_newest_reading_through_silence() -> None:
    rows = [("B", "temperature_c", 2, 2, 37.0, 37.4), ("B", "temperature_c", 5, 5, 36.0, 36.0)]
    assert seen(rows, "temperature_c") == pytest.approx([NAN, 37.0, 37.4, 37.4, 36.0, 36.0], nan_ok=True)


def test_a_sensor_reading_that_came_late_changes_nothing() -> None:
    rows = [("B", "temperature_c", 2, 2, 37.0, 37.0), ("B", "temperature_c", 3, 5, 99.0, 99.0)]
    assert seen(rows, "temperature_c") == pytest.approx([NAN, 37, 37, 37, 37, 37], nan_ok=True)


def test_nothing_is_seen_of_a_batch_past_its_end() -> None:
    rows = [("B", "temperature_c", 1, 1, 37.0, 37.0)]
    assert seen(rows, "temperature_c", stopped_after_h={"B": 2.5}) == pytest.approx([37, 37, *[NAN] * 4], nan_ok=True)
    data = signals(SmallPlant(rows, stopped_after_h={"B": 2.5}))
    assert data.frame(np.array([0]), np.ones((1, 6)))["checkpoint_h"].tolist() == [1.0, 2.0]


def test_a_sensor_must_stay_out_for_the_whole_delay() -> None:
    data = held_values([[[0, 0, 0, 0, 0, 0]]], is_sensor=[True])
    z = np.array([[[9, 1, 5, 6, 7, 0]]], np.float32)
    out = held(z, data, np.array([0]), hours=3, two_results=np.array([False]))
    assert out[0, 0].tolist() == pytest.approx([NAN, NAN, 1, 1, 5, 0], nan_ok=True)


def test_one_slip_among_the_results_of_an_assay_does_not_hold_for_two() -> None:
    data = held_values([[[20, 20, 200, 200, 21, 21]]], is_sensor=[False])
    z = np.array([[[1, 1, 50, 50, 2, 2]]], np.float32)
    out = held(z, data, np.array([0]), hours=3, two_results=np.array([True]))
    assert out[0, 0].tolist() == pytest.approx([NAN, NAN, 1, 1, 2, 2], nan_ok=True)
    single = held(z, data, np.array([0]), hours=3, two_results=np.array([False]))
    assert single[0, 0].tolist() == z[0, 0].tolist()


def test_what_is_measured_once_a_batch_is_no_series() -> None:
    values = [[[1, 1, 1, 1], [NAN, 5, 5, 5], [1, 2, 3, 3]]] * 3
    data = held_values(values, is_sensor=[True, False, False])
    assert comes_in_series(data, np.arange(3)).tolist() == [True, False, True]


def test_the_highest_value_so_far_waits_for_the_first() -> None:
    assert running_maximum(np.array([NAN, 2, NAN, 1, 3])).tolist() == pytest.approx([NAN, 2, 2, 2, 3], nan_ok=True)
