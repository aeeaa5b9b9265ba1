"""Identifiers and times of records."""

from __future__ import annotations

import secrets
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:@+-]*$"  # of batches and sites
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_lock = threading.Lock()
_last = 0  # the newest id, as a number


def now_us() -> int:
    """Microseconds since 1970, UTC."""
    return time.time_ns() // 1000


def new_id(at_us: int) -> str:
    """A UUID of version 7 (RFC 9562): ids sort in the order in which this process makes them, also within one millisecond."""
    global _last
    millisecond = at_us // 1000
    number = millisecond << 80 | 0x7 << 76 | secrets.randbits(11) << 64 | 0b10 << 62 | secrets.randbits(61)
    with _lock:
        if _last >> 80 == millisecond:
            number = _last + 1 + secrets.randbits(32)
        _last = number
    return str(uuid.UUID(int=number))


def iso(at_us: int) -> str:
    """Microseconds as ISO 8601 in UTC, `2026-01-31T07:00:00.000000Z`."""
    return (_EPOCH + timedelta(microseconds=at_us)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def microseconds(text: str) -> int:
    """Microseconds since 1970 of an ISO 8601 time with offset; digits below a microsecond are cut off.

    Raises:
        ValueError: The text is no time, has no offset, or lies outside the years 1 to 9999 in UTC.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("a time without offset from UTC")
    try:
        return (moment.astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)
    except OverflowError:
        raise ValueError("a time outside the years 1 to 9999 in UTC") from None


def checked_time(text: str) -> str:
    """The text itself, if it is a time that `microseconds` reads.

    Raises:
        ValueError: It is not.
    """
    try:
        microseconds(text)
    except ValueError:
        raise ValueError("not a time with offset from UTC, for example 2026-01-31T08:00:00+01:00") from None
    return text
