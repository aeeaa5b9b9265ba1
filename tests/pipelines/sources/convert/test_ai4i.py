from pathlib import Path

import pandas as pd
import pytest

from features.errors import SourceError
from features.process import load_process
from pipelines.sources.convert import CONVERTERS
from pipelines.sources.convert.ai4i import FAILED, MODES, READINGS, convert

PROCESS = load_process(Path(__file__).parents[4] / "processes" / "ai4i.toml")


def pieces() -> pd.DataFrame:
    """Four pieces: good, failed in two modes, flagged without a failure, failed without a flag."""
    return pd.DataFrame(
        {
            "UDI": [1, 2, 3, 4],
            "Product ID": ["M14860", "L47181", "L47182", "H29424"],
            "Type": ["M", "L", "L", "H"],
            "Air temperature [K]": [298.1, 298.2, 298.1, 298.2],
            "Process temperature [K]": [308.6, 308.7, 308.5, 308.6],
            "Rotational speed [rpm]": [1551, 1408, 1498, 1433],
            "Torque [Nm]": [42.8, 46.3, 49.4, 39.5],
            "Tool wear [min]": [0, 3, 5, 7],
            FAILED: [0, 1, 0, 1],
            "TWF": 0,
            "HDF": 0,
            "PWF": [0, 1, 0, 0],
            "OSF": [0, 1, 0, 0],
            "RNF": [0, 0, 1, 0],
        }
    )


def write(folder, frame) -> Path:
    folder.mkdir()
    frame.to_csv(folder / "ai4i2020.csv", index=False)
    return folder


def read(folder, table) -> pd.DataFrame:
    return pd.read_parquet(folder / f"{table}.parquet")


def test_pieces_start_an_hour_apart_in_their_order_whatever_the_order_of_the_file(tmp_path) -> None:
    convert(write(tmp_path / "in", pieces().iloc[::-1]), tmp_path / "out")
    batches = read(tmp_path / "out", "batches")
    assert batches["batch_id"].tolist() == ["U00001", "U00002", "U00003", "U00004"]
    hours = (batches["started_at"] - pd.Timestamp("2024-01-01T00:00Z")) / pd.Timedelta(hours=1)
    assert hours.tolist() == [0, 1, 2, 3]
    assert batches["quality_variant"].tolist() == ["M", "L", "L", "H"]


def test_readings_come_before_the_checkpoint_and_the_failure_after_it(tmp_path) -> None:
    convert(write(tmp_path / "in", pieces()), tmp_path / "out")
    start = read(tmp_path / "out", "batches").set_index("batch_id")["started_at"]
    rows, decided = read(tmp_path / "out", "observations"), read(tmp_path / "out", "dispositions")
    (checkpoint,) = PROCESS.checkpoints_h
    assert ((rows["available_at"] - rows["batch_id"].map(start)) < pd.Timedelta(hours=checkpoint)).all()
    assert ((decided["decided_at"] - decided["batch_id"].map(start)) > pd.Timedelta(hours=checkpoint)).all()


def test_only_the_flag_of_the_machine_decides_and_modes_are_told_of_failures_alone(tmp_path) -> None:
    converted = convert(write(tmp_path / "in", pieces()), tmp_path / "out")
    decided = read(tmp_path / "out", "dispositions")
    assert decided["outcome"].tolist() == ["released", "rejected", "released", "rejected"]
    assert decided["failure_modes"].tolist() == ["", "power;overstrain", "", ""]
    assert "1 pieces have the flag of a mode but no machine failure: released, without a mode." in converted.notes
    assert "1 machine failures have no flag of a mode." in converted.notes


def test_no_outcome_is_a_reading_or_a_parameter(tmp_path) -> None:
    convert(write(tmp_path / "in", pieces()), tmp_path / "out")
    assert set(read(tmp_path / "out", "observations")["parameter"]) == set(READINGS.values())
    assert set(PROCESS.by_name) == {*READINGS.values(), "quality_variant"}
    known = {*read(tmp_path / "out", "batches").columns, *PROCESS.by_name}
    assert known & {FAILED, *MODES, *MODES.values(), "failure_modes"} == set()


def test_the_newest_piece_can_be_left_before_its_end(tmp_path) -> None:
    convert(write(tmp_path / "in", pieces()), tmp_path / "out", in_progress=1)
    assert read(tmp_path / "out", "dispositions")["batch_id"].tolist() == ["U00001", "U00002", "U00003"]
    assert len(read(tmp_path / "out", "observations")) == 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"UDI": [1, 2, 2, 4]}, "UDI 2 stands twice"),
        ({"Type": ["M", "L", "X", "H"]}, "'Type' of piece 3 is 'X'; expected L or M or H"),
        ({FAILED: [0, 1, 2, 1]}, "'Machine_failure' of piece 3 is .*2.*; expected 0 or 1"),
        ({"Torque [Nm]": [1.0, None, 2.0, 3.0]}, "of piece 2 is .*nan.*; expected a number"),
    ],
)
def test_what_is_not_the_published_layout_is_refused(change, message, tmp_path) -> None:
    with pytest.raises(SourceError, match=message):
        convert(write(tmp_path / "in", pieces().assign(**change)), tmp_path / "out")


def test_a_missing_column_is_named(tmp_path) -> None:
    with pytest.raises(SourceError, match="column 'RNF' is missing"):
        convert(write(tmp_path / "in", pieces().drop(columns="RNF")), tmp_path / "out")


@pytest.mark.real_data
def test_the_published_pieces_convert_without_a_loss(real_data, tmp_path) -> None:
    converted = CONVERTERS["ai4i"](real_data / "ai4i", tmp_path / "out")
    assert converted.rows == {"batches": 10_000, "observations": 50_000, "dispositions": 10_000}
    decided = read(tmp_path / "out", "dispositions")
    assert (decided["outcome"] == "rejected").sum() == 339
    modes = decided["failure_modes"].str.split(";").explode().value_counts()
    assert {m: int(modes[m]) for m in ("heat_dissipation", "random")} == {"heat_dissipation": 115, "random": 1}
