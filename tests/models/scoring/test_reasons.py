from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
from pytest import MonkeyPatch
from scipy.special import expit

from features.dictionary import Feature
from models.learners.evidence import Evidence
from models.learners.reference import Usual
from models.learners.sensor_words import SensorFinding
from models.scoring.alignment import FeatureAligner
from models.scoring.assessment import assess_frame
from models.scoring.reasons import Reason, ReasonMaker, _sentence
from models.train import Trained
from tests.models.plant import Plant

OPEN = (None, None)


def feature(label: str, unit: str, window: str, statistic: str, meaning: str) -> Feature:
    return Feature(f"x.{window}.{statistic}", "x", label, unit, window, statistic, meaning)


MEAN = feature("Compression force", "kN", "since_start", "mean", "mean of Compression force since the start")


def test_a_sentence_says_parameter_meaning_value_unit_normal_range_and_points() -> None:
    said = _sentence(MEAN, 7.9, (4.0, 6.0), None, 12.04)
    assert said == "Compression force, mean since the start: 7.9 kN (normal 4 to 6); +12.0 points"


def test_a_sentence_names_the_newest_value_too() -> None:
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
def test_sentences_of_all_kinds_of_features(entry, value, normal, says) -> None:
    assert _sentence(entry, value, normal, None, -1) == f"{says}; -1.0 points"


def reasons(
    plant: Plant,
    trained: Trained,
    snapshots: pd.DataFrame,
    *,
    top: int = 5,
    findings: Sequence[Sequence[SensorFinding]] | None = None,
) -> list[list[Reason]]:
    (found,) = assess_frame(trained.predictor, snapshots, plant.features)
    rows = found.rows
    maker = ReasonMaker(FeatureAligner(trained.predictor, rows.columns), plant.process, top=top)
    return [
        maker.reasons(
            found.points[i], rows.values[i], as_of_us=int(rows.as_of_us[i]), elapsed_h=float(rows.elapsed_h[i]),
            findings=findings[i] if findings else (),
        )
        for i in range(len(rows))
    ]  # fmt: skip


def test_reasons_come_in_order_of_size_and_belong_to_the_features_values(plant: Plant, trained: Trained) -> None:
    rows = plant.snapshots[plant.snapshots["checkpoint_h"] == 24]
    high = int(np.argmax(trained.predictor.predict(rows)))
    found = reasons(plant, trained, rows)
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


def test_the_points_of_all_parameters_add_up_to_the_change(plant: Plant, trained: Trained) -> None:
    rows = plant.snapshots[:8]
    totals = [sum(r.points for r in row) for row in reasons(plant, trained, rows, top=99)]
    change = trained.predictor.predict(rows) - expit(trained.predictor.base_log_odds(rows["checkpoint_h"].to_numpy()))
    np.testing.assert_allclose(totals, 100 * change, atol=0.2)  # what would read as 0.0 points is not named


NEWEST = feature("Glucose", "mmol/L", "since_start", "last", "newest value of Glucose")


def test_a_sentence_says_what_is_usual_at_this_hour_and_how_old_the_newest_value_is() -> None:
    said = _sentence(NEWEST, 2.1, (3.0, 25.0), 2.1, 9.1, usual=(8.44, 12.6), ago_h=4.0)
    assert (
        said == "Glucose, newest value: 2.1 mmol/L (normal 3 to 25, usual 8.44-12.6 at this hour), 4 h ago; +9.1 points"
    )


def test_what_is_usual_stands_beside_the_newest_value_not_beside_a_mean() -> None:
    said = _sentence(MEAN, 7.9, (4.0, 6.0), 8.2, 12.0, usual=(4.5, 5.5), ago_h=0.25)
    assert said == (
        "Compression force, mean since the start: 7.9 kN (normal 4 to 6), newest 8.2 (usual 4.5-5.5 at this hour), "
        "15 min ago; +12.0 points"
    )


def test_a_sensor_that_is_not_believed_is_said_to_count_less() -> None:
    said = _sentence(NEWEST, 2.1, OPEN, 2.1, 1.0, sensor="drifting")
    assert said == "Glucose, newest value: 2.1 mmol/L; sensor found drifting: counted less; +1.0 points"
    taken_out = _sentence(NEWEST, None, OPEN, None, 1.0, sensor="flat-lined")
    assert taken_out == "Glucose, newest value: value not used; sensor found flat-lined; +1.0 points"


def test_a_reason_carries_usual_range_time_and_sensor(plant: Plant, trained: Trained, monkeypatch: MonkeyPatch) -> None:
    def usual(_: Evidence, parameter: str, hours: float, group: str | None = None) -> Usual | None:
        return Usual(4.0, 4.2, 4.0 + hours / 24, 9) if parameter == "force_kn" and group is None else None

    monkeypatch.setattr(Evidence, "usual", usual)
    rows = plant.snapshots[plant.snapshots["checkpoint_h"] == 24][:2]
    drifts = [
        SensorFinding(p, kind, 1.0, None, 0.5, "") for p, kind in (("force_kn", "spiking"), ("force_kn", "drifting"))
    ]
    plain, found = reasons(plant, trained, rows, top=99, findings=[(), drifts])
    force, other = (next(r for r in each if r.parameter == "force_kn") for each in (plain, found))
    assert force.usual == other.usual == (4.0, 5.0)
    assert (force.sensor, other.sensor) == ("", "drifting and spiking")
    age = pd.Timedelta(hours=rows["force_kn.now.age_h"].iloc[0])
    assert force.newest_at == (rows["as_of"].iloc[0] - age).round("us")
    assert all(r.usual is None for r in plain if r.parameter != "force_kn")


def test_the_points_of_a_reason_by_stage_add_up_to_its_points(plant: Plant, trained: Trained) -> None:
    rows = plant.snapshots[plant.snapshots["checkpoint_h"] == 24][:20]
    for row in reasons(plant, trained, rows, top=99):
        for reason in row:
            assert sum(reason.stages.values()) == pytest.approx(reason.points, abs=1e-9)
            sizes = [abs(points) for points in reason.stages.values()]
            assert sizes == sorted(sizes, reverse=True)
