import matplotlib
import pytest

from benchmarks import simulator_figures as figures
from pipelines.simulator import SimulationSettings
from pipelines.simulator.faults import MODES
from pipelines.simulator.plan import PlantPlan, plan_plant

matplotlib.use("Agg")


@pytest.fixture(scope="module")
def plant() -> PlantPlan:
    return plan_plant(SimulationSettings(n_batches=400, seed=3, mode_rates=dict.fromkeys(MODES, 3.0)))


def test_the_figures_show_what_the_truth_says(plant) -> None:
    drawn = figures._modes(plant)
    struck, failed = ([bar.get_width() for bar in c] for c in drawn.axes[0].containers)
    assert sum(struck) == sum(len(b.faults) for b in plant.batches)
    assert all(f <= s for f, s in zip(failed, struck, strict=True))
    assert failed[0] == 0  # probe drift


def test_every_panel_of_the_faults_has_the_batch_with_and_without(plant) -> None:
    assert [len(axis.lines) for axis in figures._faults(plant).axes] == [3] * 6


def test_typical_batches_are_drawn_as_a_band(tmp_path) -> None:
    drawn = figures._typical(20)
    drawn.savefig(tmp_path / "typical.png")
    assert (tmp_path / "typical.png").stat().st_size > 10_000
