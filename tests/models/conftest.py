import pytest

from models.card import model_card
from models.evaluation.evaluate import Evaluation, evaluate
from models.registry import Registry
from models.train import Trained, train
from tests.models.plant import QUICK, Plant, foresee, make_foreseen, make_plant
from tests.models.rich import Rich, make_rich


@pytest.fixture(scope="session")
def plant() -> Plant:
    return make_plant()


@pytest.fixture(scope="session")
def trained(plant: Plant) -> Trained:
    return train(plant.process, plant.snapshots, plant.features, plant.batches, plant.log, plan=QUICK)


@pytest.fixture(scope="session")
def foreseen_plant() -> Plant:
    return make_foreseen()


@pytest.fixture(scope="session")
def foreseen(foreseen_plant: Plant) -> Trained:
    """With forecasts of release attributes, failure modes and a sensor that is checked."""
    return foresee(foreseen_plant)


@pytest.fixture(scope="session")
def rich() -> Rich:
    return make_rich()


@pytest.fixture(scope="session")
def rich_evaluation(rich: Rich) -> Evaluation:
    return rich.evaluate()


@pytest.fixture(scope="session")
def judged(plant, trained) -> Evaluation:
    return evaluate(plant.process, trained, plant.snapshots, plant.features, plant.batches, plant.log)


@pytest.fixture(scope="session")
def filled(plant, trained, judged, tmp_path_factory) -> Registry:
    """A registry with one model; making the database takes seconds, so tests that change it take a copy."""
    registry = Registry(tmp_path_factory.mktemp("data"))
    first = registry.register(
        plant.process, trained, judged, report="<p>report</p>", images={"beeswarm.png": b"png"},
        features=plant.features, example=plant.snapshots.iloc[[-1]],
        card=model_card(plant.process, trained, judged, None, made_from={"data_version": "of a test"}),
    )  # fmt: skip
    assert first.is_new
    return registry
