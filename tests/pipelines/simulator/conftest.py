"""One small plant for all tests of the simulator."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipelines.simulator import SimulationReport, SimulationSettings, simulate
from pipelines.simulator.plan import PlantPlan, plan_plant

SMALL = SimulationSettings(
    n_batches=40, n_in_progress=6, seed=5, since=datetime(2025, 9, 1, tzinfo=UTC), sensor_interval_min=30
)


@pytest.fixture(scope="session")
def small() -> SimulationSettings:
    return SMALL


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> SimulationReport:
    return simulate(SMALL, tmp_path_factory.mktemp("plant") / "out")


@pytest.fixture(scope="session")
def history(report: SimulationReport) -> Path:
    return report.history


@pytest.fixture(scope="session")
def plant() -> PlantPlan:
    """A plant large enough for shares."""
    return plan_plant(SimulationSettings(n_batches=1800, seed=11))
