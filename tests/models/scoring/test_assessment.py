from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from features.dictionary import Feature
from features.errors import ContractError
from models.predictor import Predictor
from models.scoring.assessment import AssessedRows, assess_frame
from models.train import Trained
from tests.models.plant import Plant


def assess(
    predictor: Predictor, snapshots: pd.DataFrame, features: tuple[Feature, ...], *, contributions: bool = True
) -> AssessedRows:
    (found,) = assess_frame(predictor, snapshots, features, contributions=contributions)
    return found


def test_an_assessment_is_the_same_row_by_row_as_all_at_once(plant: Plant, trained: Trained) -> None:
    rows = plant.snapshots.iloc[200:212]
    all_at_once = assess(trained.predictor, rows, plant.features)
    for i in range(len(rows)):
        one = assess(trained.predictor, rows.iloc[i : i + 1], plant.features)
        assert one.assessment.log_odds[0] == all_at_once.assessment.log_odds[i]
        assert (one.calls[0], one.call_causes[0]) == (all_at_once.calls[i], all_at_once.call_causes[i])
        assert one.domains is not None and all_at_once.domains is not None
        assert one.domains[0].ratios == pytest.approx(all_at_once.domains[i].ratios)


def test_a_probability_does_not_depend_on_whether_reasons_are_requested(plant: Plant, trained: Trained) -> None:
    with_, without = (
        assess(trained.predictor, plant.snapshots, plant.features, contributions=c) for c in (True, False)
    )
    assert without.assessment.contributions is None
    assert with_.assessment.contributions is not None
    np.testing.assert_array_equal(with_.assessment.log_odds, without.assessment.log_odds)


def test_a_name_never_seen_leaves_the_call_and_takes_the_support(plant: Plant, trained: Trained) -> None:
    at = plant.snapshots[plant.snapshots["checkpoint_h"] == 12].sort_values("force_kn.since_start.mean")
    rows = at.iloc[[len(at) // 2]]
    strange = rows.assign(**{"line.before_start.value": "a line nobody built"}).astype(
        {"line.before_start.value": "str"}
    )
    known, unknown = (assess(trained.predictor, r, plant.features) for r in (rows, strange))
    assert known.supports == ("sufficient",)
    assert unknown.calls == known.calls
    assert unknown.supports == ("none",)
    assert unknown.support_causes == (("outside the applicability domain",),)


def test_a_batch_of_which_no_parameter_has_a_value_has_no_support(plant: Plant, trained: Trained) -> None:
    start = plant.snapshots[plant.snapshots["checkpoint_h"] == 0].iloc[:1]
    nothing = start.assign(**{"noise.before_start.value": np.nan, "line.before_start.value": pd.array([None], "str")})
    known, unknown = (assess(trained.predictor, r, plant.features) for r in (start, nothing))
    assert known.supports == ("sufficient",)  # its noise and its line are known at the start
    assert (unknown.calls, unknown.supports) == (("none yet",), ("none",))
    assert unknown.domains is not None
    finding = next(f for f in unknown.domains[0].findings if f.check == "values")
    assert finding.sentence.startswith("no parameter of the model has a value")


def test_without_an_applicability_domain_the_support_is_sufficient(plant: Plant, trained: Trained) -> None:
    found = assess(replace(trained.predictor, applicability=None), plant.snapshots[:2], plant.features)
    assert (found.supports, found.support_causes) == (("sufficient",) * 2, ((), ()))


def test_only_a_score_without_a_call_has_a_cause(plant: Plant, trained: Trained) -> None:
    found = assess(trained.predictor, plant.snapshots, plant.features)
    for call, cause in zip(found.calls, found.call_causes, strict=True):
        assert bool(cause) == (call == "none yet")


def test_no_snapshots_give_no_assessments(plant: Plant, trained: Trained) -> None:
    found = assess(trained.predictor, plant.snapshots.iloc[:0], plant.features)
    assert found.calls == found.call_causes == found.supports == found.missing == found.sensors == ()
    assert found.assessment.log_odds.shape == (0,)


def test_points_add_up_to_the_change_of_the_probability(plant: Plant, trained: Trained) -> None:
    found = assess(trained.predictor, plant.snapshots[:30], plant.features).assessment
    points = assess(trained.predictor, plant.snapshots[:30], plant.features).points
    np.testing.assert_allclose(points.sum(axis=1), 100 * (found.probability - expit(found.base_log_odds)), atol=1e-9)


def test_points_need_contributions(plant: Plant, trained: Trained) -> None:
    found = assess(trained.predictor, plant.snapshots[:2], plant.features, contributions=False)
    with pytest.raises(ValueError, match="without contributions"):
        found.points  # noqa: B018


def test_a_frame_of_many_rows_is_assessed_in_parts_that_follow_one_another(
    plant: Plant, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = assess(trained.predictor, plant.snapshots[:10], plant.features)
    monkeypatch.setattr("models.scoring.assessment._ROWS_AT_ONCE", 4)
    parts = list(assess_frame(trained.predictor, plant.snapshots[:10], plant.features))
    assert [len(part.rows) for part in parts] == [4, 4, 2]
    np.testing.assert_array_equal(
        np.concatenate([part.assessment.log_odds for part in parts]), whole.assessment.log_odds
    )
    assert sum((part.calls for part in parts), ()) == whole.calls


def test_a_snapshot_with_an_infinite_value_is_refused_by_its_batch(plant: Plant, trained: Trained) -> None:
    rows = plant.snapshots[:3].assign(**{"noise.before_start.value": np.inf})
    with pytest.raises(ContractError, match=r"batch B000: feature 'noise\.before_start\.value' is infinite"):
        assess(trained.predictor, rows, plant.features)


def test_a_frame_without_a_feature_of_the_predictor_is_refused(plant: Plant, trained: Trained) -> None:
    with pytest.raises(ContractError, match=r"lack the feature 'force_kn\.since_start\.mean'"):
        assess(trained.predictor, plant.snapshots.drop(columns="force_kn.since_start.mean"), plant.features)


def test_names_where_the_predictor_takes_numbers_are_refused(plant: Plant, trained: Trained) -> None:
    names = plant.snapshots.astype({"force_kn.since_start.mean": "str"})
    with pytest.raises(ContractError, match=r"'force_kn\.since_start\.mean' holds categories"):
        assess(trained.predictor, names, plant.features)
