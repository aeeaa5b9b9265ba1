from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from features.process import ProcessDefinition
from models.backtest.fits import Fit, Fits
from models.backtest.prequential import budget_threshold, finished, newest_weigh_most, widened
from models.learners.calibrate import PRIOR_FAILURES
from models.learners.subgroup_offsets import SubgroupOffsets
from models.policy import Policy
from tests.models.backtest.lived import POLICY
from tests.models.learners.applicability.line import check_all, learn, make_rows
from tests.models.plant import utc

DAY = pd.Timedelta(days=1)


def good(*scored: tuple[float, float]) -> pd.DataFrame:
    """Good batches of (probability, weight), and a failed one above them all."""
    p, weight = zip(*scored, strict=True)
    ids = [f"B{i}" for i in range(len(scored))]
    rows = pd.DataFrame({"batch_id": ids, "failed": False, "p": p, "weight": weight})
    return pd.concat([rows, rows.tail(1).assign(batch_id="F", failed=True, p=0.99, weight=9.0)], ignore_index=True)


@pytest.mark.parametrize(
    ("share", "threshold"),
    # of 10 and the next batch's 1: 2 of 11 above .8, 4 of 11 above .4, 7 of 11 above .2
    [(0.0, 0.9), (0.18, 0.9), (0.182, 0.8), (0.36, 0.8), (0.37, 0.4), (0.63, 0.4), (0.64, 0.2), (1.0, 0.2)],
)
def test_a_budget_is_spent_by_weight_worked_by_hand(share, threshold) -> None:
    assert budget_threshold(good((0.2, 4), (0.9, 1), (0.4, 3), (0.8, 2)), share) == threshold


def test_a_batch_counts_once_by_its_highest_score() -> None:
    rows = good((0.2, 1), (0.6, 1))
    more = pd.concat([rows, rows.head(1).assign(p=0.7), rows.head(1).assign(p=0.1)], ignore_index=True)
    assert budget_threshold(more, 0.7) == 0.6  # 2 of 3 are above it
    assert budget_threshold(more, 0.6) == 0.7


def test_without_good_batches_nothing_exceeds_the_threshold() -> None:
    rows = good((0.2, 1))
    assert budget_threshold(rows[rows["failed"]], 0.05) == 1.0
    assert budget_threshold(rows[:0], 0.05) == 1.0


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 1)), min_size=1, max_size=40),
    st.floats(0, 1),
)
def test_thresholds_spend_no_more_than_the_share_and_a_lower_one_would(scored, share) -> None:
    threshold = budget_threshold(good(*scored), share)
    p, weight = np.array(scored).T
    spent, at_most = (weight[above].sum() + 1 for above in (p > threshold, p >= threshold))  # at it, and just below it
    assert spent <= (share + 1e-8) * (weight.sum() + 1) or threshold == p.max()
    assert at_most > share * (weight.sum() + 1) or threshold == p.min()


def test_a_batch_weighs_half_of_one_that_became_known_a_half_life_later() -> None:
    rows = pd.DataFrame({
        "batch_id": ["old", "new", "old", "middle", "new"],
        "known_at": [utc("2026-01-01") + DAY * d for d in (1, 9, 1, 5, 9)],
    })  # fmt: skip
    np.testing.assert_allclose(newest_weigh_most(rows, 1.0), [0.25, 1, 0.25, 0.5, 1])
    np.testing.assert_allclose(newest_weigh_most(rows, 2.0)[[0, 1]], [0.5, 1])


@pytest.fixture(scope="module")
def fit(history, kept) -> Fit:
    return Fits(kept, POLICY).at(history.at(utc("2026-01-28T12:00") + pd.Timedelta(microseconds=1)))


@pytest.fixture(scope="module")
def process(history) -> ProcessDefinition:
    return history.process


@pytest.fixture(scope="module")
def given_scores(replayed) -> pd.DataFrame:
    """Scores of earlier versions of batches with a known outcome."""
    return replayed.given


NEVER_HALF = Policy(half_life_batches=1e9)


