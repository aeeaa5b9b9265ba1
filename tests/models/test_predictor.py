import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from features.dictionary import Feature
from features.errors import ContractError, StorageError
from models.folder import MANIFEST
from models.learners.subgroup_offsets import SubgroupOffsets
from models.predictor import Predictor, mean_slope, usual_ages
from models.train import train
from tests.models.plant import FLAT, QUICK

FILES = [
    "applicability.json", "evidence.json", "features.json", MANIFEST, "mode.0.txt", "model.0.txt", "model.1.txt",
    "model.2.txt", "predictor.json", "sensors.json",
]  # fmt: skip


def rows_of_all_kinds(plant) -> pd.DataFrame:
    """Ordinary rows, rows between checkpoints, before the first and beyond the last, and rows of which little is known."""
    rows = plant.snapshots
    blank = rows[rows["checkpoint_h"] == 24].head(20).copy()
    numbers = [name for name in blank.columns[4:] if blank[name].dtype == "float64"]
    blank[numbers] = blank[numbers].mask(np.random.default_rng(5).random((20, len(numbers))) < 0.5)
    nothing = blank.head(3).assign(**dict.fromkeys(numbers, np.nan))
    nothing["line.before_start.value"] = pd.array([None, "west", "north"], dtype="str")
    odd = pd.concat(
        [rows.sample(40, random_state=h).assign(checkpoint_h=t) for h, t in enumerate([-1.0, 5.5, 17.0, 400.0])]
    )
    return pd.concat([rows, blank, nothing, odd], ignore_index=True)


@pytest.fixture(params=["plain", "foreseen"])
def made(request, plant, trained, foreseen_plant, foreseen) -> tuple[pd.DataFrame, Predictor]:
    """Rows and predictor: without and with forecasts of release attributes."""
    plant, made = (plant, trained) if request.param == "plain" else (foreseen_plant, foreseen)
    return rows_of_all_kinds(plant), made.predictor


def test_the_predictor_forecasts_only_where_release_results_were_given(trained, foreseen) -> None:
    assert trained.predictor.evidence.forecasts is None
    assert [a.name for a in foreseen.predictor.evidence.forecasts.attributes] == ["purity", "hardness"]


def test_contributions_and_base_add_up_to_the_calibrated_log_odds(made) -> None:
    rows, predictor = made
    total = predictor.base_log_odds(rows["checkpoint_h"].to_numpy()) + predictor.contributions(rows).sum(axis=1)
    assert np.isfinite(total).all()
    np.testing.assert_allclose(total, predictor.log_odds(rows), atol=1e-9)
    np.testing.assert_allclose(expit(total), predictor.predict(rows), atol=1e-12)


def test_what_the_forecast_says_is_handed_to_the_parameter_behind_it(foreseen, foreseen_plant) -> None:
    rows = foreseen_plant.snapshots[foreseen_plant.snapshots["checkpoint_h"] == 24]
    by_parameter = summed(foreseen.predictor, rows)
    assert set(by_parameter) == {"force_kn", "noise", "line"}
    worst = np.argsort(foreseen.predictor.predict(rows))[-20:]
    assert (by_parameter.iloc[worst].idxmax(axis=1) == "force_kn").all()


def test_a_flat_lined_sensor_is_found_and_its_values_move_nothing(foreseen, foreseen_plant) -> None:
    rows = foreseen_plant.snapshots[foreseen_plant.snapshots["checkpoint_h"] == 24].head(30).assign(**{FLAT: 9.0})
    force = [f.name for f in foreseen.predictor.features if f.parameter == "force_kn" and f.name != FLAT]
    assert len(force) >= 3
    other = rows.assign(**dict.fromkeys(force, 99.0))
    assert foreseen.predictor.assess(*encoded(foreseen.predictor, rows)).faulty.all()
    np.testing.assert_array_equal(foreseen.predictor.predict(rows), foreseen.predictor.predict(other))
    np.testing.assert_array_equal(foreseen.predictor.contributions(rows), foreseen.predictor.contributions(other))
    sound = other.assign(**{FLAT: 0.5})
    assert not np.allclose(foreseen.predictor.predict(sound), foreseen.predictor.predict(other))


