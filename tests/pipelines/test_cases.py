"""Folders of strangers that went wrong (`tests/cases`, each with its command), with the right value of each."""

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from features.errors import ContractError
from features.process import load_process
from pipelines import plant as plant_module
from pipelines.history import ingest
from pipelines.plant import Plant
from pipelines.report import IngestReport, Limits
from pipelines.settings import Settings
from pipelines.sources.draft import draft
from pipelines.sources.folder import HistoryFolder
from pipelines.sources.policy import PlantDefinition
from pipelines.storage import Store
from tests.pipelines.conftest import command

CASES = Path(__file__).parents[1] / "cases"
NOW = pd.to_datetime("2026-11-28T08:00Z", utc=True)
PROCESS = load_process(CASES / "p_min.toml", PlantDefinition)


def folder_of(case: str) -> Path:
    [found] = CASES.glob(f"{case}-*")
    return found / "history"


def run(case: str, store: Store, now: pd.Timestamp = NOW) -> IngestReport:
    return ingest(HistoryFolder(folder_of(case)), store, PROCESS, now=now)


def readings(store: Store) -> pd.DataFrame:
    return store.read("observations").to_pandas()


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


@pytest.mark.parametrize("case", ["01", "02", "03", "04", "05", "07", "10", "13"])
def test_init_drafts_a_definition_under_which_a_run_refuses_what_init_said(case, tmp_path, store) -> None:
    text = draft(folder_of(case), now=NOW)
    path = tmp_path / "drafted.toml"
    path.write_text(text, encoding="utf-8")
    report = ingest(HistoryFolder(folder_of(case)), store, load_process(path, PlantDefinition), now=NOW)
    said = sum(int(line.split()[5]) for line in text.splitlines() if line.startswith("# 'batchguard run' will refuse "))
    assert said == report.rows_refused


def test_01_a_folder_with_semicolons_is_drafted_and_read(store) -> None:
    assert 'name = "glucose"' in draft(folder_of("01"))
    assert run("01", store).rows_kept == 6


def test_02_a_word_in_the_place_of_a_value_is_a_bad_reading(store) -> None:
    assert "1 of 4 readings are flagged bad" in draft(folder_of("02"))
    report = run("02", store)
    assert (report.rows_quarantined, report.tables["observations"].bad) == (0, {"glucose": 1})


def test_03_a_torn_last_record_is_held_back_until_the_file_changes_or_is_declared_complete(tmp_path, store) -> None:
    report = run("03", store)
    assert report.tables["observations"].quarantined == {"torn_record": 1}
    assert readings(store)["value"].tolist() == [17.2]
    assert store.read("quarantine").to_pandas()["content"].tolist() == [
        '{"record": "B2,glucose,2026-03-09T09:00:00+01:00,mmol/L,1"}'
    ]
    whole = tmp_path / "whole"
    whole.mkdir()
    for path in folder_of("03").iterdir():
        (whole / path.name).write_bytes(path.read_bytes())
    ingest(HistoryFolder(whole, complete=True), store, PROCESS, now=NOW)
    assert readings(store)["value"].tolist() == [17.2, 1]
    with (whole / "observations.csv").open("a") as file:
        file.write("4.9\n")
    ingest(HistoryFolder(whole), store, PROCESS, now=NOW)
    assert readings(store)["value"].tolist() == [17.2, 14.9]


def test_04_units_in_capitals_are_refused(store) -> None:
    report = run("04", store)
    assert report.tables["observations"].quarantined == {"unit_mismatch": 2}
    assert readings(store)["value"].max() == 17.2


