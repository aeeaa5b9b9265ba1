import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import ContractError
from models.cohort.encode import fit_encoder
from models.learners.applicability.check import check
from models.learners.applicability.domain import Domain
from models.learners.applicability.model import Applicability
from tests.models.learners.applicability.line import SITE, VERSION, check_all, learn, make_rows, to_a_thousandth

ROWS = make_rows()
MODEL = learn(ROWS)
LATER = make_rows(60, seed=2)


def one(**changes: object) -> pd.DataFrame:
    """An ordinary row at 12 h with some values changed."""
    row = ROWS[ROWS["checkpoint_h"] == 12].iloc[[3]].copy()
    row[["ph.since_start.last", "ph.since_start.mean", "co2.since_start.last", "ph.since_start.age_h"]] = 7, 7, 7, 1.0
    for name, value in changes.items():
        row[name.replace("__", ".")] = value
    return row


def verdict(**changes: object) -> Domain:
    return check_all(MODEL, one(**changes), ROWS)[0]


def test_an_ordinary_row_is_inside_and_says_how_far_from_each_limit() -> None:
    domain = verdict()
    assert not domain.findings
    assert domain.causes == ()
    assert set(domain.ratios) == {"range", "distance", "neighbours", "newest", "missing", "age", "stale"}
    assert 0 <= max(domain.ratios.values()) <= 1


def test_a_name_never_seen_is_named_with_its_feature() -> None:
    (finding,) = verdict(oven__before_start__value="O9").findings
    assert (finding.check, finding.cause, finding.subjects) == (
        "category", "outside the applicability domain", ("oven.before_start.value",),
    )  # fmt: skip
    assert finding.sentence == "Oven 'O9' was never seen in training, which knows 2 others"


def test_a_name_that_is_not_known_is_not_a_name_never_seen() -> None:
    assert not verdict(oven__before_start__value=pd.array([None], dtype="str")).findings


def test_a_new_recipe_version_is_unsupported_and_says_how_many_are_missing_though_the_column_was_constant() -> None:
    assert VERSION not in MODEL.columns
    domain = verdict(process_version__before_start__value="2")
    assert domain.causes == ("unsupported subgroup",)
    assert domain.findings[0].sentence == (
        "Recipe version '2': 0 batches with a known outcome when the model was trained, 20 are needed, 20 are missing"
    )


def test_a_version_is_supported_from_the_twentieth_known_outcome_on() -> None:
    for n, supported in ((19, False), (20, True)):
        young = make_rows(n, seed=3, version="2").assign(batch_id=lambda r: "N" + r["batch_id"])
        young["started_at"] += pd.Timedelta(days=365)
        rows = pd.concat([ROWS, young], ignore_index=True)
        found = check_all(learn(rows), young.iloc[[0]], rows)[0].causes
        assert ("unsupported subgroup" not in found) == supported


def test_batches_without_a_known_outcome_support_nothing() -> None:
    failed = pd.Series(False, index=ROWS["batch_id"].unique()[:50])
    assert learn(ROWS, failed).support[SITE] == {"A": 25, "B": 25}


def test_a_level_far_beyond_all_of_training_is_out_of_range_with_its_numbers() -> None:
    domain = verdict(ph__since_start__last=70.0, ph__since_start__mean=70.0)
    finding = next(f for f in domain.findings if f.check == "range")
    assert finding.subjects[0].startswith("ph.since_start")
    assert "70" in finding.sentence
    assert finding.ratio == pytest.approx(domain.ratios["range"])
    assert max(domain.ratios.values()) > 1


def test_values_inside_their_ranges_but_against_each_other_are_found_by_the_distance() -> None:
    domain = verdict(ph__since_start__last=8.5, ph__since_start__mean=8.5, co2__since_start__last=5.5)
    assert {f.check for f in domain.findings} >= {"distance"}
    assert "range" not in {f.check for f in domain.findings}


def test_two_parameters_missing_are_too_many_where_none_ever_was() -> None:
    finding = check_all(MODEL, one(), ROWS, missing=["ph", "co2"])[0].findings[0]
    assert (finding.cause, finding.value, finding.limit) == ("too much missing", 2, 1)
    assert finding.sentence == "2 parameters of the model have no value, at most 1 are usual at this hour"


def test_an_old_newest_value_is_stale_data() -> None:
    domain = verdict(ph__since_start__age_h=30.0)
    assert domain.causes == ("stale data",)
    assert domain.findings[0].subjects == ("ph",)


def test_many_stale_parameters_are_stale_data_and_the_oldest_is_named_first() -> None:
    finding = check_all(MODEL, one(), ROWS, stale={"ph": 5.0, "co2": 9.0})[0].findings[0]
    assert (finding.cause, finding.subjects) == ("stale data", ("co2", "ph"))


