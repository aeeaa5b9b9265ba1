"""Versions released by made-up persons with keys of a site, into the records of an endpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from serving.bundle.bundle import Bundle
from serving.bundle.canary import run_canary
from serving.bundle.store import BundleStore
from serving.model_releases import KEYS, ModelReleases
from serving.records.store import Records
from serving.release.demo import demo_persons, release_as_demo
from serving.release.evidence import Evidence
from serving.release.service import ReleaseService
from serving.release.site_keys import make_keys

EVIDENCE = Evidence("2" * 64, "3" * 64, "4" * 64, "5" * 64)  # made up: the model is, too


def release_into(
    records: Records, bundles: Path, data_dir: Path, version: str, export: Callable[[int], Bundle], *,
    process_id: str = "bench", canary: Callable[[Bundle], None] = run_canary,
) -> str:  # fmt: skip
    """Release a version; the id of its release, which is effective afterwards."""
    keys = data_dir / KEYS
    if not (keys / "approver.pem").exists():
        make_keys(keys)
    with demo_persons(records) as persons:
        service = ReleaseService(records, BundleStore(bundles), process_id, persons.signers, keys, canary=canary)
        return release_as_demo(service, persons, version, export, lambda: EVIDENCE).release_id


def rolled_back(records: Records, bundles: Path, data_dir: Path, *, process_id: str = "bench") -> str:
    """Go back to the release before the effective one; its id."""
    with demo_persons(records) as persons:
        service = ReleaseService(
            records, BundleStore(bundles), process_id, persons.signers, data_dir / KEYS, canary=lambda _: None
        )
        return service.rollback(persons.approver).release_id


def models_of(bundles: Path, data_dir: Path, url: str, process_id: str = "bench") -> ModelReleases:
    """The releases that an endpoint over these records serves."""
    return ModelReleases(bundles, data_dir / KEYS, Records(url), process_id)
