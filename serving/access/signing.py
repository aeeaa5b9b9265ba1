"""Signing: a person authenticates again at the moment of the signature (21 CFR 11.200(a)).

A signature has two components: the person's id, and a secret that only this person has: their own API key once more, or
a token of the identity provider from a login just now (`auth_time`).

- The first signing of a session takes both; the login is at most `FRESH_S` old.
- Each next one takes the secret again; the login is at most `SESSION_S` old.
- A session ends `SESSION_S` after its last signing, and with the process.
- `MOST_REFUSED` refused attempts within `SESSION_S`: no more until that time is over.

A refusal is an RFC 9470 challenge, and an entry of the audit trail.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from serving.access.principals import ForbiddenError, Principal, UnauthenticatedError
from serving.ids import now_us, steady_us

FRESH_S, SESSION_S, MOST_REFUSED = 300, 900, 5
Meaning = Literal["review", "approval", "responsibility"]
MEANINGS: tuple[Meaning, ...] = get_args(Meaning)
_S = 1_000_000


class SignatureError(UnauthenticatedError):
    """A signature without a component that it needs."""


class SigningPausedError(UnauthenticatedError):
    """Too many signatures of this person were refused."""


@dataclass(frozen=True)
class Signature:
    """A signature as a signed record shows it.

    Attributes:
        name: Of the person, as printed.
        meaning: Review, approval or responsibility.
        signed_with: The components of the signature.
    """

    name: str
    meaning: Meaning
    signed_with: str


class Signing:
    """Sessions of signing people.

    Args:
        verify: The principal of a credential.
        clock: Microseconds UTC; a login's time is compared with it.
        steady: Microseconds since an arbitrary moment; sessions and pauses are measured by it.
    """

    def __init__(
        self, verify: Callable[[str], Principal], clock: Callable[[], int] = now_us,
        steady: Callable[[], int] = steady_us,
    ) -> None:  # fmt: skip
        self._verify, self._clock, self._steady = verify, clock, steady
        self._last: dict[str, int] = {}  # person -> time of the last signing
        self._refused: dict[str, list[int]] = {}
        self._person_locks: dict[str, threading.Lock] = {}  # one attempt at a time, so that refusals are counted
        self._lock = threading.Lock()

    def sign(self, person: Principal, meaning: Meaning, signer: str | None, credential: str | None) -> Signature:
        """A signature of an authenticated person.

        Args:
            person: The signer, by the request's own credential.
            meaning: The meaning of the signature.
            signer: The person's id as they typed it; may be absent within a session.
            credential: Their secret, sent again.

        Raises:
            ForbiddenError: This person cannot give such a signature.
            SignatureError: A component is missing or is not this person's.
            SigningPausedError: Too many attempts were refused.
        """
        if person.kind != "person":
            raise ForbiddenError("a service never signs")
        if meaning == "approval" and person.role != "approver":
            raise ForbiddenError(f"role {person.role} cannot sign an approval")
        with self._lock:
            person_lock = self._person_locks.setdefault(person.id, threading.Lock())
        with person_lock:
            return self._sign(person, meaning, signer, credential)

    def _sign(self, person: Principal, meaning: Meaning, signer: str | None, credential: str | None) -> Signature:
        now = self._steady()
        self._check_paused(person, now)
        try:
            used = self._components(person, signer, credential, now)
        except UnauthenticatedError as error:
            with self._lock:
                self._refused.setdefault(person.id, []).append(now)
            raise SignatureError(error.what, expected=error.expected, remedy=error.remedy) from None
        with self._lock:
            self._last[person.id] = now
            self._refused.pop(person.id, None)
        return Signature(person.name, meaning, used)

    def _check_paused(self, person: Principal, now: int) -> None:
        with self._lock:
            recent = [at for at in self._refused.get(person.id, ()) if now - at < SESSION_S * _S]
        if len(recent) >= MOST_REFUSED:
            raise SigningPausedError(
                f"{len(recent)} signatures of {person.id} were refused", remedy=f"Wait {SESSION_S // 60} minutes."
            )

    def _components(self, person: Principal, signer: str | None, credential: str | None, now: int) -> str:
        if not credential:
            raise SignatureError(
                "a signature needs your secret again",
                expected="Signature-Credential: your own API key, or a token from a login just now",
            )
        signing = self._verify(credential)
        if signing.id != person.id:
            raise SignatureError("the secret belongs to somebody else", expected="your own")
        last = self._last.get(person.id)
        first = last is None or now - last >= SESSION_S * _S
        if signer != person.id and (first or signer is not None):
            fault = (
                "the first signature of a session names its signer" if signer is None else "the signer is somebody else"
            )
            raise SignatureError(fault, expected="signer: your own id")
        by_key = person.id.startswith("key:")
        if not by_key:
            _check_login(signing, self._clock(), FRESH_S if first else SESSION_S)
        component = "key" if by_key else "login"
        return f"id and {component}" if signer else component


def _check_login(person: Principal, now: int, most_s: int) -> None:
    at = person.authenticated_us
    if at is None or not -FRESH_S * _S <= now - at <= most_s * _S:
        raise SignatureError(
            "the token does not come from a login just now", expected=f"auth_time at most {most_s} s ago",
            remedy=f"Log in again (max_age={most_s}).",
        )  # fmt: skip
