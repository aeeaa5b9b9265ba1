"""Releases of a process, compared with their seals, their bundles and what the seals state: one line a fault."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from sqlalchemy import Connection, select

from features.errors import BatchguardError
from models.cohort.reading_chain import digests_of
from models.registry import Registry
from pipelines.bundle_export import bundles_of
from pipelines.plant import Plant
from serving.bundle.store import BundleStore
from serving.model_releases import KEYS
from serving.records.tables import signed_documents
from serving.release.history import ReleaseStatus, releases_of
from serving.release.site_keys import TrustedKeys, trusted_keys
from serving.release.statement import Predicate
from serving.release.verification import verify_author, verify_seal

_RESTORE = "Restore records, bundles and keys from one backup, or submit the version again."
_UNNAMED = "{}: no release names it; left by a submission that was stopped, or of version 0.2.0. Nothing to do."


def release_faults(plant: Plant, connection: Connection) -> tuple[list[str], list[str], int]:
    """Compare every release of a process.

    Args:
        plant: The process.
        connection: To the records.

    Returns:
        Faults, harmless lines, and the number of releases.
    """
    releases = releases_of(connection, plant.process.id)
    store = bundles_of(plant.settings, plant.process.id)
    named = {release.release_id for release in releases}
    harmless = [_UNNAMED.format(folder) for folder in _folders(store.root) if folder.name not in named]
    if not releases:
        return [], harmless, 0
    try:
        trusted = trusted_keys(plant.settings.data_dir / KEYS)
    except BatchguardError as error:
        return [str(error)], harmless, len(releases)
    known = _digests(connection, plant.process.id)
    faults = [fault for release in releases for fault in _faults(release, store, trusted, known, plant)]
    return faults, harmless, len(releases)


def _faults(
    release: ReleaseStatus, store: BundleStore, trusted: Sequence[TrustedKeys], documents: set[str], plant: Plant
) -> Iterator[str]:
    """Faults of one release: its seal, its bundle, and what the seal states."""
    name = f"release {release.release_id[:12]} of version {release.version}"
    envelope = [action["envelope"] for action in release.actions if action["envelope"]][-1:]
    approved = any(action["action"] == "approve" for action in release.actions)
    if release.state == "draft" and not (store.root / release.release_id).is_dir():
        return  # it was rejected: its bundle may go
    try:
        verify = verify_seal if approved else verify_author
        stated = verify(envelope[0] if envelope else "", release.release_id, trusted).statement.predicate
        bundle = store.read(release.release_id)
    except BatchguardError as error:
        yield f"{name}: {error}".removesuffix(".") + f". {_RESTORE}"
        return
    held = bundle.manifest
    if (stated.process, stated.version, stated.model_sha256) != (held.process_id, held.version, held.model_sha256):
        yield f"{name}: its seal states another model than its bundle holds. {_RESTORE}"
    yield from (f"{name}: {fault}" for fault in _stated(stated, documents, plant))


def _stated(stated: Predicate, documents: set[str], plant: Plant) -> Iterator[str]:
    """What a seal states and is not there: the documents, the reading of the test, and the report of the version."""
    for kind, sha256 in (("intended use", stated.intended_use_sha256), ("criteria", stated.acceptance_sha256)):
        if sha256 not in documents:
            yield f"the records hold no signed {kind} {sha256[:12]}, which its seal states. {_RESTORE}"
    if stated.test_reading not in digests_of(plant.ledger):
        yield f"the ledger holds no reading {stated.test_reading[:12] or 'of the test'}, which its seal states. {_RESTORE}"
    registry = Registry(plant.settings.data_dir)
    try:
        report = registry.report(registry.by_version(stated.process, stated.version))
    except BatchguardError as error:
        yield f"its report cannot be read: {error}"
        return
    if hashlib.sha256(report.encode()).hexdigest() != stated.report_sha256:
        yield f"the report in the registry is not the one that its seal states, {stated.report_sha256[:12]}. {_RESTORE}"


def _digests(connection: Connection, process_id: str) -> set[str]:
    """Digests of the documents of a process that were signed, former ones too."""
    own = select(signed_documents.c.sha256).where(signed_documents.c.process_id == process_id)
    return set(connection.execute(own).scalars())


def _folders(root: Path) -> Iterable[Path]:
    return sorted(path for path in root.glob("?" * 64) if path.is_dir())
