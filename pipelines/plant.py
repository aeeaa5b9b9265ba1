"""One process of one plant: its definition, its stores, and what is read from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features.contracts import RUN_HISTORY
from features.errors import BatchguardError, StorageError
from features.process import load_process
from models.cohort.labels import label_log
from pipelines.report import Limits
from pipelines.settings import Settings
from pipelines.sources.folder import HistoryFolder
from pipelines.sources.policy import PlantDefinition
from pipelines.storage import Store

TRAINED_FROM = ("batch_summaries", "snapshot_features", "feature_dictionary")  # features that training reads
Versions: TypeAlias = tuple[tuple[str, str, int], ...]  # store (history or features), table, version
CONTEXT_TABLES = tuple(name for name in RUN_HISTORY if name != "observations")


@dataclass(frozen=True)
class Plant:
    """Access to all that is stored of one process.

    Attributes:
        settings: Where it is.
        versions: Versions at which run history and features are read, and only read; None: the newest.
    """

    settings: Settings
    versions: Versions | None = None

    def fixed(self) -> Plant:
        """The plant with the tables that training reads held at their present versions, whatever is written meanwhile."""
        if self.versions is not None:
            return self
        stores = (("history", self.history, self.history.tables()), ("features", self.features, TRAINED_FROM))
        found = ((name, table, store.version(table)) for name, store, tables in stores for table in tables
                 if store.exists(table))  # fmt: skip
        return replace(self, versions=tuple(found))

    def _versions_of(self, store: str) -> dict[str, int] | None:
        return None if self.versions is None else {table: at for name, table, at in self.versions if name == store}

    @cached_property
    def process(self) -> PlantDefinition:
        """The process definition, with the plant's rules about its source."""
        return load_process(self.settings.process, PlantDefinition)

    @cached_property
    def history(self) -> Store:
        """Checked run history."""
        return Store(self.settings.data_dir / "history" / self.process.id, self._versions_of("history"))

    @cached_property
    def features(self) -> Store:
        """Summaries, snapshots, training and test set."""
        return Store(self.settings.data_dir / "features" / self.process.id, self._versions_of("features"))

    @cached_property
    def scores(self) -> Store:
        """Published risk scores."""
        return Store(self.settings.data_dir / "scores" / self.process.id)

    @property
    def models_dir(self) -> Path:
        """Predictors by digest, seals and the ledger of test-set reads."""
        return self.settings.data_dir / "models" / self.process.id

    @property
    def ledger(self) -> Path:
        """Who read which test when: `models.cohort.ledger`."""
        return self.models_dir / "test_readings.jsonl"

    @property
    def reports_dir(self) -> Path:
        """Reports: one folder a version, and copies of the newest."""
        return self.settings.data_dir / "reports" / self.process.id

    @property
    def report_path(self) -> Path:
        """Newest report; a PDF of the same name lies beside it."""
        return self.reports_dir / "report.html"

    @property
    def backtest_dir(self) -> Path:
        """Newest field replay: report, figures and scores."""
        return self.settings.data_dir / "reports" / self.process.id / "backtest"

    def has(self, name: str) -> bool:
        """Whether the newest run history has files of a table; of a table that left the source only old versions stay."""
        return bool(self.history.files(name))

    def table(self, name: str, months: Iterable[str] | None = None) -> pd.DataFrame:
        """A table of the run history; an absent one is empty.

        Raises:
            StorageError: There is no run history yet.
        """
        if not self.has(name):
            if name == "batches":
                raise StorageError(
                    f"no run history of {self.process.id!r} in {self.settings.data_dir}",
                    remedy="Run 'batchguard run', or the job 'ingest'.",
                )
            return RUN_HISTORY[name].arrow().empty_table().to_pandas()
        return self.history.read(name, months=None if months is None else list(months)).to_pandas()

    def context_tables(self) -> dict[str, pd.DataFrame]:
        """All run-history tables but the observations."""
        return {name: self.table(name) for name in CONTEXT_TABLES}

    def labels(self, dispositions: pd.DataFrame | None = None) -> pd.DataFrame:
        """The label log of all batches."""
        decided = self.table("dispositions") if dispositions is None else dispositions
        rule = self.process.label_rule
        return label_log(self.process, decided, self.observations_of([rule.parameter] if rule else []))

    def observations_of(self, parameters: Iterable[str]) -> pd.DataFrame:
        """Observations of a few parameters, for labels."""
        wanted = list(parameters)
        if not wanted or not self.has("observations"):
            return RUN_HISTORY["observations"].arrow().empty_table().to_pandas()
        table = self.history.read("observations", filters=pc.field("parameter").isin(wanted))
        return table.to_pandas()

    @property
    def source(self) -> HistoryFolder:
        """Where the run history is read from."""
        return HistoryFolder(self.settings.history, complete=self.process.source.final_line == "complete")

    @property
    def limits(self) -> Limits:
        """Up to which losses rows are taken in: as a person said for this run, else as the process definition says."""
        said, rules = self.settings, self.process.source
        most = rules.max_quarantined if said.max_quarantined is None else said.max_quarantined
        return Limits(most, 100.0 if said.accept_removed else rules.max_removed_percent)

    def now(self) -> pd.Timestamp:
        """The present moment; a later moment of scoring that a person named counts as the present."""
        clock, wanted = wall_clock(), self.settings.as_of
        return clock if wanted in ("now", "history") else max(clock, self.as_of())

    @cached_property
    def newest_moment(self) -> pd.Timestamp:
        """The latest moment at which anything about a batch became known; samples of rooms and lots go on without one."""
        newest: list[pd.Timestamp] = [pd.to_datetime(0, utc=True)]
        for name in ("batches", "observations", "events", "dispositions"):
            table = RUN_HISTORY[name]
            if self.has(name):
                times = self.history.read(name, columns=[table.known_from])[table.known_from]
                value = pc.max(times).as_py()
                newest += [pd.to_datetime(value)] if value is not None else []
        return max(newest).as_unit("us")

    def as_of(self) -> pd.Timestamp:
        """The moment that batches in progress are scored at.

        Raises:
            BatchguardError: The setting is not a time with an offset.
        """
        wanted = self.settings.as_of
        if wanted == "history":
            return self.newest_moment
        try:
            moment = wall_clock() if wanted == "now" else pd.Timestamp(wanted)
        except ValueError:
            moment = pd.NaT
        if moment is pd.NaT or moment.tzinfo is None:
            raise BatchguardError(
                f"as-of time {wanted!r} cannot be used",
                expected="'now', 'history' or a time with offset such as 2026-01-31T08:00+01:00",
            )
        return moment.tz_convert("UTC").as_unit("us")

    def data_version(self) -> str:
        """Digest of the whole run history; spelled as in 0.1.0, since published scores name it."""
        parts = {name: self.history.digest(name) for name in RUN_HISTORY if self.history.exists(name)}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def wall_clock() -> pd.Timestamp:
    """The present moment, UTC."""
    return pd.Timestamp.now("UTC").as_unit("us")


def frame_digest(frame: pd.DataFrame) -> str:
    """SHA-256 of a frame's rows in their order."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema.remove_metadata()) as stream:
        stream.write_table(table.replace_schema_metadata(None).combine_chunks())
    return hashlib.sha256(sink.getvalue()).hexdigest()
