import os
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from features.errors import StorageError
from models.registry import CHALLENGER, CHAMPION, RegisteredModel, Registry
from models.train import train
from tests.models.plant import QUICK


@pytest.fixture(scope="session")
def model(filled) -> RegisteredModel:
    found = filled.by_alias("soup", CHALLENGER)
    assert found is not None
    return found


def example_of(plant) -> dict:
    return {"features": plant.features, "example": plant.snapshots.iloc[[-1]]}


def test_the_first_model_is_a_draft_and_nobody_s_champion(filled, model, trained) -> None:
    assert (model.name, model.version, model.aliases, model.review) == ("soup", "1", (CHALLENGER,), "unreviewed")
    assert model.sha256 == trained.predictor.sha256
    assert filled.by_alias("soup", CHAMPION) is None
    assert filled.store.client().get_model_version("soup", "1").tags["state"] == "draft"


def test_the_same_predictor_is_never_registered_twice(filled, plant, trained, judged, model) -> None:
    again = filled.register(plant.process, trained, judged, report="another", images={}, **example_of(plant))
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
    client = filled.store.client()
    run = client.get_run(model.run_id)
    assert run.data.metrics["auroc"] == judged.overall["auroc"]
    assert run.data.metrics["auroc_low"] == judged.overall["auroc_low"]
    assert len([name for name in run.data.metrics if "/" not in name]) <= 12
    points = client.get_metric_history(model.run_id, "by_hour/n_failed")
    assert {point.step: point.value for point in points} == dict.fromkeys((0, 12, 24), judged.overall["n_failed"])
    assert run.data.params["training_failed"] == str(int(trained.failed.sum()))
    digests = {i.tags[0].value: i.dataset.digest for i in run.inputs.dataset_inputs}
    assert digests == {"training": trained.predictor.training_sha256[:36], "test": trained.seal.sha256[:36]}
    nested = client.search_runs([model.experiment_id], f"tags.mlflow.parentRunId = '{model.run_id}'")
    assert len(nested) == len(trained.folds)


def test_no_file_of_a_model_is_a_pickle(filled) -> None:
    names = [path.name for path in filled.artifacts.rglob("*") if path.is_file()]
    assert "pyfunc_model.py" in names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".skops", ".joblib"))]
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"


def test_a_second_model_becomes_challenger_and_leaves_the_champion_alone(filled, plant, judged, tmp_path) -> None:
    copy = Registry(tmp_path / "data")
    shutil.copytree(filled.data_dir, copy.data_dir)
    other = train(plant.process, plant.snapshots, plant.features, plant.batches, plant.log, plan=replace(QUICK, seed=8))
    second = copy.register(plant.process, other, judged, report="", images={}, **example_of(plant))
    assert (second.version, second.aliases, second.is_new) == ("2", (CHALLENGER,), True)
    champion = copy.by_version("soup", "1")
    again = copy.as_challenger(champion)
    assert again.aliases == (CHALLENGER,)
    assert copy.by_alias("soup", CHALLENGER) == again


def test_an_alias_moved_and_a_tag_edited_by_hand_are_noticed_and_undone(filled, tmp_path) -> None:
    copy = Registry(tmp_path / "data")
    shutil.copytree(filled.data_dir, copy.data_dir)
    assert copy.mirror("soup", None, {}) == []
    assert copy.mirror("soup", "1", {"1": "effective"}) == [
        "soup: alias champion pointed to no version; the records say version 1",
        "soup version 1: tag state was draft; the records say effective",
        "soup version 1: tag review was unreviewed; the records say released",
    ]
    assert copy.mirror("soup", "1", {"1": "effective"}) == []
    client = copy.store.client()
    client.delete_registered_model_alias("soup", CHAMPION)
    client.set_model_version_tag("soup", "1", "state", "approved")
    assert copy.mirror("soup", "1", {"1": "effective"}) == [
        "soup: alias champion pointed to no version; the records say version 1",
        "soup version 1: tag state was approved; the records say effective",
    ]
    sha256 = client.get_model_version("soup", "1").tags["predictor_sha256"]
    client.delete_model_version_tag("soup", "1", "predictor_sha256")
    assert copy.mirror("soup", "1", {"1": "effective"}) == [
        f"soup version 1: tag predictor_sha256 was absent; its run says {sha256[:12]}"
    ]
    restored = copy.by_alias("soup", CHAMPION)
    assert restored is not None
    assert restored.version == "1"
    assert copy.mirror("soup", None, {"1": "retired"})[0].endswith("the records say no version")
    assert copy.by_alias("soup", CHAMPION) is None


def test_the_description_of_a_version_is_its_model_card(filled, model) -> None:
    client = filled.store.client()
    card = client.get_model_version("soup", model.version).description
    assert card.startswith("# Soup: predictor")
    files = {file.path for file in client.list_artifacts(model.run_id, "tables")}
    assert {"tables/calls.csv", "tables/by_checkpoint.csv", "tables/data_and_exclusions.csv"} <= files


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
