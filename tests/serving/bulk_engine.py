"""The plainest engine: every score is made from all rows by the bulk features. Slow, and what a faster one must equal."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa

from features.canonical import canonical
from features.checks import Checked, check_rows
from features.context import vocabulary
from features.contracts import RUN_HISTORY
from features.digests import features_digest, process_digest
from features.errors import BatchguardError
from features.process import ProcessDefinition
from features.snapshots import rows_as_of, snapshots
from features.summaries import SUMMARIES, grid_of, summarise
from models.cohort.labels import label_log
from models.predictor import Predictor
from models.scoring.score import Model, Score
from models.scoring.snapshots import SnapshotScorer, score_snapshots
from serving.bundle.store import Version
from serving.interfaces import Row, RowVerdict, StoredRow, UnscorableError
from serving.live.tables import closes


class BulkEngine:
    """All rows of all batches in memory, by table and key; nothing is summarised ahead.

    Args:
        predictor: Frozen.
        release: Its version.
        process: The process it was made for.
    """

    def __init__(self, predictor: Predictor, release: Version, process: ProcessDefinition) -> None:
        self._predictor, self._release, self._process = predictor, release, process
        self._rows: dict[str, dict[tuple, Row]] = {name: {} for name in RUN_HISTORY}
        self._model = Model(
            release.name, release.version, predictor.sha256, "unreviewed", process.id,
            process_digest(process), features_digest(),
        )  # fmt: skip

    def model(self) -> Model:
        """The predictor it was made with."""
        return self._model

    def validate_batch(self, batch: Row) -> None:
        """Nothing is validated ahead."""

    def put_batch(self, batch: Row) -> RowVerdict:
        """Check and keep the row of a batch."""
        verdict = self._check("batches", [batch], None)[0]
        if verdict.row is not None:
            known = self._rows["batches"].get((verdict.row["batch_id"],))
            if known == verdict.row:
                return RowVerdict("duplicate", reason="the batch is known with the same content")
            self._keep("batches", verdict.row)
        return verdict

    def add(self, batch_id: str, table: str, rows: Sequence[Row]) -> list[RowVerdict]:
        """Check and keep rows of one batch."""
        if "batch_id" in RUN_HISTORY[table].names:
            rows = [{**row, "batch_id": batch_id} for row in rows]
        told = self._check(table, rows, [batch_id])
        return [self._judged(table, verdict) for verdict in told]

    def ready_site(self, batch_id: str) -> str | None:
        """A pass over all rows is always ready."""
        row = self._rows["batches"].get((batch_id,))
        return None if row is None else str(row["site_id"])

    def score(self, batch_id: str, as_of_us: int, *, reasons: bool = True) -> Score:
        """Score from all rows that were available at a time."""
        found = self._score(self._rows, batch_id, as_of_us)
        return found if reasons else found.model_copy(update={"reasons": None})

    def score_inline(self, history: Mapping[str, Sequence[Row]], batch_id: str, as_of_us: int) -> Score:
        """Score from the given rows alone."""
        apart = self._apart()
        for verdict in [
            *(apart.put_batch(batch) for batch in history.get("batches", ())),
            *(v for name, rows in history.items() if name != "batches" for v in apart.add(batch_id, name, rows)),
        ]:
            if verdict.verdict == "rejected":
                raise UnscorableError(verdict.reason)
        return apart.score(batch_id, as_of_us)

    def rebuild(self, rows: Iterable[StoredRow]) -> None:
        """Keep rows that were accepted before."""
        for stored in rows:
            self._keep(stored.table, stored.row)

    def evict(self, until: int) -> None:
        """It keeps everything."""

    def _apart(self) -> BulkEngine:
        return BulkEngine(self._predictor, self._release, self._process)

    def _keep(self, table: str, row: Row) -> None:
        self._rows[table][self._key(table, row)] = row

    def _key(self, table: str, row: Row) -> tuple:
        return tuple(row.get(name) for name in RUN_HISTORY[table].key)

    def _check(self, table: str, rows: Sequence[Row], batches: Sequence[str] | None) -> list[RowVerdict]:
        """Each row by the contract alone: two rows of one call are compared by key afterwards."""
        names = sorted({name for row in rows for name in row})
        frame = pd.DataFrame({name: pd.Series([row.get(name) for row in rows]) for name in names})
        try:
            checked = check_rows(
                frame, RUN_HISTORY[table], self._process, source=table, batches=batches, whole=False
            )  # fmt: skip
        except BatchguardError as error:  # a column that the contract does not know concerns every row
            return [RowVerdict("rejected", "unknown_column", str(error)) for _ in rows]
        return _verdicts(checked, len(rows))

    def _judged(self, table: str, verdict: RowVerdict) -> RowVerdict:
        if verdict.row is None:
            return verdict
        known = self._rows[table].get(self._key(table, verdict.row))
        if known is None or closes(RUN_HISTORY[table], dict(known), dict(verdict.row)):
            self._keep(table, verdict.row)
            return verdict
        if known == verdict.row:
            return RowVerdict("duplicate", reason="repeats a row that is kept; nothing to do")
        return RowVerdict(
            "rejected",
            "duplicate_key",
            "another row has the same key and other content; expected one row per key. Give a correction a higher revision",
        )

    def _score(self, rows: Mapping[str, Mapping[tuple, Row]], batch_id: str, as_of_us: int) -> Score:
        as_of = pd.to_datetime(as_of_us, unit="us", utc=True).as_unit("us")
        history = {name: _frame(name, kept.values(), self._process) for name, kept in rows.items()}
        made, dictionary = self._snapshot(history, batch_id, as_of)
        known = canonical([_known(rows), self._model.process_sha256])
        try:
            scorer = SnapshotScorer(self._predictor, self._process, self._model, dictionary)
            (found,) = score_snapshots(scorer, made, data_sha256=hashlib.sha256(known).hexdigest())
        except BatchguardError as error:
            raise UnscorableError(str(error)) from error
        return found

    def _snapshot(
        self, history: Mapping[str, pd.DataFrame], batch_id: str, as_of: pd.Timestamp
    ) -> tuple[pd.DataFrame, tuple]:
        batches = history["batches"]
        asked = rows_as_of(batches[batches["batch_id"] == batch_id], as_of)
        if asked.empty:
            raise UnscorableError(
                f"batch {batch_id} had not started at {as_of.isoformat()}", remedy="Ask again after its start."
            )
        observations = history["observations"]
        mine = observations[(observations["batch_id"] == batch_id) & (observations["available_at"] <= as_of)]
        grid = grid_of(batches[batches["batch_id"] == batch_id], self._process)
        table = pa.Table.from_pandas(mine, schema=RUN_HISTORY["observations"].arrow(), preserve_index=False)
        made = pa.Table.from_batches(summarise([lambda: table], grid), SUMMARIES)
        labels = label_log(self._process, history["dispositions"], observations)
        frame, dictionary = snapshots(asked, made, history, labels, self._process, vocabulary(history, self._process))
        return self._with_all_columns(frame), dictionary

    def _with_all_columns(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Columns of things that this history never met are not known rather than an error."""
        encoder = self._predictor.encoder
        absent = [name for name in encoder.columns if name not in frame]
        more = {
            name: pd.Series(
                [None] * len(frame), index=frame.index, dtype="str" if name in encoder.categories else "float64"
            )
            for name in absent
        }
        return pd.concat([frame, pd.DataFrame(more, index=frame.index)], axis=1) if more else frame


