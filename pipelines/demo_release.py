"""The demo's release: documents and challenger signed by two made-up persons with demo keys, never where a batch is real."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path

import pandas as pd

from features.errors import BatchguardError
from pipelines.bundle_export import bundles_of, export
from pipelines.effective import effective_version
from pipelines.evidence import evidence_of
from pipelines.plant import Plant
from pipelines.result import challenger_of
from pipelines.signed_documents import document_path
from pipelines.sources.folder import HistoryFolder
from serving.commands import RecordsAdmin
from serving.model_releases import KEYS
from serving.records.store import Records
from serving.release.demo import DemoPersons, demo_keys, demo_persons, release_as_demo
from serving.release.documents import KINDS, document_sha256, sign_document, signed_document
from serving.release.service import ReleaseService

_REAL = "real"


def refuse_real_source(history: Path) -> None:
    """Refuse a source with a real batch, before anything is trained.

    Raises:
        BatchguardError: There is one.
        SourceError: The source cannot be read.
    """
    source = HistoryFolder(history)
    for chunk, _ in source.read("batches") if "batches" in source.tables() else ():
        _refuse_real(chunk)


def sign_demo_documents(plant: Plant) -> None:
    """Sign intended use and acceptance criteria as the demo's approver, where they are not signed as they stand.

    Raises:
        BatchguardError: A document is missing, cannot be read, or the records cannot be used.
    """
    with _demo(plant) as (records, persons):
        for kind in KINDS:
            path = document_path(plant, kind)
            if not path.exists():
                raise BatchguardError(f"no file {path}", expected=f"the {kind} beside the process definition")
            content, found = path.read_text(encoding="utf-8"), signed_document(records, kind, plant.process.id)
            if found is None or found.sha256 != document_sha256(content):
                sign_document(records, persons.signers, kind, plant.process.id, content, persons.approver)


def release_demo(plant: Plant, say: Callable[[str], None]) -> None:
    """Release the newest challenger as two persons of the demo; nothing where it is effective already.

    Raises:
        BatchguardError: A batch is real, a version that two persons released is effective, or a step was refused.
    """
    _refuse_real(plant.table("batches"))
    model, now = challenger_of(plant), effective_version(plant.settings, plant.process.id)
    if now is not None and now.released_by != "demo keys":
        raise BatchguardError(
            f"version {now.version} was released by two persons", expected="no release but those of the demo",
            remedy="Release the challenger with 'batchguard release submit'.",
        )  # fmt: skip
    if now is not None and now.version == model.version:
        return
    with _demo(plant) as (records, persons):
        store, keys = bundles_of(plant.settings, plant.process.id), plant.settings.data_dir / KEYS
        service = ReleaseService(records, store, plant.process.id, persons.signers, keys, "demo")
        write, evidence = partial(export, plant, model), partial(evidence_of, plant, model, records)
        found = release_as_demo(service, persons, model.version, write, evidence)
    say(f"version {found.version} released by demo keys, release {found.release_id[:12]}")


@contextlib.contextmanager
def _demo(plant: Plant) -> Generator[tuple[Records, DemoPersons]]:
    """The records, and the demo's persons with their keys; the anchor notes what was done."""
    demo_keys(plant.settings.data_dir / KEYS)
    with RecordsAdmin(plant.settings.data_dir) as admin:
        with demo_persons(admin.records) as persons:
            yield admin.records, persons
        admin.note()


def _refuse_real(batches: pd.DataFrame) -> None:
    origin = batches["origin"] if "origin" in batches else pd.Series(_REAL, batches.index)
    real = batches.loc[origin != "simulated", "batch_id"]
    if len(real):
        raise BatchguardError(
            f"batch {real.iloc[0]} is real: the demo's keys release nothing for real batches",
            expected="origin 'simulated' for every batch",
            remedy="Leave --release-as-demo out; two persons release a version with 'batchguard release submit'.",
        )
