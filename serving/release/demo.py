"""The demo's release: two made-up persons sign with demo keys, through the same service as everybody.

Each score of such a release says `released_by = "demo keys"`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

from serving.access.key_ring import KeyRing
from serving.access.keys import add_key, revoke_key
from serving.audit.chain import Actor
from serving.bundle.bundle import Bundle
from serving.ids import now_us
from serving.records.store import Records
from serving.release.evidence import Evidence
from serving.release.history import ReleaseStatus, open_release
from serving.release.service import ReleaseService
from serving.release.signatures import Signers, SignRequest
from serving.release.site_keys import make_keys

AUTHOR, APPROVER = "demo-author", "demo-approver"
_REASON = "demonstration: nobody has reviewed this model"
_ACTOR = Actor("system:demo", "service", "demo")
_LIFETIME_US = 3_600_000_000


@dataclass(frozen=True)
class DemoPersons:
    """Two persons and what verifies them."""

    signers: Signers
    author: SignRequest
    approver: SignRequest


@contextlib.contextmanager
def demo_persons(records: Records) -> Generator[DemoPersons]:
    """Two persons of the demo, with keys that are revoked when the block ends."""
    made = {}
    for subject, role in ((AUTHOR, "reviewer"), (APPROVER, "approver")):
        made[subject] = add_key(
            records, name=subject.replace("-", " ").capitalize(), kind="person", role=role, sites=["*"],
            expires_us=now_us() + _LIFETIME_US, actor=_ACTOR, subject=subject,
        )  # fmt: skip
    requests = {subject: SignRequest(subject, key, _REASON, request_id="demo") for subject, (_, key) in made.items()}
    try:
        yield DemoPersons(Signers(records, KeyRing(records).principal), requests[AUTHOR], requests[APPROVER])
    finally:
        for key_id, _ in made.values():
            revoke_key(records, key_id, why="the demo has signed", actor=_ACTOR)


def demo_keys(folder: Path) -> None:
    """Make the demo's keys, unless they are there."""
    if not (folder / "demo-approver.pem").exists():  # the last file that is written
        for path in folder.glob("demo-*.p*"):  # of keys that were half made: nothing was sealed with them yet
            path.unlink()
        make_keys(folder, "demo")


def release_as_demo(
    service: ReleaseService, persons: DemoPersons, version: str, export: Callable[[int], Bundle],
    evidence: Callable[[], Evidence],
) -> ReleaseStatus:  # fmt: skip
    """Submit, approve and make effective; steps that were done before are not done again.

    Args:
        service: Of the process, with the demo's keys.
        persons: Who sign.
        version: Of the registry.
        export: As for `ReleaseService.submit`.
        evidence: As for `ReleaseService.submit`.

    Raises:
        ReleaseError: A step was refused.
        StorageError: A bundle, a key or the records cannot be used.
    """
    found = open_release(service.all(), version)
    if found is None:
        found = service.submit(version, export, evidence, persons.author)
    if found.state == "tested":
        found = service.approve(found.release_id, persons.approver)
    if found.state == "approved":
        found = service.make_effective(found.release_id, persons.approver)
    return found
