from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from features.contracts import RUN_HISTORY
from features.errors import BatchguardError, StorageError
from pipelines.main_job import prepare, with_months_of_source
from pipelines.plant import Plant
from pipelines.settings import Settings


def test_the_moment_of_the_history_is_when_its_newest_row_became_known(ran) -> None:
    plant = Plant(ran.place.settings())
    newest = max(
        pd.to_datetime(ran.place.read(table)[column]).max()
        for table, column in (
            ("batches", "started_at"),
            ("observations", "available_at"),
            ("dispositions", "decided_at"),
        )
    )
    assert plant.as_of() == plant.newest_moment == newest


def test_now_is_now(ran) -> None:
    before = pd.Timestamp.now("UTC").floor("us")
    assert before <= Plant(ran.place.settings(as_of="now")).as_of() <= pd.Timestamp.now("UTC")


def test_a_time_with_offset_is_taken_in_utc(ran) -> None:
    moment = Plant(ran.place.settings(as_of="2025-05-01T08:00+02:00")).as_of()
    assert moment == pd.Timestamp("2025-05-01T06:00Z")
    assert str(moment.tzinfo) == "UTC"


@pytest.mark.parametrize("when", ["2025-05-01T08:00", "soon", "NaT", ""])
def test_a_time_that_cannot_be_placed_is_refused(when, ran) -> None:
    with pytest.raises(BatchguardError, match="cannot be used; expected 'now', 'history' or a time with offset"):
        Plant(ran.place.settings(as_of=when)).as_of()


def test_an_absent_table_is_empty_but_a_history_without_batches_is_none(ran, fresh) -> None:
    assert Plant(ran.place.settings()).table("events").empty
    with pytest.raises(StorageError, match="no run history of 'small'"):
        Plant(fresh.settings()).table("batches")


def test_a_table_that_the_source_no_longer_has_is_empty(plant) -> None:
    months = plant.history.months("dispositions")
    plant.history.commit("dispositions", [], drop_months=months)
    assert list(plant.table("dispositions")) == RUN_HISTORY["dispositions"].arrow().names
    assert plant.labels().empty
    assert plant.newest_moment == pd.Timestamp("2025-06-01T07:30Z")


def test_the_version_of_the_data_follows_its_content(ran, plant) -> None:
    assert Plant(ran.place.settings()).data_version() == plant.data_version()
    plant.history.write(
        "dispositions",
        "2025-01",
        plant.history.read("dispositions", months=["2025-01"]).slice(1),
        plant.history.read("dispositions").schema,
    )
    assert Plant(ran.place.settings()).data_version() != plant.data_version()


def test_settings_survive_the_environment(tmp_path) -> None:
    settings = Settings(
        tmp_path / "p.toml", tmp_path / "h", tmp_path / "v", "2024-03", 7, True, "history", "Europe/Ljubljana"
    )
    assert Settings.from_environment(settings.to_environment()) == settings


def test_relative_folders_become_absolute_for_other_processes(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    back = Settings.from_environment(Settings(Path("p.toml"), Path("h"), Path("v")).to_environment())
    assert (back.process, back.history, back.data_dir) == (tmp_path / "p.toml", tmp_path / "h", tmp_path / "v")


@pytest.mark.parametrize("text", ["many", "-1", "1.5"])
def test_a_number_in_the_environment_that_is_none_is_refused(text) -> None:
    with pytest.raises(BatchguardError, match=f"BATCHGUARD_MAX_QUARANTINED is '{text}'"):
        Settings.from_environment({"BATCHGUARD_MAX_QUARANTINED": text})


@pytest.mark.parametrize(("named", "other"), [("PROCESS", "HISTORY"), ("HISTORY", "PROCESS")])
def test_a_process_without_a_history_or_a_history_without_a_process_is_refused(named, other) -> None:
    with pytest.raises(BatchguardError, match=f"BATCHGUARD_{other} is not set, but BATCHGUARD_{named} is"):
        Settings.from_environment({f"BATCHGUARD_{named}": "x"})


def test_without_process_and_history_the_settings_are_those_of_the_demo() -> None:
    demo = Settings.from_environment({})
    assert demo.is_demo
    assert demo.process.name == "cart.toml"
    assert demo.process.is_file()
    assert (demo.data_dir, demo.as_of) == (Path("var/demo"), "history")


def test_partitions_begin_with_the_oldest_batch(fresh) -> None:
    batches = fresh.read("batches")
    batches.loc[60, "started_at"] = "2024-12-01T00:30:00+01:00"  # November, in UTC
    fresh.replace("batches", batches)
    assert with_months_of_source(fresh.settings(first_month="2015-01")).first_month == "2024-11"


def test_a_start_centuries_ago_is_an_error_of_the_source_and_no_first_month(fresh) -> None:
    batches = fresh.read("batches")
    batches.loc[2, "started_at"] = "0300-01-01T00:00:00Z"
    fresh.replace("batches", batches)
    assert with_months_of_source(fresh.settings()).first_month == "2025-01"


def test_starts_that_cannot_be_read_leave_the_first_month_as_it_is(fresh) -> None:
    fresh.replace("batches", fresh.read("batches").assign(started_at="?"))
    assert with_months_of_source(fresh.settings(first_month="2015-01")).first_month == "2015-01"


def test_the_home_of_dagster_lies_in_the_data_directory_with_telemetry_off(fresh) -> None:
    import os

    prepare(fresh.settings())
    home = fresh.data_dir / "dagster"
    assert os.environ["DAGSTER_HOME"] == str(home)
    assert "telemetry:\n  enabled: false" in (home / "dagster.yaml").read_text()
    assert os.environ["DAGSTER_DISABLE_TELEMETRY"] == "1"
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"


def test_a_data_directory_that_cannot_be_made_is_one_line(fresh) -> None:
    settings = replace(fresh.settings(), data_dir=fresh.process / "var")
    with pytest.raises(BatchguardError, match="Name a folder that can be written"):
        prepare(settings)
