"""The one spelling of a JSON value, and the digest over it."""

from __future__ import annotations

import hashlib

import orjson


def canonical(value: object) -> bytes:
    """Spell a JSON value in the one way: keys in order, shortest floats, UTF-8. Equal values have equal bytes.

    Args:
        value: Of dictionaries with text keys, lists, tuples, text, numbers (integers within 64 bits), flags and None.

    Raises:
        TypeError: A part of it has no JSON spelling.
    """
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def digest(value: object) -> str:
    """SHA-256 over the canonical spelling of a JSON value, as hexadecimal text."""
    return hashlib.sha256(canonical(value)).hexdigest()
