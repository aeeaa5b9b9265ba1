import os
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from features.errors import StorageError
from models.evaluation.evaluate import Evaluation, evaluate
from models.registry import CHALLENGER, CHAMPION, RegisteredModel, Registry
from models.train import train
from tests.models.plant import QUICK


@pytest.fixture(scope="session")
def judged(plant, trained) -> Evaluation:
    return evaluate(plant.process, trained, plant.snapshots, plant.features, plant.batches, plant.log)


@pytest.fixture(scope="session")
def filled(plant, trained, judged, tmp_path_factory) -> Registry:
    """A registry with one model; making the database takes seconds, so tests that change it take a copy."""
    registry = Registry(tmp_path_factory.mktemp("data"))
    first = registry.register(plant.process, trained, judged, report="<p>report</p>", images={"beeswarm.png": b"png"})
    assert first.is_new
    return registry


@pytest.fixture(scope="session")
def model(filled) -> RegisteredModel:
    found = filled.by_alias("soup", CHALLENGER)
    assert found is not None
    return found


def test_the_first_model_is_challenger_and_unreviewed_champion(model, trained) -> None:
    assert (model.name, model.version, model.aliases, model.review) == (
        "soup",
        "1",
        (CHALLENGER, CHAMPION),
        "unreviewed",
    )
    assert model.sha256 == trained.predictor.sha256


def test_the_same_predictor_is_never_registered_twice(filled, plant, trained, judged, model) -> None:
    again = filled.register(plant.process, trained, judged, report="another", images={})
    assert again == model
    assert not again.is_new
    assert filled.report(again) == "<p>report</p>"


def test_the_predictor_comes_back_whole_and_scores_the_same(filled, model, trained, plant) -> None:
    np.testing.assert_array_equal(
        filled.predictor(model).predict(plant.snapshots), trained.predictor.predict(plant.snapshots)
    )


def test_the_figures_come_back_as_they_were_computed(filled, model, judged) -> None:
    kept = filled.evaluation(model)
    pd.testing.assert_frame_equal(kept.scores, judged.scores, check_exact=True)
    assert kept.overall == judged.overall


def test_the_run_holds_figures_digests_and_nested_runs(filled, model, judged, trained) -> None:
    client = filled._client()
    run = client.get_run(model.run_id)
    assert run.data.metrics["test.auroc"] == judged.overall["auroc"]
    assert run.data.metrics["test.12h.n_failed"] == judged.overall["n_failed"]
    assert run.data.metrics["test.auroc_low"] == judged.overall["auroc_low"]
    assert run.data.params["training_failed"] == str(int(trained.failed.sum()))
    digests = {i.tags[0].value: i.dataset.digest for i in run.inputs.dataset_inputs}
    assert digests == {"training": trained.predictor.training_sha256[:36], "test": trained.seal.sha256[:36]}
    nested = client.search_runs([model.experiment_id], f"tags.mlflow.parentRunId = '{model.run_id}'")
    assert len(nested) == len(trained.folds)


def test_no_file_of_a_model_is_a_pickle(filled) -> None:
    names = [path.name for path in filled.artifacts.rglob("*") if path.is_file()]
    assert "model.lgb" in names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".skops", ".joblib"))]
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"


def test_mlflow_loads_the_logged_trees_as_a_booster(filled, model, trained, plant) -> None:
    import mlflow

    filled._client()
    booster = mlflow.lightgbm.load_model(f"models:/{model.name}/{model.version}")
    hours = plant.snapshots["checkpoint_h"].to_numpy()
    X = trained.predictor.assess(trained.predictor.encoder.encode(plant.snapshots), hours).inputs
    raw = booster.predict(X, raw_score=True)
    np.testing.assert_array_equal(raw, trained.predictor.forests.of_stage[0].log_odds(X)[:, 0])
    signature = mlflow.models.get_model_info(f"models:/{model.name}/{model.version}").signature
    assert signature.inputs.input_names() == list(trained.predictor.inputs)


def test_a_second_model_becomes_challenger_and_leaves_the_champion_alone(filled, plant, judged, tmp_path) -> None:
    copy = Registry(tmp_path / "data")
    shutil.copytree(filled.data_dir, copy.data_dir)
    other = train(plant.process, plant.snapshots, plant.features, plant.batches, plant.log, plan=replace(QUICK, seed=8))
    second = copy.register(plant.process, other, judged, report="", images={})
    assert (second.version, second.aliases, second.is_new) == ("2", (CHALLENGER,), True)
    champion = copy.by_alias("soup", CHAMPION)
    assert champion is not None
    assert champion.version == "1"
    again = copy.as_challenger(champion)
    assert again.aliases == (CHALLENGER, CHAMPION)
    assert copy.by_alias("soup", CHALLENGER) == again
    assert copy.by_alias("soup", CHAMPION) == again


def test_a_changed_predictor_is_refused(filled, model, tmp_path) -> None:
    copy = Registry(tmp_path / "data")
    shutil.copytree(filled.artifacts, copy.artifacts)
    path = copy.artifacts / "soup" / model.run_id / "artifacts" / "predictor" / "predictor.json"
    path.write_text(path.read_text().replace("intercept", "intercepd"))
    with pytest.raises(StorageError, match=r"predictor\.json was changed"):
        copy.predictor(model)
    shutil.rmtree(path.parent)
    with pytest.raises(StorageError, match="model soup version 1: its predictor is missing"):
        copy.predictor(model)


def test_a_process_without_models_has_none(filled) -> None:
    assert filled.by_alias("bread", CHAMPION) is None
    assert filled.find("bread", sha256="0") is None


def test_to_look_for_a_model_makes_no_database(tmp_path) -> None:
    assert Registry(tmp_path).by_alias("soup", CHAMPION) is None
    assert not list(tmp_path.iterdir())
