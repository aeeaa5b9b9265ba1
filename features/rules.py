"""Rules on typed rows: allowed values, ranges, known names, order of times, distance from the batch, units."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import overload

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features.contracts import BAD_QUALITY, Column, Table
from features.errors import BatchguardError, nearest
from features.parsing import Fault, text_of
from features.process import Parameter, ProcessDefinition, ProcessHead
from features.units import convert

Batches = Collection[str] | None
"""Known batch ids; a mapping also gives each batch's start in microseconds UTC, from which far times are refused."""
Typed = dict[str, pd.Series]
HOUR_US = 3_600_000_000
CLOCK_TOLERANCE = pd.Timedelta(minutes=5)  # between the clocks of instruments and ours
PLANNED_AHEAD = pd.Timedelta(days=366)  # a start further ahead is a slip of the keyboard
MOST_COMPARED = 20_000  # ids among which the nearest one is looked for


def attribute_columns(process: ProcessDefinition) -> dict[str, Column]:
    """Attributes of a batch as columns: names for categories, numbers within their range for the others."""
    found = {}
    for p in process.parameter:
        if p.kind == "attribute":
            kind = "text" if p.is_category else "number"
            found[p.name] = Column(p.name, kind, p.label, unit=p.unit, low=p.range[0], high=p.range[1])
    return found


def row_rules(typed: Typed, table: Table, process: ProcessDefinition, batches: Batches) -> list[Fault]:
    """Faults of typed rows, but those of parameters and units (`convert_units`)."""
    faults: list[Fault] = []
    attributes = attribute_columns(process)
    for name, values in typed.items():
        column = table[name] if name in table.names else attributes[name]
        faults += [*_allowed(values, column), *_within(values, column.name, column.low, column.high, column.unit)]
    faults += [_ordered(typed, c.not_before, c.name) for c in table.columns if c.not_before is not None]
    faults += [_padded(typed[c.name], c.name) for c in table.columns if c.kind == "id"]
    if batches is not None and table.name != "batches" and "batch_id" in typed:
        names, codes = _factorize(typed["batch_id"])
        faults.append(_known_batch(names, codes, batches))
        if isinstance(batches, Mapping):
            faults += _far_from_batch(typed, table, _starts_us(names, codes, batches), process.process)
    return [fault for fault in faults if fault.rows.any()]


