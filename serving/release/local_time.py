"""The local time of a signature and the name of its zone, beside the time in UTC."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path

_LOCALTIME = Path("/etc/localtime")


@dataclass(frozen=True)
class LocalTime:
    """A moment on a wall clock: ISO 8601 with offset, and the name of the zone."""

    text: str
    zone: str


def local_time(at_us: int, zone: tzinfo | None = None) -> LocalTime:
    """A moment in a zone.

    Args:
        at_us: Microseconds UTC.
        zone: None: that of this machine.
    """
    moment = datetime.fromtimestamp(at_us / 1_000_000, UTC).replace(microsecond=at_us % 1_000_000).astimezone(zone)
    return LocalTime(moment.isoformat(timespec="microseconds"), _name(moment, zone))


def _name(moment: datetime, zone: tzinfo | None) -> str:
    """The IANA name where it is known, else the zone's abbreviation at that moment."""
    if zone is not None:
        return getattr(zone, "key", None) or moment.tzname() or "UTC"
    _, zoneinfo, name = os.path.realpath(_LOCALTIME).partition("zoneinfo/")
    return (os.environ.get("TZ") or (name if zoneinfo else "") or moment.tzname() or "UTC")[:80]
