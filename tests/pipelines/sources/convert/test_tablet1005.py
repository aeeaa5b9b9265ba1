from pathlib import Path

import pandas as pd
import pytest

from features.errors import SourceError
from features.process import load_process
from pipelines.sources.convert import CONVERTERS
from pipelines.sources.convert.tablet1005 import convert, start_times
from pipelines.sources.convert.tablet_columns import (
    COATED_TESTS,
    COPIES,
    CORE_TESTS,
    CORE_YIELD,
    FINAL_TESTS,
    LOT_TESTS,
    SERIES,
    SUMMARIES,
    YIELD,
)
from pipelines.sources.policy import PlantDefinition

PROCESS = load_process(Path(__file__).parents[4] / "processes" / "tablet.toml", PlantDefinition)
H = pd.Timedelta(hours=1)


def laboratory() -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "batch": [1, 2, 3, 4],
            "code": [25, 25, 3, 3],
            "strength": ["5MG", "5MG", "20M", "20M"],
            "size": [240000, 240000, 960000, 9600000],
            "start": ["apr.19", "apr.19", "maj.19", "okt.19"],
            "api_code": [5, 5, 3, 3],
            "api_batch": [7, 7, 7, 8],
            **{f"{m}_batch": [1, 1, 2, 2] for m in ("smcc", "lactose", "starch")},
        }
    )
    tests = {f"{m}_{t}": 1.0 for m, ts in LOT_TESTS.items() for t in ts}
    results = dict.fromkeys([*CORE_TESTS, *CORE_YIELD, *COATED_TESTS, *YIELD, *FINAL_TESTS], 50.0)
    frame = frame.assign(**tests, **results).astype({"api_water": "str"})
    frame["api_water"] = ["1.5", "1.6", "   ", "1.8"]
    return frame.assign(batch_yield=[98.0, 96.0, 99.0, 97.5])


def process() -> pd.DataFrame:
    copies = {copy: laboratory()[original] for copy, original in COPIES.items()}
    return pd.DataFrame(
        {"batch": [1, 2, 3, 4], **dict.fromkeys(SUMMARIES, 3.0), "weekend": ["no", "yes", "no", "no"], **copies}
    )


def press() -> pd.DataFrame:
    times = pd.to_datetime(["2019-09-04 06:00:00", "2019-09-04 06:00:10", "2019-09-04 06:00:20"])
    series = pd.DataFrame({"timestamp": times, "batch": 2, **dict.fromkeys(SERIES, 4.0)})
    series.loc[1, "ejection"] = None
    return series


@pytest.fixture
def source(tmp_path) -> Path:
    return write(tmp_path / "in")


def write(folder, *, lab=None, proc=None) -> Path:
    folder.mkdir()
    (laboratory() if lab is None else lab).to_csv(folder / "laboratory.csv", sep=";", index=False)
    (process() if proc is None else proc).to_csv(folder / "process.csv", sep=";", index=False)
    pd.DataFrame({"Product code": [3, 25], "Batch Size (tablets)": [960000, 240000]}).to_csv(
        folder / "normalization.csv", sep=";", index=False
    )
    press().to_parquet(folder / "press_10s.parquet")
    return folder


def read(folder, table) -> pd.DataFrame:
    return pd.read_parquet(folder / f"{table}.parquet")


def test_batches_of_a_month_are_spread_evenly_over_it() -> None:
    starts = start_times(laboratory())
    assert starts[1] == pd.Timestamp("2019-04-01T00:00Z")
    assert starts[2] == pd.Timestamp("2019-04-16T00:00Z")  # half of 30 days
    assert starts[3] == pd.Timestamp("2019-05-01T00:00Z")  # maj
    assert starts[4] == pd.Timestamp("2019-10-01T00:00Z")  # okt