def test_no_rows_give_no_scores_of_the_right_shape(made) -> None:
    rows, predictor = made
    found = predictor.assess(*encoded(predictor, rows[:0]))
    assert (found.log_odds.shape, found.half_width.shape) == ((0,), (0,))
    assert found.contributions.shape == (0, len(predictor.encoder.columns))


def test_the_interval_holds_the_probability(made) -> None:
    rows, predictor = made
    found = predictor.assess(*encoded(predictor, rows))
    low, high = found.interval
    assert ((low < found.probability) & (found.probability < high)).all()


def summed(predictor: Predictor, rows: pd.DataFrame) -> pd.DataFrame:
    parameters = [feature.parameter for feature in predictor.features]
    return predictor.contributions(rows).T.groupby(parameters, sort=True).sum().T


def encoded(predictor: Predictor, rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    return predictor.encoder.encode(rows), rows["checkpoint_h"].to_numpy(float)


def test_the_slope_between_two_points_has_the_derivative_as_its_limit() -> None:
    half = logit(0.5)
    assert mean_slope(half, np.array([logit(0.8)]))[0] == pytest.approx(0.3 / np.log(4))
    assert mean_slope(half, np.array([half]))[0] == pytest.approx(0.25)
    near, nearer = mean_slope(half, half + np.array([1.1e-6, 0.9e-6]))
    assert near == pytest.approx(nearer, rel=1e-8)


def test_it_comes_back_from_its_folder_with_the_same_scores_to_the_bit(made, tmp_path) -> None:
    rows, predictor = made
    predictor.save(tmp_path)
    loaded = Predictor.load(tmp_path, sha256=predictor.sha256)
    assert loaded.sha256 == predictor.sha256
    before, after = (p.assess(*encoded(p, rows)) for p in (predictor, loaded))
    for name in ("log_odds", "half_width", "base_log_odds", "contributions", "inputs", "faulty"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))
    hours = rows["checkpoint_h"].to_numpy()
    modes = [p.mode_probabilities(found, hours) for p, found in ((predictor, before), (loaded, after))]
    assert modes[0].keys() == modes[1].keys()
    for mode, probability in modes[0].items():
        np.testing.assert_array_equal(probability, modes[1][mode])
    assert (loaded.sets, loaded.decision_sets, loaded.thresholds) == (
        predictor.sets, predictor.decision_sets, predictor.thresholds,
    )  # fmt: skip
    assert (loaded.few_cases, loaded.usual_ages) == (predictor.few_cases, predictor.usual_ages)


def test_its_files_are_open_text(foreseen, tmp_path) -> None:
    foreseen.predictor.save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == FILES
    assert (tmp_path / "model.0.txt").read_text().startswith("tree\n")
    assert json.loads((tmp_path / "predictor.json").read_text())["process_id"] == "soup"


