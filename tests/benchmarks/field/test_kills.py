"""The judge of killed replays sees what is damaged, what was made twice and what was interrupted."""

import pandas as pd
import pytest

from benchmarks.field import killed_replay, kills
from benchmarks.field.made_plant import made_plant
from models.backtest.history import History


@pytest.fixture(scope="module")
def history() -> History:
    return made_plant(60, per_hour=1).history


def test_a_stored_history_is_read_as_it_was_written(history, tmp_path) -> None:
    killed_replay.store(history, tmp_path / "h")
    found = killed_replay.stored(tmp_path / "h")
    for name in ("snapshots", "between", "batches", "log"):
        pd.testing.assert_frame_equal(getattr(found, name), getattr(history, name))
    assert found.features == history.features


def test_trainings_begin_when_enough_failures_are_known_and_end_before_the_last_start(history) -> None:
    dates = killed_replay.training_dates(history, 4)
    assert [date.number for date in dates] == [1, 2, 3, 4]
    assert all(history.at(date.at).outcomes["failed"].sum() >= 10 for date in dates)
    assert dates[-1].at <= history.started.max()


def test_a_file_at_its_place_that_is_not_whole_is_damaged(tmp_path) -> None:
    killed, through = tmp_path / "killed", tmp_path / "through"
    for folder in (killed, through):
        (folder / "model").mkdir(parents=True)
        (folder / "model" / "a").write_text("whole")
    assert kills.damaged_files(killed, through) == []
    (killed / "model" / "a").write_text("who")
    (killed / "model" / "b").write_text("of nobody")
    assert [str(path) for path in kills.damaged_files(killed, through)] == ["model/a", "model/b"]


def test_what_lies_beside_its_place_is_overwritten_and_no_damage(tmp_path) -> None:
    (tmp_path / ".half" / "predictor").mkdir(parents=True)
    half, whole = tmp_path / ".half" / "predictor" / "a", tmp_path / "a"
    half.write_text("ha")
    whole.write_text("whole")
    assert [kills.overwrite_leftovers(tmp_path) for _ in range(2)] == [1, 0]
    assert (half.read_text(), whole.read_text()) == ("left over", "whole")
    assert kills.damaged_files(tmp_path, tmp_path) == []


@pytest.mark.parametrize(("lines", "phase"), [
    ([], "start"),
    (["opened"], "reading and scoring"),
    (["opened", "training"], "a training"),
    (["opened", "training", "trained"], "the writing of a model"),
    (["opened", "training", "trained", "made 5f"], "reading and scoring"),
])  # fmt: skip
def test_the_last_line_of_the_log_says_what_a_kill_hit(lines, phase) -> None:
    assert kills.phase_of(lines) == phase


def test_scores_are_counted_that_differ_in_one_bit_or_are_absent(tmp_path) -> None:
    one = pd.DataFrame({"p": [0.1, float("nan")], "call": ["low", None]})
    one.to_parquet(tmp_path / "one")
    one.assign(p=[0.1 + 2**-56, float("nan")]).to_parquet(tmp_path / "other")
    one[:1].to_parquet(tmp_path / "short")
    assert kills.scores_that_differ(tmp_path / "one", tmp_path / "one") == 0
    assert kills.scores_that_differ(tmp_path / "one", tmp_path / "other") == 1
    assert kills.scores_that_differ(tmp_path / "one", tmp_path / "short") == 2


def test_a_replay_tells_when_it_trains_and_what_it_made(history, tmp_path) -> None:
    fits = killed_replay.ToldFits(tmp_path / "fits", tmp_path / "log")
    date = killed_replay.training_dates(history, 2)[-1]
    fits.at(history.at(date.at))
    fits.at(history.at(date.at))
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line.split(" ")[0] for line in lines] == ["training", "trained", "made"]
