"""What a release of a version rests on: signed documents, the reading of the test, met criteria, justified features."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from models.acceptance.claims import refuse_validated
from models.acceptance.criteria import check
from models.acceptance.justification import assess_features, identifiers
from models.cohort.ledger import Reading, evaluates, readings
from models.evaluation.evaluate import Evaluation
from models.registry import RegisteredModel, Registry
from pipelines.ledger_check import ledger_faults
from pipelines.plant import Plant
from pipelines.signed_documents import SignedBefore, document_path, documents_of
from serving.records.store import Records
from serving.release.evidence import Evidence
from serving.release.states import ReleaseError


def evidence_of(plant: Plant, model: RegisteredModel, records: Records) -> Evidence:
    """The evidence of a version.

    Args:
        plant: The process, whose documents lie beside its definition.
        model: The version.
        records: Hold the signed documents.

    Raises:
        ReleaseError: A document is not signed, or was changed since; the test was not read under the signed criteria, or
            was read before they were signed; a criterion is not met; a feature is not justified, or names a person; the
            ledger of readings was changed.
        ContractError: A document says "validated" while a batch is simulated.
        StorageError: Files of the version are missing, or were changed since they were logged.
    """
    registry = Registry(plant.settings.data_dir)
    registry.check_files(model)  # figures and report are those that were logged
    fault = next(ledger_faults(plant, registry), None)
    if fault is not None:
        raise ReleaseError(fault)
    documents, evaluation = documents_of(plant, records), registry.evaluation(model)
    for kind in ("intended_use", "acceptance"):
        path = document_path(plant, kind)
        refuse_validated(path.read_text(encoding="utf-8"), simulated=evaluation.simulated, where=path.name)
    test_sha256 = registry.seal(model).sha256
    of_this_test = [r for r in readings(plant.ledger) if r.test_sha256 == test_sha256]
    reading = _reading(model, evaluation, documents, of_this_test)
    _criteria_met(model, evaluation, documents)
    _features_justified(plant, model, registry, evaluation, documents)
    report = hashlib.sha256(registry.report(model).encode()).hexdigest()
    return Evidence(documents.intended_use_sha256, documents.acceptance_sha256, reading.entry_sha256, report)


def refuse_false_claim(plant: Plant, version: str, reason: str) -> None:
    """Refuse to sign for a reason that says "validated" while a batch of the version's rows is simulated.

    Raises:
        ContractError: It does.
    """
    registry = Registry(plant.settings.data_dir)
    simulated = registry.evaluation(registry.by_version(plant.process.id, version)).simulated
    refuse_validated(reason, simulated=simulated, where="the reason")


def _reading(
    model: RegisteredModel, evaluation: Evaluation, documents: SignedBefore, of_this_test: Sequence[Reading]
) -> Reading:
    """The reading in which the version was judged, with no reading of the same test before the signatures."""
    again = "Run 'batchguard train': the test of this version is read then."
    if not evaluation.read_test:
        raise ReleaseError(
            f"version {model.version}: its test was not read under the acceptance criteria, its figures are of development",
            expected="figures on the test",
            remedy=again,
        )
    if evaluation.criteria_sha256 != documents.acceptance_sha256:
        raise ReleaseError(
            f"version {model.version}: its test was not read under the acceptance criteria that are signed now",
            expected=f"criteria {documents.acceptance_sha256[:12]}", remedy=again,
        )  # fmt: skip
    early = next((r for r in of_this_test if r.at < documents.at), None)
    if early is not None:
        raise ReleaseError(
            f"version {model.version}: its test was read on {early.at:%Y-%m-%d %H:%M} UTC by {early.reader}, before intended "
            f"use and criteria were signed on {documents.at:%Y-%m-%d %H:%M} UTC",
            expected="the signatures first",
            remedy="A training with further outcomes has another test.",
        )
    purpose = evaluates(model.sha256)
    own = [r for r in of_this_test if r.purpose == purpose and r.criteria_sha256 == documents.acceptance_sha256]
    if not own:
        raise ReleaseError(f"version {model.version}: the ledger has no reading of its test", expected=purpose)
    return own[-1]


def _criteria_met(model: RegisteredModel, evaluation: Evaluation, documents: SignedBefore) -> None:
    missed = [r.line for r in check(documents.acceptance.criterion, evaluation) if r.verdict != "met"]
    if missed:
        raise ReleaseError(f"version {model.version} does not meet its acceptance criteria: {'; '.join(missed)}")


def _features_justified(
    plant: Plant, model: RegisteredModel, registry: Registry, evaluation: Evaluation, documents: SignedBefore
) -> None:
    predictor = registry.predictor(model)
    persons = identifiers(predictor.features, predictor.encoder.categories)
    if persons:
        raise ReleaseError(
            f"version {model.version} has features that identify a person: {', '.join(persons)}",
            remedy="Mark their parameter excluded = true in the process definition, and train again.",
        )
    missing = [
        f.line
        for f in assess_features(evaluation.top_features, documents.acceptance.feature)
        if f.standing != "justified"
    ]
    if missing:
        raise ReleaseError(
            f"version {model.version}: features without a justification: {'; '.join(missing)}",
            expected=f"a [[feature]] for each in {document_path(plant, 'acceptance').name}",
            remedy="The criteria are signed again, and the next training is judged by them.",
        )