@pytest.mark.parametrize("name", FILES)
def test_one_changed_byte_is_refused_before_the_trees_are_built(foreseen, tmp_path, name, monkeypatch) -> None:
    foreseen.predictor.save(tmp_path)
    content = bytearray((tmp_path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / name).write_bytes(content)
    monkeypatch.setattr("lightgbm.Booster", lambda *_, **__: pytest.fail("LightGBM saw the file"))
    with pytest.raises(StorageError, match=r"was changed|has digest"):
        Predictor.load(tmp_path, sha256=foreseen.predictor.sha256)
    if name != MANIFEST:
        with pytest.raises(StorageError, match=f"{name} was changed"):
            Predictor.load(tmp_path)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(foreseen, tmp_path, name) -> None:
    foreseen.predictor.save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(StorageError, match=f"{name} is missing"):
        Predictor.load(tmp_path)


def test_another_predictor_than_the_one_asked_for_is_refused(trained, tmp_path) -> None:
    other = dataclasses.replace(trained.predictor, process_version="2")
    other.save(tmp_path)
    with pytest.raises(StorageError, match="has digest"):
        Predictor.load(tmp_path, sha256=trained.predictor.sha256)


def test_scores_and_contributions_do_not_depend_on_the_company_or_order_of_rows(made) -> None:
    rows, predictor = made
    together, why = predictor.predict(rows), predictor.contributions(rows).to_numpy()
    np.testing.assert_array_equal(together, predictor.predict(rows[::-1])[::-1])
    for i in [*range(5), *range(len(rows) - 5, len(rows))]:
        assert predictor.predict(rows.iloc[[i]])[0] == together[i]
        np.testing.assert_array_equal(predictor.contributions(rows.iloc[[i]]).to_numpy()[0], why[i])


def test_snapshots_without_a_feature_are_refused(trained, plant) -> None:
    with pytest.raises(ContractError, match=r"lack the feature 'force_kn\.since_start\.mean'"):
        trained.predictor.predict(plant.snapshots.drop(columns="force_kn.since_start.mean"))


def test_usual_ages_are_quantiles_per_checkpoint_and_the_hours_between_two_of_them() -> None:
    rows = pd.DataFrame({"checkpoint_h": [0.0] * 2 + [12.0] * 101, "x.now.age_h": [np.nan] * 2 + list(range(101))})
    feature = Feature("x.now.age_h", "x", "X", "h", "now", "age_h", "age of x")
    assert usual_ages(rows, (feature,)) == {"x": {"12": 107.0}}  # 95 and 12


SITE = "site.before_start.value"


@pytest.fixture(scope="module")
def of_sites(plant) -> tuple[pd.DataFrame, Predictor, Predictor]:
    """Rows of two sites and one that training did not know; a predictor without offsets, and the same with some."""
    site = pd.array(np.where(plant.snapshots["batch_id"].str.endswith("7"), "small", "large"), dtype="str")
    rows = plant.snapshots.assign(**{SITE: site})
    entry = Feature(SITE, "site", "Site", "", "before_start", "value", "site")
    plain = train(
        plant.process, rows, (*plant.features, entry), plant.batches, plant.log,
        plan=dataclasses.replace(QUICK, learner="trees", members=2),
    ).predictor  # fmt: skip
    unknown = rows.tail(5).assign(**{SITE: pd.array(["new", None, "new", None, "new"], dtype="str")})
    offsets = SubgroupOffsets({SITE: {"small": 0.75}})
    return pd.concat([rows, unknown], ignore_index=True), plain, dataclasses.replace(plain, offsets=offsets)


def test_an_offset_moves_the_log_odds_of_its_subgroup_and_of_no_other(of_sites) -> None:
    rows, plain, with_offsets = of_sites
    moved = with_offsets.log_odds(rows) - plain.log_odds(rows)
    np.testing.assert_allclose(moved, np.where(rows[SITE] == "small", 0.75, 0.0), atol=1e-12)


def test_base_and_contributions_add_up_with_offsets_which_stand_with_their_subgroup(of_sites) -> None:
    rows, plain, with_offsets = of_sites
    total = with_offsets.base_log_odds(rows["checkpoint_h"].to_numpy()) + with_offsets.contributions(rows).sum(axis=1)
    np.testing.assert_allclose(total, with_offsets.log_odds(rows), atol=1e-9)
    more = with_offsets.contributions(rows) - plain.contributions(rows)
    np.testing.assert_allclose(more[SITE], np.where(rows[SITE] == "small", 0.75, 0.0), atol=1e-12)
    assert not more.drop(columns=SITE).to_numpy().any()


def test_a_predictor_with_offsets_comes_back_with_its_digest_and_one_without_keeps_its_bytes(
    of_sites, tmp_path
) -> None:
    rows, plain, with_offsets = of_sites
    for name, predictor in {"plain": plain, "with": with_offsets}.items():
        predictor.save(tmp_path / name)
        loaded = Predictor.load(tmp_path / name, sha256=predictor.sha256)
        assert (loaded.sha256, loaded.offsets) == (predictor.sha256, predictor.offsets)
        np.testing.assert_array_equal(loaded.log_odds(rows), predictor.log_odds(rows))
        head = json.loads((tmp_path / name / "predictor.json").read_text())
        assert ("offsets" in head) == (name == "with")
    assert plain.sha256 != with_offsets.sha256
