"""What a release of a version rests on: signed documents, the reading of the test, the report."""

from __future__ import annotations

import hashlib
from pathlib import Path

from models.registry import RegisteredModel, Registry
from pipelines.plant import Plant
from pipelines.recorded import TEST_READING
from serving.records.store import Records
from serving.release.documents import DocumentKind, SignedDocument, document_sha256, signed_document
from serving.release.evidence import Evidence
from serving.release.states import ReleaseError


def evidence_of(plant: Plant, model: RegisteredModel, records: Records) -> Evidence:
    """The evidence of a version.

    Args:
        plant: The process, whose documents lie beside its definition.
        model: The version.
        records: Hold the signed documents.

    Raises:
        ReleaseError: A document is not signed, or was changed since, or the test was not read for this version.
        StorageError: Files of the version are missing.
    """
    registry = Registry(plant.settings.data_dir)
    intended_use, acceptance = (signed(plant, kind, records) for kind in ("intended_use", "acceptance"))
    report = hashlib.sha256(registry.report(model).encode()).hexdigest()
    reading = registry.params(model).get(TEST_READING, "")
    return Evidence(intended_use.sha256, acceptance.sha256, reading, report)


def document_path(plant: Plant, kind: DocumentKind) -> Path:
    """Where a document lies: beside the process definition."""
    return plant.settings.process.with_name(f"{plant.settings.process.stem}.{kind}.toml")


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
