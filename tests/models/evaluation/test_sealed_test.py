from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from features.errors import TrainingError
from models.evaluation.sealed_test import ADDITIVE, Scored, score_test, sealed_rows
from models.evaluation.trajectories import COLUMNS
from models.predictor import Predictor
from models.scoring.assessment import assess_frame
from tests.models.plant import FLAT


def scored(plant, trained, log=None, **known) -> Scored:
    log = plant.log if log is None else log
    return score_test(
        plant.process, trained.predictor, plant.snapshots, plant.features, plant.batches, log, trained.seal, **known
    )


def test_only_sealed_batches_are_scored_and_only_before_their_label(plant, trained) -> None:
    late = plant.log.assign(label_available_at=plant.log["label_available_at"] - pd.Timedelta(hours=60))
    rows = scored(plant, trained, late).rows
    assert set(rows["batch_id"]) == set(trained.seal.batch_ids)
    assert set(rows["checkpoint_h"]) == {0.0}  # the labels came after 12 h
    assert (rows["as_of"] < rows["label_available_at"]).all()


def test_a_test_without_any_snapshot_in_time_is_one_clear_line(plant, trained) -> None:
    at_start = plant.log.assign(label_available_at=plant.log["label_available_at"] - pd.Timedelta(days=3))
    with pytest.raises(TrainingError, match="none of the 30 test batches has a snapshot before its outcome"):
        scored(plant, trained, at_start)


def test_rows_hold_what_a_record_would_have_found(plant, trained) -> None:
    rows = scored(plant, trained).rows
    (found,) = assess_frame(trained.predictor, sealed_rows(plant.snapshots, plant.log, trained.seal), plant.features)
    assert rows["call"].tolist() == list(found.calls)
    assert rows["call_cause"].tolist() == list(found.call_causes)
    assert rows["support"].tolist() == list(found.supports)
    assert rows["support_causes"].str.split("; ").tolist() == [list(c) or [""] for c in found.support_causes]
    np.testing.assert_array_equal(rows["failure_probability"], found.assessment.probability)
    assert (rows["probability_low"] <= rows["failure_probability"]).all()
    assert (rows["failure_probability"] <= rows["probability_high"]).all()
    assert set(COLUMNS) <= set(rows.columns)


def test_the_size_of_a_chunk_changes_nothing(plant, trained, monkeypatch) -> None:
    whole = scored(plant, trained)
    monkeypatch.setattr("models.scoring.assessment._ROWS_AT_ONCE", 7)
    parts = scored(plant, trained)
    pd.testing.assert_frame_equal(parts.rows, whole.rows, check_exact=True)
    np.testing.assert_allclose(parts.importance["mean_abs_points"], whole.importance["mean_abs_points"])


def test_contributions_add_up_on_every_row(plant, trained) -> None:
    assert 0 <= scored(plant, trained).additivity < ADDITIVE


def test_contributions_that_do_not_add_up_are_refused(plant, trained, monkeypatch) -> None:
    honest = Predictor.assess
    monkeypatch.setattr(
        Predictor, "assess",
        lambda *a, **k: replace(found := honest(*a, **k), base_log_odds=found.base_log_odds + 1e-4),
    )  # fmt: skip
    with pytest.raises(TrainingError, match=r"miss the log-odds by 0\.0001"):
        scored(plant, trained)


def test_a_batch_ends_as_planned_or_when_its_label_came(plant, trained) -> None:
    rows = scored(plant, trained).rows
    started = rows["batch_id"].map(plant.batches.set_index("batch_id")["started_at"])
    assert ((rows["end_at"] - started) == pd.Timedelta(hours=24)).all()  # planned; the labels came after 3 days
    early = plant.log.assign(label_available_at=plant.log["label_available_at"] - pd.Timedelta(hours=52))
    rows = scored(plant, trained, early).rows
    assert (rows["end_at"] == rows["label_available_at"]).all()  # after 20 h


def test_release_attributes_stand_with_their_actual_values(rich) -> None:
    rows = scored(rich.plant, rich.trained, observations=rich.observations).rows
    actual = rich.observations.set_index("batch_id")["value"]
    np.testing.assert_array_equal(rows["purity.actual"], rows["batch_id"].map(actual))
    known = rows[rows["checkpoint_h"] == 24]
    assert (known["purity.low"] <= known["purity.expected"]).all()
    assert (known["purity.expected"] <= known["purity.high"]).all()
    assert known["purity.expected"].corr(known["purity.actual"]) > 0.9
    assert scored(rich.plant, rich.trained).rows["purity.actual"].isna().all()


def test_a_sensor_found_at_fault_is_named_on_its_row_and_on_no_other(foreseen_plant, foreseen) -> None:
    stuck = foreseen.seal.batch_ids[3]
    here = (foreseen_plant.snapshots["batch_id"] == stuck) & (foreseen_plant.snapshots["checkpoint_h"] == 24)
    flat_h = foreseen_plant.snapshots[FLAT].mask(here, 99.0)
    plant = replace(foreseen_plant, snapshots=foreseen_plant.snapshots.assign(**{FLAT: flat_h}))
    rows = scored(plant, foreseen).rows
    named = rows[rows["sensors"] == "force_kn flat-lined"]
    assert [(stuck, 24.0)] == list(zip(named["batch_id"], named["checkpoint_h"], strict=True))


def test_parameters_that_decide_move_the_scores_most(plant, trained) -> None:
    table = scored(plant, trained).importance
    assert table["parameter"].iloc[0] == "force_kn"
    assert table["label"].iloc[0] == "Compression force"
    assert table["mean_abs_points"].is_monotonic_decreasing
