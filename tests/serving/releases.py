"""A version released through the release service, by two persons whose secrets are their names."""

from collections.abc import Callable
from pathlib import Path

from serving.access.principals import Principal, UnauthenticatedError
from serving.bundle.bundle import Bundle
from serving.bundle.store import BundleStore
from serving.ids import now_us
from serving.records.store import Records
from serving.release.demo import DemoPersons, release_as_demo
from serving.release.evidence import Evidence
from serving.release.service import ReleaseService
from serving.release.signatures import Signers, SignRequest
from serving.release.site_keys import KeyKind, make_keys

EVIDENCE = Evidence("2" * 64, "3" * 64, "4" * 64, "5" * 64)
ALL = frozenset({"*"})
PERSONS = {
    "anna": Principal("key:a1", "Anna Weiss", "person", "reviewer", ALL, subject="anna"),
    "anna too": Principal("key:a2", "A. Weiss", "person", "approver", ALL, subject="anna"),
    "boris": Principal("key:b1", "Boris Kern", "person", "approver", ALL, subject="boris"),
    "clara": Principal("key:c1", "Clara Ott", "person", "approver", ALL, subject="clara"),
    "viewer": Principal("key:v1", "Vera Lind", "person", "viewer", ALL, subject="vera"),
    "unbound": Principal("key:u1", "Ugo", "person", "approver", ALL),
    "robot": Principal("key:r1", "Robot", "service", "mes", ALL),
}


def verify(secret: str) -> Principal:
    if secret not in PERSONS:
        raise UnauthenticatedError("the key is not known")
    return PERSONS[secret]


def by(secret: str, reason: str = "reviewed", **more) -> SignRequest:
    person = PERSONS.get(secret)
    signer = secret if person is None else person.subject or person.id
    return SignRequest(**({"signer": signer, "secret": secret, "reason": reason} | more))


def service_of(
    records: Records, root: Path, keys: Path, process_id: str, *, clock: Callable[[], int] = now_us,
    kind: KeyKind = "site", canary: Callable[[Bundle], None] = lambda _: None,
) -> ReleaseService:  # fmt: skip
    signers = Signers(records, verify, clock=clock)
    return ReleaseService(records, BundleStore(root), process_id, signers, keys, kind, canary=canary)


def release(
    records: Records, root: Path, keys: Path, process_id: str, version: str, export: Callable[[int], Bundle]
) -> str:
    """The id of the release of a version, which is effective afterwards."""
    if not (keys / "approver.pem").exists():
        make_keys(keys)
    service = service_of(records, root, keys, process_id)
    persons = DemoPersons(service.signers, by("anna"), by("boris"))
    return release_as_demo(service, persons, version, export, lambda: EVIDENCE).release_id
