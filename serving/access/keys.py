"""API keys: shown once, kept as argon2id hashes, revoked within a second.

A key is `bg_ID_SECRET`. The id finds the row, the secret is verified; a verified key is remembered by its SHA-256, for
argon2 takes a tenth of a second, and so is a wrong one, so that it costs that time once.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import orjson
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import insert, select, update

from serving.access.principals import ALL_SITES, AccessError, Principal, UnauthenticatedError, checked
from serving.audit import trail
from serving.audit.trail import Actor
from serving.ids import ID_PATTERN, now_us
from serving.records.store import Records
from serving.records.tables import api_keys

_KEY = re.compile(r"^bg_([0-9a-f]{12})_([A-Za-z0-9_-]{43})$")
_HASHER = PasswordHasher()  # argon2id, RFC 9106's second recommended parameters
_FRESH_US = 1_000_000  # how old the list of keys may be
_REMEMBERED = 4096


def add_key(
    records: Records, *, name: str, kind: str, role: str, sites: Sequence[str], expires_us: int | None, actor: Actor
) -> tuple[str, str]:
    """Make a key.

    Returns:
        Its id, and the key itself, which nothing can show again.

    Raises:
        AccessError: Kind, role and sites do not go together, a site is one that no batch can name, or the name cannot be printed.
        RecordsUnavailableError: It could not be kept.
    """
    checked_kind, checked_role, checked_sites = checked(kind, role, list(sites))
    if not name.strip() or len(name) > 200 or not name.isprintable():
        raise AccessError("a key needs a name", expected="1 to 200 characters that can be printed")
    for site in sites:
        if site != ALL_SITES and not re.fullmatch(ID_PATTERN, site):
            raise AccessError(f"site {site!r}", expected="an id as batches have it, or * for all")
    key_id, secret, at_us = secrets.token_hex(6), secrets.token_urlsafe(32), now_us()
    row: dict[str, Any] = {
        "key_id": key_id,
        "name": name,
        "kind": checked_kind,
        "role": checked_role,
        "sites": orjson.dumps(sorted(checked_sites)).decode(),
        "made_us": at_us,
        "expires_us": expires_us,
        "revoked_us": None,
    }
    with records.write() as (connection, now):
        connection.execute(insert(api_keys), {**row, "secret_hash": _HASHER.hash(secret)})
        trail.append(connection, now, actor, "key_added", f"key:{key_id}", at_us=at_us, new=row)
    return key_id, f"bg_{key_id}_{secret}"


def list_keys(records: Records) -> list[dict[str, Any]]:
    """All keys, revoked ones too, oldest first, without their hashes."""
    with records.read() as connection:
        found = connection.execute(select(api_keys).order_by(api_keys.c.made_us, api_keys.c.key_id)).mappings().all()
    return [{name: value for name, value in row.items() if name != "secret_hash"} for row in found]


def revoke_key(records: Records, key_id: str, *, why: str, actor: Actor) -> None:
    """Make a key useless.

    Raises:
        AccessError: There is no such key, it is revoked already, or nobody says why.
        RecordsUnavailableError: It could not be kept.
    """
    if not why.strip():
        raise AccessError("a key is revoked for a reason", expected="--why with some words")
    at_us = now_us()
    with records.write() as (connection, now):
        found = connection.execute(select(api_keys).where(api_keys.c.key_id == key_id)).mappings().one_or_none()
        if found is None:
            raise AccessError(f"no key {key_id!r}", remedy="'batchguard keys list' shows all.")
        if found["revoked_us"] is not None:
            raise AccessError(f"key {key_id!r} is revoked already")
        connection.execute(update(api_keys).where(api_keys.c.key_id == key_id).values(revoked_us=at_us))
        trail.append(connection, now, actor, "key_revoked", f"key:{key_id}", at_us=at_us,
                     old={"revoked_us": None}, new={"revoked_us": at_us}, why=why)  # fmt: skip


class KeyRing:
    """Verifies keys, quickly after the first time.

    Args:
        records: Where the keys are.
        clock: Microseconds UTC.
    """

    def __init__(self, records: Records, clock: Callable[[], int] = now_us) -> None:
        self._records, self._clock = records, clock
        self._rows: dict[str, dict[str, Any]] = {}
        self._read_us = -_FRESH_US
        self._seen: OrderedDict[bytes, str] = OrderedDict()  # digest of a key -> hash it fits, empty: none
        self._lock, self._one_at_a_time = threading.Lock(), threading.Lock()

    def is_quick(self, key: str) -> bool:
        """Whether `principal` answers without argon2 and without the database."""
        return _digest(key) in self._seen and self._clock() - self._read_us < _FRESH_US

    def principal(self, key: str) -> Principal:
        """Whose key it is.

        Raises:
            UnauthenticatedError: It is no key, a wrong, expired or revoked one.
            RecordsUnavailableError: The keys cannot be read now.
        """
        match = _KEY.match(key)
        row = self._current().get(match[1]) if match else None
        if match is None or row is None or not self._fits(key, match[2], row["secret_hash"]):
            raise UnauthenticatedError("the key is not known")
        if row["revoked_us"] is not None:
            raise UnauthenticatedError("the key was revoked")
        if row["expires_us"] is not None and row["expires_us"] <= self._clock():
            raise UnauthenticatedError("the key has expired")
        return Principal(
            f"key:{row['key_id']}", row["name"], row["kind"], row["role"], frozenset(orjson.loads(row["sites"]))
        )

    def _current(self) -> dict[str, dict[str, Any]]:
        now = self._clock()
        if now - self._read_us >= _FRESH_US:
            with self._records.read() as connection:
                rows = {row["key_id"]: dict(row) for row in connection.execute(select(api_keys)).mappings()}
            self._rows, self._read_us = rows, now
        return self._rows

    def _fits(self, key: str, secret: str, secret_hash: str) -> bool:
        digest = _digest(key)
        with self._lock:
            known = self._seen.get(digest)
        if known is not None:
            return known == secret_hash
        with self._one_at_a_time:  # a flood of wrong keys takes one core's time, not all
            fits = _verifies(secret_hash, secret)
        with self._lock:
            self._seen[digest] = secret_hash if fits else ""
            while len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
        return fits


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _verifies(secret_hash: str, secret: str) -> bool:
    try:
        return _HASHER.verify(secret_hash, secret)
    except (VerificationError, InvalidHashError):
        return False
