"""Readings that a client posts, as arrays. A plainly spelled reading that keeps the contract needs no frame.

Plainly spelled is an ISO time with offset, a finite number within the parameter's range, in its unit. Every other row
goes through the rules of the ingest (`serving.live.rows`), which accept more and give the reason of a refusal. A test holds
both ways against each other (`tests/serving/live/test_readings.py`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np

from features.contracts import BAD_QUALITY, OBSERVATIONS, QUALITIES
from features.incremental import Readings
from features.parsing import EXACT, INTEGER_END
from features.process import Parameter, ProcessDefinition
from features.rules import HOUR_US, Batches, outside
from features.summaries import microseconds
from serving.interfaces import RowVerdict
from serving.live.rows import PlainRow, Row, TypedRows, typed

_TIME = re.compile(r"(19[1-9]\d|2[01]\d\d)-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")
_EPOCH, _US = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_NAMES = frozenset(OBSERVATIONS.names)
_QUALITY = {name: place for place, name in enumerate(QUALITIES)}
_REVISION, _DEFAULT_QUALITY = OBSERVATIONS["revision"], OBSERVATIONS["quality"].default
_ABSENT = (None, "")


@dataclass(frozen=True)
class ParsedReadings:
    """Readings that keep the contract, in the order in which they were posted, and verdicts on the others.

    Attributes:
        series: Batch and parameter of each.
        readings: The readings.
        plain: The same as plain JSON values.
        places: Place of each among the rows posted.
        rejected: Verdicts on the other rows by their place.
    """

    series: list[tuple[str, str]]
    readings: Readings
    plain: list[PlainRow]
    places: np.ndarray
    rejected: dict[int, RowVerdict]

    def by_series(self) -> dict[tuple[str, str], np.ndarray]:
        """Places of the readings of each series, in the order of time and revision, then as posted."""
        members: dict[tuple[str, str], list[int]] = {}
        for i, name in enumerate(self.series):
            members.setdefault(name, []).append(i)
        keys = self.readings.revision, self.readings.observed
        return {n: m[np.lexsort([key[m] for key in keys])] for n, m in ((n, np.array(m)) for n, m in members.items())}


class _Reading(NamedTuple):
    place: int
    batch_id: str
    parameter: str
    observed_us: int
    revision: int
    available_us: int
    value: float
    quality: int


def parse_readings(
    rows: Sequence[Row],
    process: ProcessDefinition,
    batches: Batches = None,
    *,
    without: Mapping[int, RowVerdict] | None = None,
) -> ParsedReadings:
    """Type and check readings.

    Args:
        rows: As posted.
        process: Parameters with units and ranges.
        batches: Known batch ids, `features.rules.Batches`; rows of others are rejected. None: not checked.
        without: Rows that are rejected already, by their place.
    """
    rejected, limit_us = dict(without or {}), process.process.readings_within_h * HOUR_US
    known = {p.name: p for p in process.parameter if not p.is_category}
    found: list[_Reading] = []
    others: list[int] = []
    for place, row in enumerate(rows):
        if place not in rejected:
            reading = _plainly_spelled(place, row, known, batches, limit_us)
            if reading is None:
                others.append(place)
            else:
                found.append(reading)
    if others:
        checked = typed(OBSERVATIONS, [rows[i] for i in others], process, batches)
        rejected |= {others[place]: verdict for place, verdict in checked.rejected.items()}
        found = sorted([*found, *_of_frame(checked, others)])
    return _parsed(found, known, rejected)


def _plainly_spelled(
    place: int, row: Row, known: Mapping[str, Parameter], batches: Batches, limit_us: float
) -> _Reading | None:
    """The reading of a row that is plain in every way; None: any other row."""
    batch_id, name, value = row.get("batch_id"), row.get("parameter"), row.get("value")
    parameter = known.get(name) if type(name) is str else None
    if parameter is None or type(batch_id) is not str or not batch_id or not _NAMES.issuperset(row):
        return None
    if batches is not None and batch_id not in batches:
        return None
    revision = _plain_revision(row.get("revision"))
    quality = _DEFAULT_QUALITY if row.get("quality") in _ABSENT else row.get("quality")
    if revision is None or type(quality) is not str or quality not in _QUALITY:
        return None
    if row.get("unit") not in (*_ABSENT, parameter.unit) or not _is_possible(value, parameter, quality == BAD_QUALITY):
        return None
    observed = _micros(row.get("observed_at"))
    available = observed if row.get("available_at") in _ABSENT else _micros(row["available_at"])
    if observed is None or available is None or available < observed or _is_far(observed, batch_id, batches, limit_us):
        return None
    number = float(value)  # ty: ignore[invalid-argument-type] - an int or a float, as `_is_possible` found
    return _Reading(place, batch_id, parameter.name, observed, revision, available, number, _QUALITY[quality])


def _is_far(observed_us: int, batch_id: str, batches: Batches, limit_us: float) -> bool:
    return isinstance(batches, Mapping) and abs(observed_us - batches[batch_id]) > limit_us


def _plain_revision(value: object) -> int | None:
    value = _REVISION.default if value is None else value
    return value if type(value) is int and not outside(value, _REVISION.low, INTEGER_END - 1) else None


def _is_possible(value: object, parameter: Parameter, bad: bool) -> bool:
    """Whether it is a finite number within the parameter's range; a bad reading may lie anywhere."""
    if type(value) is int:
        return -EXACT < value < EXACT and (bad or not outside(value, *parameter.range))
    return type(value) is float and math.isfinite(value) and (bad or not outside(value, *parameter.range))


