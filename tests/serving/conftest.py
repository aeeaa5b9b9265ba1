import pytest

from models.train import Trained, train
from tests.models.plant import QUICK, Plant, make_plant


@pytest.fixture(scope="session")
def plant() -> Plant:
    return make_plant()


@pytest.fixture(scope="session")
def trained(plant: Plant) -> Trained:
    return train(plant.process, plant.snapshots, plant.features, plant.batches, plant.log, plan=QUICK)
