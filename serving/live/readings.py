"""Readings that a client sends, as arrays. A row that keeps the contract at a glance needs no frame.

Such a row is spelled the plain way: an ISO time with offset, a finite number within the parameter's range, in its unit.
Every other row goes through the rules of the ingest (`serving.live.rows`), which accept more and say what is wrong. That
both give the same for a row that passes here is a test (`tests/serving/live/test_readings.py`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from features.contracts import OBSERVATIONS, QUALITIES
from features.incremental import Readings
from features.process import Parameter, ProcessDefinition
from features.summaries import microseconds
from serving.interfaces import RowVerdict
from serving.live.rows import Row, typed

_TIME = re.compile(r"(19[1-9]\d|2[01]\d\d)-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")
_EPOCH, _US = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_NAMES = frozenset(OBSERVATIONS.names)
_QUALITY = {name: place for place, name in enumerate(QUALITIES)}
_NOTHING = (None, "")
_LARGEST = 2**53


@dataclass(frozen=True)
class SentReadings:
    """Readings that keep the contract, in the order in which they were sent, and verdicts on the others.

    Attributes:
        series: Batch and parameter of each.
        readings: The readings.
        plain: The same as plain JSON values.
        places: Place of each among the rows sent.
        rejected: Verdicts on the other rows by their place.
    """

    series: list[tuple[str, str]]
    readings: Readings
    plain: list[dict[str, Any]]
    places: np.ndarray
    rejected: dict[int, RowVerdict]

    def by_series(self) -> dict[tuple[str, str], np.ndarray]:
        """Places of the readings of each series, in the order of time and revision, then as sent."""
        members: dict[tuple[str, str], list[int]] = {}
        for i, name in enumerate(self.series):
            members.setdefault(name, []).append(i)
        keys = self.readings.revision, self.readings.observed
        return {n: m[np.lexsort([key[m] for key in keys])] for n, m in ((n, np.array(m)) for n, m in members.items())}


def sent_readings(
    rows: Sequence[Row],
    process: ProcessDefinition,
    batches: Collection[str] | None = None,
    *,
    without: Mapping[int, RowVerdict] | None = None,
) -> SentReadings:
    """Type and check readings.

    Args:
        rows: As sent.
        process: Parameters with units and ranges.
        batches: Known batch ids; rows of others are rejected. None: not checked.
        without: Rows that are rejected already, by their place.
    """
    rejected = dict(without or {})
    known = {p.name: p for p in process.parameter if not p.is_category}
    numbers: list[tuple] = []
    others: list[int] = []
    for place, row in enumerate(rows):
        if place not in rejected:
            at_a_glance = _numbers(row, known, batches)
            if at_a_glance is None:
                others.append(place)
            else:
                numbers.append((place, *at_a_glance))
    found = _of_numbers(rows, numbers, known)
    if not others:
        return SentReadings(*found, rejected)
    checked = typed(OBSERVATIONS, [rows[i] for i in others], process, batches)
    rejected |= {others[place]: verdict for place, verdict in checked.rejected.items()}
    frame = checked.frame
    series = list(zip(frame["batch_id"].tolist(), frame["parameter"].tolist(), strict=True))
    columns = Readings(
        microseconds(frame["observed_at"]), frame["revision"].to_numpy(np.int32), microseconds(frame["available_at"]),
        frame["value"].to_numpy(np.float64), frame["quality"].map(_QUALITY).to_numpy(np.int32),
    )  # fmt: skip
    more = (series, columns, checked.plain, np.array(others, np.int64)[checked.places])
    return SentReadings(*_joined(found, more), rejected)


_Parts = tuple[list[tuple[str, str]], Readings, list[dict[str, Any]], np.ndarray]


def _joined(one: _Parts, other: _Parts) -> _Parts:
    """Both, in the order in which they were sent."""
    places = np.concatenate([one[3], other[3]])
    order = np.argsort(places)
    pairs = zip(one[1].columns, other[1].columns, strict=True)
    series, plain = [*one[0], *other[0]], [*one[2], *other[2]]
    readings = Readings(*(np.concatenate(pair)[order] for pair in pairs))
    return [series[i] for i in order], readings, [plain[i] for i in order], places[order]


def _numbers(
    row: Row, known: Mapping[str, Parameter], batches: Collection[str] | None
) -> tuple[int, int, int, float, int] | None:
    """Observed, revision, available, value and quality of a row that is plain in every way; None for any other."""
    batch_id, name, value, revision = row.get("batch_id"), row.get("parameter"), row.get("value"), row.get("revision")
    parameter = known.get(name) if type(name) is str else None
    if parameter is None or type(batch_id) is not str or not batch_id or not _NAMES.issuperset(row):
        return None
    if batches is not None and batch_id not in batches:
        return None
    unit, quality = row.get("unit"), row.get("quality")
    quality_code = _QUALITY["good"] if quality in _NOTHING else _QUALITY.get(quality) if type(quality) is str else None
    if quality_code is None or not (unit in _NOTHING or unit == parameter.unit):
        return None
    if revision is None:
        revision = 0
    if type(revision) is not int or not 0 <= revision < 2**31 or not _is_possible(value, parameter, quality == "bad"):
        return None
    observed = _micros(row.get("observed_at"))
    available = observed if row.get("available_at") in _NOTHING else _micros(row["available_at"])
    if observed is None or available is None or available < observed:
        return None
    return observed, revision, available, float(value), quality_code  # ty: ignore[invalid-argument-type]


def _is_possible(value: object, parameter: Parameter, bad: bool) -> bool:
    """Whether it is a finite number within the parameter's range; a bad reading may lie anywhere."""
    if type(value) is int:
        if not -_LARGEST < value < _LARGEST:
            return False
    elif type(value) is not float or not math.isfinite(value):
        return False
    low, high = parameter.range
    return bad or ((low is None or value >= low) and (high is None or value <= high))


def _micros(text: object) -> int | None:
    if type(text) is not str or not _TIME.fullmatch(text):
        return None
    try:
        return (datetime.fromisoformat(text) - _EPOCH) // _US
    except ValueError:  # the 30th of February
        return None


def _of_numbers(rows: Sequence[Row], numbers: list[tuple], known: Mapping[str, Parameter]) -> _Parts:
    columns = list(zip(*numbers, strict=True)) or [()] * 6
    kinds = (np.int64, np.int64, np.int32, np.int64, np.float64, np.int32)
    places, *own = (np.array(column, kind) for column, kind in zip(columns, kinds, strict=True))
    observed, available = (_texts(own[i]) for i in (0, 2))
    series = [(rows[i]["batch_id"], rows[i]["parameter"]) for i in columns[0]]
    cells = zip(series, observed, columns[2], available, columns[4], columns[5], strict=True)
    plain = [_plain(name, known[name[1]].unit, *others) for name, *others in cells]
    return series, Readings(*own), plain, places


def _plain(
    series: tuple[str, str], unit: str, observed: str, revision: int, available: str, value: float, quality: int
) -> dict[str, Any]:
    """As `serving.live.rows.plain_rows` spells it."""
    row = {"batch_id": series[0], "parameter": series[1], "observed_at": observed, "revision": revision,
           "available_at": available, "value": value, "unit": unit, "quality": QUALITIES[quality]}  # fmt: skip
    if not unit:
        del row["unit"]
    return row


def _texts(times_us: np.ndarray) -> list[str]:
    return [f"{text}+00:00" for text in np.datetime_as_string(times_us.astype("datetime64[us]"), unit="us")]