def _verdicts(checked: Checked, n: int) -> list[RowVerdict]:
    found: list[RowVerdict | None] = [None] * n
    for number, row in zip(checked.rows, checked.kept.to_dict("records"), strict=True):
        found[number - 1] = RowVerdict("accepted", row=_plain_row(row))
    quarantined = checked.quarantined
    for number, code, reason in zip(quarantined["row"], quarantined["code"], quarantined["reason"], strict=True):
        found[number - 1] = RowVerdict("rejected", str(code), str(reason))
    return [verdict for verdict in found if verdict is not None]


def _plain_row(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Plain JSON values, absent ones left out; a time keeps its microseconds."""
    return {str(name): _plain(value) for name, value in row.items() if not pd.isna(value) and value != ""}


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, pd.Timestamp) else value


def _frame(name: str, rows: Iterable[Row], process: ProcessDefinition) -> pd.DataFrame:
    """Rows that were accepted before, typed by the contract again."""
    table = RUN_HISTORY[name]
    rows = list(rows)
    names = [*table.names, *sorted({key for row in rows for key in row} - set(table.names))]
    raw = pd.DataFrame({key: pd.Series([row.get(key) for row in rows], dtype=object) for key in names})
    for column in table.columns:
        if column.kind in ("time", "text", "id"):
            raw[column.name] = raw[column.name].astype("str")
    if not rows:
        return table.arrow().empty_table().to_pandas()
    return check_rows(raw, table, process, source=name, whole=False).kept


def _known(rows: Mapping[str, Mapping[tuple, Row]]) -> list:
    """All that is held, in an order of its own: the digest of the data does not depend on the order of arrival."""
    return [[name, sorted(canonical(row).decode() for row in kept.values())] for name, kept in rows.items()]
