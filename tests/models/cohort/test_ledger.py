import hashlib
import json
from pathlib import Path

import pytest

from features.errors import StorageError
from models.cohort.ledger import append, digests_of, faults_of, lines_of

LINE = {"at": "2026-03-01T00:00:00+00:00", "reader": "anna", "purpose": "look", "test_sha256": "a" * 64}


@pytest.fixture
def ledger(tmp_path) -> Path:
    path = tmp_path / "readings.jsonl"
    for n in range(3):
        append(path, LINE | {"purpose": f"look {n}"})
    return path


def test_each_line_holds_the_digest_of_the_one_before(ledger) -> None:
    first, second, _ = ledger.read_bytes().splitlines()
    assert [line["purpose"] for line in lines_of(ledger)] == ["look 0", "look 1", "look 2"]
    assert lines_of(ledger)[0]["previous"] == "0" * 64
    assert lines_of(ledger)[1]["previous"] == hashlib.sha256(first).hexdigest()
    assert digests_of(ledger)[1] == hashlib.sha256(second).hexdigest() == lines_of(ledger)[2]["previous"]
    assert list(faults_of(ledger)) == []


def change(lines: list[str]) -> list[str]:
    return [lines[0].replace("look 0", "look 9"), *lines[1:]]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (change, "line 2 does not follow"),
        (lambda lines: [lines[0], lines[2]], "line 2 does not follow"),
        (lambda lines: lines[1:], "line 1 does not follow"),
        (lambda lines: [lines[1], lines[0], lines[2]], "line 1 does not follow"),
        (lambda lines: [lines[0], json.dumps(LINE), *lines[1:]], "line 2 has lost the digest"),
        (lambda lines: [*lines, '{"at": "torn'], "line 4 is no reading"),
        (lambda lines: [*lines, json.dumps({"previous": "0" * 64})], "line 4 is no reading"),
    ],
    ids=["changed", "removed", "first removed", "swapped", "put in between", "torn", "other content"],
)
def test_a_line_that_is_not_as_it_was_written_is_named(ledger, edit, said) -> None:
    lines = ledger.read_text().splitlines()
    ledger.write_text("\n".join(edit(lines)) + "\n")
    assert said in next(faults_of(ledger))


def test_lines_of_an_earlier_version_hold_no_digest_and_are_covered_by_the_next_one(tmp_path) -> None:
    path = tmp_path / "readings.jsonl"
    path.write_text(json.dumps(LINE) + "\n" + json.dumps(LINE | {"reader": "bo"}) + "\n")
    append(path, LINE)
    assert list(faults_of(path)) == []
    path.write_text(path.read_text().replace('"bo"', '"cy"'))
    assert list(faults_of(path)) == [
        f"{path}: line 3 does not follow the one before it: one of them was changed, or lines are gone"
    ]


def test_a_line_torn_by_a_crash_does_not_swallow_the_next_one(ledger) -> None:
    with ledger.open("a") as file:
        file.write('{"at": "torn')
    append(ledger, LINE)
    assert [fault.split(": ")[-1] for fault in faults_of(ledger)] == ["line 4 is no reading of a test"]
    assert len(ledger.read_bytes().splitlines()) == 5
    with pytest.raises(StorageError, match=r"line 4 is no reading of a test\. Restore the file from a backup"):
        lines_of(ledger)


def test_no_ledger_has_no_line(tmp_path) -> None:
    assert lines_of(tmp_path / "none") == digests_of(tmp_path / "none") == list(faults_of(tmp_path / "none")) == []
