"""Identifiers and times of records, and the clocks that durations and expiries are measured by."""

from __future__ import annotations

import secrets
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._:@+-]*$"  # of batches and sites
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_lock = threading.Lock()
_last = 0  # the newest id, as a number


def now_us() -> int:
    """Microseconds since 1970, UTC."""
    return time.time_ns() // 1000


def steady_us() -> int:
    """Microseconds of a clock that nobody sets, since an arbitrary moment: for durations."""
    return time.monotonic_ns() // 1000


class RisingClock:
    """A clock that never falls: what has expired stays expired when the machine's clock is set back.

    It goes on from the latest time seen at the pace of the steady clock, and follows the machine's clock forward.

    Args:
        clock: The machine's clock, microseconds UTC.
        steady: Microseconds since an arbitrary moment.
    """

    def __init__(self, clock: Callable[[], int] = now_us, steady: Callable[[], int] = steady_us) -> None:
        self._clock, self._steady = clock, steady
        self._ahead_us = clock() - steady()

    def __call__(self) -> int:
        """Microseconds UTC."""
        steady = self._steady()
        self._ahead_us = max(self._ahead_us, self._clock() - steady)
        return steady + self._ahead_us


def new_id(at_us: int) -> str:
    """A UUID of version 7 (RFC 9562): ids sort in the order in which this process makes them, whatever its clock does."""
    global _last
    with _lock:
        number = _id(at_us // 1000)
        if number >> 80 <= _last >> 80:
            number = _last + 1 + secrets.randbits(32)
            if number >> 62 != _last >> 62:  # the random part of this millisecond is used up
                number = _id((_last >> 80) + 1)
        _last = number
    return str(uuid.UUID(int=number))


def continue_after(newest: str | None) -> None:
    """Make only ids that sort behind one of an earlier process, also where that one's clock was ahead."""
    global _last
    with _lock:
        _last = max(_last, uuid.UUID(newest).int if newest else 0)


def _id(millisecond: int) -> int:
    return millisecond << 80 | 0x7 << 76 | secrets.randbits(11) << 64 | 0b10 << 62 | secrets.randbits(61)


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
