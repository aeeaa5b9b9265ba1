from pathlib import Path

import pandas as pd
import pytest

from features.errors import SourceError
from features.process import load_process
from pipelines.sources.convert import CONVERTERS
from pipelines.sources.convert.indpensim import HARVEST, ON_LINE, convert

PROCESS = load_process(Path(__file__).parents[4] / "processes" / "indpensim.toml")
SIMULATOR_ONLY = ["P", "S", "V", "n0", "a0", "mu_P_calc", "Culture_age"]


def rows() -> pd.DataFrame:
    hours = [0.2, 60.0, 119.8, 120.2]
    frame = pd.DataFrame({"batch": [1] * 4 + [2] * 4, "time_h": hours * 2}).astype({"time_h": "float32"})
    return frame.assign(**dict.fromkeys([*ON_LINE, *SIMULATOR_ONLY], 2.0))


def outcomes(**change) -> pd.DataFrame:
    return pd.DataFrame({"batch": [1, 2], "fault": [0, 3], "prbs": [0, 1], "P_harvested_g": [9e5, 4e5],
                         "duration_h": [121.0, 122.0], **change})  # fmt: skip


def write(folder, *, process=None, ends=None) -> Path:
    folder.mkdir()
    (rows() if process is None else process).to_parquet(folder / "batches.parquet")
    (outcomes() if ends is None else ends).to_csv(folder / "outcomes.csv", index=False)
    pd.DataFrame({"column": ["DO2", "O2", "pH", "Fs"], "unit": ["mg/L", "%", "-", ""]}).to_csv(
        folder / "units.csv", index=False
    )
    return folder


def read(folder, table) -> pd.DataFrame:
    return pd.read_parquet(folder / f"{table}.parquet")


def test_only_what_a_fermenter_measures_on_line_goes_in(tmp_path) -> None:
    convert(write(tmp_path / "in"), tmp_path / "out")
    assert len(ON_LINE) == 18
    assert (
        set(read(tmp_path / "out", "observations")["parameter"]) == {*ON_LINE.values(), HARVEST} == set(PROCESS.by_name)
    )
    assert {p.name for p in PROCESS.parameter if p.excluded} == {HARVEST}


def test_neither_the_fault_nor_the_real_length_of_a_batch_is_known_at_its_start(tmp_path) -> None:
    convert(write(tmp_path / "in"), tmp_path / "out")
    batches = read(tmp_path / "out", "batches")
    assert not {"fault", "prbs", "duration_h"} & set(batches.columns)
    assert (batches["planned_end_at"] - batches["started_at"]).eq(pd.Timedelta(hours=230)).all()
    assert batches["origin"].unique().tolist() == ["simulated"]


def test_batches_start_four_days_apart_and_readings_keep_their_hours(tmp_path) -> None:
    convert(write(tmp_path / "in"), tmp_path / "out")
    observed = read(tmp_path / "out", "observations").query("batch_id == 'P002' and parameter == 'ph'")["observed_at"]
    assert observed.iloc[0] == pd.Timestamp("2024-01-05T00:12Z")
    assert observed.iloc[1] == pd.Timestamp("2024-01-07T12:00Z")


def test_an_injected_fault_is_a_rejection_known_a_day_after_the_end(tmp_path) -> None:
    convert(write(tmp_path / "in"), tmp_path / "out")
    ends = read(tmp_path / "out", "dispositions").set_index("batch_id")
    assert ends.loc["P001", ["outcome", "failure_modes"]].tolist() == ["released", ""]
    assert ends.loc["P002", ["outcome", "failure_modes"]].tolist() == ["rejected", "fault_3"]
    assert ends["decided_at"]["P002"] == pd.Timestamp("2024-01-05T00:00Z") + pd.Timedelta(hours=122 + 24)


def test_units_are_those_stated_and_a_fraction_is_not_called_percent(tmp_path) -> None:
    convert(write(tmp_path / "in"), tmp_path / "out")
    units = read(tmp_path / "out", "observations").groupby("parameter")["unit"].first()
    assert units[["dissolved_oxygen_mg_l", "offgas_o2", "ph", "sugar_feed_l_h"]].tolist() == ["mg/L", "", "", ""]
    assert PROCESS["dissolved_oxygen_mg_l"].unit == "mg/L"


def test_a_batch_left_in_progress_ends_at_120_h(tmp_path) -> None:
    convert(write(tmp_path / "in"), tmp_path / "out", in_progress=1)
    counts = read(tmp_path / "out", "observations").groupby("batch_id").size()
    assert counts.to_dict() == {"P001": 4 * 18 + 1, "P002": 3 * 18}
    assert read(tmp_path / "out", "dispositions")["batch_id"].tolist() == ["P001"]


@pytest.mark.parametrize(
    ("ends", "message"),
    [
        (outcomes(fault=[0, 9]), "fault of batch 2 is 9; expected 0 to 8"),
        (outcomes(batch=[1, 1]), "batch 1 stands twice"),
        (outcomes(batch=[1, 3]), "batch 2 stands in only one"),
        (outcomes().drop(columns="fault"), "column 'fault' is missing"),
    ],
)
def test_what_is_not_the_published_layout_is_refused(ends, message, tmp_path) -> None:
    with pytest.raises(SourceError, match=message):
        convert(write(tmp_path / "in", ends=ends), tmp_path / "out")


@pytest.mark.real_data
def test_the_published_batches_convert_without_a_loss(real_data, tmp_path) -> None:
    converted = CONVERTERS["indpensim"](real_data / "indpensim", tmp_path / "out")
    assert converted.rows == {"batches": 70, "observations": 80_835 * 18 + 70, "dispositions": 70}
    assert (read(tmp_path / "out", "dispositions")["outcome"] == "rejected").sum() == 21
    kept = read(tmp_path / "out", "observations")
    assert not kept.duplicated(["batch_id", "parameter", "observed_at"]).any()
    for parameter in PROCESS.parameter:
        values = kept.loc[kept["parameter"] == parameter.name, "value"]
        low, high = parameter.range
        assert values.min() >= (-float("inf") if low is None else low), parameter.name
        assert values.max() <= (float("inf") if high is None else high), parameter.name
