"""The ledger of test readings: one JSON object a line, who read which test when and under which criteria; it only grows."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from features.errors import StorageError
from models.cohort.reading_chain import append
from models.cohort.splits import Seal


@dataclass(frozen=True)
class Reading:
    """One reading of a test.

    Attributes:
        at: When, UTC.
        reader: What read it.
        purpose: What for, for example `evaluate predictor <digest>`.
        test_sha256: Digest of the test's batches.
        criteria_sha256: Digest of the acceptance criteria that were signed then; empty: none were.
        entry_sha256: Digest of the ledger's line.
    """

    at: pd.Timestamp
    reader: str
    purpose: str
    test_sha256: str
    criteria_sha256: str
    entry_sha256: str


def readings(ledger: Path) -> list[Reading]:
    """All readings, in the order of the ledger.

    Raises:
        StorageError: A line cannot be read.
    """
    lines = ledger.read_text(encoding="utf-8").splitlines() if ledger.exists() else []
    return [_reading(line, f"{ledger}, line {number}") for number, line in enumerate(lines, 1)]


def record_reading(
    ledger: Path, seal: Seal, *, reader: str, purpose: str, at: pd.Timestamp, criteria_sha256: str = ""
) -> None:
    """Append who read which test set when; nothing in the ledger is ever rewritten."""
    content = {"at": at.isoformat(), "reader": reader, "purpose": purpose, "test_sha256": seal.sha256}
    append(ledger, content | ({"criteria_sha256": criteria_sha256} if criteria_sha256 else {}))


def evaluates(sha256: str) -> str:
    """The purpose of a reading that evaluates a predictor."""
    return f"evaluate predictor {sha256}"


def _reading(line: str, where: str) -> Reading:
    try:
        content = json.loads(line)
        at = pd.to_datetime(content["at"], utc=True)
        texts = (content["reader"], content["purpose"], content["test_sha256"], content.get("criteria_sha256", ""))
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"{where}: not a reading of a test ({error})", remedy="Restore the file from a copy."
        ) from None
    return Reading(at, *map(str, texts), hashlib.sha256(line.encode()).hexdigest())
