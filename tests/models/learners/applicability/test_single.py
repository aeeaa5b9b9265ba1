import json

import numpy as np
import pandas as pd
import pytest

from models.cohort.encode import fit_encoder
from models.learners.applicability.check import check
from models.learners.applicability.domain import Domain, Finding
from models.learners.applicability.fit import fit_applicability
from models.learners.applicability.model import Applicability
from models.learners.applicability.single import MARGIN
from tests.models.learners.applicability.assays import COURSES, features_of, make_cultures

ROWS = make_cultures()
VCD, VCD_BEFORE, DOSE = "vcd_e6_ml.since_start.last", "vcd_e6_ml.since_start.previous", "dose_ml.since_start.last"


def learn(rows: pd.DataFrame, failed: pd.Series | None = None) -> Applicability:
    ids = rows["batch_id"].drop_duplicates()
    failed = pd.Series(False, index=ids) if failed is None else failed
    nothing = [()] * len(rows)
    return fit_applicability(
        rows, features_of(rows), fit_encoder(rows), failed, missing=nothing, stale=[{}] * len(rows)
    )


MODEL = learn(ROWS)


def checked(rows: pd.DataFrame, model: Applicability = MODEL, training: pd.DataFrame = ROWS) -> list[Domain]:
    X = fit_encoder(training).encode(rows)
    return [check(model, x, {}, h) for x, h in zip(X, rows["checkpoint_h"], strict=True)]


def suspicious(rows: pd.DataFrame, model: Applicability = MODEL, training: pd.DataFrame = ROWS) -> list[list[Finding]]:
    return [[f for f in d.findings if f.check == "newest"] for d in checked(rows, model, training)]


def one(hours: float = 138.0, **changes: float) -> pd.DataFrame:
    """A batch in the middle of all others at an hour, with some columns changed."""
    at = ROWS[ROWS["checkpoint_h"] == hours]
    row = at.iloc[[0]].copy()
    names = [name for name in at if name.endswith((".last", ".previous", ".mean"))]
    row[names] = at[names].median().to_numpy()
    for name, value in changes.items():
        row[name.replace("__", ".")] = value
    return row


def test_a_cell_count_that_fell_to_a_fifth_is_suspicious_and_named_with_the_one_before() -> None:
    row = one(vcd_e6_ml__since_start__last=0.40, vcd_e6_ml__since_start__previous=1.87)
    (domain,) = checked(row)
    (finding,) = [f for f in domain.findings if f.check == "newest"]
    assert (finding.cause, finding.subjects, finding.support) == ("suspicious value", (VCD,), "limited")
    assert finding.sentence.startswith("Viable cell density 0.4 after 1.87, ")
    assert finding.limit is not None
    assert finding.ratio is not None
    assert finding.value == pytest.approx(finding.ratio * finding.limit)
    assert "suspicious value" in domain.causes


def test_the_usual_range_in_the_sentence_is_that_of_the_change_times_the_value_before() -> None:
    at = ROWS[ROWS["checkpoint_h"] == 138.0]
    low, high = np.percentile(np.log(at[VCD] / at[VCD_BEFORE]), [1, 99])
    (found,) = suspicious(one(vcd_e6_ml__since_start__last=0.40, vcd_e6_ml__since_start__previous=1.87))
    expected = f"{1.87 * np.exp(low):.4g} to {1.87 * np.exp(high):.4g} is usual after such a value"
    assert expected in found[0].sentence


@pytest.mark.parametrize("factor", [0.1, 10.0])
@pytest.mark.parametrize("name", [*(f"{name}.since_start.last" for name in COURSES), DOSE])
def test_a_single_result_in_another_unit_by_ten_is_named_with_the_value_that_would_be_usual(name, factor) -> None:
    value = float(one()[name].iloc[0])
    (found,) = suspicious(one().assign(**{name: factor * value}))
    assert [f.subjects for f in found] == [(name,)]
    assert f"a factor of ten? {value:.4g} would be" in found[0].sentence


def test_good_batches_that_come_later_are_rarely_suspicious() -> None:
    later = make_cultures(400, seed=2)
    flagged = pd.Series([bool(found) for found in suspicious(later)])
    by_stage = flagged.groupby(later["checkpoint_h"].to_numpy()).mean()
    assert by_stage.max() <= 0.01


def test_a_value_that_comes_back_into_the_usual_range_is_not_suspicious_and_the_slip_before_it_was() -> None:
    usual = float(one()[VCD].iloc[0])
    before = float(one()[VCD_BEFORE].iloc[0])
    slip = one().assign(**{VCD: usual / 10})
    back = one().assign(**{VCD: usual, VCD_BEFORE: before / 10})
    assert [bool(found) for found in suspicious(pd.concat([slip, back]))] == [True, False]


def test_a_batch_that_was_always_low_jumps_nowhere() -> None:
    low = one()
    low[[VCD, VCD_BEFORE]] /= 3
    assert suspicious(low) == [[]]


