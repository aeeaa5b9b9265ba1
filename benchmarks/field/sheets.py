"""Values of the sheets of an .xlsx file, as text: what `undated` needs of the format, without another package."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pandas as pd
from lxml import etree

from features.errors import SourceError

_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
_DIGITS = re.compile(r"\d+")


def read_sheets(path: Path) -> dict[str, pd.DataFrame]:
    """All sheets by name: the first row names the columns; rows without a value in the first column are left out.

    Returns:
        Columns of `str`; numbers as they are stored, with a decimal point.

    Raises:
        SourceError: The file is missing or no workbook.
    """
    try:
        with zipfile.ZipFile(path) as book:
            shared = _shared_strings(book)
            return {name: _frame(_rows(book, part, shared)) for name, part in _parts(book).items()}
    except (OSError, zipfile.BadZipFile, KeyError, etree.XMLSyntaxError) as error:
        raise SourceError(f"{path}: {error}", expected="an .xlsx workbook") from None


def _parse(book: zipfile.ZipFile, name: str) -> etree._Element:
    return etree.fromstring(book.read(name), etree.XMLParser(resolve_entities=False, no_network=True))


def _shared_strings(book: zipfile.ZipFile) -> list[str]:
    if "xl/sharedStrings.xml" not in book.namelist():
        return []
    items = _parse(book, "xl/sharedStrings.xml").findall(f"{_MAIN}si")
    return ["".join(text.text or "" for text in item.iter(f"{_MAIN}t")) for item in items]


def _parts(book: zipfile.ZipFile) -> dict[str, str]:
    relations = {r.get("Id"): r.get("Target") for r in _parse(book, "xl/_rels/workbook.xml.rels")}
    sheets = _parse(book, "xl/workbook.xml").iter(f"{_MAIN}sheet")
    return {sheet.get("name"): f"xl/{relations[sheet.get(_RELATION)].removeprefix('/xl/')}" for sheet in sheets}


def _rows(book: zipfile.ZipFile, part: str, shared: list[str]) -> list[dict[str, str]]:
    rows = _parse(book, part).iter(f"{_MAIN}row")
    return [
        {_DIGITS.sub("", cell.get("r")): _text(cell, shared) for cell in row if cell.find(f"{_MAIN}v") is not None}
        for row in rows
    ]


def _text(cell: etree._Element, shared: list[str]) -> str:
    value = cell.findtext(f"{_MAIN}v") or ""
    return shared[int(value)] if cell.get("t") == "s" else value


def _frame(rows: list[dict[str, str]]) -> pd.DataFrame:
    if not rows:
        return pd.DataFrame()
    names = rows[0]
    kept = [row for row in rows[1:] if row.get("A")]
    return pd.DataFrame({name: pd.Series([row.get(c) for row in kept], dtype="str") for c, name in names.items()})
