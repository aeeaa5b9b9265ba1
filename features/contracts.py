"""Contracts of all frames that cross a room: columns with type, unit, range and meaning.

The seven run-history tables hold what a plant recorded; snapshots and risk scores are what is made of them.
Times are UTC in microseconds; a value is known from its `available_at` on, never earlier.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pyarrow as pa

from features.process import OUTCOMES

if TYPE_CHECKING:  # two seconds to import: only where a frame is checked
    import pandas as pd
    import pandera.pandas as pa_frames

Kind = Literal["id", "text", "time", "number", "integer", "flag", "json"]

_TYPES: dict[str, tuple[pa.DataType, str]] = {  # by kind, in Arrow and in pandas
    **dict.fromkeys(("id", "text", "json"), (pa.string(), "str")),
    "time": (pa.timestamp("us", tz="UTC"), "datetime64[us, UTC]"),
    "number": (pa.float64(), "float64"),
    "integer": (pa.int32(), "int32"),
    "flag": (pa.bool_(), "bool"),
}
BAD_QUALITY = "bad"  # such a reading may have any value: it is counted, never averaged
QUALITIES = ("good", "uncertain", BAD_QUALITY)
ORIGINS = ("real", "simulated")
GRADES = ("A", "B", "C", "D", "")
SEVERITIES = ("", "minor", "major", "critical")


@dataclass(frozen=True)
class Column:
    """One column: what it means, in which unit, within which limits (inclusive)."""

    name: str
    kind: Kind
    meaning: str
    unit: str = ""
    required: bool = False  # a value in every row
    low: float | None = None
    high: float | None = None
    allowed: tuple[str, ...] | None = None
    default: object = None  # what an absent value means
    default_from: str | None = None  # the column whose value an absent one takes
    not_before: str | None = None  # the time that this one may not precede
    absent_if_bad: bool = False  # required, but for a row that its source flags as bad

    @property
    def arrow(self) -> pa.Field:
        """The stored type."""
        return pa.field(self.name, _TYPES[self.kind][0], nullable=self.nullable)

    @property
    def nullable(self) -> bool:
        """Whether a kept row may lack a value."""
        return not self.required or self.absent_if_bad

    @property
    def dtype(self) -> str:
        """The type in a frame."""
        return _TYPES[self.kind][1]

    def pandera(self) -> pa_frames.Column:
        """The check of a whole column, after defaults were applied."""
        import pandera.pandas as pa_frames

        check = pa_frames.Check
        limits = ((check.ge, self.low), (check.le, self.high), (check.isin, self.allowed))
        checks = [rule(limit) for rule, limit in limits if limit is not None]
        unit = {"unit": self.unit}
        return pa_frames.Column(self.dtype, checks, nullable=self.nullable, description=self.meaning, metadata=unit)


@dataclass(frozen=True)
class Table:
    """One table: its key, its columns and whether further columns (attributes) may follow."""

    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    attributes: bool = False
    month_of: Literal["batch", "observed_at", "none"] = "batch"  # what decides its monthly partition
    known_from: str = ""  # of the run history: the time from which a row counts; absent: from its batch's start
    remedy: str = "Keep the row that is right"  # where rows of one key contradict each other
    time_of_batch: str | None = None  # the time that lies near the start of the row's batch
    never_before_batch: bool = False  # whether that time cannot lie before the start
    completed_by: str = ""  # the column that a later row of the same key may add, all others being equal

    def __getitem__(self, name: str) -> Column:
        return next(c for c in self.columns if c.name == name)

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in order."""
        return tuple(c.name for c in self.columns)

    @property
    def must_have(self) -> tuple[str, ...]:
        """Columns that a source has to bring: required and without a default."""
        return tuple(c.name for c in self.columns if c.required and c.default is None and c.default_from is None)

    def known_at(self, frame: pd.DataFrame, as_of: pd.Timestamp) -> pd.DataFrame:
        """Typed rows that count at a moment, and those that count from their batch's start."""
        return frame[~(frame[self.known_from] > as_of)]

    def known_time(self, row: Mapping[str, object]) -> object:
        """The time from which one raw row counts, as it is spelled there; None: the row has none."""
        column = self[self.known_from]
        return row.get(column.name) or (row.get(column.default_from) if column.default_from else None) or None

    def arrow(self, more: Mapping[str, pa.DataType] | None = None) -> pa.Schema:
        """Stored schema, with the attribute columns of `more` behind it."""
        return pa.schema([c.arrow for c in self.columns] + [pa.field(n, t) for n, t in (more or {}).items()])

    def pandera(self) -> pa_frames.DataFrameSchema:
        """Schema of a clean frame of this table: types, ranges, keys."""
        import pandera.pandas as pa_frames

        return pa_frames.DataFrameSchema(
            {c.name: c.pandera() for c in self.columns},
            name=self.name,
            strict=not self.attributes,
            unique=list(self.key),
        )


