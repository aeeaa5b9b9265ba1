"""Typing of raw columns, text or already typed, by the contract. What does not fit is reported, never changed.

Accepted without loss: text that spells the type, integers for numbers (below 2^53) and for ids, offset-aware times
(ISO 8601, and the spellings of `features.time_spellings`). Refused: times without offset or outside the years 1900 to
2199, numbers for flags or times, decimals for ids, anything not finite. Times are kept in
microseconds: further digits are cut off, as the contract demands.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features.contracts import Column
from features.time_spellings import as_iso

UTC_US = "datetime64[us, UTC]"
_TIME = r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?$"
_OFFSET_TIME = _TIME[:-1] + r"([Zz]|[+-]\d{2}(:?\d{2})?)$"
_DATE_OR_TIME = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?)?$"
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_INTEGER = r"^[+-]?\d{1,18}$"
EXACT = 2**53  # beyond, neighbouring integers share a float (2^53 itself with the next)
INTEGER_END = 2**31  # integers are stored in 32 bits
YEARS = (1900, 2199)  # a time outside them is a slip; far outside, it could not even be read again


@dataclass(frozen=True)
class Fault:
    """A broken rule: which rows, and the sentence on one of them (made only where it is needed)."""

    code: str
    rows: np.ndarray
    reason: Callable[[int], str]
    benign: bool = False  # nothing to mend


@dataclass(frozen=True)
class Typed:
    """A column by its contract: its values (missing where absent or faulty), absent rows, faults."""

    column: pd.Series
    absent: np.ndarray
    faults: tuple[Fault, ...]


def to_arrow(column: pd.Series) -> pa.Array:
    """A column as one Arrow array without dictionary; NaN and empty text are null.

    Text is `large_string`. A column of mixed Python objects becomes text, each value as `str` spells it.
    """
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        array = pa.array(column.dt.tz_convert(None).to_numpy())
        return array.cast(pa.timestamp(array.type.unit, tz="UTC"))
    try:
        array = pa.array(column, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        array = pa.array([None if pd.isna(v) else str(v) for v in column], pa.large_string())
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type) or pa.types.is_null(array.type):
        array = array.cast(pa.large_string())
        array = pc.if_else(pc.equal(array, ""), pa.scalar(None, pa.large_string()), array)
    return array


def type_column(raw: pa.Array, column: Column) -> Typed:
    """Type one column.

    Args:
        raw: From `to_arrow`.
        column: Its contract.

    Returns:
        Values as the contract's pandas type (integers as `Int64` until absent ones are filled).
    """
    kinds: dict[str, Callable[[pa.Array, str], tuple[pd.Series, list[Fault]]]] = {
        "time": _times,
        "number": _numbers,
        "integer": _integers,
    }
    values, faults = kinds.get(column.kind, _text)(raw, column.name)
    return Typed(values, _mask(raw.is_null()), tuple(fault for fault in faults if fault.rows.any()))


def text_of(value: object) -> str:
    """A raw value as a person sees it in a reason, cut at 60 characters."""
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _times(raw: pa.Array, name: str) -> tuple[pd.Series, list[Fault]]:
    if pa.types.is_timestamp(raw.type) and raw.type.tz is not None:
        utc = pc.cast(raw, pa.timestamp("us", tz="UTC"), safe=False)
        return _within_years(utc, raw, name)
    known = _mask(raw.is_valid())
    nothing = pd.Series(pd.NaT, index=range(len(raw)), dtype=UTC_US)
    if pa.types.is_temporal(raw.type):
        return nothing, [_naive(known, raw, name)]
    if not pa.types.is_large_string(raw.type):
        return nothing, [_no_time(known, raw, name)]
    iso = as_iso(raw, _mask(pc.match_substring_regex(raw, _OFFSET_TIME)))
    offset = _mask(pc.match_substring_regex(iso, _OFFSET_TIME))
    naive = _mask(pc.match_substring_regex(iso, _DATE_OR_TIME))
    nothing[offset] = _parse_times(iso.filter(pa.array(offset)))
    out = nothing.notna().to_numpy() & ~nothing.dt.year.between(*YEARS).to_numpy()
    wrong = known & ~naive & nothing.isna().to_numpy()
    return nothing.mask(out), [_naive(naive, raw, name), _no_time(wrong, raw, name), _other_year(out, raw, name)]


def _parse_times(text: pa.Array) -> np.ndarray:
    """UTC of texts that look like times; NaT for the 30th of February."""
    spelled = pc.utf8_upper(text).to_pandas()
    return pd.to_datetime(spelled, utc=True, format="ISO8601", errors="coerce").astype(UTC_US).array


def _within_years(utc: pa.Array, raw: pa.Array, name: str) -> tuple[pd.Series, list[Fault]]:
    """Typed times in UTC, within the years that can be stored."""
    first, end = (np.datetime64(f"{year}-01-01", "us").astype(np.int64) for year in (YEARS[0], YEARS[1] + 1))
    micros = utc.cast(pa.int64())
    out = _mask(pc.or_(pc.less(micros, first), pc.greater_equal(micros, end)))
    if not out.any():
        return utc.to_pandas().astype(UTC_US), []
    kept = pc.if_else(pa.array(out), pa.scalar(None, utc.type), utc).to_pandas().astype(UTC_US)
    return kept, [_other_year(out, raw.cast(pa.large_string()), name)]


def _fault(code: str, rows: np.ndarray, raw: pa.Array, name: str, complaint: str) -> Fault:
    return Fault(code, rows, lambda i: f"{name} {text_of(raw[i].as_py())} {complaint}")


def _naive(rows: np.ndarray, raw: pa.Array, name: str) -> Fault:
    complaint = "has no offset from UTC; expected ISO 8601 with offset such as 2025-03-01T08:00:00+01:00. Export it with its offset"
    return _fault("naive_time", rows, raw, name, complaint)


def _no_time(rows: np.ndarray, raw: pa.Array, name: str) -> Fault:
    complaint = "is no time; expected ISO 8601 with offset such as 2025-03-01T08:00:00Z. Mend the source"
    return _fault("not_a_time", rows, raw, name, complaint)


def _other_year(rows: np.ndarray, raw: pa.Array, name: str) -> Fault:
    complaint = f"lies outside the years {YEARS[0]} to {YEARS[1]}; expected a time of the plant. Mend the source"
    return _fault("implausible_year", rows, raw, name, complaint)


def _numbers(raw: pa.Array, name: str) -> tuple[pd.Series, list[Fault]]:
    known = _mask(raw.is_valid())
    if pa.types.is_large_string(raw.type):
        fits = _mask(pc.match_substring_regex(raw, _NUMBER))
        values = np.full(len(raw), np.nan)
        values[fits] = _parse_numbers(raw.filter(pa.array(fits)))
    elif pa.types.is_integer(raw.type) or pa.types.is_floating(raw.type) or pa.types.is_decimal(raw.type):
        values = pc.cast(raw, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
        fits = known & ~(pa.types.is_integer(raw.type) & (np.abs(np.nan_to_num(values)) >= EXACT))
    else:
        values, fits = np.full(len(raw), np.nan), np.zeros(len(raw), bool)
    infinite = known & fits & ~np.isfinite(values)
    wrong = "is not a number; expected digits with a decimal point. Mend the source"
    endless = "is not finite; expected a finite number. Leave it out or mend the source"
    faults = [
        _fault("not_a_number", known & ~fits, raw, name, wrong),
        _fault("not_finite", infinite, raw, name, endless),
    ]
    return pd.Series(np.where(known & fits & ~infinite, values, np.nan)), faults


def _parse_numbers(text: pa.Array) -> np.ndarray:
    """Correctly rounded floats of texts that look like numbers; beyond the largest float they are infinite."""
    plain = pc.replace_substring_regex(text, r"^\+", "")
    try:
        return pc.cast(plain, pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowInvalid:
        return np.array([float(value) for value in plain.to_pylist()])


def _integers(raw: pa.Array, name: str) -> tuple[pd.Series, list[Fault]]:
    known = _mask(raw.is_valid())
    if pa.types.is_large_string(raw.type):
        fits = _mask(pc.match_substring_regex(raw, _INTEGER))
        plain = pc.replace_substring_regex(raw.filter(pa.array(fits)), r"^\+", "")
        found = pc.cast(plain, pa.int64()).to_numpy(zero_copy_only=False)
    elif pa.types.is_integer(raw.type):
        fits, found = known, pc.cast(raw.drop_null(), pa.int64(), safe=False).to_numpy(zero_copy_only=False)
    elif pa.types.is_floating(raw.type):
        numbers = np.nan_to_num(raw.to_numpy(zero_copy_only=False), posinf=0.5, neginf=0.5)
        fits = known & (numbers == np.round(numbers)) & (np.abs(numbers) <= EXACT)
        found = numbers[fits].astype(np.int64)
    else:
        fits, found = np.zeros(len(raw), bool), np.zeros(0, np.int64)
    within = np.abs(found) < INTEGER_END
    values = np.zeros(len(raw), np.int64)
    values[fits] = np.where(within, found, 0)
    good = fits.copy()
    good[fits] = within
    complaint = "is no whole number; expected 0, 1, 2, ... Mend the source"
    fault = _fault("not_an_integer", known & ~good, raw, name, complaint)
    return pd.Series(pd.arrays.IntegerArray(values, ~good)), [fault]


def _text(raw: pa.Array, name: str) -> tuple[pd.Series, list[Fault]]:
    if pa.types.is_integer(raw.type):
        raw = pc.cast(raw, pa.large_string())
    if pa.types.is_large_string(raw.type):
        return raw.to_pandas().astype("str"), []
    fault = _fault(
        "not_text", _mask(raw.is_valid()), raw, name, "is not text; expected a name. Export the column as text"
    )
    return pd.Series([None] * len(raw), dtype="str"), [fault]


def _mask(array: pa.Array) -> np.ndarray:
    return pc.fill_null(array, False).to_numpy(zero_copy_only=False)