def test_05_a_year_typed_wrong_moves_no_clock(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(plant_module, "wall_clock", lambda: NOW)
    settings = Settings(CASES / "p_min.toml", folder_of("05"), tmp_path / "var", as_of="history")
    place = Plant(settings)
    report = ingest(place.source, place.history, place.process, limits=place.limits, now=place.now())
    assert report.tables["observations"].quarantined == {"far_from_its_batch": 1}
    assert place.as_of() == pd.Timestamp("2026-03-20T14:00Z")  # the disposition of B1
    assert Plant(Settings(CASES / "p_min.toml", folder_of("05"), tmp_path / "var")).as_of() == NOW


def test_07_a_lot_added_twice_is_two_rows(store) -> None:
    assert run("07", store).rows_quarantined == 0
    assert store.read("materials")["quantity"].to_pylist() == [5, 3]


def test_a_lot_added_twice_without_times_is_a_contradiction(tmp_path, store) -> None:
    folder = tmp_path / "h"
    shutil.copytree(folder_of("07"), folder)
    (folder / "materials.csv").write_text(
        "batch_id,material,lot_id,quantity\nB1,feed,L1,5\nB1,feed,L1,3\nB1,feed,L2,3\n"
    )
    report = ingest(HistoryFolder(folder), store, PROCESS, now=NOW)
    assert report.tables["materials"].quarantined == {"duplicate_key": 2}


def test_10_a_bad_reading_without_a_number_is_kept_and_counted(store) -> None:
    report = run("10", store)
    assert (report.rows_quarantined, report.tables["observations"].bad) == (0, {"glucose": 1})
    assert report.findings() == ["observations: 1 readings of glucose are flagged bad by their source"]
    assert readings(store)["value"].isna().sum() == 1


def test_13_a_batch_planned_for_next_month_waits_and_stops_nobody(store) -> None:
    before = run("13", store)
    assert before.tables["batches"].quarantined == {"not_yet_started": 1}
    assert (before.rows_refused, before.findings()) == (0, [])
    assert run("13", store, now=pd.to_datetime("2026-11-30T08:00Z", utc=True)).changed is False
    started = run("13", store, now=pd.to_datetime("2026-12-01T06:00Z", utc=True))  # the same files
    assert (started.changed, started.tables["batches"].rows_kept) == (True, 3)


def test_rows_known_after_now_wait_until_then(tmp_path, store) -> None:
    folder = tmp_path / "h"
    folder.mkdir()
    for path in folder_of("01").iterdir():
        (folder / path.name).write_text(path.read_text().replace("2026-03-20", "2026-12-20"))  # decided next month
    first = ingest(HistoryFolder(folder), store, PROCESS, now=NOW)
    assert first.tables["dispositions"].quarantined == {"from_the_future": 1}
    later = ingest(HistoryFolder(folder), store, PROCESS, now=pd.to_datetime("2026-12-21T00:00Z", utc=True))
    assert later.rows_quarantined == 0


def test_a_plants_limit_is_read_anew_by_every_run(tmp_path) -> None:
    definition = tmp_path / "p.toml"
    text = (CASES / "p_min.toml").read_text()
    definition.write_text(text)
    place = Settings(definition, folder_of("04"), tmp_path / "var")
    assert Plant(place).limits == Limits(None, 10)
    definition.write_text(text + "\n[source]\nmax_quarantined = 1\nmax_removed_percent = 50\n")
    assert Plant(place).limits == Limits(1, 50)
    with pytest.raises(ContractError, match="2 rows break the contract, 1 are accepted"):
        ingest(Plant(place).source, Plant(place).history, Plant(place).process, limits=Plant(place).limits, now=NOW)
    assert Plant(Settings(definition, folder_of("04"), tmp_path / "var", max_quarantined=2)).limits.max_quarantined == 2


def many(folder: Path, batches: int) -> HistoryFolder:
    """A history of one reading per batch."""
    folder.mkdir(exist_ok=True)
    starts = [pd.Timestamp("2026-01-01T00:00Z") + pd.Timedelta(hours=i) for i in range(batches)]
    rows = "".join(f"B{i:03d},{start.isoformat()},real\n" for i, start in enumerate(starts))
    (folder / "batches.csv").write_text("batch_id,started_at,origin\n" + rows)
    readings = "".join(f"B{i:03d},glucose,{start.isoformat()},5\n" for i, start in enumerate(starts))
    (folder / "observations.csv").write_text("batch_id,parameter,observed_at,value\n" + readings)
    return HistoryFolder(folder)


def test_what_left_the_source_is_named_and_above_the_limit_asked_about(tmp_path, store) -> None:
    limits = Limits(max_removed_percent=10)
    ingest(many(tmp_path / "h", 200), store, PROCESS, limits=limits, now=NOW)
    report = ingest(many(tmp_path / "h", 181), store, PROCESS, limits=limits, now=NOW)
    assert report.findings() == [
        "batches: 19 rows fewer than at the last ingest: B181, B182, B183, B184, B185, and 14 more",
        "observations: 19 rows fewer than at the last ingest",
    ]
    with pytest.raises(ContractError, match=r"(?s)batches: 81 of 181 rows \(B100, .*--accept-removed") as error:
        ingest(many(tmp_path / "h", 100), store, PROCESS, limits=limits, now=NOW)
    assert "observations: 81 of 181 rows" in str(error.value)
    assert store.rows("batches") == 181
    ingest(many(tmp_path / "h", 100), store, PROCESS, now=NOW)
    assert store.rows("batches") == 100


def test_a_table_that_is_gone_is_asked_about_too(tmp_path, store) -> None:
    ingest(many(tmp_path / "h", 200), store, PROCESS, now=NOW)
    (tmp_path / "h" / "observations.csv").unlink()
    with pytest.raises(ContractError, match="observations: 200 of 200 rows"):
        ingest(HistoryFolder(tmp_path / "h"), store, PROCESS, limits=Limits(max_removed_percent=10), now=NOW)


def test_a_batch_before_the_first_month_stops_nobody(tmp_path, store) -> None:
    source = many(tmp_path / "h", 3)
    path = tmp_path / "h" / "batches.csv"
    path.write_text(path.read_text() + "OLD,1999-01-01T00:00:00Z,real\n")
    report = ingest(source, store, PROCESS, now=NOW, first_month="2015-01")
    assert report.tables["batches"].quarantined == {"before_first_month": 1}
    assert report.tables["batches"].rows_kept == 3


def test_a_torn_parquet_file_is_named_and_the_last_good_version_stands(tmp_path, store) -> None:
    many(tmp_path / "h", 30)
    for name in ("batches", "observations"):
        path = tmp_path / "h" / f"{name}.csv"
        pd.read_csv(path).to_parquet(path.with_suffix(".parquet"))
        path.unlink()
    ingest(HistoryFolder(tmp_path / "h"), store, PROCESS, now=NOW)
    torn = tmp_path / "h" / "observations.parquet"
    whole = torn.read_bytes()
    for size in (0, 3, len(whole) // 2, len(whole) - 1):
        torn.write_bytes(whole[:size])
        with pytest.raises(Exception, match=r"observations\.parquet: cannot be read as Parquet") as error:
            ingest(HistoryFolder(tmp_path / "h"), store, PROCESS, now=NOW)
        assert "\n" not in str(error.value)
        assert store.rows("observations") == 30


@pytest.mark.slow
def test_00_the_clock_takes_nothing_from_the_support_of_a_batch_between_two_checkpoints(tmp_path) -> None:
    """B074 is B028, a good batch of training, moved to June; scored at a checkpoint and between two of them."""
    case = CASES / "00-between-checkpoints"
    folder = tmp_path / "hist"
    subprocess.run([sys.executable, case / "make_base.py", folder], check=True)
    options = ["--process", str(case / "p.toml"), "--history", str(folder), "--data-dir", str(tmp_path / "var")]
    trained = command("run", *options, "--as-of", "history")
    assert trained.exit_code == 0, trained.output
    start, moved = pd.Timestamp("2025-03-05T16:00Z"), pd.Timestamp("2025-06-09T12:00Z")
    for name in ("batches", "observations"):
        frame = pd.read_csv(folder / f"{name}.csv")
        copy = frame[frame["batch_id"] == "B028"].assign(batch_id="B074")
        for column in copy.columns[copy.columns.str.endswith("_at")]:
            copy[column] = (pd.to_datetime(copy[column]) + (moved - start)).map(pd.Timestamp.isoformat)
        pd.concat([frame[frame["batch_id"] != "B074"], copy]).to_csv(folder / f"{name}.csv", index=False)
    found = []
    for hour in (24, 25, 29):
        as_of = (moved + pd.Timedelta(hours=hour)).isoformat()
        scored = command("score", *options, "--as-of", as_of)
        [line] = [line for line in scored.stdout.splitlines() if line.startswith("B074")]
        found.append((line[7:16].strip(), line.split()[-1]))
    assert found == [found[0]] * 3
    assert found[0][0] in ("none yet", "low")
    assert found[0][1] == "sufficient"
