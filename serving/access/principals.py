"""Principals: roles and what each may do, sites and which batches each may see, and the API keys that authenticate services.

A key is `bg_ID_SECRET`. The id finds the row, argon2 verifies the secret. A verified key is cached by its SHA-256, because
argon2 takes a tenth of a second; a wrong key is cached as well, so that it costs that time once.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import orjson
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import RowMapping, select

from features.errors import BatchguardError
from serving.ids import RisingClock, now_us, steady_us
from serving.records.store import Records
from serving.records.tables import api_keys

Role = Literal["mes", "viewer", "reviewer", "approver", "admin"]
Kind = Literal["service", "person"]

ROLES: tuple[Role, ...] = get_args(Role)
SERVICE_ROLES: tuple[Role, ...] = ("mes", "viewer")  # the others decide or sign, which only a person does
ALL_SITES = "*"
HASHER = PasswordHasher()  # argon2id, RFC 9106's second recommended parameters

PERMISSIONS: Mapping[str, frozenset[Role]] = {
    "write_batches": frozenset({"mes"}),
    "write_plant": frozenset({"mes"}),
    "score": frozenset({"mes"}),
    "read": frozenset(ROLES),
    "review": frozenset({"reviewer", "approver"}),
    "metrics": frozenset({"viewer", "admin"}),
}
_KEY = re.compile(r"^bg_([0-9a-f]{12})_([A-Za-z0-9_-]{43})$")
_FRESH_US = 1_000_000  # maximum age of the list of keys
_CACHED = 4096


class AccessError(BatchguardError):
    """A key or token that cannot be made or used."""


class UnauthenticatedError(AccessError):
    """No key or token, or one that is wrong, expired or revoked."""


class ForbiddenError(AccessError):
    """An authenticated principal without the permission."""


@dataclass(frozen=True)
class Principal:
    """An authenticated service or person.

    Attributes:
        id: Stable identity, `key:ID` or `user:SUBJECT`.
        name: For people to read.
        kind: A service can never sign.
        role: Decides the permissions.
        sites: Sites whose batches the principal sees; `*` for all.
        authenticated_us: When the person logged in, microseconds UTC; None for a key, or if the provider does not say.
    """

    id: str
    name: str
    kind: Kind
    role: Role
    sites: frozenset[str]
    authenticated_us: int | None = None

    def may(self, permission: str) -> bool:
        """Whether role and kind have a permission; nobody has an unknown permission."""
        if permission == "review" and self.kind != "person":
            return False
        return self.role in PERMISSIONS.get(permission, frozenset())

    def sees(self, site_id: str) -> bool:
        """Whether the principal sees batches of a site."""
        return ALL_SITES in self.sites or site_id in self.sites


def checked(kind: str, role: str, sites: list[str]) -> tuple[Kind, Role, frozenset[str]]:
    """A kind, role and sites that go together.

    Raises:
        AccessError: One is unknown, no site is given, or a service would decide or sign.
    """
    if kind not in ("service", "person"):
        raise AccessError(f"kind {kind!r}", expected=" or ".join(get_args(Kind)))
    if role not in ROLES:
        raise AccessError(f"role {role!r}", expected=", ".join(ROLES))
    if kind == "service" and role not in SERVICE_ROLES:
        raise AccessError(
            f"a service cannot be {role}",
            expected=" or ".join(SERVICE_ROLES),
            remedy="Only a person decides and signs: make the key with --person.",
        )
    if not sites or not all(sites):
        raise AccessError("no site", expected="one or more sites, or * for all")
    return kind, role, frozenset(sites)


class KeyRing:
    """Verifies API keys; verified keys are cached, and a revoked key is refused within a second.

    Args:
        records: Holds the keys.
        clock: Microseconds UTC; set back, it revives no expired key.
        steady: Microseconds since an arbitrary moment; the age of the list of keys is measured by it.
    """

    def __init__(
        self, records: Records, clock: Callable[[], int] = now_us, steady: Callable[[], int] = steady_us
    ) -> None:
        self._records, self._clock, self._steady = records, RisingClock(clock, steady), steady
        self._rows: dict[str, RowMapping] = {}
        self._read_us: int | None = None
        self._verified: OrderedDict[bytes, str] = OrderedDict()  # digest of a key -> matching hash; empty: none matches
        self._lock, self._hashing = threading.Lock(), threading.Lock()

    def is_cached(self, key: str) -> bool:
        """Whether `principal` returns without argon2 and without the database."""
        return _digest(key) in self._verified and self._is_fresh()

    def principal(self, key: str) -> Principal:
        """The principal of a key.

        Raises:
            UnauthenticatedError: The text is no key, or a wrong, expired or revoked one.
            RecordsUnavailableError: The keys cannot be read now.
        """
        match = _KEY.match(key)
        row = self._current().get(match[1]) if match else None
        if match is None or row is None or not self._matches(key, match[2], row["secret_hash"]):
            raise UnauthenticatedError("the key is not known")
        if row["revoked_us"] is not None:
            raise UnauthenticatedError("the key was revoked")
        if row["expires_us"] is not None and row["expires_us"] <= self._clock():
            raise UnauthenticatedError("the key has expired")
        sites = frozenset(orjson.loads(row["sites"]))
        return Principal(f"key:{row['key_id']}", row["name"], row["kind"], row["role"], sites)

    def _is_fresh(self) -> bool:
        return self._read_us is not None and self._steady() - self._read_us < _FRESH_US

    def _current(self) -> dict[str, RowMapping]:
        if not self._is_fresh():
            now = self._steady()
            with self._records.read() as connection:
                rows = {row["key_id"]: row for row in connection.execute(select(api_keys)).mappings()}
            self._rows, self._read_us = rows, now
        return self._rows

    def _matches(self, key: str, secret: str, secret_hash: str) -> bool:
        digest = _digest(key)
        with self._lock:
            cached = self._verified.get(digest)
        if cached is not None:
            return cached == secret_hash
        with self._hashing:  # a flood of wrong keys takes one core's time, not all
            matches = _verifies(secret_hash, secret)
        with self._lock:
            self._verified[digest] = secret_hash if matches else ""
            while len(self._verified) > _CACHED:
                self._verified.popitem(last=False)
        return matches


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _verifies(secret_hash: str, secret: str) -> bool:
    try:
        return HASHER.verify(secret_hash, secret)
    except (VerificationError, InvalidHashError):
        return False