def convert_units(typed: Typed, process: ProcessDefinition, faults: list[Fault]) -> dict[tuple[str, str], np.ndarray]:
    """Bring values into their parameters' units, in place; faults are added to the list.

    Values that the source itself flags as bad keep their row whatever they read: they are counted, never averaged.

    Returns:
        Rows converted, by parameter and unit as reported.
    """
    converted: dict[tuple[str, str], np.ndarray] = {}
    if "parameter" not in typed or "unit" not in typed:
        return converted
    names, name_codes = _factorize(typed["parameter"])
    units, unit_codes = _factorize(typed["unit"])
    faults += _known_parameters(names, name_codes, process)
    values = typed["value"].to_numpy().copy()
    bad = (typed["quality"] == BAD_QUALITY).to_numpy() if "quality" in typed else np.zeros(len(values), bool)
    wanted = np.array([*units, ""], dtype=object)[unit_codes]
    if not len(values):
        return converted
    pairs = name_codes.astype(np.int64) * (len(units) + 1) + unit_codes
    beyond = np.zeros(len(values), bool)
    for pair in np.unique(pairs[name_codes >= 0]):
        name, unit_code = names[pair // (len(units) + 1)], pair % (len(units) + 1)
        parameter, unit = process.by_name.get(name), units[unit_code] if unit_code < len(units) else ""
        if parameter is None or parameter.is_category:
            continue
        rows = pairs == pair
        if unit not in ("", parameter.unit):
            meant = parameter.unit_aliases.get(unit)
            try:
                values[rows] = convert(values[rows], meant or unit, parameter.unit, confirmed=meant is not None)
                converted[name, unit] = rows
            except BatchguardError as error:
                faults.append(_unit_fault(rows, name, error))
                continue
        wanted[rows] = parameter.unit
        beyond[rows] = outside(values[rows], *parameter.range) & ~bad[rows]
    typed["value"] = pd.Series(values)
    typed["unit"] = pd.Series(wanted, dtype="str")
    faults.append(_outside_fault(beyond, typed, process.by_name))
    return converted


def _factorize(column: pd.Series) -> tuple[list[str], np.ndarray]:
    """Distinct texts and each row's index among them, -1 where missing."""
    array = pa.array(column, pa.large_string(), from_pandas=True)
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    encoded = array.dictionary_encode()
    codes = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    return encoded.dictionary.to_pylist(), codes


def _members(column: pd.Series, known: Collection[str]) -> tuple[list[str], np.ndarray, np.ndarray]:
    names, codes = _factorize(column)
    known = known if isinstance(known, (set, frozenset, dict)) else set(known)
    member = np.array([*(name in known for name in names), True])
    return names, codes, member[codes]


def _name_fault(
    code: str, rows: np.ndarray, what: str, names: list[str], codes: np.ndarray, rest: Callable[[str], str]
) -> Fault:
    """A fault of names; `rest` is the sentence behind the name."""

    def reason(i: int) -> str:
        name = names[codes[i]]
        return f"{what} {text_of(name)} {rest(name)}"

    return Fault(code, rows, reason)


def _allowed(values: pd.Series, column: Column) -> list[Fault]:
    allowed = column.allowed
    if allowed is None:
        return []
    names, codes, fine = _members(values, allowed)
    expected = f"is not allowed; expected one of {', '.join(repr(a) for a in allowed)}"
    return [
        _name_fault(
            "not_allowed", ~fine, column.name, names, codes,
            lambda name: f"{expected}{_did_you_mean(name, allowed)}. Mend the source",
        )
    ]  # fmt: skip


@overload
def outside(values: float, low: float | None, high: float | None) -> bool: ...
@overload
def outside(values: np.ndarray, low: float | None, high: float | None) -> np.ndarray: ...
def outside(values: float | np.ndarray, low: float | None, high: float | None) -> bool | np.ndarray:
    """Whether values lie outside limits, which count as inside; None is no limit. NaN lies nowhere, so not outside."""
    return (values < (-np.inf if low is None else low)) | (values > (np.inf if high is None else high))


def _within(values: pd.Series, name: str, low: float | None, high: float | None, unit: str) -> list[Fault]:
    if low is None and high is None:
        return []
    numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    return [
        Fault(
            "out_of_range",
            outside(numbers, low, high),
            lambda i: (
                f"{name} {numbers[i]:g} is out of range; expected {_range(low, high, unit)}. Mend the source, or the range"
            ),
        )
    ]


def _outside_fault(rows: np.ndarray, typed: Typed, parameters: dict[str, Parameter]) -> Fault:
    names, values = typed["parameter"], typed["value"]

    def reason(i: int) -> str:
        parameter = parameters[names.iloc[i]]
        return (
            f"{parameter.name} {values.iloc[i]:g} {parameter.unit} is physically impossible; expected "
            f"{_range(*parameter.range, parameter.unit)}. Mend the source, or the parameter's range"
        )

    return Fault("out_of_range", rows, reason)


def _range(low: float | None, high: float | None, unit: str) -> str:
    if low is None:
        return f"at most {high:g} {unit}".rstrip()
    return (f"at least {low:g} {unit}" if high is None else f"{low:g} to {high:g} {unit}").rstrip()


def _ordered(typed: Typed, earlier: str, later: str) -> Fault:
    one, other = typed[earlier], typed[later]
    rows = (other < one).to_numpy(dtype=bool, na_value=False)
    return Fault(
        f"{later}_before_{earlier}",
        rows,
        lambda i: (
            f"{later} {other.iloc[i].isoformat()} lies before {earlier} {one.iloc[i].isoformat()}; expected the same time "
            "or later. Mend the source"
        ),
    )


def _known_batch(names: list[str], codes: np.ndarray, batches: Collection[str]) -> Fault:
    fine = np.array([*(name in batches for name in names), True])[codes]

    def rest(name: str) -> str:
        hint = _did_you_mean(name, batches) if len(batches) < MOST_COMPARED else ""
        return (
            f"is not a kept row of batches{hint}; expected a known batch. Add the batch, or mend its own row if that one "
            "is quarantined"
        )

    return _name_fault("unknown_batch", ~fine, "batch_id", names, codes, rest)


def _starts_us(names: list[str], codes: np.ndarray, batches: Mapping[str, int]) -> np.ndarray:
    """Start of each row's batch in microseconds UTC as float64 (exact below 2^53), NaN where it is unknown."""
    return np.array([*(batches.get(name, np.nan) for name in names), np.nan], np.float64)[codes]


def _far_from_batch(typed: Typed, table: Table, started_us: np.ndarray, head: ProcessHead) -> list[Fault]:
    """Times that no row of the batch can have: a year's slip of the keyboard, or an outcome before the start."""
    column = table.time_of_batch
    if column is None:
        return []
    stamps = typed[column].to_numpy(dtype="datetime64[us]")
    after_us = np.where(np.isnat(stamps), np.nan, stamps.astype(np.int64)) - started_us
    limit_us = head.readings_within_h * HOUR_US
    expected = f"expected at most {head.readings_within_h:g} h before or after it"

    def reason(i: int) -> str:
        side = "after" if after_us[i] > 0 else "before"
        hours = f"{abs(after_us[i]) / HOUR_US:,.0f} h {side} the start of batch {typed['batch_id'].iloc[i]!r}"
        return f"{column} {typed[column].iloc[i].isoformat()} lies {hours}; "

    def early(i: int) -> str:
        return f"{reason(i)}expected its start or later. Mend the time, or the batch's started_at"

    def far(i: int) -> str:
        return f"{reason(i)}{expected}. Mend the time, or raise [process] readings_within_h"

    with np.errstate(invalid="ignore"):
        before = [Fault("before_its_batch", after_us < 0, early)] if table.never_before_batch else []
        return [*before, Fault("far_from_its_batch", np.abs(after_us) > limit_us, far)]


def unknown_yet(typed: Typed, table: Table, now: pd.Timestamp | None) -> list[Fault]:
    """Rows that become known after a moment: planned starts, which are right, and others, whose clock is wrong.

    Args:
        typed: Typed rows.
        table: Their contract.
        now: The moment; None: no rule.
    """
    if now is None:
        return []
    times = typed[table.known_from]
    allowed = now if table.name == "batches" else now + CLOCK_TOLERANCE
    later = (times > allowed).to_numpy(dtype=bool, na_value=False)
    if table.name != "batches":
        return [
            Fault("from_the_future", later, lambda i: (
                f"{table.known_from} {times.iloc[i].isoformat()} lies after now, {now.isoformat(timespec='seconds')}; "
                "expected what is known. Mend the time or the clock; a right time is taken in when it has come"
            ))
        ]  # fmt: skip
    soon = (times <= now + PLANNED_AHEAD).to_numpy(dtype=bool, na_value=False)

    def starts(i: int) -> str:
        return f"started_at {times.iloc[i].isoformat()} lies after now, {now.isoformat(timespec='seconds')}; expected "

    return [
        Fault("not_yet_started", later & soon, lambda i: f"{starts(i)}a start that has come. Nothing to do: the batch "
              "is taken in when it starts", benign=True),
        Fault("from_the_future", later & ~soon, lambda i: f"{starts(i)}a start within a year. Mend the time"),
    ]  # fmt: skip


def _padded(column: pd.Series, name: str) -> Fault:
    """Ids with blanks around them would be other ids than those without."""
    names, codes = _factorize(column)
    padded = np.array([*(known != known.strip() for known in names), False])[codes]
    rest = "has blanks around it; expected the id alone. Trim it in the export"
    return _name_fault("blanks_around_id", padded, name, names, codes, lambda _: rest)


def _known_parameters(names: list[str], codes: np.ndarray, process: ProcessDefinition) -> list[Fault]:
    unknown = np.array([*(n not in process.by_name for n in names), False])[codes]
    category = np.array([*(n in process.by_name and process[n].is_category for n in names), False])[codes]
    expected = f"is not in the process definition {process.id!r}; expected one of its parameters"

    def unknown_rest(name: str) -> str:
        return f"{expected}{_did_you_mean(name, process.by_name)}. Rename it, or define it as a [[parameter]]"

    category_rest = "is a category and has no reading; expected a column of batches. Move it there"
    return [
        _name_fault("unknown_parameter", unknown, "parameter", names, codes, unknown_rest),
        _name_fault("category_parameter", category, "parameter", names, codes, lambda _: category_rest),
    ]


def _unit_fault(rows: np.ndarray, name: str, error: BatchguardError) -> Fault:
    return Fault(
        "unit_mismatch", rows, lambda _: f"{name}: {error.what}; expected {error.expected}. {error.remedy.rstrip('.')}"
    )


def _did_you_mean(word: str, known: Collection[str]) -> str:
    close = nearest(word, known)
    return f" (did you mean {close!r}?)" if close else ""
