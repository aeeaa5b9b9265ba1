import time

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.errors import ContractError
from models.evaluation.alarms import first_alarms, thresholds_at_share
from models.evaluation.intervals import SEED
from models.evaluation.recall import _weighted_median, paired_difference, recall_at_shares, recall_at_threshold
from models.evaluation.trajectories import trajectories
from tests.models.evaluation.frames import drawn, trail

GOOD = {f"G{i}": [0.0, i / 10] for i in range(10)}
BAD = {"F1": [0.85, 0.9], "F2": [0.1, 0.85], "F3": [0.2, 0.3], "F4": [0.85, 0.1]}


def made(n=400, seed=0, strength=3.0, step=12.0) -> pd.DataFrame:
    """Simulated scores: `strength` log-odds more for failures from a drawn hour on."""
    rng = np.random.default_rng(seed)
    hours = np.arange(0, 216, step)
    failed, onset = rng.random(n) < 0.15, rng.uniform(0, 150, n)
    noise = np.random.default_rng((seed, int(step))).normal(size=(n, len(hours)))
    p = 1 / (1 + np.exp(3 - noise - strength * (failed[:, None] & (hours > onset[:, None]))))
    names = [f"B{i:04d}" for i in range(n)]
    return trail(dict(zip(names, p.tolist(), strict=True)), set(np.array(names)[failed]), step_h=step, end_h=216)


def test_recall_warning_and_lead_by_hand() -> None:
    scores = trail(GOOD | BAD, set(BAD), end_h=60)
    found = recall_at_shares(scores, (0.1,), ahead_h=50).iloc[0]
    # one of ten good batches pays for a threshold of .8: F1 and F4 are alarmed at 0 h, F2 at 12 h, F3 never
    assert found["threshold"] == 0.8
    assert found[["n", "n_good", "n_failed", "n_good_alarmed", "n_caught", "n_warned"]].tolist() == [14, 10, 4, 1, 3, 2]
    assert found[["recall", "warned", "good_alarmed"]].tolist() == [0.75, 0.5, 0.1]
    assert found["median_lead_h"] == 60


def test_a_warning_exactly_as_far_ahead_as_asked_counts() -> None:
    scores = trail(GOOD | BAD, set(BAD), end_h=60)
    assert recall_at_shares(scores, (0.1,), ahead_h=48)["n_warned"].tolist() == [3]  # F2 is 48 h ahead


def test_only_the_failures_that_count_are_counted_and_the_threshold_stays() -> None:
    scores = trail(GOOD | BAD, set(BAD), end_h=60)
    found = recall_at_shares(trajectories(scores).counting({"F2", "F3"}), (0.1,)).iloc[0]
    assert found[["threshold", "n_good", "n_failed", "recall", "median_lead_h"]].tolist() == [0.8, 10, 2, 0.5, 48]


def test_a_threshold_from_elsewhere_reports_the_share_that_came_of_it() -> None:
    found = recall_at_threshold(trail(GOOD | BAD, set(BAD)), 0.55)
    assert (found["n_good_alarmed"], found["good_alarmed"], found["recall"]) == (4, 0.4, 0.75)
    assert found["good_alarmed_low"] < 0.4 < found["good_alarmed_high"]


def test_all_failures_found_is_not_reported_as_certain() -> None:
    found = recall_at_threshold(trail(GOOD | {"F": [0.99]}, {"F"}), 0.95)
    assert (found["recall"], found["recall_high"]) == (1.0, 1.0)
    assert found["recall_low"] == pytest.approx(0.025)  # Clopper and Pearson: 1 of 1
    assert recall_at_threshold(trail(GOOD), 0.5)["n_failed"] == 0
    assert np.isnan(recall_at_threshold(trail(GOOD), 0.5)["recall"])


def test_the_interval_is_that_of_resamples_which_set_their_own_threshold() -> None:
    scores = made(80, seed=2, strength=1.5)
    fast = recall_at_shares(scores, (0.1,), resamples=12).iloc[0]
    blocks = [rows for _, rows in scores.groupby("batch_id")]
    slow = []
    for w in np.random.default_rng(SEED).multinomial(80, np.full(80, 1 / 80), size=12):  # every resample as a frame
        again = pd.concat([rows.assign(batch_id=f"{i}-{k}") for i, rows in enumerate(blocks) for k in range(w[i])])
        slow.append(recall_at_shares(again, (0.1,), resamples=1)[["recall", "warned", "median_lead_h"]].iloc[0])
    low, high = np.quantile(np.array(slow, dtype=float), [0.025, 0.975], axis=0)
    for place, name in enumerate(("recall", "warned", "median_lead_h")):
        assert fast[[f"{name}_low", f"{name}_high"]].tolist() == pytest.approx([low[place], high[place]])


