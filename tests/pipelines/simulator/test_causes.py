from dataclasses import replace

import numpy as np
import pytest

from pipelines.simulator.causes import Circumstances, draw_faults, probabilities
from pipelines.simulator.faults import MODES, draw_fault, probe_drift
from pipelines.simulator.settings import SimulationSettings, stream


@pytest.fixture
def usual(plant) -> Circumstances:
    """Circumstances without anything remarkable."""
    c = next(b for b in plant.batches if b.circumstances.donor.prior_bendamustine == "none").circumstances
    donor = replace(c.donor, cd4_cd8_ratio=1.0, platelets_g_l=120.0, indication="LBCL", prior_bendamustine="none")
    return replace(
        c, donor=donor, operator_runs=50, night=False, busy=False, integrity_retest=False, equipment_used_h=1500.0,
        near_excursion=np.zeros(len(c.interventions_h), bool),
    )  # fmt: skip


def test_donor_covariates_set_the_odds_of_exhausted_cells(usual) -> None:
    worst = replace(
        usual.donor, prior_bendamustine="under_6_months", cd4_cd8_ratio=0.2, platelets_g_l=30.0, indication="MCL"
    )
    assert probabilities(usual)["M1"] == pytest.approx(1 / (1 + np.exp(3.6)))
    assert probabilities(replace(usual, donor=worst))["M1"] == pytest.approx(
        1 / (1 + np.exp(3.6 - 1.2 - 0.9 - 0.5 - 0.8))
    )


@pytest.mark.parametrize(
    ("change", "modes", "factor"),
    [
        ({"integrity_retest": True}, ("M4", "M5"), 10.0),
        ({"night": True}, ("M9", "M11"), 1.5),
        ({"busy": True}, ("M9", "M11"), 2.0),
        ({"equipment_used_h": 3000.0}, ("M6", "M7", "M8", "M10"), 2.0),
    ],
)
def test_a_circumstance_raises_just_its_own_modes(usual, change, modes, factor) -> None:
    before, after = probabilities(usual), probabilities(replace(usual, **change))
    for mode in MODES:
        assert (
            after[mode] / before[mode] == pytest.approx(factor if mode in modes else 1.0)
            if before[mode]
            else after[mode] == 0
        )


def test_a_novice_contaminates_and_mishandles_more_often(usual) -> None:
    before, after = probabilities(usual), probabilities(replace(usual, operator_runs=5))
    for mode in ("M4", "M5"):
        assert after[mode] / before[mode] == pytest.approx(1.8)
    for mode in ("M9", "M11"):
        assert after[mode] / before[mode] == pytest.approx((1 + np.exp(-5 / 40)) / (1 + np.exp(-50 / 40)))


def test_an_excursion_before_every_intervention_makes_contamination_four_times_as_likely(usual) -> None:
    near = replace(usual, near_excursion=np.ones(len(usual.interventions_h), bool))
    assert probabilities(near)["M4"] == pytest.approx(4.0 * probabilities(usual)["M4"])


def test_a_bad_lot_strikes_every_batch_that_uses_it(plant) -> None:
    for material, mode in (("vector", "M3"), ("activation_reagent", "M2")):
        bad = {lot.lot_id for lot in plant.lots if lot.material == material and lot.bad}
        assert bad
        struck = {b.batch_id for b in plant.batches if mode in {f.mode for f in b.faults}}
        assert struck == {b.batch_id for b in plant.batches if b.lots[material].lot_id in bad}


def test_a_rate_factor_of_zero_switches_a_mode_off_and_leaves_the_others(usual) -> None:
    base = SimulationSettings()
    every = SimulationSettings(mode_rates=dict.fromkeys(MODES, 20.0))
    without = SimulationSettings(mode_rates=dict.fromkeys(MODES, 20.0) | {"M8": 0.0})
    seen = [draw_faults(usual, s, stream(1, k)) for s in (every, without) for k in range(40)]
    assert any(f.mode == "M8" for faults in seen[:40] for f in faults)
    assert [tuple(f for f in faults if f.mode != "M8") for faults in seen[:40]] == seen[40:]
    assert base.mode_rates == {}


@pytest.mark.parametrize("mode", MODES)
def test_a_fault_lies_within_its_batch_and_takes_the_same_number_of_draws(mode) -> None:
    states = set()
    for seed in range(50):
        rng = stream(0, seed)
        fault = draw_fault(mode, rng, 0.5)
        assert 0.0 <= fault.onset_h <= fault.end_h
        other = stream(0, seed)
        other.random(5), other.standard_normal()
        states.add(rng.random() == other.random())
    assert states == {True}


def test_a_calibration_takes_a_drift_to_zero_and_it_grows_again() -> None:
    fault = replace(draw_fault("M12", stream(0, 1)), onset_h=24.0, severity=2.4, probe="ph")
    drift = probe_drift([fault], "ph", np.array([0.0, 24.0, 34.0, 44.0, 54.0]), [44.0])
    assert drift == pytest.approx([0.0, 0.0, 1.0, 0.0, 1.0])
    assert probe_drift([fault], "do_pct", np.array([100.0])) == pytest.approx([0.0])
