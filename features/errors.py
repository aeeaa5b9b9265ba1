"""Errors that a person can act on: what is wrong, where, what was expected, what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BatchguardError(Exception):
    """One line for a person.

    Args:
        what: What is wrong, with the id of the row, file or key it concerns.
        expected: What would have been right; may be empty.
        remedy: What to do now; may be empty.
    """

    def __init__(self, what: str, *, expected: str = "", remedy: str = "") -> None:
        self.what = what
        self.expected = expected
        self.remedy = remedy
        parts = [what]
        if expected:
            parts.append(f"expected {expected}")
        line = "; ".join(parts)
        end = (
            "" if line.endswith("\n") else " " if line.endswith("?") else ". "
        )  # a list of findings has its remedy on a line of its own
        super().__init__(f"{line}{end}{remedy}" if remedy else line)


class ProcessError(BatchguardError):
    """A process definition that cannot be used."""


class SourceError(BatchguardError):
    """A source that cannot be read as a run history."""


class ContractError(BatchguardError):
    """Rows that break the data contract, and were not accepted by a person."""


class StorageError(BatchguardError):
    """Stored data that is missing, damaged or being written by someone else."""


class TrainingError(BatchguardError):
    """Data from which no honest predictor can be trained."""


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known name that a misspelt one most likely means; None: no name is near."""
    return next(iter(difflib.get_close_matches(word, [name for name in known if name], n=1, cutoff=0.5)), None)