def test_the_month_decides_where_numbers_and_months_disagree() -> None:
    frame = pd.DataFrame({"batch": [1, 2, 3], "start": ["dec.18", "nov.18", "dec.18"]})
    starts = start_times(frame)
    assert starts.sort_values().index.tolist() == [2, 1, 3]


def test_a_month_in_another_language_is_refused() -> None:
    with pytest.raises(SourceError, match=r"start of batch 5 is 'oct\.19'"):
        start_times(pd.DataFrame({"batch": [5], "start": ["oct.19"]}))


def test_every_parameter_and_attribute_stands_in_the_process_definition(source, tmp_path) -> None:
    convert(source, tmp_path / "out")
    found = set(read(tmp_path / "out", "observations")["parameter"]) | set(
        read(tmp_path / "out", "lot_results")["parameter"]
    )
    attributes = {"strength", "code", "api_code", "size_tablets"}
    assert attributes <= set(read(tmp_path / "out", "batches").columns)
    assert found | attributes == set(PROCESS.by_name)


def test_a_result_of_each_stage_is_known_just_before_its_checkpoint_and_the_yield_after_all(source, tmp_path) -> None:
    convert(source, tmp_path / "out")
    rows = read(tmp_path / "out", "observations")
    starts = read(tmp_path / "out", "batches").set_index("batch_id")["started_at"]
    hours = ((rows["available_at"] - rows["batch_id"].map(starts)) / H).groupby(rows["parameter"]).max()
    assert hours["tbl_speed_mean"] == 103
    assert hours["tbl_av_hardness"] == 111
    assert hours["fct_av_hardness"] == 135
    assert hours["batch_yield_pct"] == 160
    assert hours["dissolution_av_pct"] == 256
    features = hours[[p.name for p in PROCESS.features_of("assay", "sensor") if p.name in hours]]
    assert features.max() < PROCESS.checkpoints_h[-1] < hours["batch_yield_pct"]
    assert (rows["available_at"] >= rows["observed_at"]).all()


def test_whatever_is_known_only_after_the_last_checkpoint_or_counts_the_loss_is_excluded() -> None:
    leaks = {
        *FINAL_TESTS.values(),
        "batch_yield_pct",
        "tbl_yield_pct",
        "total_waste",
        "startup_waste",
        "press_waste",
        "press_produced",
    }
    assert {p.name for p in PROCESS.parameter if p.excluded} == leaks


def test_the_results_of_a_lot_are_those_recorded_for_each_batch_that_used_it(source, tmp_path) -> None:
    convert(source, tmp_path / "out")
    used = read(tmp_path / "out", "materials")
    api = used[used["material"] == "api"].set_index("batch_id")["lot_id"]
    # 7 with code 5 came with two sets of results; 7 with code 3 is another lot
    assert api.to_dict() == {"B0001": "api-5-7", "B0002": "api-5-7.2", "B0003": "api-3-7", "B0004": "api-3-8"}
    results = read(tmp_path / "out", "lot_results")
    water = results[results["parameter"] == "api_water"].set_index("lot_id")["value"]
    assert water.to_dict() == {"api-5-7": 1.5, "api-5-7.2": 1.6, "api-3-8": 1.8}  # blank for api-3-7


def test_lot_results_are_known_before_the_first_batch_that_uses_the_lot(source, tmp_path) -> None:
    convert(source, tmp_path / "out")
    known = read(tmp_path / "out", "lot_results").groupby("lot_id")["available_at"].max()
    used = read(tmp_path / "out", "materials")
    first = used.groupby("lot_id")["consumed_at"].min()
    assert set(known.index) == set(first.index)
    assert (first - known.reindex(first.index)).eq(H).all()


def test_the_press_series_keeps_its_spacing_from_24_h_on(source, tmp_path) -> None:
    notes = convert(source, tmp_path / "out").notes
    rows = read(tmp_path / "out", "observations")
    speed = rows[rows["parameter"] == "press_tbl_speed"]
    start = pd.Timestamp("2019-04-16T00:00Z") + 24 * H
    assert speed["observed_at"].tolist() == [start, start + pd.Timedelta(seconds=10), start + pd.Timedelta(seconds=20)]
    assert (rows["parameter"] == "press_ejection").sum() == 2  # one reading was empty
    assert any("1 empty readings left out" in note for note in notes)