@given(drawn(least=4), st.floats(0, 1), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_no_resample_alarms_more_good_batches_than_its_share(scores, share, seed) -> None:
    highest = scores[~scores["failed"]].groupby("batch_id")["failure_probability"].max().to_numpy()
    weight = np.random.default_rng(seed).integers(0, 4, (30, len(highest)))
    threshold = thresholds_at_share(highest, weight, share)
    alarmed = (weight * (highest > threshold[:, None])).sum(axis=1)
    assert (alarmed <= share * weight.sum(axis=1) + 1e-6).all()


@given(drawn(), st.floats(0, 1), st.floats(0, 120))
@settings(max_examples=60, deadline=None)
def test_figures_agree_with_the_first_alarms(scores, threshold, ahead_h) -> None:
    found, alarms = (
        recall_at_threshold(scores, threshold, ahead_h=ahead_h, resamples=2),
        first_alarms(scores, threshold),
    )
    failed = alarms[alarms["failed"]]
    assert found["recall"] == pytest.approx(failed["alarmed"].mean())
    assert found["warned"] == pytest.approx((failed["lead_h"] >= ahead_h - 1e-9).mean())
    assert found["median_lead_h"] == pytest.approx(failed["lead_h"].median(), nan_ok=True)
    assert found["warned"] <= found["recall"]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), min_size=1, max_size=12))
@settings(max_examples=100, deadline=None)
def test_the_weighted_median_is_the_median_of_repeated_values(pairs) -> None:
    values, weight = (np.array(c) for c in zip(*pairs, strict=True))
    repeated = np.repeat(values, weight)
    expected = np.median(repeated) if len(repeated) else np.nan
    assert _weighted_median(values[None].astype(float), weight[None])[0] == pytest.approx(expected, nan_ok=True)


def test_a_resample_without_a_good_batch_has_no_threshold_and_no_figure() -> None:
    assert np.isnan(thresholds_at_share(np.array([0.3]), np.array([[0]]), 0.5)).all()
    found = recall_at_shares(trail({"G": [0.3], "F": [0.9]}, {"F"}), (0.5,), resamples=50).iloc[0]
    assert found["recall"] == 1
    with pytest.raises(ContractError, match="no good batch"):
        paired_difference(*[trail({"F": [0.9]}, {"F"})] * 2, 0.5)


def test_a_predictor_does_not_differ_from_itself() -> None:
    table = paired_difference(made(), made(), 0.05, resamples=100).set_index("figure")
    assert (table[["difference", "low", "high"]] == 0).all(axis=None)


def test_the_paired_difference_is_that_of_the_two_figures_and_narrower_than_both() -> None:
    ours = made(strength=3.0)
    theirs = ours.assign(failure_probability=ours["failure_probability"] * (0.6 + 0.4 * (ours["checkpoint_h"] > 100)))
    table = paired_difference(ours, theirs, 0.05).set_index("figure")
    a, b = (recall_at_shares(s, (0.05,)).iloc[0] for s in (ours, theirs))
    assert table.loc["warned", "difference"] == pytest.approx(a["warned"] - b["warned"])
    assert table.loc["warned", ["ours", "theirs"]].tolist() == [a["warned"], b["warned"]]
    width = table.loc["warned", "high"] - table.loc["warned", "low"]
    assert width < (a["warned_high"] - a["warned_low"]) + (b["warned_high"] - b["warned_low"])
    assert table.loc["recall", "n_failed"] == a["n_failed"]


def test_hourly_and_twelve_hourly_scores_of_the_same_batches_can_be_compared() -> None:
    table = paired_difference(made(strength=4.0), made(strength=4.0, step=1.0), 0.1, resamples=50)
    assert table["n"].eq(400).all()
    assert table[["low", "high"]].notna().all(axis=None)


def test_batches_that_differ_are_not_compared() -> None:
    scores = trail(GOOD | BAD, set(BAD))
    with pytest.raises(ContractError, match="batch F4 and 0 more are scored by one side only"):
        paired_difference(scores, scores[scores["batch_id"] != "F4"], 0.1)
    with pytest.raises(ContractError, match="batch G3 has two outcomes"):
        paired_difference(scores, trail(GOOD | BAD, {*BAD, "G3"}), 0.1)


def test_the_same_seed_gives_the_same_interval_and_three_thousand_batches_take_seconds() -> None:
    scores, began = made(3000), time.process_time()
    first = recall_at_shares(scores, (0.05,))
    assert time.process_time() - began < 4
    pd.testing.assert_frame_equal(first, recall_at_shares(scores, (0.05,)), check_exact=True)
