"""The engine of the endpoint: a verified model over an incremental state."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from features.contracts import RUN_HISTORY
from features.errors import ContractError
from features.live import Columns
from serving.bundle.bundle import INTENDED_USE, THRESHOLDS
from serving.bundle.loader import ServingModel
from serving.interfaces import BODY_VERSION, EngineError, ModelInfo, RowVerdict, ScoreBody, StoredRow, UnscorableError
from serving.live.batches import NEVER, EvictionPolicy
from serving.live.state import PlantState
from serving.speech.look import Look
from serving.speech.speaker import Speaker

Row = Mapping[str, Any]


class LiveEngine:
    """`serving.interfaces.Engine`: scores from incremental state by the newest model that may speak.

    Args:
        speaking: The model, verified.
        forgetting: When batches give up their readings and events.
    """

    def __init__(self, serving_model: ServingModel, eviction: EvictionPolicy = NEVER) -> None:
        self._serving_model, self._info = serving_model, _info(serving_model)
        self._process, self._words = serving_model.bundle.process, serving_model.bundle.vocabulary
        self._state = PlantState(self._process, self._words, eviction)
        self._speaker: Speaker | None = None
        self._joining = threading.Lock()

    def model(self) -> ModelInfo:
        """The model that speaks."""
        return self._info

    def released_for(self) -> Mapping[str, Any]:
        """What the model that speaks was released for, and by which limits it decides."""
        bundle = self._serving_model.bundle
        return {"intended_use": bundle.json(INTENDED_USE), "thresholds": bundle.json(THRESHOLDS)}

    def put_batch(self, batch: Row) -> RowVerdict:
        """Check and take in the row of a batch, in the place of an earlier one."""
        return self._state.put_batch(batch)

    def add(self, batch_id: str, table: str, rows: Sequence[Row]) -> list[RowVerdict]:
        """Check rows by the rules of the ingest and take in those that say something new."""
        return self._state.add(batch_id, table, rows)

    def rebuild(self, rows: Iterable[StoredRow]) -> None:
        """Take in rows that were accepted before, in their order.

        Raises:
            EngineError: They do not keep the process definition that the model was released with.
        """
        try:
            self._state.rebuild(rows)
        except ContractError as error:
            raise EngineError(
                f"the stored rows do not keep the process definition of bundle {self._serving_model.bundle.sha256[:12]}"
                f" ({error.what})",
                remedy="Release a bundle with the definition that they were taken in by.",
            ) from None

    def evict(self, until: int) -> None:
        """Rows up to a number are committed: batches that have long been silent give theirs up."""
        self._state.evict(until)

    def ready_site(self, batch_id: str) -> str | None:
        """Site of a batch of which a score has nothing to read or make ready first; None of any other."""
        return self._state.ready_site(batch_id)

    def score(self, batch_id: str, as_of_us: int, *, reasons: bool = True) -> ScoreBody:
        """Score a batch with what was available at a time; without reasons, they are None."""
        return self._say(self._state, batch_id, as_of_us, reasons=reasons)

    def matrix(self, batch_id: str, as_of_us: int) -> np.ndarray:
        """The row that the model sees of a batch at a time, shape (1, columns of the model)."""
        row = self._state.row(batch_id, as_of_us)
        return self._speaker_for(row.columns).joined.matrix(row.values)

    def look(self, batch_id: str, as_of_us: int) -> Look:
        """What the model sees of a batch at a time; it holds on to nothing that changes."""
        row = self._state.row(batch_id, as_of_us)
        return Look(self._serving_model.predictor, self._process, row.columns, row.values, batch_id, as_of_us)

    def decides_outcomes(self) -> str | None:
        """The parameter whose readings decide the outcomes of all batches; None: dispositions do."""
        rule = self._process.label_rule
        return None if rule is None else rule.parameter

    def score_inline(self, history: Mapping[str, Sequence[Row]], batch_id: str, as_of_us: int) -> ScoreBody:
        """Score the given rows alone; nothing is kept."""
        apart = PlantState(self._process, self._words)
        verdicts = [apart.put_batch(batch) for batch in history.get("batches", ())]
        for table in RUN_HISTORY:
            if table != "batches" and history.get(table):
                verdicts += apart.add(batch_id, table, history[table])
        for verdict in verdicts:
            if verdict.verdict == "rejected":
                raise UnscorableError(verdict.reason, remedy="Correct the row and send the history again.")
        return self._say(apart, batch_id, as_of_us)

    def _say(self, state: PlantState, batch_id: str, as_of_us: int, *, reasons: bool = True) -> ScoreBody:
        row = state.row(batch_id, as_of_us)
        try:
            said = self._speaker_for(row.columns).say(row.values, as_of_us, reasons=reasons)
        except ContractError as error:
            raise UnscorableError(f"batch {batch_id}: {error.what}", remedy=error.remedy) from None
        return {
            "version": BODY_VERSION,
            "elapsed_h": row.elapsed_h,
            **said,
            "assays_pending": state.pending_assays(batch_id, self._assays, as_of_us),
            "data_sha256": row.data_sha256,
            "process_version": self._serving_model.predictor.process_version,
            "model": self._info.to_json(),
        }

    @cached_property
    def _assays(self) -> list[str]:
        """Assays of a batch, also those that no model may see: not the tests of its lots."""
        of_lots = {parameter for parameter, _ in self._words.lot_tests}
        return [p.name for p in self._process.parameter if p.kind == "assay" and p.name not in of_lots]

    def _speaker_for(self, columns: Columns) -> Speaker:
        """The model joined with the columns of a row; made again only when they changed."""
        held = self._speaker
        if held is None or held.columns is not columns:
            with self._joining:
                self._speaker = held = Speaker(self._serving_model.predictor, self._process, columns)
        return held


def _info(serving_model: ServingModel) -> ModelInfo:
    manifest = serving_model.bundle.manifest
    info = ModelInfo(
        manifest.name, manifest.version, manifest.model_sha256, manifest.review, manifest.process_id,
        manifest.process_sha256, manifest.features_sha256, manifest.digest_of(THRESHOLDS), manifest.digest_of(INTENDED_USE),
    )  # fmt: skip
    return replace(info, stale_since_us=serving_model.stale_since_us)
