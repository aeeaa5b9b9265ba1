"""The gate before the test: intended use and acceptance criteria, both signed as they stand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from features.errors import ProcessError
from models.acceptance.criteria import Acceptance, load_acceptance
from models.acceptance.intended_use import IntendedUse, load_intended_use
from pipelines.effective import records_of
from pipelines.plant import Plant
from pipelines.sources.draft_release import beside
from serving.records.store import Records
from serving.release.documents import DocumentKind, SignedDocument, document_sha256, signed_document
from serving.release.states import ReleaseError


@dataclass(frozen=True)
class SignedBefore:
    """Both documents as they are signed.

    Attributes:
        intended_use: What the predictor is for.
        acceptance: What it must meet.
        intended_use_sha256: Digest that was signed.
        acceptance_sha256: Digest that was signed.
        at: Time of the later signature: the test may be read from then on.
    """

    intended_use: IntendedUse
    acceptance: Acceptance
    intended_use_sha256: str
    acceptance_sha256: str
    at: pd.Timestamp


def documents_of(plant: Plant, records: Records) -> SignedBefore:
    """The signed documents of a process.

    Raises:
        ReleaseError: One is not signed, or was changed since.
        ProcessError: One cannot be read, or is about another process.
    """
    use, criteria = (signed(plant, kind, records) for kind in ("intended_use", "acceptance"))
    intended_use = load_intended_use(document_path(plant, "intended_use"))
    intended_use.check(plant.process)
    acceptance = load_acceptance(document_path(plant, "acceptance"))
    if acceptance.process != plant.process.id:
        raise ReleaseError(f"the acceptance criteria are of process {acceptance.process!r}", expected=plant.process.id)
    at = pd.to_datetime(max(use.at_us, criteria.at_us), unit="us", utc=True)
    return SignedBefore(intended_use, acceptance, use.sha256, criteria.sha256, at)


def signed_before(plant: Plant) -> SignedBefore | str:
    """The signed documents, or in one line why the test must not be read.

    Raises:
        StorageError: The records cannot be read.
    """
    with records_of(plant.settings) as records:
        if records is None:
            return f"nobody has signed the intended use and the acceptance criteria of {plant.process.id!r}"
        try:
            return documents_of(plant, records)
        except (ReleaseError, ProcessError) as error:
            return error.what


def document_path(plant: Plant, kind: DocumentKind) -> Path:
    """Where a document lies: beside the process definition."""
    return beside(plant.settings.process, kind)


def signed(plant: Plant, kind: DocumentKind, records: Records) -> SignedDocument:
    """The signed document of a kind, as the file beside the process definition still says it.

    Raises:
        ReleaseError: There is no such file, nobody has signed it, or it was changed since.
    """
    path = document_path(plant, kind)
    found = signed_document(records, kind, plant.process.id)
    remedy = f"'batchguard release sign-document {kind}' signs it."
    if found is None or not path.exists():
        missing = "no file" if not path.exists() else "nobody has signed"
        raise ReleaseError(f"{missing} {path.name}", expected=f"a signed {kind} of {plant.process.id!r}", remedy=remedy)
    if document_sha256(path.read_text(encoding="utf-8")) != found.sha256:
        raise ReleaseError(f"{path} was changed since {found.signer_name} signed it", remedy=remedy)
    return found
