import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.errors import StorageError, TrainingError
from models.backtest import fits as module
from models.backtest.calendar import retrainings
from models.backtest.fits import Fit, Fits, frame_sha256, kept, raw_scores
from models.backtest.history import History, Known
from models.backtest.replay import replay
from models.backtest.versions import LEAST
from models.policy import Policy
from tests.models.backtest.lived import CENSORED, POLICY, UNDECIDED
from tests.models.plant import utc

MOMENT = utc("2026-01-25")


@pytest.fixture(scope="module")
def known(history) -> Known:
    return history.at(MOMENT)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("one")


@pytest.fixture(scope="module")
def fit(known, place) -> Fit:
    return Fits(place, POLICY).at(known)


def key_of(known: Known, policy: Policy = POLICY) -> str:
    found = Fits(Path(), policy)
    return found._key(known, found.weights(known))


def test_a_model_learns_from_what_was_known_and_from_all_of_it(fit, known) -> None:
    about = json.loads((fit.folder / "fit.json").read_text())
    assert about["batches"] == len(known.outcomes)
    assert about["failed"] == known.outcomes["failed"].sum()
    assert about["moment"] == MOMENT.isoformat()
    assert fit.seal.batch_ids == ()
    assert set(fit.out_of_fold["batch_id"]) <= set(known.outcomes["batch_id"])


def test_a_model_that_was_made_is_found_with_the_same_digest(fit, known, place) -> None:
    made: list[str] = []
    again = Fits(place, POLICY, made=made.append).at(known)
    assert made == []
    assert again.predictor.sha256 == fit.predictor.sha256
    pd.testing.assert_frame_equal(again.out_of_fold, fit.out_of_fold)


def changed(history: History, table: str, change: Callable[[pd.DataFrame], pd.DataFrame]) -> History:
    return replace(history, **{table: change(getattr(history, table))})


def turned(log: pd.DataFrame, batch: str) -> pd.DataFrame:
    return log.assign(failed=log["failed"] ^ log["batch_id"].eq(batch))


def test_other_data_that_were_known_give_another_key(history, known) -> None:
    key = key_of(known)
    first = history.snapshots["batch_id"].eq("B000") & history.snapshots["checkpoint_h"].eq(24)
    noise = "noise.before_start.value"
    others = [
        changed(history, "log", lambda log: turned(log, "B000")),
        changed(history, "snapshots", lambda rows: rows.assign(**{noise: rows[noise] + first})),
        changed(history, "between", lambda rows: rows.assign(**{noise: rows[noise] + rows["batch_id"].eq("B000")})),
        changed(history, "batches", lambda rows: rows.assign(subject_key="S" + rows["batch_id"])),
        changed(history, "process", lambda process: process.model_copy(update={"decision": process.decision.model_copy(update={"alarm_budget": 0.07})})),
    ]  # fmt: skip
    assert len({key, *(key_of(other.at(MOMENT)) for other in others)}) == 1 + len(others)


def test_data_that_were_not_known_give_the_same_key(history, known) -> None:
    late = history.started.index[-1]
    noise = "noise.before_start.value"
    others = [
        changed(history, "log", lambda log: turned(log, late)),
        changed(history, "snapshots", lambda rows: rows.assign(**{noise: rows[noise] + rows["batch_id"].eq(late)})),
        changed(history, "batches", lambda rows: rows[rows["batch_id"] != late]),
    ]
    assert {key_of(other.at(MOMENT)) for other in others} == {key_of(known)}


def test_other_settings_of_a_model_give_another_key_and_rules_of_its_use_do_not(known, monkeypatch) -> None:
    key, rules = key_of(known), POLICY.model_dump()
    other = [{"learner": "layers"}, {"window_outcomes": 30}, {"test": "newest_quarter"}]
    keys = {key_of(known, Policy.model_validate(rules | each)) for each in other}
    assert len(keys | {key}) == 1 + len(other)
    use = [
        {"approval_delay_h": 5},
        {"least_auroc": 0.6},
        {"half_life_batches": 9},
        {"domain_share": 0.1},
        {"alarm_from_h": 3},
    ]
    assert {key_of(known, Policy.model_validate(rules | each)) for each in use} == {key}
    monkeypatch.setattr(module, "code_digest", lambda: "another")
    assert key_of(known) != key


def test_words_and_drawings_are_no_part_of_the_code_that_makes_a_model(monkeypatch) -> None:
    digests = {"train.py": "1", "report/html.py": "1", "explain/words.py": "1"}

    def digest(**other: str) -> str:
        monkeypatch.setattr(module, "module_digests", lambda _: digests | other)
        return module.code_digest.__wrapped__()

    first = digest()
    assert digest(**{"report/html.py": "2", "explain/words.py": "2"}) == first
    assert digest(**{"train.py": "2"}) != first


def test_what_a_replay_made_before_it_was_interrupted_is_not_made_again(history, tmp_path) -> None:
    class StoppedError(Exception):
        pass

    made: list[str] = []

    def one_and_stop(key: str) -> None:
        made.append(key)
        raise StoppedError

    with pytest.raises(StoppedError):
        replay(history, POLICY, Fits(tmp_path, POLICY, made=one_and_stop), until=utc("2026-02-15"))
    left = tmp_path / ".left-by-a-killed-process"
    (left / "predictor").mkdir(parents=True)
    (left / "predictor" / "manifest.json").write_text("{")
    resumed = replay(history, POLICY, Fits(tmp_path, POLICY, made=made.append), until=utc("2026-02-15"))
    dates = retrainings(history.first_outcomes, POLICY, least=LEAST, started=history.started, until=utc("2026-02-15"))
    assert len(made) == len(set(made)) == len(dates) == len(resumed.versions) == 3
    folders = {path.name for path in tmp_path.iterdir() if path.is_dir()}
    assert folders == {*made, left.name}


