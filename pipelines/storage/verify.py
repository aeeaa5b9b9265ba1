"""Checks that the stored bytes are those that were written: one line with its remedy for each that is not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from features.errors import StorageError
from pipelines.storage import files, log
from pipelines.storage.locks import table_lock

_LEFTOVER = "{}: left by a writer that was stopped; no version names it. Nothing to do: the next write removes it."


@dataclass(frozen=True)
class Problem:
    """One finding. `harmless` ones cost space only: the next write to the table removes them."""

    table: str
    path: Path
    kind: Literal["torn_commit", "log", "missing", "changed", "leftover"]
    line: str
    harmless: bool = False


def problems_of(folder: Path) -> list[Problem]:
    """Problems of one table; the files of its newest version are compared byte for byte."""
    name = folder.name
    left = [*files.leftovers(folder)]
    found = []
    torn = log.torn_commit(folder)
    if torn is not None:
        found.append(Problem(name, folder / "_delta_log", "torn_commit", torn))
    else:
        try:
            lost = log.lost_commit(folder)
            found += [Problem(name, folder / "_delta_log", "log", lost)] if lost else []
            found += [problem for entry in log.entries(folder) for problem in _check(folder, entry)]
            with table_lock(folder):
                left += log.orphans(folder)
        except StorageError as error:
            found.append(Problem(name, folder / "_delta_log", "log", str(error)))
    return found + [Problem(name, path, "leftover", _LEFTOVER.format(path), harmless=True) for path in left]


def _check(folder: Path, entry: log.Entry) -> list[Problem]:
    path = folder / entry.path
    fault = files.fault_of(path)
    if fault is None:
        return []
    kind = "changed" if path.exists() else "missing"
    return [Problem(folder.name, path, kind, f"{fault}. {files.RESTORE}")]