def test_a_first_value_is_suspicious_only_where_a_power_of_ten_explains_it() -> None:
    first = one().assign(**{VCD_BEFORE: np.nan})
    usual = float(first[VCD].iloc[0])
    tenth, third = first.assign(**{VCD: usual / 10}), first.assign(**{VCD: usual / 3})
    found = suspicious(pd.concat([tenth, third]))
    assert [len(each) for each in found] == [1, 0]
    assert "is usual at this stage" in found[0][0].sentence


def test_a_sensor_is_not_judged_by_single_values() -> None:
    assert suspicious(one(do_pct__since_start__last=5.0)) == [[]]


def test_slips_of_the_pen_in_training_set_no_limit() -> None:
    rows = ROWS.copy()
    late = rows.index[rows["checkpoint_h"] == 138.0][-40::4]  # in ten of the sixty batches that set the limits
    for place, name in zip(late, list(COURSES) * 2, strict=True):
        rows.loc[place, f"{name}.since_start.last"] *= 10
    model = learn(rows)
    assert model.single is not None and MODEL.single is not None
    assert model.single.limits.max() <= 2 * max(MODEL.single.limits.max(), MARGIN)
    assert [len(found) for found in suspicious(one().assign(**{VCD: one()[VCD] * 10}), model, rows)] == [1]


def test_of_many_parameters_those_that_lie_off_by_ten_by_chance_are_not_judged() -> None:
    rows, ids = ROWS.copy(), ROWS["batch_id"]
    for number in range(40):  # each of forty attributes lies off by ten in one batch of its own, 40 of 240 in all
        off = (ids == f"B{6 * number:04d}").to_numpy()
        rows[f"a{number:02d}.before_start.value"] = np.where(off, 10.0, 1.0) * (1 + 0.001 * (rows.index % 240))
    flagged = pd.Series([bool(found) for found in suspicious(rows, learn(rows), rows)])
    at = (rows["checkpoint_h"] == 24.0).to_numpy()
    assert 0 < flagged[at].mean() <= 0.02  # 40 of 240 without that rule


def test_a_quantity_with_zeros_is_compared_in_its_own_unit() -> None:
    rng = np.random.default_rng(4)
    last, before = rng.poisson(2, (2, len(ROWS))).astype(float)
    rows = ROWS.assign(**{"growth.since_start.last": last, "growth.since_start.previous": before})
    model = learn(rows)
    row = one().assign(**{"growth.since_start.last": 40.0, "growth.since_start.previous": 2.0})
    ((finding,),) = suspicious(row, model, rows)
    assert finding.subjects == ("growth.since_start.last",)
    assert finding.sentence.startswith("growth 40 after 2, ")
    assert "ten" not in finding.sentence


def test_failing_batches_set_neither_what_is_usual_nor_a_limit() -> None:
    ids = ROWS["batch_id"].unique()
    failed = pd.Series(np.arange(len(ids)) % 5 == 0, index=ids)
    rows = ROWS.copy()
    rows.loc[rows["batch_id"].map(failed).to_numpy(bool), VCD] /= 5
    model = learn(rows, failed)
    row = one(vcd_e6_ml__since_start__last=0.40, vcd_e6_ml__since_start__previous=1.87)
    assert [len(found) for found in suspicious(row, model, rows)] == [1]


def test_a_wider_limit_takes_ordinary_jumps_and_no_slip_by_ten() -> None:
    jump = one(vcd_e6_ml__since_start__last=2.0, vcd_e6_ml__since_start__previous=4.0)
    slip = one().assign(**{VCD: one()[VCD] * 10})
    (before,) = checked(jump)
    wide = [{"newest": 1.01 * before.ratios["newest"]}] * len(MODEL.bands)
    model = MODEL.widened(wide)
    assert [len(found) for found in suspicious(pd.concat([jump, slip]), MODEL)] == [1, 1]
    assert [len(found) for found in suspicious(pd.concat([jump, slip]), model)] == [0, 1]


def test_a_slip_by_ten_is_no_part_of_the_ratio_that_widens_the_limit() -> None:
    (domain,) = checked(one().assign(**{VCD: one()[VCD] * 10}))
    assert domain.ratios["newest"] <= 1


def test_between_two_stages_a_change_is_held_to_what_both_span() -> None:
    (found,) = suspicious(one(96.0).assign(checkpoint_h=100.0, **{VCD: one(96.0)[VCD] / 10}))
    assert len(found) == 1
    assert suspicious(one(96.0).assign(checkpoint_h=100.0)) == [[]]


def test_it_comes_back_from_open_json_with_the_same_findings() -> None:
    text = json.dumps(MODEL.to_json(), allow_nan=False)
    again = Applicability.from_json(json.loads(text))
    rows = pd.concat([one(), one().assign(**{VCD: one()[VCD] / 10})])
    assert suspicious(rows, again) == suspicious(rows)
    assert json.dumps(again.to_json(), allow_nan=False) == text


def test_a_domain_without_single_values_finds_none_and_stores_none() -> None:
    rows = ROWS[
        ["batch_id", "checkpoint_h", "started_at", "as_of", "do_pct.since_start.last", "do_pct.since_start.mean"]
    ]
    model = learn(rows)
    assert model.single is None
    assert "single" not in model.to_json()
    assert "newest" not in checked(rows.iloc[[0]], model, rows)[0].ratios
