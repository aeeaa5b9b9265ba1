"""Actions on releases as rows of a table, found by the deviation that they name."""

import hashlib

import pandas as pd

from serving.commands import RecordsAdmin
from serving.export.csv_text import write_csv
from serving.export.tables import RELEASES, tables
from serving.release.history import envelope_of_release
from tests.serving.releases import by


def test_each_action_on_a_release_is_a_row_with_its_deviation_and_its_time(office, tmp_path) -> None:
    release_id = office.submit("1").release_id
    office.service.approve(release_id, by("boris", "=reviewed", deviation="CAPA-7"))
    with office.records.read() as connection:
        for table in tables(connection, None):
            write_csv(table, tmp_path / f"{table.name}.csv")
        envelope = envelope_of_release(connection, release_id)
    found = pd.read_csv(tmp_path / "releases.csv", keep_default_na=False, parse_dates=["at"])
    assert list(found.columns) == RELEASES.names
    assert found["action"].tolist() == ["submit", "approve"]
    assert found["state"].tolist() == ["tested", "approved"]
    assert found["deviation"].tolist() == ["", "CAPA-7"]
    assert found["reason"].tolist() == ["reviewed", "'=reviewed"]
    assert set(found["at"]) == {pd.Timestamp("2026-03-02T12:00Z")}
    assert found["envelope_sha256"][1] == hashlib.sha256(envelope.encode()).hexdigest()


def test_the_operator_finds_the_actions_of_a_deviation(office, tmp_path, records_url, monkeypatch) -> None:
    office.service.approve(office.submit("1").release_id, by("boris", "late result", deviation="CAPA-7"))
    monkeypatch.setenv("BATCHGUARD_RECORDS_URL", records_url)
    with RecordsAdmin(tmp_path / "var", only_reads=True) as admin:
        assert list(admin.releases("CAPA-7")) == [
            "2026-03-02T12:00:00.000000Z  CAPA-7  soup version 1  approve to approved by Boris Kern (boris): late result"
        ]
        assert len(list(admin.releases(None))) == 2
        assert list(admin.releases("CAPA-8")) == []
