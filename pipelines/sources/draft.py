"""A first process definition from a history folder, for a person to finish.

Everything that is read off the data rather than known carries a comment that begins with `check:`.
"""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from features.contracts import BATCHES, RUN_HISTORY, Column
from features.errors import SourceError
from features.parsing import to_arrow, type_column
from features.process import CATEGORY, OUTCOMES
from pipelines.sources.folder import HistoryFolder

SENSOR_READINGS = 20  # a parameter read at least so often in the median batch is called a sensor
BINS_H = (1.0, 0.5, 0.25, 0.1, 0.05, 0.01)
MIN_BINS = 8  # in a planned duration
_NAME = re.compile(r"[a-z][a-z0-9_]{0,79}")
_HOUR = pd.Timedelta(hours=1)

_OUTCOME = """\
failed = ["rejected", "terminated"]
censored = ["cancelled"]

# check: what a failed batch and a false alarm cost; thresholds follow from them
# [cost]
# currency = "EUR"
# failed_batch = 100000
# false_alarm = 2000
"""


@dataclass(frozen=True)
class _Seen:
    """Properties of one parameter in the data."""

    name: str
    kind: str
    unit: str
    normal: tuple[float, float] | None = None
    excluded: bool = False
    comments: tuple[str, ...] = ()


def draft(history: Mapping[str, pd.DataFrame] | Path, *, process_id: str = "process") -> str:
    """Text of a process definition that loads, with `check:` comments where a person has to decide.

    Args:
        history: Run-history tables by name (times in UTC), or a folder, `pipelines.sources.folder.HistoryFolder`.
        process_id: Identity of the process, lower case.

    Returns:
        TOML: every attribute of `batches` and every parameter of `observations` and `lot_results` with its kind, the
        units seen and the 1-99 % of its values; duration, checkpoints and outcome as found.

    Raises:
        SourceError: No batches or no parameters, a name that a process definition cannot hold, or a folder that
            cannot be read.
    """
    tables = _read_folder(history) if isinstance(history, Path) else history
    batches = tables.get("batches", pd.DataFrame())
    if batches.empty:
        raise SourceError("the history has no batches", expected="a table 'batches' with at least one row")
    observations = _elapsed(tables.get("observations", pd.DataFrame()), batches)
    planned_h, source = _planned(batches, observations)
    seen = [
        *_attributes(batches),
        *_lot_tests(tables.get("lot_results", pd.DataFrame())),
        *_measured(observations, planned_h),
    ]
    seen = _once(seen)
    _check_names([process_id, *(s.name for s in seen)])
    if not seen:
        raise SourceError(
            "the history has no parameters", expected="observations, lot results or attributes of batches"
        )
    early = any(s.kind == "attribute" for s in seen) or not tables.get("lot_results", pd.DataFrame()).empty
    parts = [
        _head(process_id, planned_h, source, early),
        *(_parameter(s) for s in seen),
        _outcome(tables.get("dispositions", pd.DataFrame()), len(batches)),
    ]
    return "\n".join(parts)


def _once(seen: Iterable[_Seen]) -> list[_Seen]:
    """A name that stands in two tables is one parameter; the first table decides."""
    first: dict[str, _Seen] = {}
    for one in seen:
        known = first.setdefault(one.name, one)
        if known is not one:
            first[one.name] = replace(known, comments=(*known.comments, f"check: also found as {one.kind}"))
    return list(first.values())


def _check_names(names: Iterable[str]) -> None:
    wrong = [name for name in names if not _NAME.fullmatch(name)]
    if wrong:
        raise SourceError(
            f"{wrong[0]!r} cannot stand in a process definition ({len(wrong)} such names)",
            expected="lower-case letters, digits and _, a letter first",
            remedy="Rename it in the source.",
        )


def _elapsed(observations: pd.DataFrame, batches: pd.DataFrame) -> pd.DataFrame:
    """Observations with hours since the start, `observed_h` and `available_h`."""
    if observations.empty:
        return observations
    started = observations["batch_id"].map(batches.set_index("batch_id")["started_at"])
    available = observations.get("available_at", observations["observed_at"]).fillna(observations["observed_at"])
    return observations.assign(
        observed_h=(observations["observed_at"] - started) / _HOUR, available_h=(available - started) / _HOUR
    )


def _planned(batches: pd.DataFrame, observations: pd.DataFrame) -> tuple[float, str]:
    if "planned_end_at" in batches and batches["planned_end_at"].notna().any():
        hours = ((batches["planned_end_at"] - batches["started_at"]) / _HOUR).median()
        source = "median of planned_end_at - started_at"
    elif not observations.empty:
        hours = observations.groupby("batch_id")["observed_h"].max().median()
        source = "median time of a batch's last observation"
    else:
        hours, source = math.nan, ""
    if not hours > 0:  # also NaN
        return 1.0, "not in the data"
    return float(hours), source


def _bin(planned_h: float) -> float:
    return next((b for b in BINS_H if planned_h / b >= MIN_BINS), BINS_H[-1])


