import numpy as np
import pytest

from pipelines.simulator import kinetics
from tests.pipelines.simulator import viral_vector


@pytest.mark.parametrize(("product", "hours"), [(kinetics, 216), (viral_vector, 120)])
def test_every_product_runs_through_the_same_interface(product, hours) -> None:
    p, rates = product.parameters(2), np.empty(len(product.STATE))
    course = product.run_recorded(p, 0.1, 10)
    assert course.shape == (2, hours + 1, len(product.CHANNELS))
    assert product.CHANNELS[: len(product.STATE)] == product.STATE
    product.rhs(course[0, 5, : len(product.STATE)], np.ones(len(product.INPUTS)), p[0], rates)
    assert np.isfinite(rates).all()


def test_vector_titre_lies_in_the_published_range_and_most_batches_pass() -> None:
    harvest = viral_vector.harvest(
        viral_vector.run_recorded(viral_vector.draw(1000, np.random.default_rng(2)), 0.1, 10)
    )
    assert (harvest.titre_e6_tu_ml > 1.0).all()
    assert (harvest.titre_e6_tu_ml < 100.0).all()
    assert 0.0 < harvest.failed.mean() < 0.05


def test_a_weak_transfection_and_a_contamination_fail_the_vector() -> None:
    p = viral_vector.draw(3, np.random.default_rng(3))
    p["transfection"][0] = 0.2
    p["bacteria_at"][1], p["bacteria_cfu_ml"][1], p["mu_bacteria"][1] = 40.0, 0.1, 0.4
    harvest = viral_vector.harvest(viral_vector.run_recorded(p, 0.1, 10))
    assert harvest.failed.tolist() == [True, True, False]
    assert harvest.titre_e6_tu_ml[0] < 8.0
    assert harvest.bioburden_cfu_ml[1] > 1e6