def _id(name: str, meaning: str, *, required: bool = True) -> Column:
    return Column(name, "id", meaning, required=required)


def _time(name: str, meaning: str, *, required: bool = False, not_before: str | None = None) -> Column:
    return Column(name, "time", meaning, unit="UTC", required=required, not_before=not_before)


def _available(meaning: str, since: str) -> Column:
    return Column("available_at", "time", meaning, unit="UTC", required=True, default_from=since, not_before=since)


def _text(name: str, meaning: str, *, allowed: tuple[str, ...] | None = None, default: str | None = "") -> Column:
    return Column(name, "text", meaning, required=True, allowed=allowed, default=default)


_REVISION = Column(
    "revision", "integer", "0 for the first report, higher for each correction", required=True, low=0, default=0
)
_OBSERVED = _time("observed_at", "When it was sampled or measured", required=True)
_AVAILABLE = _available("When the value could first be seen; absent: when observed", "observed_at")

BATCHES = Table(
    "batches",
    ("batch_id",),
    (
        _id("batch_id", "The batch (control recipe)"),
        _text("product_id", "Product made", default="unknown"),
        _text("site_id", "Site where it is made", default="unknown"),
        _text("process_version", "Version of the master recipe", default="1"),
        Column("scale_l", "number", "Working volume", unit="L", low=0),
        _text("equipment_id", "Main unit of equipment", default=""),
        _text("subject_key", "Pseudonym of patient or donor; groups the splits", default=""),
        _time("started_at", "Start of the batch", required=True),
        _time("planned_end_at", "Planned end", not_before="started_at"),
        _text("origin", "Whether the batch was made or simulated", allowed=ORIGINS, default=None),
    ),
    attributes=True,
    known_from="started_at",
)

OBSERVATIONS = Table(
    "observations",
    ("batch_id", "parameter", "observed_at", "revision"),
    (
        _id("batch_id", "The batch"),
        _id("parameter", "Name in the process definition"),
        _OBSERVED,
        _REVISION,
        _AVAILABLE,
        Column(
            "value",
            "number",
            "The reading, in the parameter's unit; a reading that is flagged bad may have none",
            required=True,
            absent_if_bad=True,
        ),
        _text("unit", "Unit as reported; absent: the parameter's unit"),
        _text(
            "quality",
            "Quality flag of the source; bad values are counted, never averaged",
            allowed=QUALITIES,
            default="good",
        ),
    ),
    known_from="available_at",
    remedy="Give a correction a higher revision, or remove the wrong row; of replicates keep one, or their mean",
    time_of_batch="observed_at",
)

EVENTS = Table(
    "events",
    ("batch_id", "kind", "code", "started_at"),
    (
        _id("batch_id", "The batch"),
        _text("kind", "phase, deviation, intervention, alarm, calibration, handover, ...", default=None),
        _text("code", "Which phase, deviation, ..."),
        _time("started_at", "Begin", required=True),
        _time("ended_at", "End, known from then on; absent: still open, as far as known", not_before="started_at"),
        _available("When the begin could first be seen; absent: at once", "started_at"),
        _text("severity", "Severity, where it has one", allowed=SEVERITIES),
        _text("person_key", "Pseudonym of the operator"),
    ),
    known_from="available_at",
    completed_by="ended_at",
    remedy="Keep the row that is right; only the end of an open event may be added later",
    time_of_batch="started_at",
)

MATERIALS = Table(
    "materials",
    ("batch_id", "material", "lot_id", "consumed_at"),  # a lot may be added to a batch several times
    (
        _id("batch_id", "The batch"),
        _id("material", "Material definition"),
        _id("lot_id", "Lot used"),
        _text("supplier", "Supplier of the lot"),
        Column("quantity", "number", "Quantity used", low=0),
        _text("unit", "Unit of the quantity"),
        _time("consumed_at", "When it was used; absent: known from the batch's start"),
    ),
    known_from="consumed_at",
    remedy="Give each addition of the lot its own consumed_at, or keep one row with the total",
    time_of_batch="consumed_at",
)

LOT_RESULTS = Table(
    "lot_results",
    ("lot_id", "material", "parameter", "observed_at", "revision"),
    (
        _id("lot_id", "The raw-material lot"),
        _id("material", "Material definition"),
        _id("parameter", "Name in the process definition"),
        _OBSERVED,
        _REVISION,
        _AVAILABLE,
        Column("value", "number", "The result, in the parameter's unit", required=True),
        _text("unit", "Unit as reported; absent: the parameter's unit"),
    ),
    month_of="observed_at",
    known_from="available_at",
    remedy="Give a correction a higher revision, or remove the wrong row",
)

