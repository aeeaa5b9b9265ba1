"""The context of all batches, prepared again where rows have changed it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from features.context import Batches, ContextQuery, Family, Vocabulary
from features.context.asof import codes
from features.context.attributes import Attributes
from features.context.environment import Environment
from features.context.events import BatchEvents, Events
from features.context.experience import Experience, FailureHistory, People, Running
from features.context.failures import LabelLog, Members
from features.context.failures import label_log as changes_of
from features.context.lots import Lots, Material
from features.process import ProcessDefinition
from models.cohort.labels import label_log
from serving.live.tables import HeldRows

EVENTS_AT = 3  # place of the events among the families
_T = TypeVar("_T")


@dataclass(frozen=True)
class PreparedContext:
    """Families prepared for all batches; the events are prepared for each batch apart.

    Attributes:
        place: Place of each batch.
        families: In the order of `features.context.prepare`.
        events: Columns of the events, without any event.
        vocabulary: Names that the columns are for.
    """

    place: dict[str, int]
    families: tuple[Family, ...]
    events: Events
    vocabulary: Vocabulary

    def batch_events(self, batch_id: str, events: HeldRows) -> BatchEvents:
        """A batch's events, prepared for a query."""
        return BatchEvents.of(events.frame(), pd.Index([batch_id], dtype="str"), self.vocabulary)

    def queries(
        self, batch_id: str, batch_events: BatchEvents, started_us: int, as_of_us: int
    ) -> list[tuple[Family, ContextQuery]]:
        """Every family with its query for one batch at one moment."""
        moment = (np.array([started_us], np.int64), np.array([as_of_us], np.int64))
        query = ContextQuery(np.array([self.place[batch_id]], np.int64), *moment)
        found = [(family, query) for family in self.families]
        found[EVENTS_AT] = (self.events.with_events(batch_events), ContextQuery(np.zeros(1, np.int64), *moment))
        return found


class Context:
    """The parts of the context, each with the state of the inputs it was made from; only stale parts are made again.

    A new batch stands behind all others, and no row of it came before: parts that know batches by their place are made
    again only where the row of a known batch changes.
    """

    def __init__(self, process: ProcessDefinition, vocabulary: Vocabulary) -> None:
        self._process, self._vocabulary = process, vocabulary
        self._sightings: dict[tuple[str, str], int] = {}
        self._changes: Counter[str] = Counter()
        self._parts: dict[str, tuple[tuple[object, ...], Any]] = {}
        self.is_stale = True
        self._columns = Events.empty(process, vocabulary)

    def changed(self, what: str, name: str = "") -> None:
        """Note that rows of a table (those of one material), or the labels, have changed."""
        self._changes[f"{what} {name}".strip()] += 1
        self.is_stale = True

    def batches_changed(self, *, known: bool) -> None:
        """Note that there is a new batch, or another row of a known batch."""
        self.changed("batches")
        if known:
            self.changed("known_batches")

    def add_sighting(self, batch_id: str, person: str, known_us: int) -> None:
        """Note that a person worked in a batch; only the first time counts."""
        if known_us < self._sightings.get((batch_id, person), known_us + 1):
            self._sightings[batch_id, person] = known_us
            self.changed("people")

    def refresh(self, tables: Mapping[str, HeldRows], results: Callable[[], pd.DataFrame | None]) -> PreparedContext:
        """Make stale parts again; the context stays stale until the caller has put the result in its place.

        Args:
            tables: All rows but observations and events.
            results: Observations of the parameter of the label rule, where there is one.
        """
        part, process, vocabulary = self._part, self._process, self._vocabulary
        batches = part("index", ("batches",), lambda: Batches.of(tables["batches"].frame()))
        labels = part("labels", ("labels",), lambda: label_log(process, tables["dispositions"].frame(), results()))
        log = part("log", ("labels", "known_batches"), lambda: changes_of(labels, batches.index))
        families = (
            part("attributes", ("batches",), lambda: Attributes.of(batches, process, vocabulary)),
            self._lots(batches, tables, log),
            part("history", ("batches", "labels"),
                 lambda: FailureHistory.joined(self._groupings(batches), log, len(batches.index))),
            self._columns,
            self._environment(batches, tables),
            part("experience", ("batches", "labels", "people"), lambda: self._experience(batches, labels)),
        )  # fmt: skip
        place = part("place", ("batches",), lambda: {name: i for i, name in enumerate(batches.index.tolist())})
        return PreparedContext(place, families, self._columns, vocabulary)

    def _part(self, name: str, inputs: Iterable[str], make: Callable[[], _T], *, of: object = None) -> _T:
        """A part as it was made last; made again where one of its inputs, or its subject `of`, has changed."""
        state = (of, *(self._changes[each] for each in inputs))
        held = self._parts.get(name)
        if held is None or held[0] != state:
            held = self._parts[name] = state, make()
        return held[1]

    def _groupings(self, batches: Batches) -> list[Members]:
        return self._part("groupings", ("batches",), lambda: FailureHistory.groupings(batches))

    def _lots(self, batches: Batches, tables: Mapping[str, HeldRows], log: LabelLog) -> Lots:
        vocabulary, inputs, made = self._vocabulary, ["batches", "labels"], []
        for name in vocabulary.materials:
            own = [f"materials {name}", f"lot_results {name}"]
            inputs += own
            made.append(
                self._part(f"lots of {name}", ("known_batches", *own), lambda name=name: Material.of(
                    name, batches, tables["materials"].frame(), tables["lot_results"].frame(), vocabulary))
            )  # fmt: skip
        n = len(batches.index)
        return self._part("lots", inputs, lambda: Lots.joined(made, log, n, self._process, vocabulary))

    def _environment(self, batches: Batches, tables: Mapping[str, HeldRows]) -> Environment:
        sites = self._part("sites", ("batches",), lambda: tuple(batches.frame["site_id"].unique()))
        air = self._part(
            "air", ("environment",),
            lambda: Environment.of(batches, tables["environment"].frame(), self._vocabulary), of=sites,
        )  # fmt: skip
        return replace(air, site=Environment.places(batches, air.sites))

    def _experience(self, batches: Batches, labels: pd.DataFrame) -> Experience:
        part = self._part
        return Experience.joined(
            part("before_start", ("batches",), lambda: Experience.known_before_start(batches)),
            part("people", ("known_batches", "people"), lambda: self._people(batches)),
            part("running", ("batches", "labels"), lambda: Running.of(batches, labels, self._process)),
        )

    def _people(self, batches: Batches) -> People:
        """The first sighting of each person in each batch."""
        batch, person = zip(*self._sightings, strict=True) if self._sightings else ((), ())
        known = np.fromiter(self._sightings.values(), np.int64, len(self._sightings))
        worked_in = codes(pd.Series(batch, dtype="str"), batches.index)
        return People.seen(worked_in, pd.Series(person, dtype="str"), known, batches)
