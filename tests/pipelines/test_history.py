import json
from unittest.mock import patch

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import Phase, given, settings

from features.contracts import RUN_HISTORY
from features.errors import ContractError, SourceError
from pipelines.history import ingest
from pipelines.report import IngestReport, Limits
from pipelines.sources.folder import HistoryFolder
from pipelines.storage import Store
from tests.pipelines import plant

PROCESS = plant.PROCESS


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


def run(tables, tmp_path, store, name="history", kind="csv", **options) -> IngestReport:
    return ingest(HistoryFolder(plant.write(tables, tmp_path / name, kind)), store, PROCESS, **options)


def digests(store) -> dict[str, str]:
    return {name: store.digest(name) for name in RUN_HISTORY if store.exists(name)}


def test_a_history_is_stored_by_the_batches_month_and_sorted(tmp_path, store) -> None:
    report = run(plant.history(), tmp_path, store)
    assert (report.rows_in, report.rows_kept, report.rows_quarantined) == (41, 41, 0)
    assert store.months("observations") == ["2025-01", "2025-02"]
    assert report.tables["observations"].rows_by_month == {"2025-01": 12, "2025-02": 24}
    january = store.read("observations", months=["2025-01"]).to_pandas()
    assert january["batch_id"].unique().tolist() == ["B1"]
    assert january["parameter"].tolist() == ["glucose_mm"] * 6 + ["temperature_c"] * 6
    assert january["value"].tolist() == [11, 12, 13] * 4
    assert january["unit"].tolist() == ["mmol/L"] * 6 + ["degC"] * 6
    batches = store.read("batches").to_pandas()
    assert batches["batch_id"].tolist() == ["B1", "B2", "B3"]
    assert batches["age_years"].tolist() == pytest.approx([40, np.nan, 61.5], nan_ok=True)
    assert batches["disease"].isna().tolist() == [False, False, True]


def test_an_attribute_of_batches_may_be_called_quality(tmp_path, store) -> None:
    quality = PROCESS.parameter[2].model_copy(update={"name": "quality", "label": "Quality", "kind": "attribute"})
    process = PROCESS.model_copy(update={"parameter": (*PROCESS.parameter, quality)})
    tables = plant.history()
    tables["batches"] = tables["batches"].assign(quality="bad")
    report = ingest(HistoryFolder(plant.write(tables, tmp_path / "history")), store, process)
    assert report.rows_quarantined == 0
    assert store.read("batches")["quality"].to_pylist() == ["bad"] * 3
    assert sum(part.bad.total() for part in report.tables.values()) == 0


def test_csv_and_parquet_of_one_history_are_stored_alike(tmp_path, store) -> None:
    run(plant.history(), tmp_path, store)
    other = Store(tmp_path / "other")
    tables = plant.history()
    tables["observations"] = tables["observations"].assign(
        value=lambda f: f["value"].astype(float), observed_at=lambda f: pd.to_datetime(f["observed_at"])
    )
    tables["batches"] = tables["batches"].assign(age_years=pd.to_numeric(tables["batches"]["age_years"]))
    run(tables, tmp_path, other, "parquet", kind="parquet")
    assert digests(store) == digests(other)


def test_an_unchanged_source_is_not_read_again(tmp_path, store, monkeypatch) -> None:
    first = run(plant.history(), tmp_path, store)
    versions = {name: store.version(name) for name in digests(store)}
    monkeypatch.setattr(HistoryFolder, "read", lambda *_: pytest.fail("the source was read"))
    again = run(plant.history(), tmp_path, store)
    assert (first.changed, again.changed) == (True, False)
    assert json.loads(again.to_json()) | {"changed": True} == json.loads(first.to_json())
    assert versions == {name: store.version(name) for name in digests(store)}


