import json

import numpy as np
import pandas as pd
import pytest

from features.contracts import RISK_SCORE
from features.errors import ContractError
from serving.scorer import Release, score

RELEASE = Release("soup", "3")


@pytest.fixture(scope="module")
def records(plant, trained) -> pd.DataFrame:
    rows = plant.snapshots[plant.snapshots["batch_id"].isin(["B100", "B101"])]
    return score(trained.predictor, rows, plant.features, plant.process, release=RELEASE, data_version="d1")


def test_records_keep_the_contract(records) -> None:
    RISK_SCORE.pandera().validate(records)
    assert len(records) == 6
    assert records["elapsed_h"].tolist() == [0, 12, 24] * 2


def test_no_batches_in_progress_give_no_records_of_the_right_shape(plant, trained) -> None:
    empty = score(
        trained.predictor, plant.snapshots[:0], plant.features, plant.process, release=RELEASE, data_version="d1"
    )
    assert len(empty) == 0
    RISK_SCORE.pandera().validate(empty)


def test_a_record_names_the_model_and_the_data_it_rests_on(records, trained) -> None:
    row = records.iloc[0]
    assert (row["model_name"], row["model_version"], row["review"], row["data_version"]) == (
        "soup",
        "3",
        "unreviewed",
        "d1",
    )
    assert row["model_sha256"] == trained.predictor.sha256
    assert (row["process_id"], row["process_version"]) == ("soup", "1")


def test_reasons_missing_and_stale_are_json_that_reads_back(records) -> None:
    start, late = records.iloc[0], records.iloc[2]
    assert json.loads(start["missing"]) == ["force_kn"]
    assert json.loads(late["missing"]) == []
    assert isinstance(json.loads(late["stale"]), dict)
    first = next(reason for reason in json.loads(late["reasons"]) if reason["parameter"] == "force_kn")
    assert set(first) == {
        "parameter", "label", "feature", "value", "unit", "normal", "usual", "points", "stages", "newest", "newest_at",
        "sensor", "sentence",
    }  # fmt: skip
    assert set(first["normal"]) <= {None, 4, 6}


def test_scores_are_the_same_in_any_order_and_company(records, plant, trained) -> None:
    rows = plant.snapshots[plant.snapshots["batch_id"] == "B101"][::-1]
    alone = score(trained.predictor, rows, plant.features, plant.process, release=RELEASE, data_version="d1")
    pd.testing.assert_frame_equal(alone, records[3:].reset_index(drop=True), check_exact=True)


def test_the_points_explain_the_distance_from_the_base(plant, trained) -> None:
    rows = plant.snapshots[plant.snapshots["checkpoint_h"] == 24]
    found = score(trained.predictor, rows, plant.features, plant.process, release=RELEASE, data_version="d1", top=99)
    points = found["reasons"].map(lambda text: sum(reason["points"] for reason in json.loads(text)))
    np.testing.assert_allclose(points, 100 * (found["failure_probability"] - found["base_probability"]), atol=0.2)


def test_a_snapshot_that_cannot_be_read_gets_no_score_at_all(plant, trained) -> None:
    rows = plant.snapshots[:3].assign(**{"noise.before_start.value": np.inf})
    with pytest.raises(ContractError, match=r"batch B000: feature 'noise\.before_start\.value' is infinite"):
        score(trained.predictor, rows, plant.features, plant.process, release=RELEASE, data_version="d1")
