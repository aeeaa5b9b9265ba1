import pandas as pd
import pytest

from features.errors import SourceError
from pipelines.sources.convert.history import Tables, leave_in_progress, numbers, source_file, write_history

T0 = pd.Timestamp("2024-01-01T00:00Z")
H = pd.Timedelta(hours=1)


def tables() -> Tables:
    ids = ["B1", "B2", "B3"]
    starts = [T0, T0 + 24 * H, T0 + 48 * H]
    observed = [s + h * H for s in starts for h in (1, 5, 9)]
    return {
        "batches": pd.DataFrame({"batch_id": ids, "started_at": starts, "origin": "real"}),
        "observations": pd.DataFrame(
            {
                "batch_id": [b for b in ids for _ in range(3)],
                "parameter": "x",
                "observed_at": observed,
                "available_at": [t + H for t in observed],
                "value": range(9),
            }
        ).astype({"value": "float64"}),
        "dispositions": pd.DataFrame(
            {"batch_id": ids, "outcome": "released", "decided_at": [s + 20 * H for s in starts]}
        ),
    }


def test_a_history_folder_takes_the_defaults_of_the_contract(tmp_path) -> None:
    converted = write_history(tables(), tmp_path / "out", ["a note"])
    assert converted.rows == {"batches": 3, "observations": 9, "dispositions": 3}
    assert converted.notes == ("a note", "Every batch is complete.")
    stored = pd.read_parquet(tmp_path / "out" / "observations.parquet")
    assert stored["quality"].unique().tolist() == ["good"]
    assert stored["revision"].unique().tolist() == [0]
    assert str(stored["observed_at"].dtype) == "datetime64[us, UTC]"
    assert stored["available_at"][0] == T0 + 2 * H


def test_the_same_rows_in_another_order_give_the_same_bytes(tmp_path) -> None:
    shuffled = {name: frame.sample(frac=1, random_state=1) for name, frame in tables().items()}
    write_history(tables(), tmp_path / "a", [])
    write_history(shuffled, tmp_path / "b", [])
    for name in tables():
        assert (tmp_path / "a" / f"{name}.parquet").read_bytes() == (tmp_path / "b" / f"{name}.parquet").read_bytes()


def test_a_folder_that_holds_something_is_left_alone(tmp_path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("kept")
    with pytest.raises(SourceError, match="out is not an empty folder"):
        write_history(tables(), tmp_path / "out", [])
    assert [p.name for p in tmp_path.rglob("*")] == ["out", "mine.txt"]


def test_an_empty_folder_may_be_written_to(tmp_path) -> None:
    (tmp_path / "out").mkdir()
    assert write_history(tables(), tmp_path / "out", []).rows["batches"] == 3


def test_a_writer_that_fails_leaves_nothing_behind(tmp_path) -> None:
    broken = tables()
    broken["observations"] = broken["observations"].assign(value="not a number")
    with pytest.raises(Exception, match="not a number"):
        write_history(broken, tmp_path / "out", [])
    assert list(tmp_path.iterdir()) == []


def test_the_newest_batches_lose_what_came_later_and_their_disposition() -> None:
    kept, note = leave_in_progress(tables(), 1, at_h=6)
    assert kept["batches"].shape[0] == 3
    assert kept["dispositions"]["batch_id"].tolist() == ["B1", "B2"]
    # B3: readings available at 2, 6 and 10 h; only the last is later than 6 h
    assert kept["observations"].groupby("batch_id").size().to_dict() == {"B1": 3, "B2": 3, "B3": 2}
    assert note == "The newest 1 batches are left in progress at 6 h: 2 later rows were left out."


@pytest.mark.parametrize("newest", [-1, 3])
def test_at_least_one_batch_stays_complete(newest) -> None:
    with pytest.raises(SourceError, match=f"cannot leave {newest} of 3 batches"):
        leave_in_progress(tables(), newest, at_h=6)


def test_blank_text_is_missing_and_a_number_is_a_number(tmp_path) -> None:
    read = numbers(pd.Series(["1.5", "   ", "", " 2 "], name="x"), pd.Series([1, 2, 3, 4]), tmp_path)
    assert read.isna().tolist() == [False, True, True, False]
    assert read[[0, 3]].tolist() == [1.5, 2.0]


@pytest.mark.parametrize("text", ["1,5", "<0.05", "n.a.", "inf"])
def test_what_is_not_a_number_is_never_interpreted(text, tmp_path) -> None:
    with pytest.raises(SourceError, match="of batch 7 is"):
        numbers(pd.Series(["1", text], name="x"), pd.Series([6, 7]), tmp_path)


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(SourceError, match=r"laboratory\.csv: no such file"):
        source_file(tmp_path, "laboratory.csv")
