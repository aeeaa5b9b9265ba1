"""A history without a process definition, read by the rules of an ingest: typed rows, names, and what would be refused."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from features.checks import check_columns, check_rows
from features.contracts import BATCHES, QUALITIES, RUN_HISTORY, Column
from features.errors import SourceError
from features.parsing import to_arrow, type_column
from features.process import CATEGORY, ProcessDefinition
from pipelines.sources.folder import HistoryFolder

_WORD_ENDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z][a-z])|[^A-Za-z0-9]+")
_LONGEST = 80
_ABSENT_UNIT = "1"
_MEASURED = ("observations", "lot_results")


@dataclass(frozen=True)
class Refusals:
    """Rows of one table that an ingest would refuse, with the first example of each broken rule."""

    table: str
    rows: int
    of: int
    examples: Mapping[str, str]


@dataclass(frozen=True)
class DraftTables:
    """What a draft is made of.

    Attributes:
        tables: Typed rows that an ingest would keep, values in the unit that most rows of their parameter have.
        names: Name in a process definition by the name in the source, for attributes and parameters.
        units: Units as reported, by parameter: each with its number of rows.
        refusals: What an ingest would refuse, by table.
    """

    tables: Mapping[str, pd.DataFrame]
    names: Mapping[str, str]
    units: Mapping[str, Counter[str]]
    refusals: Sequence[Refusals]


def read_tables(history: Mapping[str, pd.DataFrame] | Path, now: pd.Timestamp | None) -> DraftTables:
    """Read a history as an ingest reads it once there is a process definition.

    Args:
        history: Raw tables by name, or a folder, `pipelines.sources.folder.HistoryFolder`.
        now: Rows that become known later are refused; None: none is.

    Raises:
        SourceError: No batches, a folder that cannot be read, or a table without the columns that it must have.
    """
    raw, unread = _raw(history)
    if raw.get("batches", pd.DataFrame()).empty:
        raise SourceError("the history has no batches", expected="a table 'batches' with at least one row")
    units = _units(raw)
    attributes = [name for name in raw["batches"].columns if name not in BATCHES.names]
    names = _names([*attributes, *units])
    process = _provisional(raw["batches"], attributes, names, units)
    tables, refusals = {}, []
    starts: Mapping[str, int] | None = None
    for name in (table for table in RUN_HISTORY if table in raw):
        label = f"{name}.csv" if isinstance(history, Mapping) else HistoryFolder(history).label(name)
        check_columns(raw[name].columns, RUN_HISTORY[name], process, source=label)
        checked = check_rows(raw[name], RUN_HISTORY[name], process, source=label, batches=starts, now=now)
        tables[name] = checked.kept
        if name == "batches":
            started_us = checked.kept["started_at"].to_numpy(dtype="datetime64[us]").astype(np.int64)
            starts = dict(zip(checked.kept["batch_id"], started_us.tolist(), strict=True))
        refused = checked.quarantined[~checked.quarantined["benign"]]
        examples = {
            **dict(unread.get(name, ())),
            **dict(zip(refused["code"][::-1], refused["reason"][::-1], strict=True)),
        }
        n_unread = len(unread.get(name, ()))
        if examples:
            refusals.append(Refusals(name, len(refused) + n_unread, len(raw[name]) + n_unread, examples))
    if tables["batches"].empty:
        raise SourceError(f"no batch can be read: {next(iter(refusals[0].examples.values()))}")
    if not names:
        raise SourceError(
            "the history has no parameters", expected="observations, lot results or attributes of batches"
        )
    return DraftTables(tables, names, {names[n]: c for n, c in units.items()}, refusals)


def slug(name: str) -> str:
    """A name as a process definition can hold it: `AgitatorPower` gives `agitator_power`, `Donor Age` gives `donor_age`."""
    words = [word for word in _WORD_ENDS.split(name.replace("%", " pct ")) if word]
    found = "_".join(words).lower()[:_LONGEST].strip("_")
    return found if found[:1].isalpha() else f"p_{found}".rstrip("_")


def _raw(
    history: Mapping[str, pd.DataFrame] | Path,
) -> tuple[dict[str, pd.DataFrame], dict[str, list[tuple[str, str]]]]:
    """Raw tables, and code and reason of the records that are no rows."""
    if not isinstance(history, Path):
        return {name: frame.reset_index(drop=True) for name, frame in history.items()}, {}
    source, raw, unread = HistoryFolder(history), {}, {}
    for name, columns in source.tables().items():
        parts = [frame for frame, _ in source.read(name)]
        raw[name] = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(columns), dtype="str")
        if records := source.unread(name):
            unread[name] = [(record.code, record.reason) for record in records]
    return raw, unread


def _units(raw: Mapping[str, pd.DataFrame]) -> dict[str, Counter[str]]:
    """Units as reported, by parameter in the order of appearance; a parameter without any has an empty counter."""
    found: dict[str, Counter[str]] = {}
    for table in _MEASURED:
        frame = raw.get(table, pd.DataFrame())
        if "parameter" not in frame:
            continue
        units = frame["unit"] if "unit" in frame else pd.Series("", index=frame.index)
        pairs = pd.DataFrame({"parameter": frame["parameter"], "unit": units.fillna("")}).dropna()
        counted = pairs.astype("str").value_counts(sort=False).reset_index(name="n")
        for parameter, unit, n in counted[["parameter", "unit", "n"]].itertuples(index=False):
            counts = found.setdefault(parameter.strip(), Counter())
            counts[unit] += int(n) if unit else 0
    return found


def _names(spelled: Iterable[str]) -> dict[str, str]:
    """Names for a process definition, each once: those that can stand there stay; a number tells equal ones apart."""
    distinct = list(dict.fromkeys(spelled))
    found = {name: name for name in distinct if slug(name) == name}
    for name in (name for name in distinct if name not in found):
        wanted = base = slug(name)
        number = 2
        while wanted in found.values():
            wanted, number = f"{base[: _LONGEST - 3]}_{number}", number + 1
        found[name] = wanted
    return {name: found[name] for name in distinct}


def _provisional(
    batches: pd.DataFrame, attributes: Sequence[str], names: Mapping[str, str], units: Mapping[str, Counter[str]]
) -> ProcessDefinition:
    """A definition under which the rows can be checked: names, units and kinds, no limits."""
    parameters = []
    for spelled, name in names.items():
        counts = units.get(spelled)
        unit = (counts.most_common(1)[0][0] if counts else "") or _ABSENT_UNIT
        if spelled in attributes:
            unit = _ABSENT_UNIT if _is_number(batches[spelled]) else CATEGORY
        kind = "attribute" if spelled in attributes else "assay"
        aliases = [spelled] if spelled != name else []
        parameters.append({"name": name, "label": name, "unit": unit, "kind": kind, "aliases": aliases})
    head = {"id": "draft", "name": "Draft", "version": "1", "planned_duration_h": 1, "every_h": 1}
    if not parameters:  # the rows of batches are checked all the same
        parameters = [{"name": "none", "label": "None", "unit": CATEGORY, "kind": "attribute"}]
    return ProcessDefinition.model_validate({"process": head, "parameter": parameters})


def _is_number(column: pd.Series) -> bool:
    return not type_column(to_arrow(column), Column(str(column.name), "number", "attribute")).faults


def flagged(rows: pd.DataFrame) -> int:
    """Readings that their source flags as bad."""
    return int((rows["quality"] == QUALITIES[-1]).sum()) if "quality" in rows else 0