def test_the_stated_failures_move_towards_the_observed_ones_as_far_as_these_are_many(
    fit, given_scores, process
) -> None:
    made = finished(fit, given_scores, process, NEVER_HALF)
    earlier = fit.out_of_fold[~fit.out_of_fold["batch_id"].isin(given_scores["batch_id"])]
    rows = pd.concat([earlier, given_scores], ignore_index=True)
    rows = rows[rows["as_of"] <= rows["end_at"]]
    shift = made.calibration.intercepts[0] - fit.predictor.calibration.intercepts[0]
    each = 1 / rows.groupby("batch_id")["batch_id"].transform("size").to_numpy()
    stated = each @ expit(rows["log_odds"].to_numpy() + shift)
    assert stated == pytest.approx(each @ rows["failed"].to_numpy(float) - PRIOR_FAILURES * shift, abs=1e-6)
    assert made.calibration.slopes == fit.predictor.calibration.slopes


def test_the_newest_scores_count_most_in_the_calibration(fit, given_scores, process) -> None:
    known = given_scores.groupby("batch_id")["known_at"].first().sort_values().index
    late = given_scores["batch_id"].isin(known[len(known) // 2 :])
    half = Policy(half_life_batches=20)
    newer, older = (finished(fit, given_scores.assign(failed=failed), process, half) for failed in (late, ~late))
    assert newer.calibration.intercepts[0] > older.calibration.intercepts[0] + 0.1


@pytest.mark.parametrize("half_life", [5.0, 45.0, 1e6])
def test_thresholds_spend_no_more_than_the_budgets_of_the_scores_given(fit, given_scores, process, half_life) -> None:
    rules = Policy(half_life_batches=half_life)
    made = finished(fit, given_scores, process, rules)
    earlier = fit.out_of_fold.assign(known_at=fit.out_of_fold["end_at"])
    rows = pd.concat([earlier[~earlier["batch_id"].isin(given_scores["batch_id"])], given_scores], ignore_index=True)
    rows = rows[rows["as_of"] <= rows["end_at"]]
    shift = made.calibration.intercepts[0] - fit.predictor.calibration.intercepts[0]
    rows = rows.assign(p=expit(rows["log_odds"] + shift), weight=newest_weigh_most(rows, half_life))
    alarming = rows[(rows["checkpoint_h"] >= rules.alarms_from_h(process)) & ~rows["failed"].astype(bool)]
    each = alarming.groupby("batch_id").agg(p=("p", "max"), weight=("weight", "first"))
    for threshold, share in (
        (made.thresholds.high, process.decision.alarm_budget),
        (made.thresholds.elevated, process.decision.watch_budget),
    ):
        assert each.loc[each["p"] > threshold, "weight"].sum() <= share * each["weight"].sum() + 1e-9
    assert made.thresholds.alarm_from_h == rules.alarms_from_h(process) > 0


def test_scores_before_the_first_hour_of_an_alarm_set_no_threshold(fit, given_scores, process) -> None:
    early = given_scores["checkpoint_h"] == 0
    louder = given_scores.assign(
        log_odds=given_scores["log_odds"] + np.where(early & ~given_scores["failed"], 3.0, 0.0)
    )
    quiet, loud = (finished(fit, rows, process, NEVER_HALF) for rows in (given_scores, louder))
    shift = loud.calibration.intercepts[0] - quiet.calibration.intercepts[0]
    moved = np.log(loud.thresholds.high / (1 - loud.thresholds.high)) - np.log(
        quiet.thresholds.high / (1 - quiet.thresholds.high)
    )
    assert moved == pytest.approx(shift)


def test_scores_of_another_learner_set_nothing(fit, given_scores, process) -> None:
    others = given_scores.assign(learner="deviations", log_odds=given_scores["log_odds"] + 5)
    without = finished(fit, given_scores[:0], process, POLICY)
    assert finished(fit, others, process, POLICY).sha256 == without.sha256
    first, later = given_scores.iloc[:100], others.iloc[100:]
    mixed = pd.concat([first, later], ignore_index=True)
    assert finished(fit, mixed, process, POLICY).sha256 == finished(fit, first, process, POLICY).sha256


def test_before_the_first_version_the_forward_folds_stand_in(fit, given_scores, process) -> None:
    made = finished(fit, given_scores[:0], process, POLICY)
    assert made.offsets == SubgroupOffsets()
    assert made.thresholds.high < 1
    assert made.model_texts == fit.predictor.model_texts
    assert made.sha256 != fit.predictor.sha256


def test_scores_after_the_end_of_a_batch_play_no_part(fit, given_scores, process) -> None:
    late = given_scores.assign(as_of=given_scores["end_at"] + DAY, log_odds=9.0)
    more = pd.concat([given_scores, late], ignore_index=True)
    assert finished(fit, more, process, POLICY).sha256 == finished(fit, given_scores, process, POLICY).sha256


def test_a_small_subgroup_that_fails_more_often_gets_an_offset_and_a_large_one_none(fit, given_scores, process) -> None:
    ids = given_scores["batch_id"].drop_duplicates().to_numpy()
    small = set(ids[::9])
    group = np.where(given_scores["batch_id"].isin(small), "small", "large")
    rows = given_scores.assign(**{"group.site.before_start.value": group})
    rows["failed"] |= rows["batch_id"].isin(small)
    domain = fit.predictor.applicability
    assert domain is not None
    domain = replace(domain, support={"site.before_start.value": {"large": 90, "small": len(small)}})
    own = replace(fit, predictor=replace(fit.predictor, applicability=domain))
    made = finished(own, rows, process, POLICY)
    assert set(made.offsets.offsets["site.before_start.value"]) == {"small"}
    assert made.offsets.offsets["site.before_start.value"]["small"] > 0.2
    alike = rows.assign(failed=given_scores["failed"], log_odds=np.where(given_scores["failed"], 4.0, -4.0))
    assert finished(own, alike, process, POLICY).offsets == SubgroupOffsets()


ROWS = make_rows(160)
TRAINING = ROWS[ROWS["batch_id"] < "B0120"]
DOMAIN = learn(TRAINING)


def judged(rows: pd.DataFrame, domain=DOMAIN) -> pd.DataFrame:
    found = [d.ratios for d in check_all(domain, rows, TRAINING)]
    return pd.DataFrame(found, index=rows.index).add_prefix("ratio.")


@settings(max_examples=8, deadline=None)
@given(st.floats(0.5, 4.0), st.sampled_from([0.02, 0.1, 0.3]), st.integers(0, 5), st.booleans())
def test_wider_limits_let_no_more_than_a_share_of_the_good_batches_out_and_are_never_tighter(
    spread, share, seed, between
) -> None:
    rng = np.random.default_rng(seed)
    new = ROWS[(ROWS["batch_id"] >= "B0120") & (ROWS["batch_id"] < "B0145")].copy()
    levels = [name for name in new if name.startswith(("ph", "co2"))]
    new[levels] = new[levels] + rng.normal(0, spread, (len(new), len(levels)))
    if between:
        moved = new[new["checkpoint_h"] < 24].assign(checkpoint_h=lambda rows: rows["checkpoint_h"] + 6)
        new = pd.concat([new, moved])
    new = new.reset_index(drop=True)
    weights = dict(zip(new["batch_id"].unique(), rng.uniform(0.2, 1, 25), strict=True))
    rows = new.assign(failed=new["batch_id"] == "B0121", weight=new["batch_id"].map(weights))
    before = judged(new)
    rows = pd.concat([rows, before], axis=1)
    wider = widened(DOMAIN, rows, share)
    after = judged(new, wider)
    assert (after <= before + 1e-9).all(axis=None)
    stage = DOMAIN.band_numbers(rows["checkpoint_h"].to_numpy(float))
    good = ~rows["failed"]
    for name in after:
        for number in np.unique(stage):
            own = rows[good & (stage == number)]
            out = set(own.loc[after.loc[own.index, name] > 1 + 1e-9, "batch_id"])
            each = own.groupby("batch_id")["weight"].first()
            assert each[each.index.isin(out)].sum() <= (share + 1e-8) * each.sum(), (name, number)


def test_without_rows_no_limit_moves() -> None:
    rows = pd.concat([ROWS, judged(ROWS)], axis=1).assign(failed=True, weight=1.0)
    pd.testing.assert_frame_equal(judged(ROWS, widened(DOMAIN, rows, 0.02)), judged(ROWS))
