import numpy as np
import pytest

from features.dictionary import Feature
from models.explain import _sentence, missing, number, reasons, stale, usual_age, window_words

MEAN = Feature("force_kn.since_start.mean", "force_kn", "Compression force", "kN", "since_start", "mean", "")


def test_a_sentence_says_label_window_value_unit_normal_range_and_points():
    said = _sentence(MEAN, 7.9, (4.0, 6.0), None, 12.04)
    assert said == "Compression force, mean since start 7.9 kN (normal 4 to 6): +12.0 points"


def test_a_sentence_names_the_newest_value_too():
    assert (
        _sentence(MEAN, 7.9, (None, 6.0), 8.2, 3)
        == "Compression force, mean since start 7.9 kN (normal up to 6), newest 8.2: +3.0 points"
    )


@pytest.mark.parametrize(
    ("feature", "value", "says"),
    [
        (Feature("a", "a", "Glucose", "mmol/L", "since_start", "last", ""), 2.5, "Glucose, newest 2.5 mmol/L (normal from 3): -1.0 points"),
        (Feature("a", "a", "Glucose", "mmol/(L h)", "last_24h", "slope", ""), -0.25, "Glucose, slope over the last 24 h -0.25 mmol/(L h): -1.0 points"),
        (Feature("a", "a", "Line", "", "before_start", "value", ""), "north", "Line north: -1.0 points"),
        (Feature("a", "a", "Glucose", "mmol/L", "since_start", "mean", ""), None, "Glucose, mean since start not known: -1.0 points"),
    ],
)  # fmt: skip
def test_sentences_of_other_statistics(feature, value, says):
    assert _sentence(feature, value, (3.0, None), None, -1) == says


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (7.9000001, "7.9"), (1234.5678, "1235"), (240000, "240000"), (2e9, "2e+09"), (1e-5, "1e-05")],
)
def test_numbers_are_written_as_people_do(value, text):
    assert number(value) == text


def test_windows_are_said_in_words():
    assert window_words("last_6h") == "over the last 6 h"
    assert window_words("before_start") == "before start"


def test_reasons_come_in_order_of_size_and_belong_to_the_features_values(plant, trained):
    rows = plant.snapshots[plant.snapshots["checkpoint_h"] == 24]
    high = int(np.argmax(trained.predictor.predict(rows)))
    found = reasons(trained.predictor, rows, plant.process)
    assert len(found) == len(rows)
    points = [abs(reason.points) for reason in found[high]]
    assert points == sorted(points, reverse=True)
    first = found[high][0]
    assert first.parameter == "force_kn"
    assert first.points > 0
    assert first.normal == (4.0, 6.0)
    assert first.value == rows.iloc[high][first.feature]
    assert first.newest == rows.iloc[high]["force_kn.since_start.last"]
    assert "Compression force" in first.sentence


def test_the_points_of_all_parameters_add_up_to_the_change(plant, trained):
    rows = plant.snapshots[:8]
    totals = [sum(r.points for r in row) for row in reasons(trained.predictor, rows, plant.process, top=99)]
    change = trained.predictor.predict(rows) - trained.predictor.base_probability
    np.testing.assert_allclose(totals, 100 * change, atol=0.2)  # what would read as 0.0 points is not named


def test_a_parameter_without_any_value_is_missing(plant, trained):
    early, late = missing(trained.predictor, plant.snapshots[plant.snapshots["batch_id"] == "B000"].iloc[[0, 2]])
    assert early == ["force_kn"]
    assert late == []


def test_a_value_older_than_usual_is_stale_with_its_age(plant, trained):
    rows = plant.snapshots[plant.snapshots["checkpoint_h"] == 12][:2].copy()
    rows["force_kn.now.age_h"] = [9.0, 0.1]
    assert stale(trained.predictor, rows, plant.features) == [{"force_kn": 9.0}, {}]


def test_a_checkpoint_between_takes_the_usual_age_of_the_one_before():
    usual = {"6": 1.0, "12": 2.0}
    assert usual_age(usual, 11.0) == 1.0
    assert usual_age(usual, 30.0) == 2.0
    assert np.isnan(usual_age(usual, 0.0))
