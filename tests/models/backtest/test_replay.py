from dataclasses import replace
from typing import Never

import numpy as np
import pandas as pd
import pytest

from features.errors import TrainingError
from models.backtest.calendar import Retraining
from models.backtest.fits import Fits
from models.backtest.history import History, LookAheadError
from models.backtest.replay import Replayed, fit_or_why_not, replay
from models.backtest.versions import LEAST
from models.policy import Policy
from tests.models.backtest.lived import CENSORED, POLICY, UNDECIDED, lived, until
from tests.models.plant import utc

KEY = ["batch_id", "checkpoint_h"]
TRUTH = ["failed", "label_available_at"]  # what is known of a batch today; all else of a score stands as it was given


def run(history: History, folder, **rules: object) -> Replayed:
    policy = Policy.model_validate(POLICY.model_dump() | rules)
    return replay(history, policy, Fits(folder, policy))


def versions_of(scores: pd.DataFrame) -> pd.Series:
    """The version of each batch, which has one."""
    pairs = scores[["batch_id", "version"]].drop_duplicates()
    assert not pairs["batch_id"].duplicated().any()
    return pairs.set_index("batch_id").sort_index().iloc[:, 0]


def test_every_version_was_made_and_served_before_its_batches_started(replayed, history) -> None:
    versions = replayed.versions.set_index("number")
    number = versions_of(replayed.scores)
    started = history.started[number.index]
    assert versions["made_at"].is_monotonic_increasing
    assert (number.map(versions["made_at"]) <= started).all()
    assert (number.map(versions["serves_from"]) <= started).all()
    next_from = versions["serves_from"].shift(-1)
    assert (number.map(next_from).isna() | (started < number.map(next_from))).all()
    assert set(number) == {1, 2, 3, 4}


def test_a_version_has_learnt_nothing_of_the_batches_it_scores(replayed, history) -> None:
    made = replayed.versions.set_index("number")["made_at"]
    first_known = history.log.groupby("batch_id")["label_available_at"].min()
    for batch, number in versions_of(replayed.scores).items():
        assert batch not in set(history.at(made[number]).outcomes["batch_id"])
        assert first_known[batch] > made[number]


def test_batches_without_an_outcome_and_censored_ones_are_not_scored(replayed, history) -> None:
    scored = set(replayed.scores["batch_id"])
    late = history.started >= replayed.versions["made_at"].iloc[0]
    assert scored == set(late.index[late]) - {CENSORED, UNDECIDED}
    assert not {CENSORED, UNDECIDED} & set(replayed.given["batch_id"])


def test_a_batch_is_scored_at_all_its_times_with_the_outcome_known_today(replayed, history) -> None:
    assert replayed.scores.groupby("batch_id")["checkpoint_h"].agg(list).map(lambda h: h == [0, 12, 18, 24]).all()
    truth = history.at(utc("2027-01-01")).outcomes.set_index("batch_id")["failed"]
    assert (replayed.scores["failed"] == replayed.scores["batch_id"].map(truth)).all()


def test_the_same_replay_again_gives_the_same_bits_from_what_is_stored(replayed, history, kept) -> None:
    made: list[str] = []
    again = replay(history, POLICY, Fits(kept, POLICY, made=made.append))
    assert made == []
    pd.testing.assert_frame_equal(again.scores, replayed.scores, check_exact=True)
    pd.testing.assert_frame_equal(again.versions, replayed.versions, check_exact=True)
    pd.testing.assert_frame_equal(again.given, replayed.given, check_exact=True)


@pytest.mark.parametrize("moment", ["2026-02-05T07:00", "2026-02-20T12:00", "2026-02-22T12:00"])
def test_no_former_score_changes_when_history_is_appended(replayed, history, kept, moment) -> None:
    earlier = run(until(history, utc(moment)), kept)
    n = len(earlier.versions)
    pd.testing.assert_frame_equal(earlier.versions, replayed.versions.head(n), check_exact=True)
    assert {k: p.sha256 for k, p in earlier.predictors.items()} == {
        k: replayed.predictors[k].sha256 for k in range(1, n + 1)
    }
    former = replayed.scores[replayed.scores["batch_id"].isin(earlier.scores["batch_id"])].reset_index(drop=True)
    assert 0 < len(former) < len(replayed.scores)
    pd.testing.assert_frame_equal(earlier.scores.drop(columns=TRUTH), former.drop(columns=TRUTH), check_exact=True)


