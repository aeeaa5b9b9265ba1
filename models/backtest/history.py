"""The run history of a plant, and what of it was available at a moment."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import pandas as pd

from features.dictionary import Feature
from features.errors import TrainingError
from features.process import ProcessDefinition
from models.cohort.labels import labels_as_of
from models.cohort.table import before_the_label


class LookAheadError(TrainingError):
    """A replay asked for something that was not available yet."""


@dataclass(frozen=True, eq=False)
class History:
    """All that training, test and replay read.

    Attributes:
        process: The process.
        snapshots: `features.contracts.SNAPSHOT` at the checkpoints.
        between: The same at times between the checkpoints (`models.cohort.between`).
        features: Dictionary of their columns.
        batches: `features.contracts.BATCHES`.
        log: `features.contracts.LABELS`.
        observations: `features.contracts.OBSERVATIONS` of the release attributes.
        dispositions: `features.contracts.DISPOSITIONS`, for failure modes.
        course: Levels of the sensors every few hours (`models.cohort.course`); None: those of the snapshots.
    """

    process: ProcessDefinition
    snapshots: pd.DataFrame
    between: pd.DataFrame
    features: tuple[Feature, ...]
    batches: pd.DataFrame
    log: pd.DataFrame
    observations: pd.DataFrame | None = None
    dispositions: pd.DataFrame | None = None
    course: pd.DataFrame | None = None

    def at(self, moment: pd.Timestamp) -> Known:
        """What was available before a moment."""
        return Known(self, moment)

    @cached_property
    def scored(self) -> pd.DataFrame:
        """All snapshots at which batches are scored, at checkpoints and between them, before their outcome was known."""
        later = (
            [self.between[self.snapshots.columns]] if len(self.between) else []
        )  # no hour lies between some checkpoints
        rows = pd.concat([self.snapshots, *later], ignore_index=True)
        rows = rows.sort_values(["started_at", "batch_id", "checkpoint_h"], kind="stable")
        return before_the_label(rows, self.log).reset_index(drop=True)

    @cached_property
    def started(self) -> pd.Series:
        """`started_at` by batch_id."""
        return self.batches.set_index("batch_id")["started_at"]

    @cached_property
    def outcomes(self) -> pd.DataFrame:
        """Batches with an outcome, in the order in which it was first known: `batch_id`, `failed` (as known today), `known_at`."""
        return outcomes_of(self.batches, self.log)

    @cached_property
    def first_outcomes(self) -> pd.DataFrame:
        """The first outcome that each batch ever had, in the order in which they were known: what is corrected later moves none.

        Returns:
            `batch_id`, `failed` as first known, `known_at`: what the dates of trainings are counted by.
        """
        return first_outcomes_of(self.batches, self.log)


@dataclass(frozen=True, eq=False)
class Known:
    """What was available before a moment; whatever is read from here is older, and asking for more is an error.

    Attributes:
        history: All there is.
        moment: Nothing that became available at or after it is known.
    """

    history: History
    moment: pd.Timestamp

    @cached_property
    def log(self) -> pd.DataFrame:
        """Labels as they were known."""
        return self._before(self.history.log, "label_available_at")

    @cached_property
    def batches(self) -> pd.DataFrame:
        """Batches that had started."""
        return self._before(self.history.batches, "started_at")

    @cached_property
    def outcomes(self) -> pd.DataFrame:
        """Batches with an outcome in the order in which it was known: `batch_id`, `failed` as known then, `known_at`."""
        return outcomes_of(self.batches, self.log)

    def snapshots(self, batch_ids: pd.Index) -> pd.DataFrame:
        """Snapshots at checkpoints of batches with an outcome."""
        return self._before(self._of(self.history.snapshots, batch_ids), "as_of")

    def between(self, batch_ids: pd.Index) -> pd.DataFrame:
        """Snapshots between checkpoints of batches with an outcome."""
        return self._before(self._of(self.history.between, batch_ids), "as_of")

    def course(self, batch_ids: pd.Index) -> pd.DataFrame | None:
        """Levels of the sensors every few hours of batches with an outcome."""
        given = self.history.course
        return None if given is None else self._before(self._of(given, batch_ids), "as_of")

    @cached_property
    def observations(self) -> pd.DataFrame | None:
        """Results of the release attributes."""
        given = self.history.observations
        return None if given is None else self._before(given, "available_at")

    @cached_property
    def dispositions(self) -> pd.DataFrame | None:
        """Dispositions."""
        given = self.history.dispositions
        return None if given is None else self._before(given, "decided_at")

    def require(self, times: pd.Series, what: str) -> None:
        """Refuse what was not available.

        Raises:
            LookAheadError: A time lies at or after the moment.
        """
        late = times >= self.moment
        if late.any():
            raise LookAheadError(
                f"{what} of {times[late].iloc[0].isoformat()} was asked for at {self.moment.isoformat()}",
                expected="nothing that became available at that moment or later",
                remedy="This is an error of the software: report it with this line.",
            )

    def _of(self, rows: pd.DataFrame, batch_ids: pd.Index) -> pd.DataFrame:
        unknown = batch_ids.difference(pd.Index(self.outcomes["batch_id"]))
        if len(unknown):
            raise LookAheadError(
                f"the outcome of batch {unknown[0]} was asked for at {self.moment.isoformat()}",
                expected="batches whose outcome was known before",
                remedy="This is an error of the software: report it with this line.",
            )
        return rows[rows["batch_id"].isin(batch_ids)]

    def _before(self, rows: pd.DataFrame, column: str) -> pd.DataFrame:
        return rows[rows[column] < self.moment]


def outcomes_of(batches: pd.DataFrame, log: pd.DataFrame) -> pd.DataFrame:
    """Uncensored outcomes in the order in which a batch's first label was known: `batch_id`, `failed`, `known_at`."""
    labels = labels_as_of(log)
    labels = labels[~labels["censored"]].reset_index().rename(columns={"first_available_at": "known_at"})
    rows = labels[labels["batch_id"].isin(batches["batch_id"])]
    return rows.sort_values(["known_at", "batch_id"])[["batch_id", "failed", "known_at"]].reset_index(drop=True)


def first_outcomes_of(batches: pd.DataFrame, log: pd.DataFrame) -> pd.DataFrame:
    """The first uncensored outcome of each batch, in the order in which they were known: `batch_id`, `failed`, `known_at`."""
    rows = log[~log["censored"] & log["batch_id"].isin(batches["batch_id"])]
    first = rows.sort_values(["batch_id", "revision"]).drop_duplicates("batch_id")
    first = first.rename(columns={"label_available_at": "known_at"}).sort_values(["known_at", "batch_id"])
    return first[["batch_id", "failed", "known_at"]].reset_index(drop=True)
