"""Is what is stored what was written? Each answer is one line with its remedy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from features.errors import StorageError
from pipelines.storage import files, log
from pipelines.storage.locks import table_lock


@dataclass(frozen=True)
class Problem:
    """One finding. `harmless` ones cost space only: the next write to the table removes them."""

    table: str
    path: Path
    kind: Literal["torn_commit", "log", "missing", "changed", "leftover"]
    line: str
    harmless: bool = False


def problems_of(folder: Path) -> list[Problem]:
    """All that is wrong with one table, its newest version's files compared byte for byte."""
    name = folder.name
    left = [*files.leftovers(folder)]
    found = []
    torn = log.torn_commit(folder)
    if torn is not None:
        found.append(Problem(name, folder / "_delta_log", "torn_commit", torn))
    else:
        try:
            found += [problem for entry in log.entries(folder) for problem in _check(folder, entry)]
            with table_lock(folder):
                left += log.orphans(folder)
        except StorageError as error:
            found.append(Problem(name, folder / "_delta_log", "log", str(error)))
    return found + [_leftover(name, path) for path in left]


def _check(folder: Path, entry: log.Entry) -> list[Problem]:
    path = folder / entry.path
    fault = files.fault_of(path)
    if fault is None:
        return []
    kind = "changed" if path.exists() else "missing"
    return [Problem(folder.name, path, kind, f"{fault}. {files.RESTORE}")]


def _leftover(name: str, path: Path) -> Problem:
    line = f"{path}: left by a writer that was stopped; no version names it. Nothing to do: the next write removes it."
    return Problem(name, path, "leftover", line, harmless=True)
