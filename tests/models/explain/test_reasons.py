from dataclasses import replace

import numpy as np
import pytest

from features.dictionary import Feature
from models.explain.reasons import _sentence, missing, number, reasons, stale, usual_age

OPEN = (None, None)


def feature(label: str, unit: str, window: str, statistic: str, meaning: str) -> Feature:
    return Feature(f"x.{window}.{statistic}", "x", label, unit, window, statistic, meaning)


MEAN = feature("Compression force", "kN", "since_start", "mean", "mean of Compression force since the start")


def test_a_sentence_says_parameter_meaning_value_unit_normal_range_and_points():
    said = _sentence(MEAN, 7.9, (4.0, 6.0), None, 12.04)
    assert said == "Compression force, mean since the start: 7.9 kN (normal 4 to 6); +12.0 points"


def test_a_sentence_names_the_newest_value_too():
    said = _sentence(MEAN, 7.9, (None, 6.0), 8.2, 3)
    assert said == "Compression force, mean since the start: 7.9 kN (normal up to 6), newest 8.2; +3.0 points"


@pytest.mark.parametrize(
    ("entry", "value", "normal", "says"),
    [
        (feature("pH", "1", "since_start", "min", "lowest value of pH since the start"), 7.2914, (7, 7.4), "pH, lowest value since the start: 7.29 (normal 7 to 7.4)"),
        (feature("Activation", "h", "now", "elapsed_h", "time spent in Activation so far"), 24.15, OPEN, "Time spent in Activation so far: 24.1 h"),
        (feature("Cell diameter", "um", "since_start", "min", "lowest value of Cell diameter since the start"), None, (8, 12.5), "Cell diameter, lowest value since the start: no value yet"),
        (feature("lot medium", "", "now", "n_used", "other batches that used the lot of medium"), 9.0, OPEN, "Other batches that used the lot of medium: 9"),
        (feature("Glucose", "mmol/L", "since_start", "last", "newest value of Glucose"), 2.5, (3.0, None), "Glucose, newest value: 2.5 mmol/L (normal from 3)"),
        (feature("Glucose", "mmol/L/h", "last_24h", "slope", "slope of Glucose over the last 24 h"), -0.25164, (3.0, None), "Glucose, slope over the last 24 h: -0.252 mmol/L/h"),
        (feature("Glucose", "", "since_start", "below_normal_share", "share of readings below normal of Glucose since the start"), 0.0417, (3.0, None), "Glucose, share of readings below normal since the start: 4.17 %"),
        (feature("Site", "category", "before_start", "value", "Site of the batch"), "north", OPEN, "Site of the batch: north"),
        (feature("Site", "category", "before_start", "value", "Site of the batch"), None, OPEN, "Site of the batch: not recorded"),
        (feature("Cells at thaw", "1e6", "before_start", "value", "Cells at thaw at start"), 1234.5, OPEN, "Cells at thaw at start: 1234e6"),
        (feature("Cells", "1e6 cells/mL", "since_start", "last", "newest value of Cells"), 0.4567, (0.3, 20), "Cells, newest value: 0.457e6 cells/mL (normal 0.3 to 20)"),
        (feature("Water", "%", "lot_api", "value", "Water of the lot of API"), 0.5, (0.1, 0.6), "Water of the lot of API: 0.5 % (normal 0.1 to 0.6)"),
        (feature("Air", "%", "since_start", "last", "newest value of Airflow"), 2.0, OPEN, "Newest value of Airflow: 2 %"),
        (feature("Force", "N", "now", "value", ""), 2.0, OPEN, "Force: 2 N"),
    ],
)  # fmt: skip
def test_sentences_of_all_kinds_of_features(entry, value, normal, says):
    assert _sentence(entry, value, normal, None, -1) == f"{says}; -1.0 points"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (7.9000001, "7.9"), (36.97, "37"), (1234.5678, "1235"), (999.6, "1000"), (240000, "240000"),
     (2e9, "2e+09"), (1e-5, "1e-05"), (-0.00123456, "-0.00123")],
)  # fmt: skip
def test_numbers_are_written_as_people_do(value, text):
    assert number(value) == text


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


@pytest.mark.parametrize(
    ("subject", "is_stale"), [("lot.api", False), ("event.deviation", False), ("environment.air", True)]
)
def test_only_values_go_stale_not_lots_in_use_nor_events(subject, is_stale, plant, trained):
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
def test_the_usual_age_lies_on_a_line_between_the_checkpoints(hours, age):
    assert usual_age({"12": 3.0, "6": 1.0}, hours) == pytest.approx(age)


def test_before_its_first_checkpoint_no_age_is_unusual():
    assert np.isnan(usual_age({"6": 1.0, "12": 3.0}, 5.9))
    assert np.isnan(usual_age({}, 5.9))


@pytest.mark.parametrize("hours", [0.0, 7.3, 12.0, 18.1, 24.0, 100.0])
def test_what_is_measured_once_at_the_start_is_never_stale(hours, plant, trained):
    once = replace(trained.predictor, usual_ages={"force_kn": {"0": 0.0, "12": 12.0, "24": 24.0}})
    row = plant.snapshots[:1].assign(checkpoint_h=hours)
    assert stale(once, row.assign(**{"force_kn.now.age_h": hours}), plant.features) == [{}]
    assert stale(once, row.assign(**{"force_kn.now.age_h": hours + 0.5}), plant.features) == [{"force_kn": hours + 0.5}]
