"""A value that moved where it does harm raises the risk or is named: it never lowers the risk in silence."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.process import load_process
from models.learners.trees import Learner
from models.predictor import Predictor
from models.scoring.assessment import assess_frame
from models.train import train
from pipelines.sources.policy import PlantDefinition
from tests.models.learners.applicability.assays import HOURS, features_of, make_cultures
from tests.models.plant import QUICK, labels

# parameters of processes/cart.toml, and where a change of each does harm
HARM = {"vcd_e6_ml": -1, "viability_pct": -1, "lactate_mm": 1, "ldh_u_l": 1, "ph_offline": -1}
# the least factor that counts as a large step: several times what two samples of the parameter ever differ by
STEP = {"vcd_e6_ml": 2.0, "viability_pct": 1.2, "lactate_mm": 2.0, "ldh_u_l": 2.5, "ph_offline": 1.05}
ROUNDING = 1e-3  # of a probability
N = 240
FAILING = np.random.default_rng(5).random(N) < 0.25
ROWS = make_cultures(N, failing=FAILING)
LATER = make_cultures(60, seed=9)
_TRAINED: dict[Learner, Predictor] = {}


def trained(learner: Learner) -> Predictor:
    """Trained once per learner on the cultures, a quarter of which fail."""
    if learner not in _TRAINED:
        process = load_process("processes/cart.toml", PlantDefinition)
        ids = ROWS["batch_id"].drop_duplicates()
        batches = ROWS[["batch_id", "started_at"]].drop_duplicates().assign(subject_key="")
        known = batches["started_at"] + pd.Timedelta(days=9)
        log = labels(*zip(ids, FAILING, known, strict=True))
        plan = replace(QUICK, learner=learner)
        _TRAINED[learner] = train(process, ROWS, features_of(ROWS), batches, log, plan=plan).predictor
    return _TRAINED[learner]


def risk_and_names(predictor: Predictor, rows: pd.DataFrame) -> tuple[float, set[str]]:
    """Risk of one row, and the features that findings on single values name."""
    (found,) = assess_frame(predictor, rows, features_of(rows), contributions=False)
    assert found.domains is not None
    named = {name for f in found.domains[0].findings if f.cause == "suspicious value" for name in f.subjects}
    return float(found.assessment.probability[0]), named


@pytest.mark.parametrize("learner", ["layers", "trees"])
@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(HARM)), st.integers(0, 59), st.sampled_from(HOURS), st.floats(1.0, 20.0))
def test_a_large_harmful_step_of_a_newest_value_lowers_no_risk_without_being_named(
    learner, name, i, hours, more
) -> None:
    predictor, column = trained(learner), f"{name}.since_start.last"
    row = LATER[LATER["checkpoint_h"] == hours].iloc[[i]]
    changed = row.assign(**{column: row[column] * (STEP[name] * more) ** HARM[name]})
    before, _ = risk_and_names(predictor, row)
    after, named = risk_and_names(predictor, changed)
    assert after >= before - ROUNDING or column in named


@pytest.mark.parametrize("learner", ["layers", "trees"])
@pytest.mark.parametrize("factor", [0.1, 10.0])
@pytest.mark.parametrize("name", sorted(HARM))
def test_a_single_result_in_another_unit_by_ten_limits_the_support_and_leaves_the_call(learner, name, factor) -> None:
    predictor, column = trained(learner), f"{name}.since_start.last"
    rows = LATER[LATER["checkpoint_h"] == 138.0].head(20)
    rows = rows.assign(**{column: rows[column] * factor})
    (found,) = assess_frame(predictor, rows, features_of(rows), contributions=False)
    assert set(found.supports) == {"limited"}
    assert all("suspicious value" in causes for causes in found.support_causes)
    (alone,) = assess_frame(replace(predictor, applicability=None), rows, features_of(rows), contributions=False)
    assert found.calls == alone.calls