def test_a_label_corrected_or_taken_back_later_moves_no_former_score(replayed, history, kept) -> None:
    end = history.log["label_available_at"].max() + pd.Timedelta(days=1)
    old = history.log[history.log["batch_id"].isin(["B040", "B041", "B070"])]
    new = old.assign(failed=~old["failed"], revision=np.int32(1), label_available_at=end)
    new.loc[new["batch_id"] == "B041", "censored"] = True
    new["failed"] &= ~new["censored"]
    later = run(replace(history, log=pd.concat([history.log, new], ignore_index=True)), kept)
    pd.testing.assert_frame_equal(later.versions, replayed.versions, check_exact=True)
    still = replayed.scores[replayed.scores["batch_id"] != "B041"].reset_index(drop=True)
    pd.testing.assert_frame_equal(later.scores.drop(columns=TRUTH), still.drop(columns=TRUTH), check_exact=True)
    turned = later.scores["batch_id"].isin(["B040", "B070"])
    assert (later.scores.loc[turned, "failed"] != still.loc[turned, "failed"]).all()
    assert (later.scores.loc[~turned, "failed"] == still.loc[~turned, "failed"]).all()


def test_an_end_in_the_middle_of_the_history_leaves_out_what_was_known_later(replayed, history, kept) -> None:
    moment = utc("2026-02-10")
    half = replay(history, POLICY, Fits(kept, POLICY), until=moment)
    first_known = history.log.groupby("batch_id")["label_available_at"].min()
    assert (first_known[half.scores["batch_id"].unique()] < moment).all()
    assert (half.given["known_at"] < moment).all()
    former = replayed.scores[replayed.scores["batch_id"].isin(half.scores["batch_id"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(half.scores.drop(columns=TRUTH), former.drop(columns=TRUTH), check_exact=True)


def test_an_outcome_counts_as_it_was_known_at_the_end_of_the_replay(history, kept) -> None:
    moment = utc("2026-02-10")
    old = history.log[history.log["batch_id"].isin(["B045", "B046"])]
    new = old.assign(failed=~old["failed"], revision=np.int32(1), label_available_at=moment)
    new.loc[new["batch_id"] == "B046", ["failed", "censored"]] = [False, True]
    corrected = replace(history, log=pd.concat([history.log, new], ignore_index=True))
    half, now = (replay(h, POLICY, Fits(kept, POLICY), until=moment) for h in (history, corrected))
    pd.testing.assert_frame_equal(now.scores, half.scores, check_exact=True)


def test_the_test_of_a_version_are_the_scores_of_those_before_it(replayed, history) -> None:
    versions = replayed.versions
    assert (versions.loc[0, "test_batches"], versions.loc[0, "test_failed"]) == (0, 0)
    for _, version in versions.iloc[1:].iterrows():
        known = history.at(version["made_at"]).outcomes
        tested = known[known["batch_id"].map(history.started) >= versions.loc[0, "made_at"]]
        assert (version["test_batches"], version["test_failed"]) == (len(tested), tested["failed"].sum())
        assert (version["n_known"], version["n_failed"]) == (len(known), known["failed"].sum())
        assert np.isnan(version["test_auroc"]) == (version["test_failed"] < LEAST)


def test_a_refused_version_never_serves_and_the_former_goes_on(replayed, history, kept) -> None:
    readings = replayed.versions["test_auroc"]
    assert readings.isna().tolist() == [True, True, False, False]
    assert 0.5 < readings.min() < 0.99
    strict = run(history, kept, least_auroc=0.99)
    assert strict.versions["status"].tolist() == ["served", "served", "refused", "refused"]
    assert strict.versions["serves_from"].isna().tolist() == [False, False, True, True]
    assert set(strict.predictors) == set(strict.scores["version"]) == {1, 2}
    assert set(strict.scores["batch_id"]) == set(replayed.scores["batch_id"])
    both = replayed.scores["version"] <= 2
    pd.testing.assert_frame_equal(strict.scores[: both.sum()], replayed.scores[both], check_exact=True)
    pd.testing.assert_frame_equal(strict.given, replayed.given, check_exact=True)  # tested by all models all the same


def test_approval_decides_which_version_scores_and_moves_no_model(replayed, history, kept) -> None:
    late = run(history, kept, approval_delay_h=60)
    assert late.versions["sha256"].tolist() == replayed.versions["sha256"].tolist()
    assert (late.versions["serves_from"] - late.versions["made_at"] == pd.Timedelta(hours=60)).all()
    before, after = versions_of(replayed.scores), versions_of(late.scores)
    first = late.versions["serves_from"].iloc[0]
    unscored = before.index.difference(after.index)
    assert (history.started[unscored] < first).all()
    assert len(unscored) == 5
    moved = after.index[after != before[after.index]]
    assert len(moved) == 3 * 5 - 1  # one of them is censored
    assert (before[moved] == after[moved] + 1).all()


def test_a_patient_who_trained_a_version_is_not_in_its_test(tmp_path) -> None:
    named = lived(subject_key=[f"S{i % 50}" if i % 3 else "" for i in range(120)])
    found = run(named, tmp_path, most_retrainings=2)
    subject = named.batches.set_index("batch_id")["subject_key"]
    made = found.versions.set_index("number")["made_at"]
    number = versions_of(found.scores)
    known = {v: set(subject[named.at(at).outcomes["batch_id"]]) - {""} for v, at in made.items()}
    assert not [batch for batch, v in number.items() if subject[batch] in known[v]]
    late = named.started.index[named.started >= made.iloc[0]].difference([CENSORED, UNDECIDED])
    left_out = late.difference(number.index)
    assert 10 < len(left_out) < len(late) / 2
    assert (subject[left_out] != "").all()
    assert not set(left_out) & set(found.given["batch_id"])


def test_a_training_of_which_a_window_leaves_too_little_is_passed_over(history, tmp_path) -> None:
    found = run(history, tmp_path, window_outcomes=20, most_retrainings=4)
    status = found.versions["status"].tolist()
    assert "too little known" in status
    assert "served" in status
    nothing = found.versions[found.versions["status"] == "too little known"]
    assert nothing["serves_from"].isna().all()
    assert (nothing["sha256"] == "").all()
    assert set(found.scores["version"]) <= set(found.versions.loc[found.versions["status"] == "served", "number"])


@pytest.mark.parametrize("rules", [{"test": "newest_quarter"}, {"test": "newest_failures", "test_failures": 5}])
def test_a_policy_with_a_sealed_test_is_replayed_from_the_first_model_it_leaves(history, tmp_path, rules) -> None:
    found = run(history, tmp_path, **rules)
    assert found.versions["status"].iloc[0] == "too little known"
    served = found.versions[found.versions["status"] == "served"]
    assert len(served)
    for _, version in served.iterrows():
        assert 0 < version["test_batches"] < version["n_known"]
        if rules["test"] == "newest_failures":
            assert version["test_failed"] == 5


def test_labels_that_were_good_at_first_cost_no_replay(history, tmp_path) -> None:
    struck = history.log.loc[history.log["failed"], "batch_id"].iloc[:4]
    wrong = history.log.assign(failed=history.log["failed"] & ~history.log["batch_id"].isin(struck))
    right = history.log[history.log["batch_id"].isin(struck)].drop_duplicates("batch_id", keep="last")
    right = right.assign(revision=np.int32(2), label_available_at=history.log["label_available_at"].max())
    log = pd.concat([wrong, right], ignore_index=True)
    found = run(replace(history, log=log), tmp_path, most_retrainings=2)
    assert (found.versions["n_failed"] >= LEAST).all()
    assert (found.versions["status"] == "served").all()


def test_when_no_training_has_enough_the_reason_is_told(history, tmp_path) -> None:
    early = history.at(utc("2026-01-20")).moment
    date = Retraining(1, utc("2026-01-05"), utc("2026-01-05"))
    with pytest.raises(TrainingError, match=r"^soup, training part: (none|only \d) of \d batches failed"):
        replay(history, POLICY, Fits(tmp_path, POLICY), until=early, dates=[date])


def test_a_history_too_short_is_one_line_with_its_remedy(history, tmp_path) -> None:
    short = until(history, utc("2026-01-08"))
    with pytest.raises(
        TrainingError, match=r"^soup: \d of \d+ batches with an outcome failed, and no batch started after"
    ) as caught:
        run(short, tmp_path)
    assert "\n" not in str(caught.value)
    assert "longer --history" in str(caught.value)


def test_when_no_batch_started_after_approval_a_longer_history_is_asked_for(history, kept) -> None:
    with pytest.raises(TrainingError, match="no batch with an outcome started after a model served"):
        run(history, kept, approval_delay_h=24 * 90)


def test_a_look_ahead_is_never_taken_for_too_little() -> None:
    class Peeping(Fits):
        def at(self, known) -> Never:
            raise LookAheadError(str(known))

    with pytest.raises(LookAheadError):
        fit_or_why_not(Peeping(None, POLICY), "a moment")  # ty: ignore[invalid-argument-type]


def test_a_corrected_release_result_shows_beside_the_former_score(foreseen_plant, tmp_path) -> None:
    plant = foreseen_plant
    results = plant.release.observations
    history = History(
        plant.process, plant.snapshots, plant.snapshots.iloc[:0], plant.features, plant.batches, plant.log, results,
        plant.release.dispositions,
    )  # fmt: skip
    rules = Policy(learner="layers", most_retrainings=1)
    fits = Fits(tmp_path, rules)
    first = replay(history, rules, fits)
    batch = first.scores["batch_id"].iloc[-1]
    old = results[(results["batch_id"] == batch) & (results["parameter"] == "purity_pct")]
    new = old.assign(revision=np.int32(1), value=55.0, available_at=old["available_at"] + pd.Timedelta(days=9))
    again = replay(replace(history, observations=pd.concat([results, new], ignore_index=True)), rules, fits)
    of_batch = again.scores["batch_id"] == batch
    assert (again.scores.loc[of_batch, "purity.actual"] == 55.0).all()
    pd.testing.assert_frame_equal(again.scores[~of_batch], first.scores[~of_batch], check_exact=True)
