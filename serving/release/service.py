"""What a person does with a release: submit, approve, reject, make effective, roll back. Each step is one transaction.

The records decide: a step reads the state under the lock of the head, so that of two persons at once one is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, insert

from serving.audit import chain
from serving.bundle.bundle import Bundle
from serving.bundle.canary import run_canary
from serving.bundle.store import BundleStore
from serving.ids import new_id
from serving.records.store import Head, Records
from serving.records.tables import release_actions
from serving.release.dsse import Envelope, KeySignature, envelope_of
from serving.release.evidence import Evidence
from serving.release.history import (
    EffectiveRelease,
    ReleaseStatus,
    effective,
    envelope_of_release,
    open_release,
    predecessor,
    release_of,
    releases_of,
    times_submitted,
)
from serving.release.signatures import PersonSignature, Signers, SignRequest, one_person
from serving.release.site_keys import KeyKind, KeyRole, SigningKey, signing_key, trusted_keys
from serving.release.statement import Author, Predicate, Statement
from serving.release.states import Action, ReleaseError, State, moved
from serving.release.verification import verify_author


@dataclass(frozen=True)
class ReleaseService:
    """Releases of one process.

    Attributes:
        records: Hold the actions.
        store: Holds the bundles.
        process_id: The process.
        signers: Verify the persons.
        keys: Folder of the keys.
        kind: Which keys sign: the site's, or those of the demo.
        key_of: The signing key of a role; None: the file of the folder. A hardware store plugs in here.
        canary: Tries a bundle out before it becomes effective; raises `BundleError` where it fails.
    """

    records: Records
    store: BundleStore
    process_id: str
    signers: Signers
    keys: Path
    kind: KeyKind = "site"
    key_of: Callable[[KeyRole], SigningKey] | None = None
    canary: Callable[[Bundle], None] = run_canary

    def submit(
        self, version: str, export: Callable[[int], Bundle], evidence: Callable[[], Evidence], request: SignRequest
    ) -> ReleaseStatus:
        """Draft to tested: write the bundle of a version, and sign what is stated about it as its author.

        Args:
            version: Of the registry.
            export: Writes the bundle, given how often the version was submitted before.
            evidence: Checks the criteria; raises where they are not met.
            request: The author's signature.

        Raises:
            ReleaseError: The version has a release already, or the evidence is not enough; nothing was stored.
            AccessError: The signature was refused.
            StorageError: The bundle cannot be written, a key cannot be used, or the records cannot.
        """
        target = f"release:{self.process_id}:{version}"
        signed = self.signers.sign(request, "submit_release", "responsibility", target)
        submission = self._submission(version)
        rests_on, key = evidence(), self._key("author")
        bundle = export(submission)
        predicate = Predicate(
            process=self.process_id, version=version, model_sha256=bundle.manifest.model_sha256, **vars(rests_on),
            meaning=str(signed.columns["meaning"]), author=Author(signed.subject, str(signed.columns["signer_name"])),
            at=str(signed.columns["local_time"]),
        )  # fmt: skip
        envelope = _signed(Envelope(Statement(bundle.sha256, predicate).to_bytes()), key)
        with self.records.write() as (connection, now):
            if self._next_submission(connection, version) != submission:
                raise ReleaseError(f"version {version} was submitted by somebody else just now")
            self._add(connection, now, (bundle.sha256, version), "submit", "draft", signed, request, envelope.to_text())
        return self.status(bundle.sha256)

    def approve(self, release_id: str, request: SignRequest) -> ReleaseStatus:
        """Tested to approved: sign the author's statement as another person.

        Raises:
            ReleaseError: The release is not tested, its bundle was changed, or the author would approve.
            AccessError: The signature was refused.
            StorageError: A key cannot be used, or the records cannot.
        """
        before = self.status(release_id)
        moved("approve", before.state, _named(before))
        signed = self.signers.sign(request, "approve_release", "approval", f"release:{release_id}")
        if one_person(signed.subject, before.author):
            self._refuse(signed, request, release_id, f"{signed.subject} submitted this release and cannot approve it")
        text = next(row["envelope"] for row in before.actions if row["action"] == "submit")
        verify_author(text, release_id, trusted_keys(self.keys))
        self.store.read(release_id)
        envelope = _signed(envelope_of(text), self._key("approver"))
        with self.records.write() as (connection, now):
            state = release_of(connection, release_id).state
            self._add(
                connection, now, (release_id, before.version), "approve", state, signed, request, envelope.to_text()
            )
        return self.status(release_id)

    def reject(self, release_id: str, request: SignRequest) -> ReleaseStatus:
        """Tested or approved to draft; the version can be submitted again, as another release.

        Raises:
            ReleaseError: The release is in another state.
            AccessError: The signature was refused.
        """
        before = self.status(release_id)
        moved("reject", before.state, _named(before))
        signed = self.signers.sign(request, "submit_release", "review", f"release:{release_id}")
        with self.records.write() as (connection, now):
            state = release_of(connection, release_id).state
            self._add(connection, now, (release_id, before.version), "reject", state, signed, request)
        return self.status(release_id)

    def make_effective(self, release_id: str, request: SignRequest) -> ReleaseStatus:
        """Approved to effective; the release that was effective is retired in the same transaction.

        Raises:
            ReleaseError: The release is not approved.
            AccessError: The signature was refused.
            StorageError: Seal or bundle are not as they were signed, this software cannot serve them, or the canary fails.
        """
        before = self.status(release_id)
        moved("make_effective", before.state, _named(before))
        signed = self.signers.sign(request, "approve_release", "approval", f"release:{release_id}")
        self._try_out(release_id)
        with self.records.write() as (connection, now):
            state, former = release_of(connection, release_id).state, effective(connection, self.process_id)
            if former is not None:
                pair = (former.release_id, former.version)
                moved("make_effective", state, _named(before))
                self._add(connection, now, pair, "retire", "effective", signed, request)
            self._add(connection, now, (release_id, before.version), "make_effective", state, signed, request)
        return self.status(release_id)

    def rollback(self, request: SignRequest) -> ReleaseStatus:
        """The effective release is retired, and the one that was effective before it is effective again.

        Raises:
            ReleaseError: None is effective, or none was before it.
            AccessError: The signature was refused.
            StorageError: The earlier release cannot serve any more.
        """
        now_effective, earlier = self._before_effective()
        signed = self.signers.sign(request, "approve_release", "approval", f"release:{now_effective.release_id}")
        self._try_out(earlier.release_id)
        with self.records.write() as (connection, now):
            found = effective(connection, self.process_id)
            if found is None or found.release_id != now_effective.release_id:
                raise ReleaseError(
                    "another release became effective just now", remedy="Look at 'batchguard release status'."
                )
            self._add(connection, now, (found.release_id, found.version), "rollback", "effective", signed, request)
            state = release_of(connection, earlier.release_id).state
            self._add(connection, now, (earlier.release_id, earlier.version), "restore", state, signed, request)
        return self.status(earlier.release_id)

    def status(self, release_id: str) -> ReleaseStatus:
        """A release of this process.

        Raises:
            ReleaseError: There is none of that id.
        """
        with self.records.read() as connection:
            found = release_of(connection, release_id)
        if found.actions[0]["process_id"] != self.process_id:
            raise ReleaseError(f"release {release_id[:12]} is not one of {self.process_id!r}")
        return found

    def all(self) -> list[ReleaseStatus]:
        """All releases of the process, in the order in which they were submitted."""
        with self.records.read() as connection:
            return releases_of(connection, self.process_id)

    def effective(self) -> EffectiveRelease | None:
        """The release that serves."""
        with self.records.read() as connection:
            return effective(connection, self.process_id)

    def _submission(self, version: str) -> int:
        with self.records.read() as connection:
            return self._next_submission(connection, version)

    def _next_submission(self, connection: Connection, version: str) -> int:
        found = open_release(releases_of(connection, self.process_id), version)
        if found is not None:
            moved("submit", found.state, _named(found))
        return times_submitted(connection, self.process_id, version)

    def _before_effective(self) -> tuple[EffectiveRelease, ReleaseStatus]:
        with self.records.read() as connection:
            found = effective(connection, self.process_id)
            if found is None:
                raise ReleaseError(f"no release of {self.process_id!r} is effective: there is nothing to roll back")
            earlier = predecessor(releases_of(connection, self.process_id), found.release_id)
            if earlier is None:
                raise ReleaseError(
                    f"version {found.version} is the first that became effective: there is none to go back to",
                    remedy="Release another version with 'batchguard release submit'.",
                )
            return found, release_of(connection, earlier)

    def _try_out(self, release_id: str) -> None:
        with self.records.read() as connection:
            envelope = envelope_of_release(connection, release_id)
        bundle = self.store.sealed(release_id, envelope, trusted_keys(self.keys))
        bundle.check_software()
        self.canary(bundle)

    def _refuse(self, signed: PersonSignature, request: SignRequest, release_id: str, why: str) -> None:
        with self.records.write() as (connection, now):
            chain.append(connection, now, signed.actor, "signature_refused", f"release:{release_id}", at_us=signed.at_us,
                         new={"signer": request.signer[:200]}, why=why)  # fmt: skip
        raise ReleaseError(why, expected="two distinct persons", remedy="Another person approves it.")

    def _key(self, role: KeyRole) -> SigningKey:
        return self.key_of(role) if self.key_of is not None else signing_key(self.keys, role, self.kind)

    def _add(
        self, connection: Connection, now: Head, release: tuple[str, str], action: Action, state: State,
        signed: PersonSignature, request: SignRequest, envelope: str | None = None,
    ) -> None:  # fmt: skip
        """One row and its entry; the state was read under the lock of the head."""
        release_id, version = release
        row = {
            "action_id": new_id(signed.at_us), "seq": now.audit_seq + 1, "release_id": release_id,
            "process_id": self.process_id, "version": version, "action": action,
            "state": moved(action, state, f"version {version} ({release_id[:12]})"), "deviation": request.deviation,
            "envelope": envelope, **signed.columns,
        }  # fmt: skip
        connection.execute(insert(release_actions), row)
        chain.append(connection, now, signed.actor, "release", f"release:{release_id}", at_us=signed.at_us,
                     old={"state": state}, new=chain.release_digest(row), why=request.reason)  # fmt: skip


def _named(release: ReleaseStatus) -> str:
    return f"version {release.version} ({release.release_id[:12]})"


def _signed(envelope: Envelope, key: SigningKey) -> Envelope:
    return envelope.with_signature(KeySignature(key.key_id, key.sign(envelope.signed_bytes)))
