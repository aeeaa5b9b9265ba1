import hashlib

import pytest

from features.errors import StorageError
from models.cohort.ledger import evaluates, readings, record_reading
from models.cohort.splits import seal_of
from tests.models.plant import utc

ONE, TWO = (seal_of("soup", utc("2026-01-03"), (batch,)) for batch in "ab")


def test_the_ledger_only_grows_and_names_test_and_criteria_of_every_reading(tmp_path) -> None:
    ledger = tmp_path / "readings.jsonl"
    assert readings(ledger) == []
    for seal, criteria in ((ONE, ""), (TWO, "c1"), (ONE, "c2")):
        record_reading(
            ledger, seal, reader="me", purpose=evaluates("f00"), at=utc("2026-02-01"), criteria_sha256=criteria
        )
    found = readings(ledger)
    assert [(r.test_sha256, r.criteria_sha256) for r in found] == [
        (ONE.sha256, ""), (TWO.sha256, "c1"), (ONE.sha256, "c2"),
    ]  # fmt: skip
    assert {(r.reader, r.purpose, r.at) for r in found} == {("me", "evaluate predictor f00", utc("2026-02-01"))}
    lines = ledger.read_text(encoding="utf-8").splitlines()
    assert [r.entry_sha256 for r in found] == [hashlib.sha256(line.encode()).hexdigest() for line in lines]


@pytest.mark.parametrize("line", ["{}", "not json", '{"at": "never", "reader": "", "purpose": "", "test_sha256": ""}'])
def test_a_damaged_line_is_named_by_its_number(tmp_path, line) -> None:
    ledger = tmp_path / "readings.jsonl"
    record_reading(ledger, ONE, reader="me", purpose="a look", at=utc("2026-02-01"))
    ledger.write_text(ledger.read_text(encoding="utf-8") + line + "\n", encoding="utf-8")
    with pytest.raises(StorageError, match=r"readings.jsonl, line 2: not a reading of a test"):
        readings(ledger)
