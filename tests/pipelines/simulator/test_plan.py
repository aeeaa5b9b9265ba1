from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import binom

from pipelines.simulator.faults import MODES
from pipelines.simulator.outcome import SPECIFICATION
from pipelines.simulator.plan import BatchPlan, plan_plant
from pipelines.simulator.settings import SimulationSettings, hours
from pipelines.simulator.starts import DECISION_WITHIN_H


def decided(plan) -> list[BatchPlan]:
    return [b for b in plan.batches if b.decided_at <= plan.until]


def test_four_to_eight_percent_of_the_batches_fail(plant) -> None:
    assert 0.04 < np.mean([b.outcome.failed for b in decided(plant)]) < 0.08


def test_modes_come_about_as_often_as_their_priors_say(plant) -> None:
    n, seen = len(plant.batches), Counter(f.mode for b in plant.batches for f in b.faults)
    for mode, spec in MODES.items():
        if mode in ("M2", "M3"):  # whole lots: 10 batches at a time
            assert 0.2 * spec.prior < seen[mode] / n < 4.0 * spec.prior
        else:  # the circumstances vary, so the priors hold within a factor
            low, high = binom.ppf(0.0005, n, 0.55 * spec.prior), binom.ppf(0.9995, n, 1.6 * spec.prior)
            assert low <= seen[mode] <= high, mode


def test_the_main_published_reasons_for_failure_lead(plant) -> None:
    reasons = Counter(mode for b in plant.batches if b.outcome.failed for mode in b.outcome.failure_modes)
    assert {name for name, _ in reasons.most_common(2)} == {"low_viability", "low_dose"}
    assert reasons["low_car"] > reasons["sterility_failure"]


def test_a_probe_drift_never_changes_an_outcome(plant) -> None:
    drifting = [b for b in plant.batches if any(f.mode == "M12" for f in b.faults)]
    assert len(drifting) > 20
    assert all(b.outcome_without("M12").outcome == b.outcome.outcome for b in drifting)


def test_the_counterfactual_keeps_the_random_draws_and_lacks_the_fault(plant) -> None:
    shocked = next(b for b in plant.batches if [f.mode for f in b.faults] == ["M11"] and b.outcome.failed)
    without = shocked.outcome_without("M11")
    assert without.product.car_pct == shocked.outcome.product.car_pct
    lost = without.product.viability - shocked.outcome.product.viability
    assert lost == pytest.approx(shocked.faults[0].severity)


def test_the_decision_follows_the_measured_release_results(plant) -> None:
    for b in decided(plant):
        if b.outcome.outcome in ("released", "rejected", "released_oos"):
            values = {r.parameter: r.value for r in b.outcome.results}
            bad = [n for n, (low, high) in SPECIFICATION.items()
                   if (low is not None and values[n] < low) or (high is not None and values[n] > high)]  # fmt: skip
            assert bool(bad) == (b.outcome.outcome != "released")


def test_nothing_is_released_before_its_last_result(plant) -> None:
    for b in decided(plant):
        if b.outcome.outcome.startswith("released"):
            assert b.outcome.decided_h > max(r.available_h for r in b.outcome.results)
        assert b.outcome.decided_h < DECISION_WITHIN_H


def test_ids_run_in_order_of_start_and_say_nothing_else(plant) -> None:
    assert [b.batch_id for b in plant.batches] == sorted((b.batch_id for b in plant.batches), key=lambda i: i[-5:])
    starts = [b.start for b in plant.batches]
    assert starts == sorted(starts)


def test_exactly_the_wanted_batches_are_in_progress(plant) -> None:
    running = [b for b in plant.batches if b.decided_at > plant.until]
    assert len(running) == 12
    assert all(0.0 < plant.until - b.start < 216.0 for b in running)


def test_a_unit_makes_one_batch_at_a_time(plant) -> None:
    for unit in {b.equipment_id for b in plant.batches}:
        mine = sorted((b.start, b.start + b.outcome.stop_h) for b in plant.batches[:-12] if b.equipment_id == unit)
        assert all(end <= start for (_, end), (start, _) in pairwise(mine))


def test_a_patient_is_made_again_only_after_the_first_decision(plant) -> None:
    by_subject: dict[str, list] = {}
    for b in plant.batches:
        by_subject.setdefault(b.circumstances.donor.subject_key, []).append(b)
    again = [attempts for attempts in by_subject.values() if len(attempts) > 1]
    assert again
    for attempts in again:
        assert [b.circumstances.donor.attempt for b in attempts] == list(range(1, len(attempts) + 1))
        assert all(a.outcome.failed and a.decided_at < b.start for a, b in pairwise(attempts))


def test_quality_withdraws_a_lot_after_two_known_failures(plant) -> None:
    by_index = {b.batch_id: b for b in plant.batches}
    for lot in plant.lots:
        users = sorted((b for b in by_index.values() if b.lots.get(lot.material) is lot), key=lambda b: b.start)
        for b in users:
            assert sum(o.outcome.failed and o.decided_at <= b.start for o in users) < 2 or lot.material not in (
                "vector", "activation_reagent")  # fmt: skip


def test_the_process_changes_after_sixty_percent_of_the_history(plant) -> None:
    change = plant.first + 0.6 * (plant.until - plant.first)
    assert all((b.version == "2") == (b.start >= change) for b in plant.batches)
    assert {b.version for b in plan_plant(SimulationSettings(n_batches=20, process_change="none")).batches} == {"1"}


def test_the_change_that_is_not_comparable_takes_six_points_of_car(small) -> None:
    same, other = (plan_plant(replace(small, process_change=c)) for c in ("comparable", "not_comparable"))
    shift = [b.outcome.product.car_pct - a.outcome.product.car_pct for a, b in zip(same.batches, other.batches, strict=True)
             if a.version == "2"]  # fmt: skip
    assert np.median(shift) == pytest.approx(-6.0)


def test_a_wanted_base_rate_is_met_roughly() -> None:
    plan = plan_plant(SimulationSettings(n_batches=800, n_in_progress=0, base_rate=0.15, seed=3))
    assert 0.11 < np.mean([b.outcome.failed for b in plan.batches]) < 0.19


def test_larger_vessels_make_doses_of_the_same_size() -> None:
    plan = plan_plant(SimulationSettings(n_batches=60, n_in_progress=0, scales_l=(50.0,), process_change="none"))
    doses = [r.value for b in plan.batches for r in b.outcome.results if r.parameter == "dose_viable_car_e8"]
    assert 4.0 < np.median(doses) < 12.0
    assert {b.scale_l for b in plan.batches} == {50.0}


def test_vector_lots_lose_strength_in_store_and_no_other_material_does(plant) -> None:
    for lot in plant.lots:
        older = lot.strength(lot.made_at + 7305.0) / lot.strength(lot.made_at)
        assert (0.81 < older < 0.96) if lot.material == "vector" else older == 1.0


def test_starts_cover_three_years_and_become_more_frequent(plant) -> None:
    starts = np.array([b.start for b in decided(plant)])
    assert starts.min() - plant.first < 24 * 20
    assert plant.until - starts.max() >= DECISION_WITHIN_H - 24 * 3
    third = (starts.max() - starts.min()) / 3
    counts = np.histogram(starts, [starts.min() + i * third for i in range(4)])[0]
    assert counts[0] < counts[1] < counts[2]
    assert plant.first == pytest.approx(hours(plant.settings.first))
