"""What a release rests on, as its statement names it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Evidence:
    """Digests of the evidence.

    Attributes:
        intended_use_sha256: Of the signed intended use.
        acceptance_sha256: Of the signed acceptance criteria, which the version meets.
        test_reading: Entry of the ledger of test readings in which the version was judged.
        report_sha256: Of the validation report.
    """

    intended_use_sha256: str
    acceptance_sha256: str
    test_reading: str
    report_sha256: str
