"""The secret half of an API key: what is stored of it, and how one that is presented is compared.

A key is `bg_LOOKUP_SECRET`. Stored are the argon2id hash of the secret, the lookup, and a tag: 32 bits of the secret's
SHA-256. A secret has 256 random bits, so the tag helps nobody to guess it, and a wrong secret is told from the right one
without argon2. Keys of 0.2.0 and earlier have neither tag nor a lookup of their own: their id was both.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets as random
from typing import NamedTuple

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_KEY = re.compile(r"bg_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_TAG_DIGITS = 8
_SEPARATOR = ";"
HASHER = PasswordHasher()  # argon2id, RFC 9106's second recommended parameters


class Presented(NamedTuple):
    """The parts of a key that a client presents."""

    lookup: str
    secret: str


class Stored(NamedTuple):
    """What is stored of a key; lookup and tag are empty for a key of an earlier version."""

    argon2_hash: str
    lookup: str = ""
    tag: str = ""

    @property
    def text(self) -> str:
        """As the column `secret_hash` holds it."""
        return _SEPARATOR.join(self)


def make() -> tuple[str, Stored]:
    """A new key, and what is stored of it."""
    lookup, secret = random.token_hex(6), random.token_urlsafe(32)
    return f"bg_{lookup}_{secret}", Stored(HASHER.hash(secret), lookup, _tag(secret))


def parse(key: str) -> Presented | None:
    """The parts of a key; None: the text is no key."""
    match = _KEY.fullmatch(key)
    return Presented(match[1], match[2]) if match else None


def stored(text: str) -> Stored:
    """What the column `secret_hash` holds."""
    return Stored(*text.split(_SEPARATOR, maxsplit=2))


def may_match(secret: str, kept: Stored) -> bool:
    """Whether a secret can be the right one, by its tag alone; true where none is stored."""
    return not kept.tag or hmac.compare_digest(kept.tag, _tag(secret))


def matches(secret: str, kept: Stored) -> bool:
    """Whether a secret is the right one: a tenth of a second and 64 MB of memory."""
    try:
        return HASHER.verify(kept.argon2_hash, secret)
    except (VerificationError, InvalidHashError):
        return False


def _tag(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()[:_TAG_DIGITS]