def _micros(text: object) -> int | None:
    if type(text) is not str or not _TIME.fullmatch(text):
        return None
    try:
        return (datetime.fromisoformat(text) - _EPOCH) // _US
    except ValueError:  # the 30th of February
        return None


def _of_frame(checked: TypedRows, places: Sequence[int]) -> list[_Reading]:
    frame = checked.frame
    columns = (
        [places[i] for i in checked.places], frame["batch_id"], frame["parameter"], microseconds(frame["observed_at"]),
        frame["revision"], microseconds(frame["available_at"]), frame["value"], frame["quality"].map(_QUALITY),
    )  # fmt: skip
    return [_Reading(*cells) for cells in zip(*columns, strict=True)]


def _parsed(
    found: Sequence[_Reading], known: Mapping[str, Parameter], rejected: dict[int, RowVerdict]
) -> ParsedReadings:
    columns = list(zip(*found, strict=True)) or [()] * len(_Reading._fields)
    kinds = (np.int64, np.int32, np.int64, np.float64, np.int32)
    readings = Readings(*(np.array(column, kind) for column, kind in zip(columns[3:], kinds, strict=True)))
    series = list(zip(columns[1], columns[2], strict=True))
    cells = zip(
        series, _texts(readings.observed), columns[4], _texts(readings.available), columns[6], columns[7], strict=True
    )
    plain = [_plain(name, known[name[1]].unit, *others) for name, *others in cells]
    return ParsedReadings(series, readings, plain, np.array(columns[0], np.int64), rejected)


def _plain(
    series: tuple[str, str], unit: str, observed: str, revision: int, available: str, value: float, quality: int
) -> PlainRow:
    """One reading in the spelling of `serving.live.rows.plain_rows`."""
    row: PlainRow = {"batch_id": series[0], "parameter": series[1], "observed_at": observed, "revision": revision,
                     "available_at": available, "value": value, "unit": unit, "quality": QUALITIES[quality]}  # fmt: skip
    if not unit:
        del row["unit"]
    if math.isnan(value):  # a bad reading
        del row["value"]
    return row


def _texts(times_us: np.ndarray) -> list[str]:
    return [f"{text}+00:00" for text in np.datetime_as_string(times_us.astype("datetime64[us]"), unit="us")]
