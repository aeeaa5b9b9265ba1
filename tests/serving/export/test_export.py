"""Records as files, read back by clients that others wrote: pandas, DuckDB, lxml."""

from pathlib import Path

import duckdb
import orjson
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from features.errors import StorageError
from models.learners.applicability.domain import Finding
from models.learners.sensor_words import SensorFinding
from models.scoring.score import Score
from serving.commands import RecordsAdmin, empty_folder
from serving.events.b2mml import NAMESPACE
from serving.export.batchml import write_batches
from serving.export.csv_text import guarded, plain, write_csv
from serving.export.tables import FINDINGS, REVIEWS, tables
from serving.service import intake, reviews, score_requests
from tests.serving.counting_engine import CountingEngine
from tests.serving.services import BATCH, NOON, REVIEWER, call, make_service, reading, signed

RANGE = Finding(
    "outside the applicability domain", "range", ("force_kn.now.value", "x"), 9.5, 8.0, 1.1875, '-2 over, "far"; =A1'
)
RARE = Finding("unsupported subgroup", "support", ("site",), 3.0, 20.0, None, "3 batches of this site (at least 20)")
STUCK = SensorFinding("force_kn", "flat-lined", 12.0, None, 4.0, "Force has not changed for 12 h")
EVIL = '=HYPERLINK("http://x","y"),\u0394T;-1 \u00b0C'


class Doubtful(CountingEngine):
    """Finds fault with batch B1."""

    def _score(self, rows, batch_id, as_of_us) -> Score:
        found = {"domain": [RANGE, RARE], "sensors": [STUCK]} if batch_id == "B1" else {}
        return super()._score(rows, batch_id, as_of_us).model_copy(update=found)

    def _apart(self) -> "Doubtful":
        return Doubtful()


@pytest.fixture
def reviewed(records, tmp_path) -> list[str]:
    """B1 with findings, reviewed twice; B2 reviewed once, B3 never: the ids of their scores."""
    service = make_service(records, tmp_path, make=lambda _=None: Doubtful())
    ids = []
    for batch_id in ("B1", "B2", "B3"):
        intake.put_batch(service, call(), batch_id, BATCH, "")
        intake.add_rows(service, call(), batch_id, {"observations": [reading(1, 7.0)]})
        ids.append(orjson.loads(score_requests.score(service, call(), batch_id, NOON).body)["score_id"])
    for score_id, reason, deviation in (
        (ids[0], EVIL, "DEV-1"),
        (ids[0], "second look", "CAPA:7"),
        (ids[1], "n/a", None),
    ):
        decision = reviews.ReviewDecision("act", reason, deviation)
        reviews.review(service, call(REVIEWER, request_id="r9"), score_id, decision, signed)
    return ids


def written(records, folder, deviation=None) -> dict[str, Path]:
    with records.read() as connection:
        for table in tables(connection, deviation):
            write_csv(table, folder / f"{table.name}.csv")
    return {name: folder / f"{name}.csv" for name in ("reviews", "findings")}


def test_a_review_is_a_row_with_its_deviation_its_time_in_utc_and_its_text_as_it_was_written(
    records, reviewed, tmp_path
) -> None:
    found = pd.read_csv(written(records, tmp_path)["reviews"], keep_default_na=False, parse_dates=["reviewed_at"])
    assert list(found.columns) == REVIEWS.names
    assert found["reason"].map(plain).tolist() == [EVIL, "second look", "n/a"]
    assert found["deviation"].tolist() == ["DEV-1", "CAPA:7", ""]
    assert found["score_id"].tolist() == [reviewed[0], reviewed[0], reviewed[1]]
    assert set(found["reviewed_at"]) == {pd.Timestamp("2026-03-02T12:00Z")}
    assert set(found["site_id"] + "/" + found["batch_id"]) == {"north/B1", "north/B2"}


def test_a_finding_is_a_row_with_its_numbers_and_the_deviations_of_its_score(records, reviewed, tmp_path) -> None:
    file = written(records, tmp_path)["findings"]
    rows = duckdb.sql(f"FROM read_csv('{file}')")
    found = [dict(zip(rows.columns, row, strict=True)) for row in rows.fetchall()]
    assert rows.columns == FINDINGS.names
    numbers = [(row["number"], row["check"], row["low"], row["high"], row["ratio"]) for row in found]
    assert numbers == [
        (1, "range", None, 8.0, 1.1875),
        (2, "support", 20.0, None, None),
        (3, "sensor", None, 4.0, None),
    ]
    assert [row["subjects"] for row in found] == ["force_kn.now.value x", "site", "force_kn"]
    assert plain(found[0]["sentence"]) == RANGE.sentence
    assert {(str(row["score_id"]), row["deviations"], row["n_reviews"]) for row in found} == {
        (reviewed[0], "CAPA:7 DEV-1", 2)
    }
    assert str(rows.types[rows.columns.index("as_of")]) == "TIMESTAMP WITH TIME ZONE"


