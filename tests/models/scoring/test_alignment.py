from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.dictionary import Feature
from models.predictor import Predictor
from models.scoring.alignment import FeatureAligner, UsualAges
from models.scoring.rows import FeatureRows
from models.train import Trained
from tests.models.plant import Plant


def missing(predictor: Predictor, snapshots: pd.DataFrame, features: tuple[Feature, ...]) -> tuple[list[str], ...]:
    rows = FeatureRows.of_frame(snapshots, features)
    return FeatureAligner(predictor, rows.columns).missing(rows.values)


def stale(predictor: Predictor, snapshots: pd.DataFrame, features: tuple[Feature, ...]) -> list[dict[str, float]]:
    rows = FeatureRows.of_frame(snapshots, features)
    return list(FeatureAligner(predictor, rows.columns).stale(rows.values, rows.elapsed_h))


def usual_age(usual: dict[str, float], elapsed_h: float) -> float:
    return float(UsualAges.of([usual]).at(np.array([elapsed_h]))[0, 0])


def test_the_matrix_is_that_of_the_encoder_for_any_order_of_the_columns(plant: Plant, trained: Trained) -> None:
    rows = plant.snapshots[:40]
    expected = trained.predictor.encoder.encode(rows)
    for features in (plant.features, plant.features[::-1]):
        aligned = FeatureRows.of_frame(rows, features)
        np.testing.assert_array_equal(FeatureAligner(trained.predictor, aligned.columns).matrix(aligned), expected)


def test_a_feature_that_the_rows_lack_is_not_known_of_any_batch(plant: Plant, trained: Trained) -> None:
    some = tuple(f for f in plant.features if f.parameter != "noise")
    rows = FeatureRows.of_frame(plant.snapshots[:3], some)
    X = FeatureAligner(trained.predictor, rows.columns).matrix(rows)
    unknown = [name.startswith("noise.") for name in trained.predictor.encoder.columns]
    assert any(unknown)
    assert np.isnan(X[:, unknown]).all()
    assert missing(trained.predictor, plant.snapshots[:3], some)[2][-1] == "noise"


def test_rows_turned_into_a_frame_are_the_snapshots_again(plant: Plant, trained: Trained) -> None:
    snapshots = plant.snapshots[:5].reset_index(drop=True)
    encoder = trained.predictor.encoder
    frame = FeatureRows.of_frame(snapshots, plant.features).frame(encoder.categories, encoder.columns)
    pd.testing.assert_frame_equal(frame[snapshots.columns], snapshots, check_dtype=False, check_exact=True)


def test_a_parameter_without_any_value_is_missing(plant: Plant, trained: Trained) -> None:
    rows = plant.snapshots[plant.snapshots["batch_id"] == "B000"].iloc[[0, 2]]
    assert missing(trained.predictor, rows, plant.features) == (["force_kn"], [])


def test_a_value_older_than_usual_is_stale_with_its_age(plant: Plant, trained: Trained) -> None:
    rows = plant.snapshots[plant.snapshots["checkpoint_h"] == 12][:2].copy()
    rows["force_kn.now.age_h"] = [15.0, 0.1]
    assert stale(trained.predictor, rows, plant.features) == [{"force_kn": 15.0}, {}]


@pytest.mark.parametrize(
    ("subject", "is_stale"), [("lot.api", False), ("event.deviation", False), ("environment.air", True)]
)
def test_only_values_go_stale_not_lots_in_use_nor_events(
    subject: str, is_stale: bool, plant: Plant, trained: Trained
) -> None:
    entry = Feature(f"{subject}.now.age_h", subject, subject, "h", "now", "age_h", "age")
    predictor = replace(trained.predictor, usual_ages={subject: {"0": 1.0}})
    row = plant.snapshots[:1].assign(**{entry.name: 9.0})
    assert bool(stale(predictor, row, (entry,))[0]) is is_stale


@pytest.mark.parametrize(
    ("hours", "age"),
    [
        (6.0, 1.0),
        (9.0, 2.0),  # half way from 1 to 3
        (11.0, 1.0 + 5 / 6 * 2.0),
        (12.0, 3.0),
        (30.0, 21.0),  # 18 h past the last checkpoint
    ],
)
def test_the_usual_age_lies_on_a_line_between_the_checkpoints(hours: float, age: float) -> None:
    assert usual_age({"12": 3.0, "6": 1.0}, hours) == pytest.approx(age)


def test_before_its_first_checkpoint_no_age_is_unusual() -> None:
    assert np.isnan(usual_age({"6": 1.0, "12": 3.0}, 5.9))
    assert np.isnan(usual_age({}, 5.9))


def test_a_parameter_that_is_known_later_than_another_has_no_usual_age_before() -> None:
    ages = UsualAges.of([{"0": 1.0, "12": 1.0}, {"12": 4.0}])
    np.testing.assert_array_equal(ages.at(np.array([0.0, 6.0, 12.0, 15.0])), [[1, np.nan], [1, np.nan], [1, 4], [4, 7]])


@pytest.mark.parametrize("hours", [0.0, 7.3, 12.0, 18.1, 24.0, 100.0])
def test_what_is_measured_once_at_the_start_is_never_stale(hours: float, plant: Plant, trained: Trained) -> None:
    once = replace(trained.predictor, usual_ages={"force_kn": {"0": 0.0, "12": 12.0, "24": 24.0}})
    row = plant.snapshots[:1].assign(checkpoint_h=hours)
    assert stale(once, row.assign(**{"force_kn.now.age_h": hours}), plant.features) == [{}]
    assert stale(once, row.assign(**{"force_kn.now.age_h": hours + 0.5}), plant.features) == [{"force_kn": hours + 0.5}]


@given(
    st.lists(st.dictionaries(st.sampled_from(["0", "6", "12", "24"]), st.floats(0, 100), min_size=1), max_size=4),
    st.lists(st.floats(0, 60), min_size=1, max_size=3),
)
@settings(max_examples=100, deadline=None)
def test_usual_ages_of_several_parameters_and_times_are_those_of_each(
    usual: list[dict[str, float]], hours: list[float]
) -> None:
    expected = [[usual_age(each, h) for each in usual] for h in hours]
    found = UsualAges.of(usual).at(np.array(hours))
    np.testing.assert_allclose(found, np.reshape(expected, found.shape), rtol=1e-12, atol=1e-12)
