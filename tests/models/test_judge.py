import numpy as np
import pytest

from models.judge import judge
from models.train import Trained
from tests.models.plant import Plant


def test_a_judgement_is_the_same_row_by_row_as_all_at_once(plant: Plant, trained: Trained) -> None:
    rows = plant.snapshots.iloc[200:212]
    all_at_once = judge(trained.predictor, rows, plant.features)
    for i in range(len(rows)):
        one = judge(trained.predictor, rows.iloc[i : i + 1], plant.features)
        assert one.assessment.log_odds[0] == all_at_once.assessment.log_odds[i]
        assert (one.decisions[0], one.causes[0]) == (all_at_once.decisions[i], all_at_once.causes[i])
        assert one.domains is not None and all_at_once.domains is not None
        assert one.domains[0].ratios == pytest.approx(all_at_once.domains[i].ratios)


def test_a_probability_does_not_depend_on_whether_reasons_are_asked_for(plant: Plant, trained: Trained) -> None:
    with_, without = (judge(trained.predictor, plant.snapshots, plant.features, contributions=c) for c in (True, False))
    assert without.assessment.contributions is None
    assert with_.assessment.contributions is not None
    np.testing.assert_array_equal(with_.assessment.log_odds, without.assessment.log_odds)


def test_a_name_never_seen_leaves_a_low_risk_undecided(plant: Plant, trained: Trained) -> None:
    rows = plant.snapshots[plant.snapshots["checkpoint_h"] == 12].nsmallest(1, "force_kn.since_start.mean")
    strange = rows.assign(**{"line.before_start.value": "a line nobody built"}).astype(
        {"line.before_start.value": "str"}
    )
    known, unknown = (judge(trained.predictor, r, plant.features) for r in (rows, strange))
    assert known.decisions[0] != "high"
    assert unknown.decisions == ("undecided",)
    assert unknown.causes[0].startswith("outside the applicability domain")


def test_only_an_undecided_score_has_a_cause(plant: Plant, trained: Trained) -> None:
    judged = judge(trained.predictor, plant.snapshots, plant.features)
    for decision, cause in zip(judged.decisions, judged.causes, strict=True):
        assert bool(cause) == (decision == "undecided")


def test_no_snapshots_give_no_judgements(plant: Plant, trained: Trained) -> None:
    judged = judge(trained.predictor, plant.snapshots.iloc[:0], plant.features)
    assert judged.decisions == judged.causes == judged.missing == judged.sensors == ()
    assert judged.assessment.log_odds.shape == (0,)
