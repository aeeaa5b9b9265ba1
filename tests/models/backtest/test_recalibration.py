"""Recalibrations between trainings, on the plant of `tests.models.backtest.lived`: trainings after 25, 50, 75, 100 outcomes."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from models.backtest import replay as replaying
from models.backtest.fits import Fits
from models.backtest.given import GivenScores
from models.backtest.history import History, LookAheadError
from models.backtest.prequential import finished
from models.backtest.replay import Replayed, replay
from models.policy import Policy
from models.predictor import Predictor
from tests.models.backtest.lived import POLICY, until
from tests.models.plant import utc

TRUTH = ["failed", "label_available_at"]
EVERY_TEN = POLICY.model_copy(update={"recalibrate_every_outcomes": 10})


def run(history: History, folder, **rules: object) -> Replayed:
    policy = Policy.model_validate(EVERY_TEN.model_dump() | rules)
    return replay(history, policy, Fits(folder, policy))


@pytest.fixture(scope="module")
def recalibrated(history, kept) -> Replayed:
    return run(history, kept)


def test_every_ten_outcomes_after_a_training_there_is_a_version_with_its_trees(recalibrated) -> None:
    versions = recalibrated.versions
    known = [25, 35, 45, 50, 60, 70, 75, 85, 95, 100, 110]
    assert versions["number"].tolist() == list(range(1, 12))
    assert versions["n_known"].tolist() == known
    assert versions["kind"].tolist() == ["trained" if n % 25 == 0 else "recalibrated" for n in known]
    assert versions["trees_of"].tolist() == [1, 1, 1, 4, 4, 4, 7, 7, 7, 10, 10]
    assert (versions["status"] == "served").all()
    for number, trees_of in versions[["number", "trees_of"]].itertuples(index=False):
        own, model = recalibrated.predictors[number], recalibrated.predictors[trees_of]
        assert own.model_texts == model.model_texts
        assert (own.sha256 == model.sha256) == (number == trees_of)


def test_trainings_and_their_prequential_scores_are_those_of_a_replay_without(recalibrated, replayed) -> None:
    trained = recalibrated.versions[recalibrated.versions["kind"] == "trained"].reset_index(drop=True)
    same = ["made_at", "serves_from", "sha256", "n_known", "test_auroc", "test_batches"]
    pd.testing.assert_frame_equal(trained[same], replayed.versions[same], check_exact=True)
    pd.testing.assert_frame_equal(recalibrated.given, replayed.given, check_exact=True)


def test_a_batch_is_scored_by_the_newest_version_at_its_start(recalibrated, replayed, history) -> None:
    versions, scores = recalibrated.versions, recalibrated.scores
    begins = versions["serves_from"].to_numpy()
    started = scores["batch_id"].map(history.started)
    assert (scores["version"] == np.searchsorted(begins, started.to_numpy(), side="right")).all()
    assert set(scores["version"]) == set(versions["number"])
    keys = ["batch_id", "checkpoint_h"]
    pd.testing.assert_frame_equal(scores[keys], replayed.scores[keys])


def test_a_version_takes_only_scores_whose_outcome_was_known_when_it_was_made(history, kept, monkeypatch) -> None:
    asked = []

    def noted(fit, given, process, policy) -> Predictor:
        asked.append(given)
        return finished(fit, given, process, policy)

    monkeypatch.setattr(replaying, "finished", noted)
    found = run(history, kept)
    assert len(asked) == len(found.versions)
    for given, (_, version) in zip(asked, found.versions.iterrows(), strict=True):
        assert given["batch_id"].nunique() == version["test_batches"]
        assert (given[["known_at", "as_of"]] < version["made_at"]).all(axis=None)
        known = history.at(version["made_at"]).outcomes.set_index("batch_id")["failed"]
        assert (given["failed"] == given["batch_id"].map(known)).all()
    # the first model is made as B024 is decided, three days after its start, when B030 starts as well; of the first 35, 45, 50
    # decided ones B031 to B034, B044, B049 were scored by it
    assert found.versions["test_batches"].tolist()[:4] == [0, 4, 14, 19]


@pytest.mark.parametrize("moment", ["2026-02-05T07:00", "2026-02-20T12:00"])
def test_no_former_version_or_score_changes_when_history_is_appended(recalibrated, history, kept, moment) -> None:
    earlier = run(until(history, utc(moment)), kept)
    former = recalibrated.versions.head(len(earlier.versions))
    assert "recalibrated" in set(former["kind"])
    pd.testing.assert_frame_equal(earlier.versions, former, check_exact=True)
    scores = recalibrated.scores[recalibrated.scores["batch_id"].isin(earlier.scores["batch_id"])]
    pd.testing.assert_frame_equal(
        earlier.scores.drop(columns=TRUTH), scores.drop(columns=TRUTH).reset_index(drop=True), check_exact=True
    )


def test_a_score_of_the_moment_or_later_is_refused(history, kept) -> None:
    known = history.at(utc("2026-02-10"))
    fits = Fits(kept, POLICY)
    batch = known.outcomes["batch_id"].iloc[-1]
    late = history.snapshots.assign(
        as_of=history.snapshots["as_of"].mask(history.snapshots["batch_id"] == batch, known.moment)
    )
    log = history.log.assign(
        label_available_at=history.log["label_available_at"].mask(
            history.log["batch_id"] == batch, known.moment - pd.Timedelta(microseconds=1)
        )
    )
    odd = replace(history, log=log)
    given = GivenScores(odd)
    early = odd.at(utc("2026-01-20"))
    given.add(fits.at(early), early)
    odd.__dict__["scored"] = late  # as a fault of `History.scored` would have it
    with pytest.raises(LookAheadError, match="a score of 2026-02-10"):
        given.at(odd.at(known.moment))


def test_a_recalibration_waits_for_its_approval_as_a_training_does(recalibrated, history, kept) -> None:
    late = run(history, kept, approval_delay_h=60)
    assert late.versions["sha256"].tolist() == recalibrated.versions["sha256"].tolist()
    assert (late.versions["serves_from"] - late.versions["made_at"] == pd.Timedelta(hours=60)).all()
    assert late.versions["serves_from"].is_monotonic_increasing


def test_after_a_refused_training_the_trees_before_it_are_recalibrated(recalibrated, history, kept) -> None:
    strict = run(history, kept, least_auroc=0.99)
    versions = strict.versions
    assert versions.loc[versions["kind"] == "trained", "status"].tolist() == ["served", "served", "refused", "refused"]
    assert versions["trees_of"].tolist() == [1, 1, 1, 4, 4, 4, 7, 4, 4, 10, 4]
    assert versions.loc[versions["kind"] == "recalibrated", "status"].eq("served").all()
    assert versions["sha256"].tolist()[:7] == recalibrated.versions["sha256"].tolist()[:7]
    assert set(strict.predictors) == set(versions["number"]) - {7, 10}


def test_more_failures_than_stated_raise_what_is_stated_before_the_next_training(history, kept) -> None:
    """From day 20 on every batch fails: between two trainings only a recalibration can follow."""
    begin = utc("2026-01-21")
    from_then = history.log["batch_id"].map(history.started) >= begin
    worse = replace(
        history, log=history.log.assign(failed=(history.log["failed"] | from_then) & ~history.log["censored"])
    )
    policies = (POLICY.model_copy(update={"retrain_every_outcomes": 50}), EVERY_TEN)
    once, often = (
        replay(worse, policy, Fits(kept, policy), dates=replaying.retrainings(
            worse.first_outcomes, POLICY, least=5, started=worse.started)[:1])
        for policy in policies
    )  # fmt: skip
    same = often.scores["version"].eq(1)
    pd.testing.assert_series_equal(
        often.scores.loc[same, "failure_probability"], once.scores.loc[same, "failure_probability"], check_exact=True
    )
    mean = {
        name: each.scores.loc[~same, "failure_probability"].mean() for name, each in (("once", once), ("often", often))
    }
    assert mean["often"] > mean["once"] + 0.1
