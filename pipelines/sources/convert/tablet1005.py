"""1 005 commercial batches of a film-coated tablet (Zagar & Mihelic, Sci Data 9:99, 2022) as a run history.

The layout has the month in which a batch started and no hours, so the stages get nominal hours:

| stage | hours since start | what becomes known |
|---|---|---|
| dispensing and blending | 0-24 | raw-material lots and their tests, before the start |
| compression | 24-102 | press series as recorded; summaries of the press one hour after its end |
| tests of the cores | 102-111 | thickness, weight, hardness, diameter of the cores; 9 h turnaround |
| coating | 111-134 | the same of the coated tablets, one hour after its end |
| final tests | 134-256 | yield at 160 h; dissolution, solvent, impurities at 256 h, after the outcome |
| release | 720 | disposition |
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from features.errors import SourceError
from pipelines.sources.convert import tablet_columns
from pipelines.sources.convert.history import (
    HOUR,
    Converted,
    Tables,
    first_wrong,
    long_rows,
    numbers,
    require_columns,
    same_batches,
    source_file,
    write_history,
)

COMPRESSION_H = 24.0
COMPRESSION_END_H = 102.0  # the longest published press series runs 78 h, over a weekend
IN_PROGRESS_AT_H = 108.0  # compressed, cores not yet tested
PLANNED_H = 160.0
RELEASED_H = 720.0
LOT_TESTED_H = -168.0  # a week before the lot's first use
LOT_KNOWN_H = -1.0

MONTHS = {
    name: number
    for number, name in enumerate(
        ("jan", "feb", "mar", "apr", "maj", "jun", "jul", "avg", "sep", "okt", "nov", "dec"), start=1
    )
}


def convert(source_dir: Path, out_dir: Path, *, in_progress: int = 0) -> Converted:
    """Write the tablet batches as a history folder.

    Args:
        source_dir: Folder with `laboratory.csv`, `process.csv`, `normalization.csv` (`;`) and `press_10s.parquet`.
        out_dir: New folder.
        in_progress: How many of the newest batches to cut off after compression.

    Raises:
        SourceError: A file or column is missing, a value is not a number, a month is unknown, a batch
            stands in one file only, or `out_dir` is not empty.
    """
    laboratory = _read(source_dir, "laboratory.csv")
    require_columns(laboratory, ["start", "strength"], Path(laboratory.attrs["path"]))
    process = _read(source_dir, "process.csv")
    sizes = _read(source_dir, "normalization.csv", key="Product code")
    starts = start_times(laboratory)
    same_batches(laboratory["batch"], process["batch"], "laboratory.csv and process.csv")
    batches, size_note = _batches(laboratory, sizes, starts)
    materials, lot_results, lot_notes = _lots(laboratory, starts)
    assays = _assays(laboratory, process, starts)
    series, series_note = _series(source_file(source_dir, "press_10s.parquet"), starts)
    tables: Tables = {
        "batches": batches,
        "observations": pd.concat([assays, series], ignore_index=True),
        "materials": materials,
        "lot_results": lot_results,
        "dispositions": _dispositions(starts),
    }
    notes = (
        "Start: batches of a month are spread evenly over it, in the order of their number; UTC.",
        "Press timestamps are used within a batch only: some have day and month exchanged.",
        f"{_disordered(starts)} batches start in an earlier month than a batch with a lower number: the month decides.",
        "Hours of the stages are nominal (compression from 24 h, core tests known at 111 h, coated at 135 h, yield at 160 h).",
        size_note,
        *lot_notes,
        series_note,
        _copies_note(laboratory, process),
        "Every batch was within specification: released 30 days after its start.",
    )
    return write_history(tables, out_dir, notes, in_progress=in_progress, at_h=IN_PROGRESS_AT_H)


def start_times(laboratory: pd.DataFrame) -> pd.Series:
    """Nominal start of each batch: its month's batches spread evenly over the month in order of their number.

    Args:
        laboratory: Columns `batch` (integer) and `start`, a month as `maj.19`.

    Returns:
        datetime64[us, UTC] by batch number; the month decides where numbers and months disagree.

    Raises:
        SourceError: A month that cannot be read.
    """
    ordered = laboratory.sort_values("batch")
    months = pd.Series(
        [_month(b, m) for b, m in zip(ordered["batch"], ordered["start"], strict=True)], index=ordered["batch"]
    )
    rank = months.groupby(months).cumcount()
    share = rank / months.groupby(months).transform("size")
    length = pd.Series([(m + pd.offsets.MonthBegin()) - m for m in months], index=months.index)
    return (months + (length * share)).dt.floor("min").astype("datetime64[us, UTC]")


def _disordered(starts: pd.Series) -> int:
    return int((starts < starts.cummax()).sum())


def _month(batch: int, text: str) -> datetime:
    name, _, year = str(text).strip().partition(".")
    if name not in MONTHS or len(year) != 2 or not year.isdigit():
        raise SourceError(
            f"start of batch {batch} is {text!r}", expected=f"a month such as maj.19, one of {', '.join(MONTHS)}"
        )
    return datetime(2000 + int(year), MONTHS[name], 1, tzinfo=UTC)


def batch_id(batch: int) -> str:
    """Identity of a batch in the run history, `B0001`."""
    return f"B{batch:04d}"


def _read(folder: Path, name: str, key: str = "batch") -> pd.DataFrame:
    """All columns as text, but the key: whole numbers, each once."""
    path = source_file(folder, name)
    frame = pd.read_csv(path, sep=";", dtype="str", keep_default_na=False)
    require_columns(frame, [key], path)
    if not frame[key].str.fullmatch(r"\d+").all() or frame[key].duplicated().any():
        raise SourceError(f"{path}: {key!r} is not a whole number or stands twice", expected="one row per number")
    frame[key] = frame[key].astype("int64")
    frame.attrs["path"] = str(path)
    return frame


def _number(frame: pd.DataFrame, column: str) -> pd.Series:
    path = Path(frame.attrs["path"])
    require_columns(frame, [column], path)
    return numbers(frame[column], frame["batch"], path)


def _whole(frame: pd.DataFrame, column: str) -> pd.Series:
    """Codes and lot numbers as text without a decimal point."""
    values = _number(frame, column)
    wrong = first_wrong(values.isna() | (values != values.round()))
    if wrong is not None:
        raise SourceError(f"{frame.attrs['path']}: {column!r} of batch {frame['batch'][wrong]} is no whole number")
    return values.astype("int64").astype("str")


def _batches(laboratory: pd.DataFrame, sizes: pd.DataFrame, starts: pd.Series) -> tuple[pd.DataFrame, str]:
    table = dict(
        zip(sizes["Product code"], pd.to_numeric(sizes["Batch Size (tablets)"]).astype("float64"), strict=True)
    )
    code = _whole(laboratory, "code")
    size = code.astype("int64").map(table).astype("float64")
    unknown = first_wrong(size.isna())
    if unknown is not None:
        raise SourceError(f"normalization.csv: product code {code[unknown]} is missing", expected="its batch size")
    different = int((size != _number(laboratory, "size")).sum())
    started = laboratory["batch"].map(starts)
    batches = pd.DataFrame(
        {
            "batch_id": laboratory["batch"].map(batch_id),
            "product_id": "code_" + code.astype("str"),
            "started_at": started,
            "planned_end_at": started + PLANNED_H * HOUR,
            "origin": "real",
            "strength": laboratory["strength"].str.strip(),
            "code": code,
            "api_code": _whole(laboratory, "api_code"),
            "size_tablets": size,
        }
    )
    return (
        batches,
        f"Batch size comes from normalization.csv by product code; laboratory.csv differs in {different} batches.",
    )


def lot_ids(laboratory: pd.DataFrame, material: str) -> pd.Series:
    """Lot of each batch: the recorded number (for the API with its code), split where its results differ.

    A lot number that comes back with other results is another delivery or part lot: the second set of results gets
    `.2` behind the number, the third `.3`. So the results of a lot are those recorded for each batch that used it.
    """
    number = _whole(laboratory, f"{material}_batch")
    if material == "api":
        number = _whole(laboratory, "api_code") + "-" + number
    results = pd.DataFrame(
        {test: _number(laboratory, f"{material}_{test}") for test in tablet_columns.LOT_TESTS[material]}
    )
    key = pd.Series([tuple(row) for row in results.fillna(float("-inf")).to_numpy()], index=results.index)
    part = key.groupby(number, sort=False).transform(lambda k: pd.factorize(k)[0] + 1)
    suffix = part.map(lambda p: "" if p == 1 else f".{p}").astype("str")
    return (material + "-" + number + suffix).rename("lot_id")


def _lots(laboratory: pd.DataFrame, starts: pd.Series) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    laboratory = laboratory.sort_values("batch", ignore_index=True)
    started = laboratory["batch"].map(starts)
    used, tested, notes = [], [], []
    for material, tests in tablet_columns.LOT_TESTS.items():
        lot = lot_ids(laboratory, material)
        used.append(pd.DataFrame({"batch_id": laboratory["batch"].map(batch_id), "material": material, "lot_id": lot,
                                  "consumed_at": started}))  # fmt: skip
        first = ~lot.duplicated()
        results = pd.DataFrame({f"{material}_{test}": _number(laboratory, f"{material}_{test}") for test in tests})[
            first
        ]
        long = results.assign(lot_id=lot[first], started=started[first]).melt(
            ["lot_id", "started"], var_name="parameter"
        )
        tested.append(long.dropna(subset=["value"]).assign(material=material))
        parts, absent = int(lot.str.contains(".", regex=False)[first].sum()), int(long["value"].isna().sum())
        notes.append(f"{material}: {int(first.sum())} lots, {parts} of them split off a number that came with other results; "
                     f"{absent} results absent.")  # fmt: skip
    results = pd.concat(tested, ignore_index=True)
    results["observed_at"] = results["started"] + LOT_TESTED_H * HOUR
    results["available_at"] = results["started"] + LOT_KNOWN_H * HOUR
    return pd.concat(used, ignore_index=True), results.drop(columns="started"), notes


def _assays(laboratory: pd.DataFrame, process: pd.DataFrame, starts: pd.Series) -> pd.DataFrame:
    require_columns(process, ["weekend"], Path(process.attrs["path"]))
    weekend = process["weekend"].str.strip().map({"no": "0", "yes": "1"})
    if weekend.isna().any():
        raise SourceError(f"{process.attrs['path']}: 'weekend' is neither yes nor no")
    process = process.assign(weekend=weekend)
    stages = (
        (process, tablet_columns.SUMMARIES | {"weekend": "weekend"}, COMPRESSION_END_H, COMPRESSION_END_H + 1),
        (laboratory, tablet_columns.CORE_TESTS, COMPRESSION_END_H, 111.0),
        (laboratory, tablet_columns.CORE_YIELD, COMPRESSION_END_H, 111.0),
        (laboratory, tablet_columns.COATED_TESTS, 134.0, 135.0),
        (laboratory, tablet_columns.YIELD, 144.0, PLANNED_H),
        (laboratory, tablet_columns.FINAL_TESTS, PLANNED_H, 256.0),
    )
    return pd.concat([_stage(*stage, starts) for stage in stages], ignore_index=True)


def _stage(
    frame: pd.DataFrame, columns: Mapping[str, str], observed_h: float, available_h: float, starts: pd.Series
) -> pd.DataFrame:
    wide = pd.DataFrame({name: _number(frame, column) for column, name in columns.items()}).assign(batch=frame["batch"])
    long, _ = long_rows(wide, ["batch"])
    started = long["batch"].map(starts)
    return long.assign(
        batch_id=long["batch"].map(batch_id),
        observed_at=started + observed_h * HOUR,
        available_at=started + available_h * HOUR,
    ).drop(columns="batch")


def _series(path: Path, starts: pd.Series) -> tuple[pd.DataFrame, str]:
    press = pd.read_parquet(path)
    require_columns(press, ["batch", "timestamp", *tablet_columns.SERIES], path)
    alone = set(press["batch"]) - set(starts.index)
    if alone:
        raise SourceError(
            f"{path}: batch {min(alone)} does not stand in laboratory.csv", expected="batches of that file"
        )
    first = press.groupby("batch")["timestamp"].transform("min")
    elapsed = press["timestamp"] - first
    late = int((elapsed > (COMPRESSION_END_H - COMPRESSION_H) * HOUR).sum())
    wide = press[list(tablet_columns.SERIES)].astype("float64").rename(columns=tablet_columns.SERIES)
    wide["batch_id"] = press["batch"].map(batch_id)
    wide["observed_at"] = press["batch"].map(starts) + COMPRESSION_H * HOUR + elapsed
    kept, absent = long_rows(wide, ["batch_id", "observed_at"])
    return kept.assign(available_at=kept["observed_at"]), (
        f"Press series of {press['batch'].nunique()} batches start at 24 h and keep their own spacing; "
        f"{absent} empty readings left out, {late} rows after the nominal end of compression."
    )


def _copies_note(laboratory: pd.DataFrame, process: pd.DataFrame) -> str:
    lab, copies = laboratory.set_index("batch"), process.set_index("batch")
    different = 0
    for column, original in tablet_columns.COPIES.items():
        if column in copies:
            pair = pd.concat(
                [pd.to_numeric(lab[original], errors="coerce"), pd.to_numeric(copies[column], errors="coerce")], axis=1
            )
            different += int((pair.iloc[:, 0] != pair.iloc[:, 1])[pair.notna().any(axis=1)].sum())
    return f"The copies of the final tests in process.csv are left out; {different} values differ from laboratory.csv."


def _dispositions(starts: pd.Series) -> pd.DataFrame:
    decided = (starts + RELEASED_H * HOUR).rename("decided_at").reset_index()
    return pd.DataFrame(
        {
            "batch_id": decided["batch"].map(batch_id),
            "outcome": "released",
            "decided_at": decided["decided_at"],
            "source": "within specification as published",
        }
    )
