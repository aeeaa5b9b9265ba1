"""docs/annex22.toml as the page docs/annex22.md: `python -m benchmarks.annex22`."""

from __future__ import annotations

import itertools
import textwrap
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"
SUPPORT = ("supports", "in part", "open")
_HEAD = """\
# Draft Annex 22, Annex 11 and Part 11: what is supported

This page is written from [annex22.toml](annex22.toml) by `python -m benchmarks.annex22`. Each row is a requirement in
our own words; the text itself decides, and its wording was read second-hand. **Supports** means that the named tests
show what the row says, on this software as it is delivered. Whether a plant meets a text is for the plant to show:
people, procedures and its own tests belong to that. **In part** and **open** say what is missing.
"""


def read_rows(path: Path = DOCS / "annex22.toml") -> list[dict[str, Any]]:
    """The rows, in the order of the file."""
    return tomllib.loads(path.read_text(encoding="utf-8"))["row"]


def page_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """The page: counts, the status of each text, a section a row."""
    counts = ", ".join(f"{sum(row['support'] == one for row in rows)} {one}" for one in SUPPORT)
    texts: dict[str, list[str]] = {}
    for row in rows:
        texts.setdefault(f"{row['status']} (on {row['read'].isoformat()})", []).append(row["id"])
    known = [_filled(f"- {ids[0]} to {ids[-1]}: {status}.", "  ") for status, ids in texts.items()]
    return "\n".join([_HEAD, f"{len(rows)} rows: {counts}. Status of the texts:\n", *known, "", *map(_section, rows)])


def _section(row: Mapping[str, Any]) -> str:
    lines = [f"## {row['id']}: {row['support']}", _filled(f"{row['clause']}. {row['requirement']}")]
    if "missing" in row:
        lines.append("\n" + _filled(f"Missing: {row['missing']}."))
    if row.get("tests"):
        lines += ["", *_listed(row["tests"])]
    return "\n".join([*lines, ""])


def _listed(tests: Sequence[str]) -> Iterator[str]:
    """Files with the tests of each below it: the name of a file and a test in one line would be longer than a line."""
    for file, of_file in itertools.groupby(tests, lambda test: test.partition("::")[0]):
        yield f"- `{file}`"
        yield from (f"  - `{test.partition('::')[2]}`" for test in of_file)


def _filled(text: str, following: str = "") -> str:
    return textwrap.fill(text, 118, subsequent_indent=following, break_long_words=False, break_on_hyphens=False)


if __name__ == "__main__":
    (DOCS / "annex22.md").write_text(page_of(read_rows()), encoding="utf-8")