def test_only_the_months_that_changed_are_written(tmp_path, store) -> None:
    run(plant.history(), tmp_path, store)
    january = store.files("observations", ["2025-01"])
    tables = plant.history()
    tables["observations"].loc[35, "value"] = "20"
    report = run(tables, tmp_path, store)
    assert report.tables["observations"].months_changed == ["2025-02"]
    assert report.tables["batches"].months_changed == []
    assert store.files("observations", ["2025-01"]) == january


def test_a_batch_whose_start_is_corrected_moves_with_all_its_rows(tmp_path, store) -> None:
    run(plant.history(), tmp_path, store)
    tables = plant.history()
    tables["batches"].loc[0, "started_at"] = "2025-02-01T00:00:00Z"
    report = run(tables, tmp_path, store)
    assert store.months("observations") == ["2025-02"]
    assert report.tables["observations"].months_dropped == ["2025-01"]
    assert store.rows("observations") == 36


def test_given_months_are_replaced_and_the_others_stay(tmp_path, store) -> None:
    run(plant.history(), tmp_path, store, months=["2025-01"])
    assert store.months("observations") == ["2025-01"]
    run(plant.history(), tmp_path, store, months=["2025-02"])
    assert store.months("observations") == ["2025-01", "2025-02"]


def test_rows_that_break_the_contract_stop_the_ingest_but_are_kept_in_quarantine(tmp_path, store) -> None:
    run(plant.history(), tmp_path, store)
    before = digests(store)
    tables = plant.history()
    tables["observations"].loc[[0, 1], "parameter"] = "temprature_c"
    tables["observations"].loc[2, "observed_at"] = "2025-02-04T02:00:00"
    tables["dispositions"].loc[0, "outcome"] = "fine"
    with pytest.raises(ContractError) as error:
        run(tables, tmp_path, store, limits=Limits(0))
    lines = str(error.value).splitlines()
    assert lines[0] == "4 rows break the contract, 0 are accepted"
    assert lines[1].startswith("  unknown_parameter (2x): observations.csv row 1 (batch_id 'B1'")
    assert {line.split()[0] for line in lines[1:4]} == {"unknown_parameter", "naive_time", "not_allowed"}
    assert "--max-quarantined 4" in lines[-1]
    assert digests(store) == before
    aside = store.read("quarantine").to_pandas()
    assert aside[["table", "row"]].values.tolist() == [
        ["observations", 1],
        ["observations", 2],
        ["observations", 3],
        ["dispositions", 1],
    ]
    assert json.loads(aside["content"][0])["parameter"] == "temprature_c"


def test_accepted_losses_are_counted(tmp_path, store) -> None:
    tables = plant.history()
    tables["observations"].loc[0, "value"] = "-5"
    report = run(tables, tmp_path, store, limits=Limits(1))
    assert (report.rows_in, report.rows_kept, report.rows_refused) == (41, 40, 1)
    assert report.tables["observations"].quarantined == {"out_of_range": 1}
    with pytest.raises(ContractError):
        run(tables, tmp_path, store, limits=Limits(0))


def test_rows_of_a_refused_batch_go_with_it(tmp_path, store) -> None:
    tables = plant.history()
    tables["batches"].loc[0, "started_at"] = "2025-01-10T08:00:00"
    report = run(tables, tmp_path, store, limits=Limits(14))
    assert report.tables["observations"].quarantined == {"unknown_batch": 12}
    assert report.tables["dispositions"].quarantined == {"unknown_batch": 1}


def test_a_batch_listed_twice_with_other_content_is_refused_across_months(tmp_path, store) -> None:
    tables = plant.history()
    again = tables["batches"].iloc[[0]].assign(started_at="2025-03-01T00:00:00Z")
    tables["batches"] = pd.concat([tables["batches"], again])
    with pytest.raises(ContractError, match="duplicate_key"):
        run(tables, tmp_path, store, limits=Limits(0))


