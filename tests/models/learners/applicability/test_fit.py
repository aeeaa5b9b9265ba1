import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import TrainingError
from models.learners.applicability.bands import upper_limit
from models.learners.applicability.columns import DomainPlan
from tests.models.learners.applicability.line import SITE, check_all, learn, make_rows, to_a_thousandth

ROWS = make_rows()
MODEL = learn(ROWS)
LATER = make_rows(400, seed=2)


def text(model) -> str:
    return json.dumps(model.to_json(), allow_nan=False, sort_keys=True)


def test_the_limit_of_199_batches_is_the_second_largest_and_of_few_the_largest() -> None:
    assert upper_limit(np.arange(1.0, 200.0), 0.99) == 198  # ceil(200 * .99)
    assert upper_limit(np.arange(1.0, 51.0), 0.99) == 50
    assert upper_limit(np.array([]), 0.99) == np.inf


def test_good_batches_that_come_later_are_rarely_called_outside() -> None:
    found = check_all(MODEL, LATER, ROWS)
    assert np.mean([bool(domain.findings) for domain in found]) < 0.06


@settings(max_examples=5, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_rows_and_columns_changes_nothing(random) -> None:
    places, names = list(range(len(ROWS))), list(ROWS.columns)
    random.shuffle(places)
    random.shuffle(names)
    assert text(learn(ROWS.iloc[places][names])) == text(MODEL)


def test_a_constant_number_changes_no_verdict() -> None:
    more = ROWS.assign(**{"room.before_start.value": 3.0})
    later = LATER.assign(**{"room.before_start.value": 3.0})
    assert to_a_thousandth(check_all(learn(more), later, more)) == to_a_thousandth(check_all(MODEL, LATER, ROWS))


def test_failed_batches_set_no_limit_but_are_part_of_what_was_seen() -> None:
    ids = ROWS["batch_id"].unique()
    last = ids[-10:]
    rows = ROWS.copy()
    rows.loc[rows["batch_id"].isin(last), "co2.since_start.last"] += 8.0
    failed = pd.Series(np.isin(ids, last), index=ids)
    model, ordinary = learn(rows, failed), MODEL.bands[0]
    assert model.bands[0].limits.n_held_out == 40  # the newest quarter of 200, without the ten
    assert model.bands[0].limits.distance == pytest.approx(ordinary.limits.distance, rel=0.5)
    assert model.loose == ()
    assert model.bands[0].values.high.max() > ordinary.values.high.max() + 4
    # had they been good, the range of CO2 would not hold for good batches
    assert learn(rows, pd.Series(False, index=ids)).loose == ("co2.since_start.last",)


def test_limits_come_from_the_newest_batches_of_each_subgroup() -> None:
    second = make_rows(40, seed=3, version="2", sites=("A",)).assign(batch_id=lambda r: "N" + r["batch_id"])
    second["started_at"] += pd.Timedelta(days=365)
    limits = learn(pd.concat([ROWS, second], ignore_index=True)).bands[0].limits
    assert limits.n_held_out == 25 + 25 + 10  # a quarter of each site of version 1, and of version 2


def test_a_counter_that_grows_with_the_calendar_is_held_to_no_range() -> None:
    days = (ROWS["started_at"] - ROWS["started_at"].min()) / pd.Timedelta(days=1)
    model = learn(ROWS.assign(**{"runs.before_start.value": days}))
    assert model.loose == ("runs.before_start.value",)
    assert model.columns.index("runs.before_start.value") not in model.valued


def test_neighbours_are_asked_only_where_there_are_several_sites_or_versions() -> None:
    alone = ROWS.assign(**{SITE: pd.array(["A"] * len(ROWS), dtype="str")})
    assert MODEL.bands[0].neighbours is not None
    assert learn(alone).bands[0].neighbours is None


def test_a_batch_between_two_sites_is_found_by_its_neighbours() -> None:
    rows = make_rows(400)
    at_b = rows[SITE] == "B"
    later, apart = rows.iloc[[0]].copy(), ["ph.since_start.last", "ph.since_start.mean", "co2.since_start.last"]
    rows.loc[at_b, apart] += 40.0
    later[apart] = 27.0  # halfway: the centre of the one ellipsoid
    domain = check_all(learn(rows), later, rows)[0]
    assert domain.ratios["distance"] < 0.5
    assert "neighbours" in {finding.check for finding in domain.findings}


def test_one_slip_of_the_pen_in_training_widens_no_range() -> None:
    rows = make_rows(1000)
    slip = rows.copy()
    slip.loc[0, "ph.since_start.last"] = 700.0
    high = [learn(r).bands[0].values.high.max() for r in (rows, slip)]
    assert high[1] == pytest.approx(high[0], rel=0.05)


def test_a_history_too_small_for_subgroups_takes_its_newest_part_whatever_they_are() -> None:
    assert learn(make_rows(24)).bands[0].limits.n_held_out == 6


def test_maturity_bands_are_as_many_as_asked_at_most() -> None:
    assert [band.starts_h for band in MODEL.bands] == [0.0, 12.0, 24.0]
    assert [band.starts_h for band in learn(ROWS, plan=DomainPlan(most_bands=2)).bands] == [0.0, 24.0]


def test_no_training_snapshot_is_an_error() -> None:
    with pytest.raises(TrainingError, match="no training snapshot"):
        learn(ROWS, pd.Series(dtype=bool))


def test_a_plant_that_knows_only_names_is_judged_by_names() -> None:
    rows = ROWS[[name for name in ROWS if not name.startswith(("ph", "co2"))]]
    model = learn(rows)
    strange = rows.iloc[[0]].assign(**{"oven.before_start.value": pd.array(["O9"], dtype="str")})
    assert not check_all(model, rows.iloc[[0]], rows)[0].findings
    assert [f.check for f in check_all(model, strange, rows)[0].findings] == ["category"]


def test_batches_that_are_all_alike_let_one_of_their_kind_in_and_another_not() -> None:
    names = ["ph.since_start.last", "ph.since_start.mean", "co2.since_start.last", "ph.since_start.age_h"]
    rows = ROWS.copy()
    rows[names] = np.tile(np.where(rows["checkpoint_h"] == 0, 1.0, 2.0)[:, None], 4)  # alike at each checkpoint
    model, other = learn(rows), rows.iloc[[0]].assign(**{"ph.since_start.last": 9.0, "ph.since_start.mean": 9.0})
    assert not check_all(model, rows.iloc[[0]], rows)[0].findings
    assert check_all(model, other, rows)[0].findings


def test_a_parameter_that_was_never_measured_changes_nothing_that_is_said() -> None:
    rows = ROWS.assign(
        **{"lux.since_start.last": np.where(ROWS.index == 0, 1.0, np.where(ROWS.index == 1, 2.0, np.nan))}
    )
    assert not check_all(learn(rows), rows.iloc[[5]], rows)[0].findings
