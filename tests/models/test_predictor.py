import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from features.dictionary import Feature
from features.errors import ContractError, StorageError
from models.predictor import MANIFEST, Predictor, mean_slope, usual_ages


def test_contributions_and_base_add_up_to_the_calibrated_log_odds(plant, trained):
    predictor = trained.predictor
    hours = plant.snapshots["checkpoint_h"].to_numpy()
    total = predictor.base_log_odds(hours) + predictor.contributions(plant.snapshots).sum(axis=1)
    np.testing.assert_allclose(total, predictor.log_odds(plant.snapshots), atol=1e-9)
    np.testing.assert_allclose(expit(total), predictor.predict(plant.snapshots), atol=1e-12)


def test_percentage_points_add_up_to_the_change_of_the_probability(plant, trained):
    predictor = trained.predictor
    hours = plant.snapshots["checkpoint_h"].to_numpy()
    points = predictor.percentage_points(predictor.contributions(plant.snapshots), hours)
    change = predictor.predict(plant.snapshots) - expit(predictor.base_log_odds(hours))
    np.testing.assert_allclose(points.sum(axis=1), 100 * change, atol=1e-9)
    np.testing.assert_allclose(predictor.by_parameter(points).sum(axis=1), 100 * change, atol=1e-9)


def test_the_slope_between_two_points_has_the_derivative_as_its_limit():
    half = logit(0.5)
    assert mean_slope(half, np.array([logit(0.8)]))[0] == pytest.approx(0.3 / np.log(4))
    assert mean_slope(half, np.array([half]))[0] == pytest.approx(0.25)
    near, nearer = mean_slope(half, half + np.array([1.1e-6, 0.9e-6]))
    assert near == pytest.approx(nearer, rel=1e-8)


def test_features_of_a_parameter_are_summed(trained, plant):
    predictor = trained.predictor
    by_feature = predictor.contributions(plant.snapshots[:5])
    force = [f.name for f in predictor.features if f.parameter == "force_kn"]
    assert len(force) > 1
    np.testing.assert_allclose(predictor.by_parameter(by_feature)["force_kn"], by_feature[force].sum(axis=1))


def test_it_comes_back_from_its_folder_with_the_same_scores(trained, plant, tmp_path):
    trained.predictor.save(tmp_path)
    loaded = Predictor.load(tmp_path, sha256=trained.predictor.sha256)
    assert loaded == trained.predictor
    np.testing.assert_array_equal(loaded.predict(plant.snapshots), trained.predictor.predict(plant.snapshots))


def test_its_files_are_open_text(trained, tmp_path):
    trained.predictor.save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*FILES, MANIFEST])
    assert (tmp_path / "model.txt").read_text().startswith("tree\n")
    assert json.loads((tmp_path / "predictor.json").read_text())["process_id"] == "soup"


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_one_changed_byte_is_refused_before_the_trees_are_built(trained, tmp_path, name, monkeypatch):
    trained.predictor.save(tmp_path)
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    monkeypatch.setattr("lightgbm.Booster", lambda *_, **__: pytest.fail("LightGBM saw the file"))
    with pytest.raises(StorageError, match=r"was changed|has digest"):
        Predictor.load(tmp_path, sha256=trained.predictor.sha256).booster  # noqa: B018
    if name != MANIFEST:
        with pytest.raises(StorageError, match=f"{name} was changed"):
            Predictor.load(tmp_path)


def test_a_missing_file_is_named(trained, tmp_path):
    trained.predictor.save(tmp_path)
    (tmp_path / "model.txt").unlink()
    with pytest.raises(StorageError, match=r"model\.txt is missing"):
        Predictor.load(tmp_path)


def test_another_predictor_than_the_one_asked_for_is_refused(trained, tmp_path):
    other = dataclasses.replace(trained.predictor, process_version="2")
    other.save(tmp_path)
    with pytest.raises(StorageError, match="has digest"):
        Predictor.load(tmp_path, sha256=trained.predictor.sha256)


def test_scores_do_not_depend_on_the_company_or_order_of_rows(trained, plant):
    together = trained.predictor.predict(plant.snapshots)
    backwards = trained.predictor.predict(plant.snapshots[::-1])[::-1]
    alone = [trained.predictor.predict(plant.snapshots.iloc[[i]])[0] for i in range(10)]
    np.testing.assert_array_equal(together, backwards)
    np.testing.assert_array_equal(together[:10], alone)


def test_snapshots_without_a_feature_are_refused(trained, plant):
    with pytest.raises(ContractError, match=r"lack the feature 'force_kn\.since_start\.mean'"):
        trained.predictor.predict(plant.snapshots.drop(columns="force_kn.since_start.mean"))


def test_usual_ages_are_quantiles_per_checkpoint():
    rows = pd.DataFrame({"checkpoint_h": [0.0] * 2 + [12.0] * 101, "x.now.age_h": [np.nan] * 2 + list(range(101))})
    feature = Feature("x.now.age_h", "x", "X", "h", "now", "age_h", "age of x")
    assert usual_ages(rows, (feature,)) == {"x": {"12": 95.0}}