def test_an_export_of_one_deviation_holds_its_reviews_and_the_findings_of_their_scores(
    records, reviewed, tmp_path
) -> None:
    assert reviewed
    files = written(records, tmp_path, "CAPA:7")
    assert pd.read_csv(files["reviews"])["reason"].tolist() == ["second look"]
    assert len(pd.read_csv(files["findings"])) == 3
    nothing = written(records, tmp_path, "DEV-9")
    assert pd.read_csv(nothing["reviews"]).empty
    assert list(pd.read_csv(nothing["findings"]).columns) == FINDINGS.names


@pytest.mark.parametrize(
    ("text", "safe"),
    [("=1+1", "'=1+1"), ("-5", "'-5"), ("@cmd", "'@cmd"), ("a;=1", "a;'=1"), ("a\n+1", "a\n'+1"), ("a - b", "a - b"),
     ("'a", "''a"), ("DEV-1", "DEV-1"), ("", ""), ("\uff1d1", "'\uff1d1")],
)  # fmt: skip
def test_no_text_begins_a_formula(text, safe) -> None:
    assert (guarded(text), plain(safe)) == (safe, text)


@given(st.text(alphabet="=+-@'\t\r\n;,|a\uff1d ", max_size=12))
def test_every_guarded_text_comes_back(text) -> None:
    assert plain(guarded(text)) == text
    assert not guarded(text).startswith(("=", "+", "-", "@", "\t", "\r"))


def test_a_batch_is_a_batchml_record_with_scores_as_events_and_reviews_as_comments(records, reviewed, tmp_path) -> None:
    with records.read() as connection:
        assert write_batches(connection, tmp_path, None) == 2
    assert not (tmp_path / "north.B3.xml").exists()
    root = etree.parse(tmp_path / "north.B1.xml").getroot()
    assert root.tag == f"{{{NAMESPACE}}}BatchProductionRecord"
    # order of the standard: V0701, BatchProductionRecordType, SingleEventType, CommentType
    assert names(root) == ["ID", "EntryID", "ObjectType", "EquipmentScope", "BatchID", "Comments", "Events"]
    first, second = root.find(f"{{{NAMESPACE}}}Comments")
    assert names(first) == ["EntryID", "ObjectType", "TimeStamp", "ExternalReference", "Description", "RecordReference",
                            "CommentText", "PersonID"]  # fmt: skip
    assert (text(first, "ExternalReference"), text(first, "CommentText")) == ("DEV-1", EVIL)
    assert (text(second, "ExternalReference"), text(second, "RecordReference")) == ("CAPA:7", reviewed[0])
    score, *findings = root.find(f"{{{NAMESPACE}}}Events")
    assert names(score)[:6] == ["EntryID", "ObjectType", "TimeStamp", "EventType", "EventSubType", "MessageText"]
    assert set(names(score)[6:]) == {"UserAttribute"}
    assert text(score, "EntryID") == reviewed[0]
    assert [text(event, "MessageText") for event in findings] == [RANGE.sentence, RARE.sentence, STUCK.sentence]
    assert names(findings[0])[-3:] == ["MessageText", "Category", "AssociatedEventID"]


def names(element) -> list[str]:
    return [etree.QName(child).localname for child in element]


def text(element, name) -> str:
    return element.findtext(f"{{{NAMESPACE}}}{name}")


def test_a_folder_that_holds_something_takes_no_export(tmp_path) -> None:
    (tmp_path / "old.csv").write_text("")
    with pytest.raises(StorageError, match=r"not empty \(old.csv\); expected a new or empty folder"):
        empty_folder(tmp_path)


def test_the_operator_lists_and_exports_what_reviews_say(reviewed, tmp_path, records_url, monkeypatch) -> None:
    monkeypatch.setenv("BATCHGUARD_RECORDS_URL", records_url)
    with RecordsAdmin(tmp_path / "var", only_reads=True) as admin:
        [line] = admin.reviews("DEV-1")
        assert line == (
            f"2026-03-02T12:00:00.000000Z  DEV-1  north/B1  score {reviewed[0]}  act by Anna (user:anna): {EVIL}"
        )
        assert len(list(admin.reviews(None))) == 3
        out = tmp_path / "out"
        assert list(admin.export_records(out, None, "csv")) == [
            f"{out / 'reviews.csv'}: 3 rows", f"{out / 'findings.csv'}: 3 rows", f"{out / 'releases.csv'}: 0 rows",
        ]  # fmt: skip
        assert list(admin.export_records(tmp_path / "xml", None, "b2mml")) == [f"{tmp_path / 'xml'}: 2 batches"]