def test_the_batch_size_comes_from_the_table_of_products_and_the_difference_is_noted(source, tmp_path) -> None:
    notes = convert(source, tmp_path / "out").notes
    assert read(tmp_path / "out", "batches")["size_tablets"].tolist() == [240000, 240000, 960000, 960000]
    assert any("laboratory.csv differs in 1 batches" in note for note in notes)


def test_a_batch_left_in_progress_ends_after_compression(source, tmp_path) -> None:
    convert(source, tmp_path / "out", in_progress=1)
    rows = read(tmp_path / "out", "observations")
    newest = set(rows[rows["batch_id"] == "B0004"]["parameter"])
    assert newest == {*SUMMARIES.values(), "weekend"}
    assert read(tmp_path / "out", "dispositions")["batch_id"].tolist() == ["B0001", "B0002", "B0003"]


def test_a_decimal_comma_is_refused_with_its_batch(tmp_path) -> None:
    lab = laboratory()
    lab.loc[1, "api_water"] = "1,6"
    with pytest.raises(SourceError, match="'api_water' of batch 2 is '1,6'"):
        convert(write(tmp_path / "in", lab=lab), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_batch_in_one_file_only_is_refused(tmp_path) -> None:
    with pytest.raises(SourceError, match="batch 4 stands in only one"):
        convert(write(tmp_path / "in", proc=process().query("batch < 4")), tmp_path / "out")


def test_a_missing_column_is_named(tmp_path) -> None:
    with pytest.raises(SourceError, match="column 'fct_tensile' is missing"):
        convert(write(tmp_path / "in", lab=laboratory().drop(columns="fct_tensile")), tmp_path / "out")


def test_a_missing_file_is_named(source, tmp_path) -> None:
    (source / "press_10s.parquet").unlink()
    with pytest.raises(SourceError, match=r"press_10s\.parquet: no such file"):
        convert(source, tmp_path / "out")


@pytest.mark.real_data
def test_the_published_batches_convert_without_a_loss(real_data, tmp_path) -> None:
    source = real_data / "tablet1005"
    converted = CONVERTERS["tablet1005"](source, tmp_path / "out")
    assert converted.rows["batches"] == converted.rows["dispositions"] == 703
    assert converted.rows["materials"] == 4 * 703
    rows = read(tmp_path / "out", "observations")
    series = rows["parameter"].str.startswith("press_")
    assert series.sum() == 12 * (402_911 - 99)  # 99 rows of the series are empty
    yields = rows[rows["parameter"] == "batch_yield_pct"]["value"]
    assert (len(yields), int((yields < 97).sum())) == (703, 100)
    lab = pd.read_csv(source / "laboratory.csv", sep=";")
    used = read(tmp_path / "out", "materials").merge(read(tmp_path / "out", "lot_results"), on=["material", "lot_id"])
    for name in ("api_content", "smcc_water", "starch_ph", "lactose_sieve015"):
        got = used[used["parameter"] == name].set_index("batch_id")["value"]
        want = (
            lab.assign(batch_id="B" + lab["batch"].astype("str").str.zfill(4))
            .set_index("batch_id")[name]
            .dropna()
            .astype("float64")
        )
        pd.testing.assert_series_equal(got.sort_index(), want.sort_index(), check_names=False)
    assert not rows.duplicated(["batch_id", "parameter", "observed_at", "revision"]).any()
    limits = rows.groupby("parameter")["value"].agg(["min", "max"])
    for name, low, high in limits.itertuples():
        assert low >= PROCESS[name].range[0], name
        assert high <= (PROCESS[name].range[1] or float("inf")), name
