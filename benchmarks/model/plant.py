"""A simulated plant made ready: its history ingested, its snapshots made, the newest batches sealed, its truth beside it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from features.dictionary import Feature
from features.process import ProcessDefinition
from features.snapshots import ROW_COLUMNS, snapshots
from models.cohort.labels import labels_as_of
from models.cohort.splits import Seal, known_before, seal_test, subject_groups
from models.cohort.table import end_of_batches
from models.evaluation.sealed_test import sealed_rows
from pipelines.course_levels import levels_every_few_hours
from pipelines.feature_tables import PlantContext, read_dictionary, write_snapshots, write_summaries
from pipelines.history import ingest
from pipelines.plant import Plant
from pipelines.report import Limits
from pipelines.settings import Settings
from pipelines.sources.folder import HistoryFolder

ROOT = Path(__file__).resolve().parents[2]
PROCESS = ROOT / "processes" / "cart.toml"
CHANGE_AT = (
    0.25  # share of the history after which the process changes: three quarters of the batches are of the new version
)
TRAIN_BATCHES, ALL_BATCHES = 2350, 5400
_MAX_QUARANTINED = 1000  # keys that the simulated people used twice; the number is reported
Say = Callable[[str], None]


@dataclass(frozen=True)
class Ground:
    """A plant and all that is asked about it.

    Attributes:
        seed: Of the simulator.
        plant: Stored history and features.
        truth: `pipelines.simulator.truth.TRUTH`.
        rows_in: Rows read at ingest.
        rows_refused: Rows set aside that were no mere repetitions.
    """

    seed: int
    plant: Plant
    truth: pd.DataFrame
    rows_in: int
    rows_refused: int

    @property
    def process(self) -> ProcessDefinition:
        """The process."""
        return self.plant.process

    @cached_property
    def batches(self) -> pd.DataFrame:
        """`features.contracts.BATCHES`."""
        return self.plant.table("batches")

    @cached_property
    def log(self) -> pd.DataFrame:
        """The label log."""
        return self.plant.labels()

    @cached_property
    def labels(self) -> pd.DataFrame:
        """Final labels by batch."""
        return labels_as_of(self.log)

    @cached_property
    def features(self) -> tuple[Feature, ...]:
        """The feature dictionary."""
        return read_dictionary(self.plant)

    @cached_property
    def seal(self) -> Seal:
        """The newest batches, sealed before anything was looked at."""
        share = 1 - TRAIN_BATCHES / ALL_BATCHES
        return seal_test(self.batches, self.log, process_id=self.process.id, share=share)

    @cached_property
    def train(self) -> pd.Series:
        """Outcome of the training batches as known when the test began, by batch."""
        groups = subject_groups(self.batches)
        return known_before(self.batches, self.log, self.seal.cut, away_from=self.seal.batch_ids, groups=groups)

    @cached_property
    def end_at(self) -> pd.Series:
        """End of each batch: as planned, or when its outcome was known where that came first."""
        return end_of_batches(self.batches, self.log, self.process).set_index("batch_id")["end_at"]

    def snapshots(self) -> pd.DataFrame:
        """All snapshots; large, so not kept."""
        return self.plant.features.read("snapshot_features").to_pandas()

    def levels(self) -> pd.DataFrame:
        """Levels of the training batches every few hours."""
        return levels_every_few_hours(self.plant, self.train.index)

    def each_hour(self) -> pd.DataFrame:
        """Every hour of the test batches before the planned end and before the outcome was known, by start: `ROW_COLUMNS`."""
        batches = self.batches[self.batches["batch_id"].isin(self.seal.batch_ids)]
        hours = np.arange(1.0, self.process.process.planned_duration_h)
        rows = batches[["batch_id", "started_at"]].merge(pd.DataFrame({"checkpoint_h": hours}), how="cross")
        after = pd.to_timedelta(rows["checkpoint_h"], unit="h")
        rows["as_of"] = (rows["started_at"] + after).astype("datetime64[us, UTC]")
        return sealed_rows(rows[ROW_COLUMNS], self.log, self.seal)

    def snapshots_at(self, rows: pd.DataFrame) -> Iterator[pd.DataFrame]:
        """Snapshots of rows, a month of starts at a time."""
        context = PlantContext.of(self.plant)
        for month, part in rows.groupby(rows["started_at"].dt.strftime("%Y-%m"), sort=True):
            summaries = self.plant.features.read("batch_summaries", months=[str(month)])
            own = part.reset_index(drop=True)
            yield snapshots(own, summaries, context.tables, context.labels, self.process, context.vocabulary)[0]


def ground(seed: int, folder: Path, *, batches: int = ALL_BATCHES, process: Path = PROCESS, say: Say = print) -> Ground:
    """Simulate, ingest and make features; what is there already is used again."""
    source = folder / "plant"
    if not (source / "truth.parquet").exists():
        say(f"seed {seed}: simulating {batches} batches")
        simulate(seed, source, batches)
    plant = Plant(Settings(process=process, history=source / "history", data_dir=folder / "data", as_of="history"))
    say(f"seed {seed}: ingest")
    report = ingest(HistoryFolder(source / "history"), plant.history, plant.process, limits=Limits(_MAX_QUARANTINED))
    say(f"seed {seed}: {report.in_a_line()}; {report.rows_refused} refused")
    months = plant.history.months("batches")
    write_summaries(plant, months)
    write_snapshots(plant, months, PlantContext.of(plant))
    truth = pd.read_parquet(source / "truth.parquet")
    return Ground(seed, plant, truth, report.rows_in, report.rows_refused)


def simulate(seed: int, out: Path, batches: int) -> None:
    """Write a plant; the same seed gives the same bytes."""
    command = [sys.executable, "-m", "pipelines.cli", "simulate", "--batches", str(batches), "--in-progress", "0"]
    command += ["--change-at", f"{CHANGE_AT:g}", "--seed", str(seed), "--out", str(out)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
