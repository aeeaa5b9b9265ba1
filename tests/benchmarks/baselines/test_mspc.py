from typing import Literal, cast

import numpy as np
import pandas as pd
import pytest

from benchmarks.baselines import mspc
from benchmarks.baselines.signals import Signals
from pipelines.plant import Plant
from tests.benchmarks.baselines.small import held_values


@pytest.fixture
def plant_of_pairs() -> Signals:
    """300 batches of three parameters, the first two move together; batch 0 breaks that from hour 4."""
    rng = np.random.default_rng(5)
    common = rng.normal(size=(300, 1, 8))
    values = np.concatenate(
        [common, common + 0.1 * rng.normal(size=common.shape), rng.normal(size=common.shape)], axis=1
    )
    values[0, :2, 3:] = [[6.0], [-6.0]]
    return held_values(values, is_sensor=[True, True, True])


def fitted(data: Signals) -> mspc.Model:
    return mspc.fit(data, np.arange(1, 300), mspc.Choice("of the batch", np.inf, 0.6))


def over_limit(data: Signals, model: mspc.Model, rows: np.ndarray, name: Literal["t2", "spe"]) -> np.ndarray:
    squared = (mspc.model_input(model, data, rows, model.choice.clip) @ model.vectors) ** 2
    return mspc._over_limit(model, squared, data, rows, name)


def test_a_broken_correlation_shows_in_the_residual_once_it_has_held(plant_of_pairs) -> None:
    ratio = over_limit(plant_of_pairs, fitted(plant_of_pairs), np.array([0]), "spe")[0]
    assert np.isnan(ratio[:2]).all()
    assert ratio[4] < 5 < ratio[5]  # hours 4, 5, 6


def test_a_twentieth_of_the_good_batches_is_above_the_limit_of_an_hour(plant_of_pairs) -> None:
    model, good = fitted(plant_of_pairs), np.arange(1, 300)
    squared = (mspc.model_input(model, plant_of_pairs, good, np.inf) @ model.vectors) ** 2
    for name, statistic in mspc.statistics(model, squared).items():
        assert (statistic > model.limits[name][:, None]).mean(axis=1) == pytest.approx(15 / 299)


def test_contributions_sum_to_the_residual_and_name_the_pair(plant_of_pairs, monkeypatch) -> None:
    model = fitted(plant_of_pairs)
    monkeypatch.setattr(mspc, "signals", lambda _: plant_of_pairs)
    monkeypatch.setattr(mspc, "_fit_best", lambda *_: model)
    at = pd.DataFrame({"batch_id": ["B0", "B7"], "checkpoint_h": [6.0, 2.0]})
    found = mspc.spe_contributions(cast("Plant", None), pd.Series(dtype=bool), at)
    rows = np.array([0, 7])
    squared = (mspc.model_input(model, plant_of_pairs, rows, np.inf) @ model.vectors) ** 2
    spe = mspc.statistics(model, squared)["spe"]
    sums = found.groupby("batch_id")["contribution"].sum()
    assert sums.to_numpy() == pytest.approx([spe[5, 0], spe[1, 1]], rel=1e-4)
    worst = found[found["batch_id"] == "B0"].nlargest(2, "contribution")["parameter"]
    assert set(worst) == {"p0", "p1"}
