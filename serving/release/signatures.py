"""Signatures of persons on releases and documents: who they are is shown again at each one, a refusal is recorded."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import tzinfo

from serving.access.principals import AccessError, ForbiddenError, Principal, UnauthenticatedError
from serving.access.signing import Meaning, Signing
from serving.audit import chain
from serving.audit.chain import Actor
from serving.ids import now_us
from serving.records.store import Records
from serving.release.local_time import local_time
from serving.release.states import ReleaseError

_MOST_REASON = 2_000  # characters


def one_person(subject: str, other: str) -> bool:
    """Whether two subjects differ at most in case, width or characters that nobody sees: then they are one person."""
    return _spelling(subject) == _spelling(other)


def _spelling(subject: str) -> str:
    folded = unicodedata.normalize("NFKC", subject).casefold()
    return "".join(c for c in folded if unicodedata.category(c) not in ("Cf", "Cc", "Zs"))


@dataclass(frozen=True)
class SignRequest:
    """What a person gives to sign.

    Attributes:
        signer: Their id as they typed it: the subject of their identity, or the id of their key (`key:...`).
        secret: Their own API key, or a token from a login just now.
        reason: Why, in their words.
        deviation: Id of a deviation or CAPA in the plant's own system.
        request_id: Of the command or request.
    """

    signer: str
    secret: str
    reason: str
    deviation: str | None = None
    request_id: str = "release"


@dataclass(frozen=True)
class PersonSignature:
    """A verified signature: the person, and the columns that both tables of signatures share."""

    person: Principal
    subject: str
    columns: dict[str, str | int]

    @property
    def at_us(self) -> int:
        """Time of the signature, microseconds UTC."""
        return int(self.columns["at_us"])

    @property
    def actor(self) -> Actor:
        """Who acts, for the audit trail."""
        return Actor(self.person.id, self.person.role, str(self.columns["request_id"]))


class Signers:
    """Verifies signatures.

    Args:
        records: Take refused attempts.
        verify: The principal of a credential.
        clock: Microseconds UTC.
        zone: Of the local time in the record; None: that of this machine.
        signing: Keeps sessions and counts refusals; None: new ones.
    """

    def __init__(
        self, records: Records, verify: Callable[[str], Principal], *, clock: Callable[[], int] = now_us,
        zone: tzinfo | None = None, signing: Signing | None = None,
    ) -> None:  # fmt: skip
        self._records, self._verify, self._clock, self._zone = records, verify, clock, zone
        self._signing = signing or Signing(verify, clock)

    def sign(self, request: SignRequest, permission: str, meaning: Meaning, target: str) -> PersonSignature:
        """The signature of a person who may give it; a refusal is an entry of the audit trail.

        Args:
            request: What the person gave.
            permission: That they need.
            meaning: Of the signature.
            target: The record in the audit trail that it is about.

        Raises:
            ReleaseError: There is no reason, or a text is too long.
            AccessError: The person is not the one they say, or may not sign this.
            RecordsUnavailableError: The refusal could not be recorded.
        """
        _check_texts(request)
        person: Principal | None = None
        try:
            person = self._verify(request.secret)
            subject = _checked_subject(person, permission)
            signer = person.id if request.signer == subject else request.signer
            signed = self._signing.sign(person, meaning, signer, request.secret)
        except AccessError as error:
            self._record_refusal(person, request, target, error.what)
            raise
        at_us = self._clock()
        local = local_time(at_us, self._zone)
        return PersonSignature(person, subject, {
            "principal": person.id, "subject": subject, "signer_name": signed.name, "meaning": signed.meaning,
            "reason": request.reason, "at_us": at_us, "local_time": local.text, "zone": local.zone,
            "signed_with": signed.signed_with, "request_id": request.request_id,
        })  # fmt: skip

    def _record_refusal(self, person: Principal | None, request: SignRequest, target: str, why: str) -> None:
        who, role = (person.id, person.role) if person is not None else ("unknown", "none")
        with self._records.write() as (connection, now):
            chain.append(
                connection, now, Actor(who, role, request.request_id), "signature_refused", target, at_us=self._clock(),
                new={"signer": request.signer[:200]}, why=why,
            )  # fmt: skip


def _check_texts(request: SignRequest) -> None:
    if not request.reason.strip() or len(request.reason) > _MOST_REASON:
        raise ReleaseError("a signature needs a reason", expected=f"1 to {_MOST_REASON:,} characters")
    if request.deviation is not None and not 0 < len(request.deviation) <= 200:
        raise ReleaseError("the id of the deviation is empty or too long", expected="1 to 200 characters")
    if not request.secret:
        raise UnauthenticatedError(
            "a signature needs your secret again", expected="your own API key, or a token from a login just now"
        )


def _checked_subject(person: Principal, permission: str) -> str:
    if person.kind != "person":
        raise ForbiddenError("a service never signs")
    if person.subject is None:
        raise ForbiddenError(
            f"{person.id} has no subject: it signs no release",
            remedy="Make a key with 'batchguard keys add NAME --person --subject ID'.",
        )
    if not person.may(permission):
        raise ForbiddenError(f"role {person.role} cannot do this", expected="reviewer to submit, approver for the rest")
    return person.subject
