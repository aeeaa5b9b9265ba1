"""docs/annex22.toml: every requirement is there, every test that it names exists, and nothing is claimed beyond support."""

from __future__ import annotations

import ast
import datetime
import re
from pathlib import Path

import pytest

from benchmarks.annex22 import DOCS, SUPPORT, page_of, read_rows

ROOT = Path(__file__).parents[1]
ROWS = read_rows()
WANTED = {
    *(f"A22-{n:02d}" for n in (1, 2, 3, 5, 6, 8, 9, 10, 12, 13, 14, 15, 16, 19, 20, 21, 22, 23, 24, 25, 26, 27)),
    *(f"DI-{n:02d}" for n in (1, 4, 5, 6, 7, 8, 9)),
}
CLAIMS = re.compile(r"\b(compl(y|ies|ied|iant|iance)|validated|certified|qualified)\b", re.IGNORECASE)


def names_of(file: str) -> set[str]:
    """Names of the test functions of a file; none where it is not there."""
    path = ROOT / file
    tree = ast.parse(path.read_text(encoding="utf-8")) if path.is_file() else ast.Module([], [])
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def missing(tests: list[str]) -> list[str]:
    return [test for test in tests if (parts := test.partition("::"))[2] not in names_of(parts[0])]


def test_every_requirement_has_one_row() -> None:
    ids = [row["id"] for row in ROWS]
    assert len(ids) == len(set(ids)) == 29
    assert set(ids) == WANTED


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
def test_a_row_says_clause_requirement_status_and_day_and_names_tests_that_exist(row) -> None:
    assert set(row) <= {"id", "clause", "requirement", "status", "read", "support", "tests", "missing"}
    assert all(row[name].strip() for name in ("clause", "requirement", "status"))
    assert isinstance(row["read"], datetime.date)
    assert row["support"] in SUPPORT
    assert bool(row.get("tests")) == (row["support"] != "open")
    assert ("missing" in row) == (row["support"] != "supports")
    assert missing(row.get("tests", [])) == []


@pytest.mark.parametrize(
    "test", ["tests/test_annex22.py::test_nothing", "tests/nowhere.py::test_it", "tests/test_annex22.py"]
)
def test_a_test_that_does_not_exist_is_seen(test) -> None:
    assert missing([test]) == [test]


def test_the_page_is_the_one_that_the_rows_make() -> None:
    assert (DOCS / "annex22.md").read_text(encoding="utf-8") == page_of(ROWS), "run python -m benchmarks.annex22"


@pytest.mark.parametrize("name", ["annex22.md", "annex22.toml"])
def test_neither_page_nor_rows_claim_more_than_support(name) -> None:
    assert CLAIMS.findall((DOCS / name).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("claim", ["It complies.", "Validated!", "GMP compliant", "in compliance"])
def test_a_claim_is_seen(claim) -> None:
    assert CLAIMS.search(claim)
