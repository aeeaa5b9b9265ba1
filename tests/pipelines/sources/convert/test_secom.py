from pathlib import Path

import pandas as pd
import pytest

from features.errors import SourceError
from features.process import load_process
from pipelines.sources.convert import CONVERTERS
from pipelines.sources.convert.secom import convert, definition

DEFINITION = Path(__file__).parents[4] / "processes" / "secom.toml"


def runs() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "run_id": ["R0", "R1", "R2"],
            "timestamp": pd.to_datetime(["2008-07-19 11:55", "2008-07-19 12:32", "2008-08-01 00:30"]).as_unit("us"),
            "label": [-1, 1, -1],
            "s000": [1.0, 2.0, 3.0],
            "s001": [5.0, None, 5.0],
        }
    )


def write(folder, frame) -> Path:
    folder.mkdir()
    frame.to_parquet(folder / "secom.parquet")
    return folder


def read(folder, table) -> pd.DataFrame:
    return pd.read_parquet(folder / f"{table}.parquet")


def test_the_sensors_are_known_after_the_start_and_the_result_at_the_line_test(tmp_path) -> None:
    convert(write(tmp_path / "in", runs()), tmp_path / "out")
    start = read(tmp_path / "out", "batches").set_index("batch_id")["started_at"]
    assert start["R0"] == pd.Timestamp("2008-07-19T09:55Z")
    rows = read(tmp_path / "out", "observations")
    assert ((rows["available_at"] - rows["batch_id"].map(start)) == pd.Timedelta(minutes=30)).all()
    ends = read(tmp_path / "out", "dispositions").set_index("batch_id")
    assert ends["decided_at"]["R0"] == pd.Timestamp("2008-07-19T11:55Z")
    assert ends["outcome"].to_dict() == {"R0": "released", "R1": "rejected", "R2": "released"}


def test_a_missing_reading_stays_missing(tmp_path) -> None:
    converted = convert(write(tmp_path / "in", runs()), tmp_path / "out")
    assert converted.rows["observations"] == 5
    assert any(note.startswith("1 readings are missing") for note in converted.notes)


def test_the_newest_run_can_wait_for_its_test(tmp_path) -> None:
    converted = convert(write(tmp_path / "in", runs()), tmp_path / "out", in_progress=1)
    assert read(tmp_path / "out", "dispositions")["batch_id"].tolist() == ["R0", "R1"]
    assert converted.rows["observations"] == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": [-1, 0, 1]}, "label of run R1 is 0; expected -1 or 1"),
        ({"run_id": ["R0", "R0", "R2"]}, "run R0 stands twice"),
        ({"timestamp": runs()["timestamp"].dt.tz_localize("UTC")}, "expected times without an offset"),
    ],
)
def test_what_is_not_the_published_layout_is_refused(change, message, tmp_path) -> None:
    with pytest.raises(SourceError, match=message):
        convert(write(tmp_path / "in", runs().assign(**change)), tmp_path / "out")


def test_a_missing_column_is_named(tmp_path) -> None:
    with pytest.raises(SourceError, match="column 'label' is missing"):
        convert(write(tmp_path / "in", runs().drop(columns="label")), tmp_path / "out")


def test_the_definition_has_a_normal_range_only_where_a_sensor_varies(tmp_path) -> None:
    path = tmp_path / "secom.toml"
    path.write_text(definition(write(tmp_path / "in", runs())))
    process = load_process(path)
    assert process["s000"].normal == (1.1, 2.9)  # 5 and 95 % between 1, 2 and 3
    assert process["s001"].normal == (None, None)


@pytest.mark.real_data
def test_the_published_runs_convert_without_a_loss(real_data, tmp_path) -> None:
    source = real_data / "secom"
    converted = CONVERTERS["secom"](source, tmp_path / "out")
    raw = pd.read_parquet(source / "secom.parquet")
    sensors = raw.filter(regex=r"^s\d+$")
    assert converted.rows == {"batches": 1567, "observations": int(sensors.notna().sum().sum()), "dispositions": 1567}
    assert (read(tmp_path / "out", "dispositions")["outcome"] == "rejected").sum() == 104
    assert set(sensors.columns) == set(load_process(DEFINITION).by_name)


@pytest.mark.real_data
def test_the_committed_definition_is_what_the_data_gives(real_data) -> None:
    assert definition(real_data / "secom") == DEFINITION.read_text(encoding="utf-8")
