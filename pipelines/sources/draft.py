"""A first process definition from a history folder, for a person to finish.

Everything that is read off the data rather than known carries a comment that begins with `check:`.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from features.contracts import BATCHES
from features.process import CATEGORY, OUTCOMES
from pipelines.sources.draft_tables import Refusals, flagged, read_tables, slug

SENSOR_READINGS = 20  # a parameter read at least so often in the median batch is called a sensor
BINS_H = (1.0, 0.5, 0.25, 0.1, 0.05, 0.01)
MIN_BINS = 8  # in a planned duration
_PLAIN_FOLDERS = {"history", "data", "export", "csv", "parquet", "input"}  # names that say nothing of the process
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
    """Properties of one parameter in the data: remarks, and what a person has to decide."""

    name: str
    kind: str
    unit: str
    normal: tuple[float, float] | None = None
    excluded: bool = False
    remarks: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


def draft(
    history: Mapping[str, pd.DataFrame] | Path, *, process_id: str | None = None, now: pd.Timestamp | None = None
) -> str:
    """Text of a process definition that loads, with `check:` comments where a person has to decide.

    Args:
        history: Raw run-history tables by name, or a folder, `pipelines.sources.folder.HistoryFolder`.
        process_id: Identity of the process, lower case; None: from the name of the folder.
        now: Rows that become known later are refused; None: none is.

    Returns:
        TOML: every attribute of `batches` and every parameter of `observations` and `lot_results` with its kind, the
        units seen and the 1-99 % of its values; duration, checkpoints and outcome as found. The rows that an ingest
        would refuse are named at the top, and count for nothing below.

    Raises:
        SourceError: No batches or no parameters, or a folder that cannot be read.
    """
    found = read_tables(history, now)
    tables, names = found.tables, found.names
    empty = pd.DataFrame()
    batches, results = tables["batches"], tables.get("lot_results", empty)
    observations = _elapsed(tables.get("observations", empty), batches)
    planned_h, source = _planned(batches, observations, tables.get("dispositions", empty))
    spelled = {name: original for original, name in names.items()}
    seen = [*_attributes(batches), *_lot_tests(results, found.units), *_measured(observations, planned_h, found.units)]
    seen = [replace(s, aliases=(spelled[s.name],)) if spelled[s.name] != s.name else s for s in _once(seen)]
    early = any(s.kind == "attribute" for s in seen) or not results.empty
    parts = [
        _head(process_id or _id_of(history), planned_h, source, early, found.refusals),
        *(_parameter(s) for s in seen),
        _outcome(tables.get("dispositions", empty), len(batches)),
    ]
    return "\n".join(parts)


def _id_of(history: Mapping[str, pd.DataFrame] | Path) -> str:
    """Identity from the folder's name, or from that of its parent where it only says that it holds data."""
    if not isinstance(history, Path):
        return "process"
    folder = history.resolve()
    return slug(folder.parent.name if folder.name.lower() in _PLAIN_FOLDERS and folder.parent.name else folder.name)


def _once(seen: Iterable[_Seen]) -> list[_Seen]:
    """A name that stands in two tables is one parameter; the first table decides."""
    first: dict[str, _Seen] = {}
    for one in seen:
        known = first.setdefault(one.name, one)
        if known is not one:
            first[one.name] = replace(known, questions=(f"also found as {one.kind}", *known.questions))
    return list(first.values())


def _elapsed(observations: pd.DataFrame, batches: pd.DataFrame) -> pd.DataFrame:
    """Observations with hours since the start, `observed_h` and `available_h`."""
    if observations.empty:
        return observations
    started = observations["batch_id"].map(batches.set_index("batch_id")["started_at"])
    return observations.assign(
        observed_h=(observations["observed_at"] - started) / _HOUR,
        available_h=(observations["available_at"] - started) / _HOUR,
    )


def _planned(batches: pd.DataFrame, observations: pd.DataFrame, dispositions: pd.DataFrame) -> tuple[float, str]:
    """Planned duration in hours and where it comes from; results that come once, or after the decision, are no end."""
    if "planned_end_at" in batches and batches["planned_end_at"].notna().any():
        hours = ((batches["planned_end_at"] - batches["started_at"]) / _HOUR).median()
        return (float(hours), "median of planned_end_at - started_at") if hours > 0 else (1.0, "not in the data")
    if observations.empty:
        return 1.0, "not in the data"
    running = observations
    if not dispositions.empty:
        decided = observations["batch_id"].map(dispositions.groupby("batch_id")["decided_at"].min())
        running = observations[~(observations["available_at"] > decided)]
    often = running.groupby(["batch_id", "parameter"])["observed_h"].transform("size") > 1
    hours = running[often].groupby("batch_id")["observed_h"].max().median()
    if not hours > 0:  # also NaN
        return 1.0, "not in the data"
    return float(hours), "median time of a batch's last reading of what is read repeatedly"


def _bin(planned_h: float) -> float:
    return next((b for b in BINS_H if planned_h / b >= MIN_BINS), BINS_H[-1])