def test_a_row_without_values_is_not_called_far_away() -> None:
    empty = one(ph__since_start__last=np.nan, ph__since_start__mean=np.nan, co2__since_start__last=np.nan)
    domain = check_all(MODEL, empty, ROWS)[0]
    assert "distance" not in domain.ratios
    assert not domain.findings


@pytest.mark.parametrize(
    ("changes", "support"),
    [
        ({}, "sufficient"),
        ({"ph__since_start__last": 70.0, "ph__since_start__mean": 70.0}, "limited"),  # far, but of a known kind
        ({"ph__since_start__age_h": 30.0}, "limited"),
        ({"oven__before_start__value": "O9"}, "none"),  # never seen
        ({"process_version__before_start__value": "2"}, "none"),  # no batch of it has a known outcome
    ],
)
def test_the_support_is_limited_by_a_finding_and_gone_where_nothing_alike_was_seen(changes, support) -> None:
    assert verdict(**changes).support == support


def test_a_subgroup_with_some_known_outcomes_has_limited_support_and_says_how_many_are_missing() -> None:
    young = make_rows(12, seed=3, version="2").assign(batch_id=lambda r: "N" + r["batch_id"])
    young["started_at"] += pd.Timedelta(days=365)
    rows = pd.concat([ROWS, young], ignore_index=True)
    domain = check_all(learn(rows), young.iloc[[0]], rows)[0]
    assert domain.support == "limited"
    assert "12 batches with a known outcome when the model was trained, 20 are needed, 8 are missing" in (
        domain.findings[0].sentence
    )


def test_outside_the_hours_of_the_model_there_is_no_support() -> None:
    assert check(MODEL, fit_encoder(ROWS).encode(one())[0], {}, 25.0).support == "none"


def test_without_any_value_there_is_no_support_though_as_much_was_missing_before() -> None:
    (domain,) = check_all(MODEL, one(), ROWS, missing=["ph"], without_values=True)
    assert (domain.support, domain.causes) == ("none", ("too much missing",))
    assert domain.findings[0].sentence == "no parameter of the model has a value (1 are missing)"


def test_it_comes_back_from_open_json_with_the_same_verdicts() -> None:
    text = json.dumps(MODEL.to_json(), allow_nan=False)
    again = Applicability.from_json(json.loads(text))
    assert to_a_thousandth(check_all(again, LATER, ROWS)) == to_a_thousandth(check_all(MODEL, LATER, ROWS))
    assert json.dumps(again.to_json(), allow_nan=False) == text


def test_another_format_is_refused() -> None:
    with pytest.raises(ContractError, match="applicability version 99"):
        Applicability.from_json(MODEL.to_json() | {"version": 99})


def test_a_row_of_another_matrix_is_refused() -> None:
    with pytest.raises(ContractError, match="columns of the encoder"):
        check(MODEL, np.zeros(3), {}, 12.0)


def test_between_checkpoints_the_location_lies_between_theirs() -> None:
    rows = ROWS.copy()
    rows["ph.since_start.last"] += rows["checkpoint_h"]
    model = learn(rows)
    place = list(model.levels).index(model.columns.index("ph.since_start.last"))
    z = model.scaling.z(np.full(len(model.levels), 7.0 + 18.0), 18.0)
    assert z[place] == pytest.approx(0, abs=0.1)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 199), st.integers(0, 199), st.floats(0, 1), st.sampled_from([0.0, 12.0, 24.0]))
def test_what_lies_between_two_batches_inside_is_inside_on_a_plant_of_one_site(i, j, share, hours) -> None:
    rows = ROWS.assign(**{SITE: pd.array(["A"] * len(ROWS), dtype="str")})
    model = learn_one_site(rows)
    here = rows[rows["checkpoint_h"] == hours]
    pair = here.iloc[[i, j]].copy()
    if any(domain.findings for domain in check_all(model, pair, rows)):
        return  # about one in a hundred is not
    middle = pair.iloc[[0]].copy()
    for name in model.columns:
        if name.startswith(("ph", "co2")):
            middle[name] = share * pair[name].iloc[0] + (1 - share) * pair[name].iloc[1]
    domain = check_all(model, middle, rows)[0]
    assert not domain.findings, [f.sentence for f in domain.findings]


_ONE_SITE: list[Applicability] = []


def learn_one_site(rows: pd.DataFrame) -> Applicability:
    if not _ONE_SITE:
        _ONE_SITE.append(learn(rows))
    return _ONE_SITE[0]


def test_ratios_are_finite() -> None:
    assert all(math.isfinite(r) for d in check_all(MODEL, LATER, ROWS) for r in d.ratios.values())
