import numpy as np
import pandas as pd

from features.dictionary import feature
from models.acceptance.criteria import FeatureReason
from models.acceptance.justification import assess_features, identifiers
from models.evaluation.top_features import _sign, top_features


def reason(**keys: str) -> FeatureReason:
    return FeatureReason.model_validate({"mechanism": "long enough to be a reason"} | keys)


def top(*rows: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame([{"feature": name, "words": name, "learned_sign": sign} for name, sign in rows])


def test_a_feature_is_justified_by_its_name_before_a_pattern() -> None:
    reasons = [reason(pattern="a.*", expected_sign="+"), reason(name="a.x", expected_sign="-")]
    named, fitting, none = assess_features(top(("a.x", "-"), ("a.y", "unclear"), ("b.z", "+")), reasons)
    assert (named.standing, named.reason) == ("justified", reasons[1])
    assert (fitting.standing, fitting.reason) == ("justified", reasons[0])
    assert (none.standing, none.line) == ("not justified", "b.z: not justified")


def test_a_learnt_sign_that_contradicts_needs_a_decision() -> None:
    without, decided = reason(name="a", expected_sign="-"), reason(name="b", expected_sign="-", decision="lots differ")
    one, two, unclear = assess_features(
        top(("a", "+"), ("b", "+"), ("c", "unclear")), [without, decided, reason(name="c", expected_sign="+")]
    )
    assert one.line == "a: learnt sign +, expected -, and no decision"
    assert (two.standing, two.opposite) == ("justified", True)
    assert (unclear.standing, unclear.opposite) == ("justified", False)


def test_identifiers_of_persons_are_found_and_counts_about_persons_are_none() -> None:
    entries = [
        feature(name, "before_start", "value", label=name, meaning=name)
        for name in ("subject_key", "operator", "operator_runs", "patient_id", "subject", "operators", "site")
    ]
    found = identifiers(entries, {"operator.before_start.value", "site.before_start.value"})
    assert found == ["subject_key.before_start.value", "operator.before_start.value", "patient_id.before_start.value"]


def test_the_learnt_sign_is_that_of_the_rank_correlation() -> None:
    x = np.arange(20.0)
    assert _sign(x, x**3) == "+"
    assert _sign(x, -x) == "-"
    assert _sign(np.r_[x[:9], [np.nan] * 11], x) == "unclear"  # 9 known values
    assert _sign(x, np.abs(x - 9.5)) == "unclear"
    assert _sign(x, np.ones(20)) == "unclear"


def test_the_top_features_of_a_predictor_come_with_their_signs(plant, trained) -> None:
    rows = plant.snapshots[plant.snapshots["checkpoint_h"] == 24]
    table = top_features(trained.predictor, rows, top=3)
    assert len(table) <= 3
    assert table["mean_abs_log_odds"].is_monotonic_decreasing
    force = table[table["parameter"] == "force_kn"].iloc[0]
    assert (force["learned_sign"], force["n_rows"]) == ("+", 120)