def _head(process_id: str, planned_h: float, source: str, early: bool, refusals: Sequence[Refusals]) -> str:
    bin_h = _bin(planned_h)
    quarters = {max(1, round(planned_h * share / bin_h)) for share in (0.25, 0.5, 0.75)}
    checkpoints = [0.0] * early + [n * bin_h for n in sorted(quarters)]
    return "\n".join(
        (
            "# Drafted from a run history. Go through every line with 'check:', then delete the remark.",
            *(line for refused in refusals for line in _refused(refused)),
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


def _refused(refused: Refusals) -> list[str]:
    lines = [f"# 'batchguard run' will refuse {refused.rows} of the {refused.of} rows of {refused.table}, such as:"]
    return [*lines, *(f"#   {code}: {' '.join(reason.split())}" for code, reason in refused.examples.items())]


def _words(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _parameter(seen: _Seen) -> str:
    lines = ["[[parameter]]", *(f"# {remark}" for remark in seen.remarks)]
    questions = [*seen.questions, *(["range (physically possible) and normal (here 1-99 %)"] if seen.normal else [])]
    lines += [f"# check: {'; '.join(questions)}"] if questions else []
    lines += [f"{key} = {json.dumps(text, ensure_ascii=False)}" for key, text in
              (("name", seen.name), ("label", _words(seen.name)), ("unit", seen.unit), ("kind", seen.kind))]  # fmt: skip
    if seen.aliases:
        lines += [f"aliases = {json.dumps(seen.aliases, ensure_ascii=False)}"]
    if seen.normal:
        lines += ["range = [nan, nan]", f"normal = [{seen.normal[0]:.10g}, {seen.normal[1]:.10g}]"]
    if seen.excluded:
        lines += ["excluded = true"]
    return "\n".join((*lines, ""))


def _normal(values: pd.Series) -> tuple[float, float] | None:
    if not values.notna().any():
        return None
    low, high = (float(f"{values.quantile(q):.4g}") for q in (0.01, 0.99))
    return (low, high) if low < high else None


def _spread(values: pd.Series) -> str:
    if not values.notna().any():
        return "no value seen"
    if values.min() == values.max():
        return f"always {values.min():.6g}"
    return f"observed from {values.min():.6g} to {values.max():.6g}"


def _attributes(batches: pd.DataFrame) -> list[_Seen]:
    seen = []
    for name in (c for c in batches.columns if c not in BATCHES.names):
        values = batches[name].dropna()
        if pd.api.types.is_numeric_dtype(batches[name]):
            seen.append(_Seen(name, "attribute", "1", _normal(values), remarks=(_spread(values),), questions=("unit",)))
        else:
            seen.append(_Seen(name, "attribute", CATEGORY, remarks=(f"{values.nunique()} different values",)))
    return seen


def _lot_tests(results: pd.DataFrame, units: Mapping[str, Counter[str]]) -> list[_Seen]:
    if results.empty:
        return []
    return [
        _Seen(
            str(name), "assay", _unit(units[str(name)]), _normal(rows["value"]), questions=_about_unit(units[str(name)]),
            remarks=(f"test of raw-material lots: {rows['lot_id'].nunique()} lots", _spread(rows["value"])),
        )
        for name, rows in results.groupby("parameter")
    ]  # fmt: skip


def _measured(observations: pd.DataFrame, planned_h: float, units: Mapping[str, Counter[str]]) -> list[_Seen]:
    if observations.empty:
        return []
    return [
        _one_measured(str(name), rows, planned_h, units[str(name)]) for name, rows in observations.groupby("parameter")
    ]


def _one_measured(name: str, rows: pd.DataFrame, planned_h: float, units: Counter[str]) -> _Seen:
    often = statistics.median(rows.groupby("batch_id").size().tolist())
    late = bool(rows.groupby("batch_id")["available_h"].min().median() >= planned_h)
    bad = flagged(rows)
    return _Seen(
        name,
        "sensor" if often >= SENSOR_READINGS else "assay",
        _unit(units),
        _normal(rows["value"]),
        excluded=late,
        remarks=(
            _sampling(rows, often), _spread(rows["value"]),
            *([f"{bad} of {len(rows)} readings are flagged bad"] if bad else []),
        ),
        questions=(*_about_unit(units), *(["known only after the planned end, so excluded"] if late else [])),
    )  # fmt: skip


def _sampling(rows: pd.DataFrame, often: float) -> str:
    text = f"{rows['batch_id'].nunique()} batches, {often:g} readings per batch (median)"
    times = rows.sort_values(["batch_id", "observed_h"])
    step = times.groupby("batch_id")["observed_h"].diff().median()
    return f"{text}, every {step:.3g} h" if step > 0 else text


def _unit(units: Counter[str]) -> str:
    """The most frequent unit."""
    return next((unit for unit, _ in units.most_common() if unit), "1")


def _about_unit(units: Counter[str]) -> tuple[str, ...]:
    named = sorted(unit for unit in units if unit)
    if len(named) == 1:
        return ()
    return (f"units seen: {', '.join(named)}",) if named else ("no unit was reported",)


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
