from dataclasses import replace

import numpy as np
import pytest

from features.dictionary import Feature
from models.explain.completeness import missing, stale, usual_age


def test_a_parameter_without_any_value_is_missing(plant, trained) -> None:
    early, late = missing(trained.predictor, plant.snapshots[plant.snapshots["batch_id"] == "B000"].iloc[[0, 2]])
    assert early == ["force_kn"]
    assert late == []


def test_a_value_older_than_usual_is_stale_with_its_age(plant, trained) -> None:
    rows = plant.snapshots[plant.snapshots["checkpoint_h"] == 12][:2].copy()
    rows["force_kn.now.age_h"] = [15.0, 0.1]
    assert stale(trained.predictor, rows, plant.features) == [{"force_kn": 15.0}, {}]


@pytest.mark.parametrize(
    ("subject", "is_stale"), [("lot.api", False), ("event.deviation", False), ("environment.air", True)]
)
def test_only_values_go_stale_not_lots_in_use_nor_events(subject, is_stale, plant, trained) -> None:
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
def test_the_usual_age_lies_on_a_line_between_the_checkpoints(hours, age) -> None:
    assert usual_age({"12": 3.0, "6": 1.0}, hours) == pytest.approx(age)


def test_before_its_first_checkpoint_no_age_is_unusual() -> None:
    assert np.isnan(usual_age({"6": 1.0, "12": 3.0}, 5.9))
    assert np.isnan(usual_age({}, 5.9))


@pytest.mark.parametrize("hours", [0.0, 7.3, 12.0, 18.1, 24.0, 100.0])
def test_what_is_measured_once_at_the_start_is_never_stale(hours, plant, trained) -> None:
    once = replace(trained.predictor, usual_ages={"force_kn": {"0": 0.0, "12": 12.0, "24": 24.0}})
    row = plant.snapshots[:1].assign(checkpoint_h=hours)
    assert stale(once, row.assign(**{"force_kn.now.age_h": hours}), plant.features) == [{}]
    assert stale(once, row.assign(**{"force_kn.now.age_h": hours + 0.5}), plant.features) == [{"force_kn": hours + 0.5}]