def test_contradicting_readings_are_refused_wherever_they_stand(tmp_path, store, monkeypatch) -> None:
    monkeypatch.setattr("pipelines.sources.folder.CHUNK_ROWS", 5)
    tables = plant.history()
    first = tables["observations"].iloc[[0]]
    tables["observations"] = pd.concat([tables["observations"], first.assign(value="1"), first])
    report = run(tables, tmp_path, store, limits=Limits(3))
    assert report.tables["observations"].quarantined == {"duplicate_key": 3}
    assert store.read("quarantine")["row"].to_pylist() == [1, 37, 38]


def test_units_are_converted_and_counted(tmp_path, store) -> None:
    tables = plant.history()
    glucose = tables["observations"]["parameter"] == "glucose_mm"
    tables["observations"].loc[glucose, "unit"] = "umol/L"
    report = run(tables, tmp_path, store)
    assert report.tables["observations"].converted == {"glucose_mm from umol/L to mmol/L (x 0.001)": 18}
    values = store.read("observations").to_pandas()
    assert values.loc[values["parameter"] == "glucose_mm", "value"].max() == pytest.approx(0.013)


def test_a_history_without_dispositions_is_fine(tmp_path, store) -> None:
    tables = plant.history()
    del tables["dispositions"]
    run(tables, tmp_path, store)
    assert not store.exists("dispositions")
    assert store.read("quarantine").num_rows == 0


def test_a_table_that_is_gone_from_the_source_leaves_the_newest_version(tmp_path, store) -> None:
    run(plant.history(), tmp_path, store)
    tables = plant.history()
    del tables["dispositions"]
    report = run(tables, tmp_path, store, "without")
    assert report.tables["dispositions"].months_dropped == ["2025-01", "2025-02"]
    assert store.months("dispositions") == []
    assert store.read("dispositions", version=1).num_rows == 2


def test_headers_are_checked_before_any_row_is_read(tmp_path, store) -> None:
    tables = plant.history()
    tables["dispositions"] = tables["dispositions"].rename(columns={"outcome": "outcom"})
    with pytest.raises(SourceError, match=r"dispositions\.csv: column 'outcome' is missing; nearest present 'outcom'"):
        run(tables, tmp_path, store)
    assert not store.exists("quarantine")


def test_temporary_files_are_gone_afterwards(tmp_path, store) -> None:
    run(plant.history(), tmp_path, store)
    (store.root / ".spill-0123").mkdir()
    tables = plant.history()
    tables["observations"].loc[0, "value"] = "-5"
    with pytest.raises(ContractError):
        run(tables, tmp_path, store, limits=Limits(0))
    assert list(store.root.rglob(".spill*")) == []
    assert [path for path in store.root.rglob("*.parquet") if path.name.startswith(".")] == []


def test_a_report_survives_json(tmp_path, store) -> None:
    report = run(plant.history(), tmp_path, store)
    assert IngestReport.from_json(report.to_json()) == report


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Store:
    folder = tmp_path_factory.mktemp("plain")
    run(plant.history(), folder, Store(folder / "store"))
    return Store(folder / "store")


@settings(max_examples=10, deadline=None, phases=[Phase.generate])  # each example is an ingest: shrinking takes minutes
@given(seed=st.integers(0, 2**32), again=st.lists(st.integers(0, 35), max_size=5), chunk=st.integers(1, 40))
def test_order_splitting_and_repetition_of_rows_do_not_change_what_is_stored(
    plain, tmp_path_factory, seed, again, chunk
) -> None:
    folder = tmp_path_factory.mktemp("run")
    other = Store(folder / "other")
    tables = plant.history()
    order = np.random.default_rng(seed).permutation(36)
    tables["observations"] = tables["observations"].iloc[[*order, *again]]
    tables["batches"] = tables["batches"].iloc[::-1]
    with patch("pipelines.sources.folder.CHUNK_ROWS", chunk):
        report = run(tables, folder, other, "changed")
    assert digests(plain) == digests(other)
    assert report.rows_in == report.rows_kept + report.rows_quarantined
    assert (report.rows_quarantined, report.rows_refused) == (len(again), 0)