def test_a_training_that_fails_leaves_no_folder(known, tmp_path, monkeypatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("models.predictor.Predictor.save", fail)
    with pytest.raises(OSError, match="no space left"):
        Fits(tmp_path, POLICY).at(known)
    assert list(tmp_path.iterdir()) == []


STORED = ("predictor/model.0.txt", "predictor/manifest.json", "out_of_fold.parquet")


@pytest.mark.parametrize(
    ("name", "gone"), [*((name, gone) for name in STORED for gone in (False, True)), ("fit.json", False)]
)
def test_a_damaged_stored_model_is_refused_in_one_line(fit, known, place, name, gone) -> None:
    path = fit.folder / name
    content = path.read_bytes()
    try:
        wrong = bytearray(content)
        wrong[len(wrong) // 2] ^= 1
        path.write_bytes(wrong)
        if gone:
            path.unlink()
        with pytest.raises(StorageError, match=f"Remove the folder {fit.folder}: the model is made again") as caught:
            Fits(place, POLICY).at(known)
        assert "\n" not in str(caught.value)
    finally:
        path.write_bytes(content)
    assert Fits(place, POLICY).at(known).predictor.sha256 == fit.predictor.sha256


def test_another_whole_predictor_in_its_place_is_refused(fit, known, place) -> None:
    kept_aside = fit.folder / "aside"
    (fit.folder / "predictor").rename(kept_aside)
    try:
        replace(fit.predictor, process_version="2").save(fit.folder / "predictor")
        with pytest.raises(StorageError, match="has digest"):
            Fits(place, POLICY).at(known)
    finally:
        for path in (fit.folder / "predictor").iterdir():
            path.unlink()
        (fit.folder / "predictor").rmdir()
        kept_aside.rename(fit.folder / "predictor")


def test_too_little_is_known_to_train(history, tmp_path) -> None:
    with pytest.raises(TrainingError, match="training part"):
        Fits(tmp_path, POLICY).at(history.at(utc("2026-01-06")))
    assert not list(tmp_path.iterdir())


def test_a_window_trains_on_the_newest_outcomes(history) -> None:
    known = history.at(utc("2026-02-20"))
    weights = Fits(Path(), Policy(window_outcomes=30)).weights(known)
    assert weights.index.tolist() == known.outcomes["batch_id"].tail(30).tolist()
    assert (weights == 1).all()
    assert not {CENSORED, UNDECIDED} & set(weights.index)


def test_a_sealed_test_is_away_from_the_model_and_its_scores_have_outcomes(history, tmp_path) -> None:
    known = history.at(utc("2026-02-20"))
    fit = Fits(tmp_path, Policy(learner="trees", test="newest_failures", test_failures=5)).at(known)
    newest = known.outcomes.assign(started=known.outcomes["batch_id"].map(history.started)).sort_values("started")
    test = newest.tail(len(fit.seal.batch_ids))
    assert set(test["batch_id"]) == set(fit.seal.batch_ids)
    assert test["failed"].sum() == 5
    assert test["failed"].iloc[0]  # the fewest that hold them
    scores = fit.test_scores(known)
    assert set(scores["batch_id"]) == set(fit.seal.batch_ids)
    assert scores["checkpoint_h"].unique().tolist() == [0, 12, 24]
    truth = known.outcomes.set_index("batch_id")["failed"]
    assert (scores["failed"] == scores["batch_id"].map(truth)).all()
    assert not set(fit.out_of_fold["batch_id"]) & set(fit.seal.batch_ids)


def test_raw_scores_are_the_log_odds_with_ratios_and_subgroups(fit, history) -> None:
    rows = history.snapshots.head(7)
    found = fit.raw(rows, history.features)
    np.testing.assert_array_equal(found["log_odds"], fit.predictor.log_odds(rows))
    assert found["batch_id"].tolist() == rows["batch_id"].tolist()
    assert {"ratio.range", "ratio.missing", "ratio.stale"} <= set(found)
    assert len(raw_scores(fit.predictor, rows[:0], history.features)) == 0


def test_a_frame_is_made_once_from_the_same_inputs(tmp_path) -> None:
    made = []

    def make() -> pd.DataFrame:
        made.append(1)
        return pd.DataFrame({"x": [len(made)]})

    one, other = pd.DataFrame({"a": [1.0, np.nan]}), pd.DataFrame({"a": [np.nan, 1.0]})
    assert [int(kept(tmp_path, "f", [frame], make)["x"].iloc[0]) for frame in (one, one, other, one)] == [1, 1, 2, 1]
    assert int(kept(tmp_path, "g", [one], make)["x"].iloc[0]) == 3
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_damaged_frame_is_one_line_with_its_remedy(tmp_path) -> None:
    frame = pd.DataFrame({"a": [1.0]})
    kept(tmp_path, "f", [frame], lambda: frame)
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"torn" + os.urandom(20))
    with pytest.raises(StorageError, match=r"parquet cannot be read. Remove the file: it is made again\.$"):
        kept(tmp_path, "f", [frame], lambda: frame)


def test_the_digest_of_a_frame_sees_names_values_and_order() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", None]})
    others = [frame.rename(columns={"a": "c"}), frame[::-1], frame[["b", "a"]], frame.assign(b=["x", "y"]), frame[:0]]
    assert len({frame_sha256(frame), *map(frame_sha256, others)}) == 6
    assert frame_sha256(frame.set_axis([5, 6])) == frame_sha256(frame)
