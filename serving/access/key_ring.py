"""Verifies API keys.

Argon2 takes a tenth of a second, so a verified key is remembered by its digest. Each key has one secret: once it is
verified, every other secret for it is wrong without argon2. What remains for argon2 is the first use of a key, one at a
time. Requests wait for it in `serving.access.verification_queue`, without a thread of those that serve others.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import threading
from collections import Counter
from collections.abc import Callable, Generator

import orjson
from sqlalchemy import RowMapping, select

from serving.access import secrets
from serving.access.principals import AccessError, Principal, UnauthenticatedError
from serving.ids import RisingClock, now_us, steady_us
from serving.records.store import Records, RecordsUnavailableError
from serving.records.tables import api_keys

_FRESH_US = 1_000_000  # maximum age of the list of keys
_REFRESH_US = _FRESH_US // 2  # age from which it is read anew while it goes on serving
_MARGIN_US = 10_000  # what is said to be cached has to be so a moment later, too: the event loop must not wait
PLACES, PLACES_OF_A_KEY = 4, 2  # keys being verified or waiting for that


class KeysBusyError(AccessError):
    """More keys wait to be verified than have room."""


class VerificationLane:
    """The few places in which keys are verified with argon2, one after the other; nobody waits for a place.

    Args:
        places: How many may be in it.
        places_of_a_key: How many for one key, so that an attack on one leaves places for the others.
    """

    def __init__(self, places: int = PLACES, places_of_a_key: int = PLACES_OF_A_KEY) -> None:
        self._places, self._of_a_key = places, places_of_a_key
        self._inside: Counter[str] = Counter()
        self._counting, self._hashing = threading.Lock(), threading.Lock()

    @contextlib.contextmanager
    def place(self, key_id: str) -> Generator[None]:
        """A place for one verification.

        Raises:
            KeysBusyError: The lane is full.
        """
        with self._counting:
            if self._inside.total() >= self._places or self._inside[key_id] >= self._of_a_key:
                raise KeysBusyError("too many keys are being verified", remedy="Try again in a second.")
            self._inside[key_id] += 1
        try:
            with self._hashing:
                yield
        finally:
            with self._counting:
                self._inside[key_id] -= 1


def in_thread(step: Callable[[], None]) -> None:
    """Run a step in a thread of its own."""
    threading.Thread(target=step, daemon=True).start()


class KeyRing:
    """Verifies API keys; a revoked key is refused within a second.

    The list of keys is read anew beside the requests, which wait for it only if it is a second old: after a pause, or while
    the records are slow.

    Args:
        records: Holds the keys.
        clock: Microseconds UTC; set back, it revives no expired key.
        steady: Microseconds since an arbitrary moment; the age of the list of keys is measured by it.
        lane: Where keys are verified that were not verified before.
        background: Runs the reading that no request waits for.
    """

    def __init__(
        self, records: Records, clock: Callable[[], int] = now_us, steady: Callable[[], int] = steady_us,
        lane: VerificationLane | None = None, background: Callable[[Callable[[], None]], None] = in_thread,
    ) -> None:  # fmt: skip
        self._records, self._clock, self._steady = records, RisingClock(clock, steady), steady
        self._by_lookup: dict[str, tuple[RowMapping, secrets.Stored]] = {}
        self._read_us: int | None = None
        self._verified: dict[str, tuple[bytes, secrets.Stored]] = {}  # by key id: digest of the right key
        self._lane, self._background = lane or VerificationLane(), background
        self._reading, self._refreshing = threading.Lock(), threading.Lock()

    def is_cached(self, key: str) -> bool:
        """Whether `principal` returns, or refuses, without argon2 and without the database."""
        if not self._is_fresh(_FRESH_US - _MARGIN_US):
            return False
        presented = secrets.parse(key)
        found = self._by_lookup.get(presented.lookup) if presented else None
        if presented is None or found is None:
            return True
        row, kept = found
        return self._remembered(row["key_id"], kept) is not None or not secrets.may_match(presented.secret, kept)

    def principal(self, key: str) -> Principal:
        """The principal of a key.

        Raises:
            UnauthenticatedError: The text is no key, or a wrong, expired or revoked one.
            KeysBusyError: Too many keys are being verified; this one was not.
            RecordsUnavailableError: The keys cannot be read now.
        """
        presented = secrets.parse(key)
        found = self._current().get(presented.lookup) if presented else None
        if presented is None or found is None or not self._matches(key, presented.secret, *found):
            raise UnauthenticatedError("the key is not known")
        row, _ = found
        if row["revoked_us"] is not None:
            raise UnauthenticatedError("the key was revoked")
        if row["expires_us"] is not None and row["expires_us"] <= self._clock():
            raise UnauthenticatedError("the key has expired")
        sites = frozenset(orjson.loads(row["sites"]))
        subject = row["subject"] if row["kind"] == "person" else None
        return Principal(f"key:{row['key_id']}", row["name"], row["kind"], row["role"], sites, subject=subject)

    def _is_fresh(self, most_us: int = _FRESH_US) -> bool:
        return self._read_us is not None and self._steady() - self._read_us < most_us

    def _current(self) -> dict[str, tuple[RowMapping, secrets.Stored]]:
        if not self._is_fresh():
            self._read_unless_younger_than(_FRESH_US)
        elif not self._is_fresh(_REFRESH_US) and self._refreshing.acquire(blocking=False):
            self._background(self._refresh)
        return self._by_lookup

    def _refresh(self) -> None:
        try:
            self._read_unless_younger_than(_REFRESH_US)
        except RecordsUnavailableError:
            pass  # those who find the list too old try again, and say so
        finally:
            self._refreshing.release()

    def _read_unless_younger_than(self, age_us: int) -> None:
        with self._reading:
            if self._is_fresh(age_us):
                return  # another thread has just read it
            now = self._steady()  # a key revoked from here on may be missed, so the age counts from here
            with self._records.read() as connection:
                rows = connection.execute(select(api_keys)).mappings().all()
            kept = [(row, secrets.stored(row["secret_hash"])) for row in rows]
            self._by_lookup = {own.lookup or row["key_id"]: (row, own) for row, own in kept}
            self._read_us = now

    def _matches(self, key: str, secret: str, row: RowMapping, kept: secrets.Stored) -> bool:
        key_id, digest = row["key_id"], hashlib.sha256(key.encode()).digest()
        right = self._remembered(key_id, kept)
        if right is None and secrets.may_match(secret, kept):
            with self._lane.place(key_id):
                right = self._remembered(key_id, kept)  # another request may have verified it meanwhile
                if right is None and secrets.matches(secret, kept):
                    right = digest
                    self._verified[key_id] = digest, kept
        return right is not None and hmac.compare_digest(right, digest)

    def _remembered(self, key_id: str, kept: secrets.Stored) -> bytes | None:
        """Digest of the right key, if it was verified against what is stored now."""
        digest, against = self._verified.get(key_id, (None, None))
        return digest if against == kept else None