ENVIRONMENT = Table(
    "environment",
    ("site_id", "area_id", "metric", "observed_at", "value"),  # several samples at one time are several rows
    (
        _id("site_id", "Site"),
        _text("area_id", "Suite or room"),
        _text("metric", "What was counted, for example viable_air_cfu_m3", default=None),
        _OBSERVED,
        _AVAILABLE,
        Column("value", "number", "The count, in the metric's unit", required=True, low=0),
        _text("grade", "Cleanroom grade", allowed=GRADES),
    ),
    month_of="observed_at",
    known_from="available_at",
    remedy="Name the place of each sample in area_id, or remove the wrong row",
)

DISPOSITIONS = Table(
    "dispositions",
    ("batch_id", "revision"),
    (
        _id("batch_id", "The batch"),
        _REVISION,
        _text("outcome", "What was decided", allowed=OUTCOMES, default=None),
        _text("failure_modes", "Modes of failure, separated by ;"),
        _time("decided_at", "When it was decided, from then on it is known", required=True),
        _text("source", "System or record that says so"),
        _text("verified_by", "Pseudonym of who verified it"),
    ),
    known_from="decided_at",
    remedy="Give a correction a higher revision, or remove the wrong row",
    time_of_batch="decided_at",
    never_before_batch=True,
)

RUN_HISTORY: dict[str, Table] = {
    t.name: t for t in (BATCHES, OBSERVATIONS, EVENTS, MATERIALS, LOT_RESULTS, ENVIRONMENT, DISPOSITIONS)
}

QUARANTINE = Table(
    "quarantine",
    ("source", "row", "code"),
    (
        _text("table", "Run-history table the row was meant for", default=None),
        _text("source", "File it came from", default=None),
        Column("row", "integer", "Row in that file, from 1, header not counted", required=True, low=1),
        _text("code", "Which rule it broke", default=None),
        _text("reason", "What, which id, what was expected, what to do", default=None),
        Column("benign", "flag", "Whether it says nothing new: an exact repetition of a kept row", required=True),
        Column("content", "json", "The row as it came, as JSON", required=True),
    ),
    month_of="none",
)

LABELS = Table(
    "labels",
    ("batch_id", "revision"),
    (
        _id("batch_id", "The batch"),
        _REVISION,
        Column(
            "failed",
            "flag",
            "Whether it failed, in the sense of the process definition; false where censored",
            required=True,
        ),
        Column("censored", "flag", "Neither success nor failure: excluded from training and counted", required=True),
        _time("label_available_at", "From when on this label is known", required=True),
    ),
    month_of="none",
)

BATCH_SUMMARY = Table(
    "batch_summary",
    ("batch_id", "parameter", "bin", "late", "valid_from"),
    (
        _id("batch_id", "The batch"),
        _id("parameter", "Name in the process definition"),
        Column(
            "bin",
            "integer",
            "Bin of `observed_at`, counted from the batch's start; 0 is before it",
            required=True,
            low=0,
        ),
        Column(
            "late", "flag", "Whether the rows became available in a later bin than they were observed in", required=True
        ),
        Column("valid_from", "integer", "First bin in which the summary counts", required=True),
        Column("valid_until", "integer", "First bin in which the summary no longer counts", required=True),
        Column("n", "integer", "Readings, without bad ones", required=True, low=0),
        Column("n_bad", "integer", "Readings flagged bad", required=True, low=0),
        Column("n_below", "integer", "Readings below the normal range", required=True, low=0),
        Column("n_above", "integer", "Readings above the normal range", required=True, low=0),
        _time("first_at", "When the first reading was observed"),
        _time("last_at", "When the last reading was observed"),
        Column("mean", "number", "Mean of the readings, in the parameter's unit"),
        Column("m2", "number", "Sum of squared deviations from the mean", low=0),
        Column("min", "number", "Smallest reading"),
        Column("max", "number", "Largest reading"),
        Column("first", "number", "First reading"),
        Column("last", "number", "Last reading"),
        Column("t_mean", "number", "Mean time of the readings since the batch's start", unit="h"),
        Column("t_m2", "number", "Sum of squared deviations from the mean time", unit="h²", low=0),
        Column("tv", "number", "Sum of products of the deviations of time and reading"),
    ),
)

SNAPSHOT = Table(
    "snapshot",
    ("batch_id", "checkpoint_h"),
    (
        _id("batch_id", "The batch"),
        Column("checkpoint_h", "number", "Elapsed time the row stands for", unit="h", required=True, low=0),
        _time("started_at", "Start of the batch", required=True),
        _time("as_of", "Nothing that became available later counts", required=True),
    ),
    attributes=True,
)