def _head(process_id: str, planned_h: float, source: str, early: bool) -> str:
    bin_h = _bin(planned_h)
    quarters = {max(1, round(planned_h * share / bin_h)) for share in (0.25, 0.5, 0.75)}
    checkpoints = [0.0] * early + [n * bin_h for n in sorted(quarters)]
    return "\n".join(
        (
            "# Drafted from a run history. Go through every line with 'check:', then delete the remark.",
            "",
            "[process]",
            f"id = {json.dumps(process_id)}",
            f"name = {json.dumps(_words(process_id))}  # check: the name people use",
            'version = "1"',
            f"planned_duration_h = {planned_h:.6g}  # check: {source}",
            f"bin_h = {bin_h:g}",
            f"checkpoints_h = [{', '.join(f'{c:.10g}' for c in checkpoints)}]  # check: when is there still time to act?",
            "",
        )
    )


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _parameter(seen: _Seen) -> str:
    lines = ["[[parameter]]", *(f"# {c}" for c in seen.comments)]
    lines += [f"{key} = {json.dumps(text)}" for key, text in
              (("name", seen.name), ("label", _words(seen.name)), ("unit", seen.unit), ("kind", seen.kind))]  # fmt: skip
    if seen.normal:
        lines += ["range = [nan, nan]  # check: what is physically possible?"]
        lines += [f"normal = [{seen.normal[0]:.10g}, {seen.normal[1]:.10g}]  # check: 1-99 % of what was observed"]
    if seen.excluded:
        lines += ["excluded = true  # check: known only after the planned end"]
    return "\n".join((*lines, ""))


def _normal(values: pd.Series) -> tuple[float, float] | None:
    low, high = (float(f"{values.quantile(q):.4g}") for q in (0.01, 0.99))
    return (low, high) if low < high else None


def _spread(values: pd.Series) -> str:
    if values.min() == values.max():
        return f"check: always {values.min():.6g}"
    return f"observed from {values.min():.6g} to {values.max():.6g}"


def _attributes(batches: pd.DataFrame) -> list[_Seen]:
    seen = []
    for name in (c for c in batches.columns if c not in BATCHES.names):
        values = batches[name].dropna()
        if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
            comments = ("check: unit", _spread(values)) if len(values) else ("check: unit, no value seen",)
            seen.append(_Seen(name, "attribute", "1", _normal(values) if len(values) else None, comments=comments))
        else:
            seen.append(_Seen(name, "attribute", CATEGORY, comments=(f"{values.nunique()} different values",)))
    return seen


def _lot_tests(results: pd.DataFrame) -> list[_Seen]:
    if results.empty:
        return []
    return [
        _Seen(str(name), "assay", _unit(rows)[0], _normal(rows["value"]),
              comments=(f"test of raw-material lots: {rows['lot_id'].nunique()} lots", _unit(rows)[1], _spread(rows["value"])))
        for name, rows in results.groupby("parameter")
    ]  # fmt: skip


def _measured(observations: pd.DataFrame, planned_h: float) -> list[_Seen]:
    if observations.empty:
        return []
    return [_one_measured(str(name), rows, planned_h) for name, rows in observations.groupby("parameter")]


def _one_measured(name: str, rows: pd.DataFrame, planned_h: float) -> _Seen:
    often = statistics.median(rows.groupby("batch_id").size().tolist())
    unit, remark = _unit(rows)
    late = rows.groupby("batch_id")["available_h"].min().median() >= planned_h
    return _Seen(
        name,
        "sensor" if often >= SENSOR_READINGS else "assay",
        unit,
        _normal(rows["value"]),
        excluded=bool(late),
        comments=(_sampling(rows, often), remark, _spread(rows["value"])),
    )


def _sampling(rows: pd.DataFrame, often: float) -> str:
    text = f"{rows['batch_id'].nunique()} batches, {often:g} readings per batch (median)"
    times = rows.sort_values(["batch_id", "observed_h"])
    step = times.groupby("batch_id")["observed_h"].diff().median()
    return f"{text}, every {step:.3g} h" if step > 0 else text


def _unit(rows: pd.DataFrame) -> tuple[str, str]:
    """The most frequent unit and a remark on what was seen."""
    units = rows["unit"].dropna() if "unit" in rows else pd.Series(dtype="str")
    counts = units[units != ""].value_counts()
    if counts.empty:
        return "1", "check: no unit was reported"
    if len(counts) == 1:
        return str(counts.index[0]), "unit as reported"
    return str(counts.index[0]), f"check: units seen: {', '.join(sorted(map(str, counts.index)))}"


def _outcome(dispositions: pd.DataFrame, batches: int) -> str:
    newest = dispositions
    if not dispositions.empty:
        order = ["batch_id", "revision"] if "revision" in dispositions else ["batch_id"]
        newest = dispositions.sort_values(order).drop_duplicates("batch_id", keep="last")
    found = newest["outcome"].value_counts() if len(newest) else pd.Series(dtype="int64")
    counts = ", ".join(f"{found[o]} {o}" for o in OUTCOMES if o in found) or "none"
    found_lines = [f"# check: dispositions found: {counts}; {batches - len(newest)} of {batches} batches have none"]
    if not {"rejected", "terminated"} & set(found.index):
        found_lines += [
            '# check: none of them failed; a rule can decide: label_from = "rule", label_rule = "yield_pct < 97"'
        ]
    return "\n".join(("[outcome]", *found_lines, _OUTCOME))


def _read_folder(folder: Path) -> dict[str, pd.DataFrame]:
    source = HistoryFolder(folder)
    return {name: _read_table(source, name) for name in source.tables()}


def _read_table(source: HistoryFolder, name: str) -> pd.DataFrame:
    """A table typed as an ingest types it; an attribute in CSV is a number if all its values are."""
    parts = [frame for frame, _ in source.read(name)]
    if not parts:
        return pd.DataFrame()
    frame, table, label = pd.concat(parts, ignore_index=True), RUN_HISTORY[name], source.label(name)
    for column in frame:
        known = column in table.names
        if not known and not label.endswith(".csv"):
            continue
        typed = type_column(to_arrow(frame[column]), table[column] if known else Column(column, "number", "attribute"))
        if typed.faults and known and table[column].kind == "time":
            fault = typed.faults[0]
            raise SourceError(f"{source.folder / label}: {fault.reason(int(fault.rows.argmax()))}")
        if known or not typed.faults:
            frame[column] = typed.column
    return frame
