"""The context of all batches, prepared again where rows have changed it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.context import Asked, Batches, Family, Vocabulary
from features.context.attributes import Attributes
from features.context.environment import Environment
from features.context.events import Begun, Events
from features.context.experience import Experience, FailureHistory
from features.context.lots import Lots
from features.process import ProcessDefinition
from models.cohort.labels import label_log
from serving.tables import HeldRows

EVENTS_AT = 3  # place of the events among the families


@dataclass(frozen=True)
class PreparedContext:
    """Families prepared for all batches; those of the events hold none, they are prepared for each batch.

    Attributes:
        place: Place of each batch.
        families: In the order of `features.context.prepare`.
        events: Columns of the events, without any.
        words: Names that the columns are for.
    """

    place: dict[str, int]
    families: tuple[Family, ...]
    events: Events
    words: Vocabulary

    def begun(self, batch_id: str, events: HeldRows) -> Begun:
        """A batch's events, prepared for the question."""
        return Begun.of(events.frame(), pd.Index([batch_id], dtype="str"), self.words)

    def questions(self, batch_id: str, begun: Begun, started_us: int, as_of_us: int) -> list[tuple[Family, Asked]]:
        """Every family with the question about one batch at one moment."""
        moment = (np.array([started_us], np.int64), np.array([as_of_us], np.int64))
        asked = Asked(np.array([self.place[batch_id]], np.int64), *moment)
        found = [(family, asked) for family in self.families]
        found[EVENTS_AT] = (self.events.with_events(begun), Asked(np.zeros(1, np.int64), *moment))
        return found


class Context:
    """What the context is made of, and what of it has to be prepared again."""

    def __init__(self, process: ProcessDefinition, words: Vocabulary) -> None:
        self._process, self._words = process, words
        self._sightings: dict[tuple[str, str], int] = {}
        self._stale = {"batches"}
        self._columns = Events.empty(process, words)

    def use(self, words: Vocabulary) -> None:
        """Prepare for other names from now on."""
        self._words, self._columns = words, Events.empty(self._process, words)
        self._stale.add("batches")

    def changed(self, what: str) -> None:
        """Rows of a table, or the labels, have changed."""
        self._stale.add(what)

    def saw(self, batch_id: str, person: str, known_us: int) -> None:
        """A person worked in a batch; only the first time counts."""
        if known_us < self._sightings.get((batch_id, person), known_us + 1):
            self._sightings[batch_id, person] = known_us
            self._stale.add("people")

    def settle(
        self, former: PreparedContext | None, tables: dict[str, HeldRows], results: pd.DataFrame | None
    ) -> PreparedContext:
        """Prepare again what is stale; the rest is taken over.

        Args:
            former: What was prepared last.
            tables: All rows but observations and events.
            results: Observations of the parameter of the label rule, where there is one.
        """
        stale, self._stale = self._stale, set()
        batches = Batches.of(tables["batches"].frame())
        labels = label_log(self._process, tables["dispositions"].frame(), results)

        def kept_or(place: int, inputs: set[str], make: Callable[[], Family]) -> Family:
            return make() if former is None or stale & inputs else former.families[place]

        process, words = self._process, self._words
        lots, air = (tables["materials"].frame(), tables["lot_results"].frame()), tables["environment"].frame()
        families = (
            kept_or(0, {"batches"}, lambda: Attributes.of(batches, process, words)),
            kept_or(1, {"batches", "materials", "lot_results", "labels"},
                    lambda: Lots.of(batches, *lots, labels, process, words)),
            kept_or(2, {"batches", "labels"}, lambda: FailureHistory.of(batches, labels)),
            self._columns,
            kept_or(4, {"batches", "environment"}, lambda: Environment.of(batches, air, words)),
            kept_or(5, {"batches", "labels", "people"},
                    lambda: Experience.of(batches, self._seen(), labels, process)),
        )  # fmt: skip
        place = {str(name): i for i, name in enumerate(batches.index)}
        return PreparedContext(place, families, self._columns, self._words)

    @property
    def is_stale(self) -> bool:
        """Whether anything has to be prepared again."""
        return bool(self._stale)

    def _seen(self) -> pd.DataFrame:
        """The first sighting of each person in each batch, as events."""
        at = np.fromiter(self._sightings.values(), np.int64, len(self._sightings)).astype("datetime64[us]")
        times = pd.Series(at).dt.tz_localize("UTC")
        pairs = list(self._sightings)
        return pd.DataFrame(
            {
                "batch_id": pd.Series([batch for batch, _ in pairs], dtype="str"),
                "person_key": pd.Series([person for _, person in pairs], dtype="str"),
                "started_at": times,
                "available_at": times,
            }
        )
