"""What clients were told, held against the records: lost, doubled, wrong, and the audit trail whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import orjson
from sqlalchemy import Connection, select

from benchmarks.record import figure
from benchmarks.serving.outages.mes import Told
from features.canonical import canonical
from serving.audit import verification
from serving.ids import iso, microseconds
from serving.interfaces import Engine
from serving.records.rows import rows_between
from serving.records.scores import score_json
from serving.records.store import Records
from serving.records.tables import rows, scores


@dataclass(frozen=True)
class Before:
    """Where the records stood: what came later is the outage's."""

    rows_seq: int
    score_ids: frozenset[str]


class Engines(Protocol):
    """What makes an engine over a model: `serving.model_releases.ModelReleases`."""

    def make(self, model: Mapping[str, object] | None) -> Engine:
        """An empty engine over the model that a score names."""
        ...


@dataclass(frozen=True)
class Judge:
    """Compares, with the models that made the scores.

    Attributes:
        url: The records.
        anchor: Their anchor; None: not looked at.
        models: Engines over the models that made scores.
    """

    url: str
    anchor: Path | None
    models: Engines

    def before(self) -> Before:
        """Where the records stand now."""
        records = Records(self.url)
        with records.read() as connection:
            ids = frozenset(connection.execute(select(scores.c.score_id)).scalars())
        found = Before(records.head().rows_seq, ids)
        records.close()
        return found

    def figure(
        self, name: str, times: int, told: Told, before: Before, more: str = "", faults: int = 0
    ) -> dict[str, Any]:
        """One figure: how many records are lost, doubled or wrong, with everything counted in its note.

        Args:
            name: Of the outage.
            times: How often it was made.
            told: What clients were told.
            before: Where the records stood.
            more: For the note.
            faults: Of the outage's own kind, which count as well and stand in `more`.
        """
        records = Records(self.url)
        with records.read() as connection:
            kept = {row["score_id"]: row for row in connection.execute(select(scores)).mappings()
                    if row["score_id"] not in before.score_ids}  # fmt: skip
            wrong = _unlike(told, kept) + self._not_made_again(connection, kept.values())
            readings = _readings(connection, before.rows_seq)
        problems = len(verification.verify(records, self.anchor, patience_s=5.0).problems)
        records.close()
        sent = Counter(told.readings)
        lost = len(told.scores.keys() - kept.keys()) + (sent - readings).total()
        doubled = len(kept.keys() - told.scores.keys()) + (readings - sent).total()
        failed = lost + doubled + wrong + problems + told.count("gave_up") + told.count("hurried") + faults
        note = (f"{times} times; {len(told.scores)} scores and {sent.total()} readings answered: lost {lost}, doubled {doubled}, wrong {wrong}; "
                f"problems of the audit trail {problems}; unanswered {told.count('gave_up')}; 503 without retry-after {told.count('hurried')}; "
                f"answers by status {told.statuses}; all clients answered again after at most {max(told.recovery_s):.1f} s"
                + (f"; {more}" if more else ""))  # fmt: skip
        n = len(told.scores) + sent.total()
        return figure(name, failed, "records", bound=0, side="max", n=n, n_failed=failed, note=note)

    def _not_made_again(self, connection: Connection, kept: Iterable[Any]) -> int:
        """How many scores are not the same to the bit when they are made again from their rows and their model."""
        by_model: dict[bytes, list[Any]] = {}
        for row in sorted(kept, key=lambda row: row["rows_seq"]):
            by_model.setdefault(canonical(orjson.loads(row["body"])["model"]), []).append(row)
        wrong = 0
        for model, made in by_model.items():
            engine, held = self.models.make(orjson.loads(model)), 0
            for row in made:
                engine.rebuild(rows_between(connection, held, row["rows_seq"]))
                held = row["rows_seq"]
                reasons = orjson.loads(row["body"])["reasons"] is not None
                again = engine.score(row["batch_id"], row["as_of_us"], reasons=reasons)
                wrong += canonical(again.to_json()).decode() != row["body"]
        return wrong


def _unlike(told: Told, kept: dict[str, Any]) -> int:
    """Scores that were told otherwise than they are kept."""
    return sum(canonical(score_json(kept[i])) != canonical(said) for i, said in told.scores.items() if i in kept)


def _readings(connection: Connection, after: int) -> Counter:
    wanted = select(rows.c.content).where(rows.c.seq > after, rows.c.table_name == "observations")
    contents = [orjson.loads(content) for content in connection.execute(wanted).scalars()]
    return Counter((row["parameter"], iso(microseconds(row["observed_at"])), row["value"]) for row in contents)
