import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.simulator import kinetics
from pipelines.simulator.biology import draw_biology, kinetic_parameters
from pipelines.simulator.kinetics import CHANNEL

GOLDEN = {  # hours: 5, 50, 95 % of viable cells, viability, glucose, lactate
    48: ((0.37, 0.49, 0.70), (0.81, 0.86, 0.89), (20.4, 21.1, 21.6), (2.7, 3.5, 4.8)),
    96: ((0.55, 0.94, 1.71), (0.93, 0.95, 0.95), (15.3, 18.6, 20.3), (6.2, 9.3, 15.0)),
    144: ((1.18, 2.46, 4.22), (0.94, 0.95, 0.95), (10.1, 15.0, 18.9), (9.6, 16.6, 25.5)),
    210: ((2.04, 4.27, 6.05), (0.89, 0.93, 0.94), (9.8, 12.4, 17.0), (12.6, 20.3, 25.0)),
}


def fault_free(n: int, seed: int = 1) -> tuple[np.ndarray, list]:
    rng = np.random.default_rng(seed)
    biology = [draw_biology(rng, float(rng.standard_normal())) for _ in range(n)]
    records = [kinetic_parameters(b, 14.0 * float(np.exp(0.1 * rng.standard_normal()))) for b in biology]
    return np.array(records), biology


@pytest.fixture(scope="module")
def courses() -> tuple[np.ndarray, list]:
    p, biology = fault_free(3000)
    return kinetics.run_recorded(p, 0.1, 10), biology


@pytest.mark.parametrize("hour", GOLDEN)
def test_percentiles_of_fault_free_batches_stay_within_ten_percent(courses, hour) -> None:
    row = courses[0][:, hour]
    viable, dead = row[:, CHANNEL["viable_e6_ml"]], row[:, CHANNEL["dead_e6_ml"]]
    seen = (viable, viable / (viable + dead), row[:, CHANNEL["glucose_mm"]], row[:, CHANNEL["lactate_mm"]])
    for values, golden in zip(seen, GOLDEN[hour], strict=True):
        assert np.percentile(values, [5, 50, 95]) == pytest.approx(golden, rel=0.10)


def test_final_cells_dose_car_and_copies_stay_within_ten_percent(courses) -> None:
    course, biology = courses
    last = course[:, -1]
    cells = last[:, CHANNEL["viable_e6_ml"]] * last[:, CHANNEL["volume_l"]]  # 1e9
    moi = np.array([b.moi for b in biology])
    transduced = 1.0 - (1.0 + moi / 2.0) ** -2.0
    car = 100.0 * transduced + np.array([b.car_noise for b in biology])
    dose = 10.0 * cells * np.array([b.recovery for b in biology]) * car / 100.0  # 1e8
    published = (
        (cells, (1.2, 2.6, 3.7)),
        (dose, (3.6, 8.8, 15.6)),
        (car, (29, 42, 56)),
        (moi / transduced, (1.3, 1.5, 1.8)),
    )
    for values, golden in published:
        away = np.abs(np.percentile(values, [5, 50, 95]) - golden)
        assert (away <= 0.10 * np.array(golden) + 0.05).all()  # the figures are rounded to one decimal


def test_halving_the_step_changes_the_end_by_less_than_one_percent() -> None:
    p, _ = fault_free(40)
    coarse, fine = (kinetics.run_recorded(p, dt, round(216 / dt))[:, -1] for dt in (0.1, 0.05))
    assert coarse[:, [0, 2, 3]] == pytest.approx(fine[:, [0, 2, 3]], rel=0.01)


def test_recording_does_not_change_the_course() -> None:
    p, _ = fault_free(5)
    assert np.array_equal(kinetics.run_recorded(p, 0.1, 2160)[:, -1], kinetics.run_recorded(p, 0.1, 5)[:, -1])


def test_a_vessel_without_cells_only_exchanges_medium() -> None:
    p, rates = kinetics.parameters(1)[0], np.empty(len(kinetics.STATE))
    inputs = dict.fromkeys(kinetics.INPUTS, 0.0) | {
        "dilution": 0.05,
        "do_pct": 50.0,
        "ph": 7.25,
        "temperature_factor": 1.0,
    }
    state = dict.fromkeys(kinetics.STATE, 0.0) | {"glucose_mm": 15.0, "lactate_mm": 10.0, "glutamine_mm": 2.0}
    kinetics.rhs(np.array(list(state.values())), np.array(list(inputs.values())), p, rates)
    rates = dict(zip(kinetics.STATE, rates, strict=True))
    assert rates["glucose_mm"] == pytest.approx(0.05 * (25.0 - 15.0))
    assert rates["lactate_mm"] == pytest.approx(-0.05 * 10.0)
    assert rates["glutamine_mm"] == pytest.approx(0.05 * (4.0 - 2.0) - 0.004 * 2.0)
    assert rates["ammonia_mm"] == pytest.approx(0.004 * 2.0)


def test_the_controllers_hold_oxygen_and_ph_without_oscillating(courses) -> None:
    settled = courses[0][:, 24:]
    assert np.percentile(settled[..., CHANNEL["do_pct"]], 1) > 45.0
    assert (
        np.abs(np.diff(settled[..., CHANNEL["do_pct"]], axis=1)).max() < 8.0
    )  # the largest step: fresh medium at 84 h
    assert np.percentile(settled[..., CHANNEL["ph"]], [5, 95]) == pytest.approx([7.2, 7.25], abs=0.08)


def test_a_gas_transfer_fault_takes_the_oxygen_within_an_hour() -> None:
    p, _ = fault_free(1)
    p["kla_from"], p["kla_to"], p["kla_factor"] = 150.0, 170.0, 0.05
    oxygen = kinetics.run_recorded(p, 0.1, 1)[0, :, CHANNEL["do_pct"]]
    assert oxygen[1499] > 45.0
    assert oxygen[1515] < 35.0


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[st.floats(0, 1)] * 8))
def test_every_combination_of_faults_stays_finite_and_not_negative(u) -> None:
    p, _ = fault_free(1)
    p["mu"] *= 0.3 + u[0]
    p["kla_from"], p["kla_to"], p["kla_factor"] = 60 + 130 * u[1], 200, 0.05
    p["heat_from"], p["heat_to"], p["heat_delta"] = 190 * u[2], 216, -9 + 13 * u[3]
    p["feed_from"], p["feed_to"] = 90 + 90 * u[4], 216
    p["co2_from"], p["co2_to"] = 48 + 140 * u[5], 216
    p["bacteria_at"], p["bacteria_cfu"], p["mu_bacteria"] = 150 * u[6], 100, 0.06 + 0.74 * u[7]
    course = kinetics.run_recorded(p, 0.1, 1)[0]
    assert np.isfinite(course).all()
    assert (course[:, :7] >= 0).all()
    assert course[:, CHANNEL["ph"]].min() > 5.0
