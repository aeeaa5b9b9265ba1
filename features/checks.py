"""The rule inside the contract check: which rows of a run history are kept, and why the others are not.

Pure functions over frames. Rows in = rows kept + rows quarantined, always; a row that breaks several rules is
quarantined once, for the first of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features.contracts import BAD_QUALITY, QUARANTINE, Column, Table
from features.duplicates import Duplicates, find_duplicates, lookalikes
from features.errors import ContractError, SourceError, nearest
from features.parsing import Fault, text_of, to_arrow, type_column
from features.process import ProcessDefinition
from features.quality import by_rule, without_words
from features.rules import Batches, attribute_columns, convert_units, row_rules, unknown_yet

LATER_RULES = frozenset({"blanks_around_id", "planned_end_at_before_started_at"})
"""Rules that came after 0.2.0: rows that its endpoint kept stay."""


@dataclass(frozen=True)
class Checked:
    """Rows of one table by the contract.

    Attributes:
        kept: Typed columns in the contract's order, attributes behind them.
        quarantined: `contracts.QUARANTINE`.
        converted: Number of values converted, by parameter and unit as reported.
        rows: Row numbers in the source of the kept rows.
    """

    kept: pd.DataFrame
    quarantined: pd.DataFrame
    converted: Mapping[tuple[str, str], int] = field(default_factory=dict)
    rows: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))


def check_columns(names: Iterable[str], table: Table, process: ProcessDefinition, *, source: str) -> None:
    """Whether a source's columns can be read as this table; only `batches` may have more, its attributes.

    Raises:
        SourceError: A required column is missing, or a column is unknown; the nearest name is given.
    """
    names = [canonical_column(name, table, process) for name in names]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SourceError(f"{source}: column {twice[0]!r} stands there twice", remedy="Keep one of them.")
    attributes = attribute_columns(process) if table.attributes else {}
    for name in table.must_have:
        if name not in names:
            close = nearest(name, [n for n in names if n not in table.names] or names)
            raise SourceError(
                f"{source}: column {name!r} is missing" + (f"; nearest present {close!r}" if close else ""),
                expected=f"the columns {', '.join(table.must_have)}",
                remedy="Add the column to the export, or rename the one that holds it.",
            )
    for name in names:
        if name not in table.names and name not in attributes:
            close = nearest(name, [*table.names, *attributes])
            raise SourceError(
                f"{source}: column {name!r} is unknown" + (f"; did you mean {close!r}?" if close else ""),
                expected="columns of the contract" + (" or attributes of the process definition" if attributes else ""),
                remedy="Rename it, leave it out"
                + (", or define it as a [[parameter]] of kind attribute." if table.attributes else "."),
            )


def canonical_column(name: str, table: Table, process: ProcessDefinition) -> str:
    """The attribute that a column holds under one of its aliases; any other name as it is."""
    return process.aliases.get(name, name) if table.attributes and name not in table.names else name


def check_rows(
    frame: pd.DataFrame,
    table: Table,
    process: ProcessDefinition,
    *,
    source: str,
    first_row: int = 1,
    batches: Batches = None,
    now: pd.Timestamp | None = None,
    whole: bool = True,
    validated: bool = True,
    stored: bool = False,
) -> Checked:
    """Type, check and sort out the rows of one table, or of a part of it.

    Args:
        frame: Raw rows: text (CSV) or typed (Parquet) columns; empty text is an absent value.
        table: Contract of the table.
        process: Parameters with units and ranges.
        source: Name of the file, for the reasons.
        first_row: Number of the first row in the source, from 1, header not counted.
        batches: Known batch ids, `features.rules.Batches`; rows of others are quarantined. None: not checked.
        now: Rows that become known later are quarantined until then; None: not checked.
        whole: Whether these are all rows of the table. For parts, keys are compared once all parts are in,
            with `drop_duplicates`.
        validated: Whether the kept rows are held against the contract's own schema once more; that costs some ten
            milliseconds however few they are.
        stored: Whether the rows were kept by an earlier version: `LATER_RULES` do not count then.

    Raises:
        SourceError: Columns missing or unknown.
        ContractError: The kept rows fail the contract's own schema (an error of this software).
    """
    check_columns(frame.columns, table, process, source=source)
    frame = frame.rename(columns=lambda name: canonical_column(name, table, process))
    raw = _by_rule({name: to_arrow(frame[name]) for name in frame.columns}, table, process)
    columns = (*table.columns, *(attribute_columns(process)[n] for n in frame.columns if n not in table.names))
    typed, faults = _typed(raw, columns, len(frame))
    converted = convert_units(typed, process, faults)
    faults += [*row_rules(typed, table, process, batches), *unknown_yet(typed, table, now)]
    faults = [fault for fault in faults if not (stored and fault.code in LATER_RULES)]
    code = _first_fault(faults, len(frame))
    bad = np.flatnonzero(code >= 0)
    numbers = np.arange(len(frame), dtype=np.int64) + first_row
    reasons = [_reason(faults[code[i]], i, table, raw, source, numbers[i]) for i in bad]
    broken = [faults[code[i]] for i in bad]
    benign = np.array([fault.benign for fault in broken], bool)
    quarantined = quarantine(
        table.name, source, numbers[bad], [fault.code for fault in broken], reasons, benign, frame.iloc[bad]
    )
    good = code < 0
    counts = {key: int(np.count_nonzero(rows & good)) for key, rows in converted.items()}
    kept = pd.DataFrame(typed)[good].reset_index(drop=True)
    kept = _final_types(kept, columns)
    checked = Checked(kept, quarantined, {key: n for key, n in counts.items() if n}, numbers[good])
    if whole:
        checked = drop_duplicates(checked, table, source=source)
    if validated:
        validate(checked.kept, table, keys=whole)
    return checked


def drop_duplicates(checked: Checked, table: Table, *, source: str) -> Checked:
    """Keep keys unique: exact repetitions go as benign, rows of one key with different content all go."""
    found = find_duplicates(checked.kept, table)
    if found.any():
        gone = quarantine_duplicates(checked.kept, checked.rows, found, table, source=source)
        checked = _without(checked, found.gone, gone)
    return _without_lookalikes(checked, table, source) if table.name == "batches" else checked


def without(
    checked: Checked,
    gone: np.ndarray,
    table: Table,
    code: str,
    reason: Callable[[int, str, pd.Timestamp], str],
    *,
    source: str,
) -> Checked:
    """Kept batches without some, which are quarantined.

    Args:
        checked: Rows of `batches`.
        gone: Which of the kept ones go.
        table: Their contract.
        code: The rule that they break.
        reason: The sentence on one, by its number, id and start.
        source: Name of the file.
    """
    if not gone.any():
        return checked
    rows, numbers = checked.kept[gone], checked.rows[gone]
    reasons = [reason(*cells) for cells in zip(numbers, rows["batch_id"], rows["started_at"], strict=True)]
    return _without(checked, gone, quarantine(table.name, source, numbers, [code] * len(rows), reasons, False, rows))


def _without(checked: Checked, gone: np.ndarray, quarantined: pd.DataFrame) -> Checked:
    """The rows without some that are quarantined."""
    parts = [part for part in (checked.quarantined, quarantined) if len(part)]
    kept = checked.kept[~gone].reset_index(drop=True)
    return Checked(kept, pd.concat(parts, ignore_index=True), checked.converted, checked.rows[~gone])


def lookalike_reason(batch_id: str, other: str) -> str:
    """Why a batch is refused whose id resembles that of another."""
    return (
        f"batch_id {text_of(batch_id)} differs from {text_of(other)} only by capitals or blanks; expected one spelling of a "
        "batch. Mend the id, or give the batches distinct ids"
    )


def _without_lookalikes(checked: Checked, table: Table, source: str) -> Checked:
    """Batches without those whose id differs from an earlier one only by capitals or blanks."""
    ids = checked.kept["batch_id"]
    alike = lookalikes(ids)
    other = {spelled: earlier for place, earlier in alike.items() if (spelled := ids.iloc[place])}

    def reason(number: int, batch_id: str, _: pd.Timestamp) -> str:
        return f"{source} row {number} (batch_id {text_of(batch_id)}): {lookalike_reason(batch_id, other[batch_id])}"

    gone = np.isin(np.arange(len(ids)), list(alike))
    return without(checked, gone, table, "id_differs_by_case", reason, source=source)


def quarantine_duplicates(
    rows: pd.DataFrame, numbers: np.ndarray, found: Duplicates, table: Table, *, source: str
) -> pd.DataFrame:
    """Quarantine rows of duplicates; their content is given as typed by the contract.

    Args:
        rows: Typed rows.
        numbers: Their row numbers in the source.
        found: Which of them repeat or contradict another.
        table: Their contract.
        source: Name of the file.
    """
    parts = []
    kinds = (
        (found.repeated, "repeated", True),
        (found.completed, "completed", True),
        (found.conflicting, "duplicate_key", False),
    )
    for mask, code, benign in kinds:
        some, at = rows[mask], numbers[mask]
        keys = some[list(table.key)].to_dict("records")
        reasons = [
            f"{source} row {number} ({_ids(key)}): {duplicate_reason(code, table)}"
            for number, key in zip(at, keys, strict=True)
        ]
        parts.append(quarantine(table.name, source, at, [code] * len(at), reasons, benign, some))
    return pd.concat(parts, ignore_index=True)


def duplicate_reason(code: str, table: Table) -> str:
    """Why a row does not stay beside another of the same key, and what to do."""
    if code == "repeated":
        return "repeats a row that is kept; expected each row once. Nothing to do"
    if code == "completed":
        return f"a row that is kept adds its {table.completed_by}; expected its newest state. Nothing to do"
    return f"another row has the same key and other content; expected one row per key. {table.remedy}"


def validate(kept: pd.DataFrame, table: Table, *, keys: bool = True) -> None:
    """The contract's last word on rows that passed.

    Raises:
        ContractError: They do not fit the contract after all, with the first failure.
    """
    from pandera.errors import SchemaErrors

    schema = table.pandera()
    if not keys:
        schema.unique = None
    try:
        schema.validate(kept, lazy=True)
    except SchemaErrors as error:
        first = error.failure_cases.iloc[0]
        raise ContractError(
            f"{table.name}: checked rows break the contract: {first['column']} {first['check']} {first['failure_case']}",
            remedy="This is an error of the software: report it with this line.",
        ) from error


def quarantine(
    table: str,
    source: str | Sequence[str],
    rows: np.ndarray,
    codes: Sequence[str],
    reasons: Sequence[str],
    benign: bool | np.ndarray,
    content: pd.DataFrame,
) -> pd.DataFrame:
    """Rows of the quarantine table, each with its content as JSON (absent values left out)."""
    text = [_as_json(row) for row in content.to_dict("records")]
    frame = pd.DataFrame(
        {
            "table": table,
            "source": source,
            "row": rows,
            "code": list(codes),
            "reason": list(reasons),
            "benign": benign,
            "content": text,
        },
        index=range(len(text)),
    )
    return frame.astype({c.name: c.dtype for c in QUARANTINE.columns})[list(QUARANTINE.names)]


def _typed(
    raw: Mapping[str, pa.Array], columns: Sequence[Column], length: int
) -> tuple[dict[str, pd.Series], list[Fault]]:
    """Typed columns with defaults applied, and what did not fit."""
    typed: dict[str, pd.Series] = {}
    faults: list[Fault] = []
    nothing = to_arrow(pd.Series([None] * length, dtype="str"))
    for column in columns:
        result = type_column(raw.get(column.name, nothing), column)
        faults += result.faults
        values, absent = result.column, result.absent
        if column.default is not None and absent.any():
            values = values.mask(absent, column.default)
        elif column.default_from is not None and absent.any():
            values = values.mask(absent, typed[column.default_from])
        elif column.required and absent.any():
            if column.absent_if_bad and "quality" in raw:
                absent &= ~pc.fill_null(pc.equal(raw["quality"], BAD_QUALITY), False).to_numpy(zero_copy_only=False)
            faults.append(_absent(column, absent))
        typed[column.name] = values
    return typed, faults


def _by_rule(raw: dict[str, pa.Array], table: Table, process: ProcessDefinition) -> dict[str, pa.Array]:
    """Raw columns with names, quality flags and words of a historian as the contract spells them."""
    if "parameter" in raw and process.aliases and pa.types.is_large_string(raw["parameter"].type):
        coded = raw["parameter"].dictionary_encode()
        names = [process.aliases.get(name, name) for name in coded.dictionary.to_pylist()]
        renamed = pa.DictionaryArray.from_arrays(coded.indices, pa.array(names, pa.large_string()))
        raw = raw | {"parameter": renamed.dictionary_decode()}
    if "quality" not in table.names:
        return raw
    flags = raw.get("quality", pa.nulls(len(raw["value"]), pa.large_string()))
    value, quality = without_words(raw["value"], by_rule(flags, process.process))
    return raw | {"value": value, "quality": quality}


def _absent(column: Column, rows: np.ndarray) -> Fault:
    return Fault("absent_value", rows, lambda _: f"{column.name} is absent; expected a value. Add it to the source")


def _first_fault(faults: Sequence[Fault], length: int) -> np.ndarray:
    """Index of the first fault of each row, -1 where there is none."""
    code = np.full(length, -1, np.int32)
    for number, fault in enumerate(faults):
        code[fault.rows & (code < 0)] = number
    return code


def _reason(fault: Fault, index: int, table: Table, raw: Mapping[str, pa.Array], source: str, number: int) -> str:
    ids = ", ".join(f"{name} {text_of(raw[name][index].as_py())}" for name in table.key if name in raw)
    return f"{source} row {number} ({ids}): {fault.reason(index)}"


def _ids(key: Mapping[Hashable, object]) -> str:
    return ", ".join(f"{name} {text_of(value)}" for name, value in key.items())


def _final_types(kept: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
    return kept.astype({column.name: "int32" for column in columns if column.kind == "integer"})


def _as_json(row: Mapping[str, object]) -> str:
    present = {str(name): value for name, value in row.items() if not pd.isna(value) and value != ""}
    return json.dumps(present, default=_plain, ensure_ascii=False)


def _plain(value: object) -> object:
    if isinstance(value, (pd.Timestamp,)):
        return value.isoformat()
    return value.item() if isinstance(value, np.generic) else str(value)
