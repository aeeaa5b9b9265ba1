import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from features.contracts import RUN_HISTORY
from features.errors import SourceError
from pipelines.simulator.live import play


def rows(out, name) -> pd.DataFrame:
    return pq.read_table(out / "history" / f"{name}.parquet").to_pandas()


@pytest.fixture
def out(report, tmp_path) -> Path:
    return shutil.copytree(report.out, tmp_path / "live")


def test_rows_appear_when_they_become_available_and_old_ones_stay(out, small) -> None:
    before = rows(out, "observations")
    waits = []
    ticks = list(play(out, speed=36_000.0, tick_s=3.0, hours=60.0, sleep=waits.append))
    after = rows(out, "observations")
    assert waits == [3.0, 3.0]
    assert len(after) == len(before) + sum(t.new_rows["observations"] for t in ticks)
    now = pd.Timestamp(small.until) + pd.Timedelta(hours=60)
    assert pd.Timestamp(small.until) < after["available_at"].max() <= now
    assert len(before.merge(after.drop_duplicates())) == len(before)
    for name, contract in RUN_HISTORY.items():
        contract.pandera().validate(rows(out, name).drop_duplicates(ignore_index=True))


def test_played_to_the_end_every_batch_has_its_disposition(out) -> None:
    *_, last = play(out, speed=3.6e6, tick_s=0.2, sleep=lambda _: None)
    assert last.n_in_progress == 0
    assert set(rows(out, "dispositions")["batch_id"]) == set(rows(out, "batches")["batch_id"])


def test_a_folder_without_a_simulation_is_refused(tmp_path) -> None:
    with pytest.raises(SourceError, match=r"simulation\.json: no such file"):
        next(play(tmp_path, sleep=lambda _: None))


def test_a_speed_of_zero_is_refused(out) -> None:
    with pytest.raises(SourceError, match="speed 0; expected a number above 0"):
        next(play(out, speed=0.0))


def test_a_history_of_another_plant_is_left_alone(out, small) -> None:
    (out / "simulation.json").write_text(replace(small, seed=99).to_json())
    before = rows(out, "observations")
    with pytest.raises(SourceError, match=r"its batches are not those of simulation\.json"):
        next(play(out, sleep=lambda _: None))
    assert rows(out, "observations").equals(before)
