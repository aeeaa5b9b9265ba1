"""A model and what releases it, in a folder: two persons whose secrets are their names, keys of the site."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmarks.field.made_plant import PROCESS, MadePlant
from models.predictor import Predictor
from serving.access.principals import Principal, UnauthenticatedError
from serving.bundle.bundle import Bundle
from serving.bundle.store import BundleStore, Version
from serving.records.store import Records
from serving.release.evidence import Evidence
from serving.release.service import ReleaseService
from serving.release.signatures import Signers, SignRequest
from serving.release.site_keys import make_keys

EVIDENCE = Evidence("2" * 64, "3" * 64, "4" * 64, "5" * 64)
_ALL = frozenset({"*"})
_ROLES = {"anna": "reviewer", "boris": "approver", "clara": "approver"}


@dataclass(frozen=True)
class Office:
    """Where releases are made.

    Attributes:
        folder: Of records, bundles and keys.
        predictor: What is released.
        plant: Its process and vocabulary.
    """

    folder: Path
    predictor: Predictor
    plant: MadePlant

    @property
    def bundles(self) -> Path:
        return self.folder / "bundles"

    @property
    def keys(self) -> Path:
        return self.folder / "keys"

    @property
    def url(self) -> str:
        return f"sqlite:///{self.folder / 'records.db'}"

    def open(self) -> None:
        """Make records and keys."""
        self.folder.mkdir(parents=True)
        make_keys(self.keys)
        records = Records(self.url)
        records.prepare()
        records.close()

    def service(self, records: Records) -> ReleaseService:
        """The service over open records; no bundle is tried out, which takes seconds and is measured elsewhere."""
        signers = Signers(records, _verified)
        return ReleaseService(records, BundleStore(self.bundles), "made", signers, self.keys, canary=lambda _: None)

    def write(self, version: str, submission: int) -> Bundle:
        """The bundle of a version."""
        folder = self.folder / "predictor"
        if not folder.exists():
            self.predictor.save(folder)
        return BundleStore(self.bundles).write(
            folder, Version("made", version, submission), PROCESS, self.plant.vocabulary
        )

    def submit(self, version: str) -> str:
        """Submit a version; the id of its release."""
        records = Records(self.url)
        made = self.service(records).submit(version, lambda n: self.write(version, n), lambda: EVIDENCE, by("anna"))
        records.close()
        return made.release_id


def by(who: str) -> SignRequest:
    """What a person gives to sign."""
    return SignRequest(who, who, "measured")


def _verified(secret: str) -> Principal:
    if secret not in _ROLES:
        raise UnauthenticatedError("the key is not known")
    role = _ROLES[secret]
    return Principal(f"key:{secret}", secret.capitalize(), "person", role, _ALL, subject=secret)  # ty: ignore[invalid-argument-type]
