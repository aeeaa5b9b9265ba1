"""The engine of the endpoint: a verified model over an incremental state."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from pydantic import JsonValue

from features.contracts import RUN_HISTORY
from features.errors import ContractError
from features.live import Columns
from models.explain.changes import Changes
from models.explain.what_if import WhatIf
from models.scoring.assessment import AssessedRows
from models.scoring.rows import FeatureColumns, FeatureRows
from models.scoring.score import Model, Score
from models.scoring.scorer import Scorer
from serving.bundle.bundle import INTENDED_USE, THRESHOLDS
from serving.bundle.loader import ServingModel
from serving.ids import microseconds
from serving.interfaces import EngineError, Row, RowVerdict, StoredRow, UnscorableError
from serving.live.batches import NEVER, EvictionPolicy
from serving.live.state import PlantState


class LiveEngine:
    """`serving.interfaces.Engine`: scores from incremental state.

    Args:
        serving_model: The model, verified.
        eviction: When batches give up their readings and events.
    """

    def __init__(self, serving_model: ServingModel, eviction: EvictionPolicy = NEVER) -> None:
        self._serving_model, self._model = serving_model, _model(serving_model)
        self._process, self._words = serving_model.bundle.process, serving_model.bundle.vocabulary
        self._state = PlantState(self._process, self._words, eviction)
        self._aligned: tuple[Columns, Scorer] | None = None
        self._aligning = threading.Lock()

    def model(self) -> Model:
        """The serving model."""
        return self._model

    def released_for(self) -> Mapping[str, JsonValue]:
        """What the serving model was released for, and the limits by which it decides."""
        bundle = self._serving_model.bundle
        return {"intended_use": bundle.json(INTENDED_USE), "thresholds": bundle.json(THRESHOLDS)}

    def validate_batch(self, batch: Row) -> None:
        """Validate the row of a batch ahead of `put_batch`, beside changes and scores."""
        self._state.validate_batch(batch)

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

    def warm_up(self) -> None:
        """Score a made-up batch once, so that all code of a score is compiled and loaded before the first real one."""
        at, rows = "2026-01-01T00:00:00+00:00", []
        for parameter in self._process.parameter:
            if parameter.kind == "sensor":
                limits = [limit for limit in parameter.normal or parameter.range or () if limit is not None] or [1.0]
                value = sum(limits) / len(limits)
                rows += [{"parameter": parameter.name, "observed_at": f"2026-01-01T0{hour}:00:00+00:00", "value": value,
                          "unit": parameter.unit} for hour in range(1, 4)]  # fmt: skip
        batch = {"batch_id": "warm-up", "site_id": "warm-up", "started_at": at, "origin": "simulated"}
        apart = PlantState(self._process, self._words)
        apart.put_batch(batch)
        apart.add("warm-up", "observations", rows)
        with contextlib.suppress(UnscorableError):
            self._score(apart, "warm-up", microseconds("2026-01-01T05:00:00Z"))

    def ready_site(self, batch_id: str) -> str | None:
        """The site, if the batch can be scored from memory; else None."""
        return self._state.ready_site(batch_id)

    def score(self, batch_id: str, as_of_us: int, *, reasons: bool = True) -> Score:
        """Score a batch with what was available at a time; without reasons, they are None."""
        return self._score(self._state, batch_id, as_of_us, reasons=reasons)

    def matrix(self, batch_id: str, as_of_us: int) -> np.ndarray:
        """The predictor's row of a batch at a time, shape (1, columns of the predictor)."""
        scorer, rows, _ = self._rows(self._state, batch_id, as_of_us)
        return scorer.aligner.matrix(rows)

    def view(self, batch_id: str, as_of_us: int) -> LiveView:
        """A batch at a moment; later changes of the state do not reach it."""
        scorer, rows, _ = self._rows(self._state, batch_id, as_of_us)
        return LiveView(scorer, rows)

    def decides_outcomes(self) -> str | None:
        """The parameter whose readings decide the outcomes of all batches; None: dispositions do."""
        rule = self._process.label_rule
        return None if rule is None else rule.parameter

    def score_inline(self, history: Mapping[str, Sequence[Row]], batch_id: str, as_of_us: int) -> Score:
        """Score the given rows alone; nothing is kept."""
        apart = PlantState(self._process, self._words)
        verdicts = [apart.put_batch(batch) for batch in history.get("batches", ())]
        for table in RUN_HISTORY:
            if table != "batches" and history.get(table):
                verdicts += apart.add(batch_id, table, history[table])
        for verdict in verdicts:
            if verdict.verdict == "rejected":
                raise UnscorableError(verdict.reason, remedy="Correct the row and send the history again.")
        return self._score(apart, batch_id, as_of_us)

    def _score(self, state: PlantState, batch_id: str, as_of_us: int, *, reasons: bool = True) -> Score:
        scorer, rows, data_sha256 = self._rows(state, batch_id, as_of_us)
        pending = [state.pending_assays(batch_id, self._assays, as_of_us)]
        try:
            return scorer.score(rows, data_sha256=data_sha256, reasons=reasons, assays_pending=pending)[0]
        except ContractError as error:
            raise UnscorableError(error.what, remedy=error.remedy) from None

    def _rows(self, state: PlantState, batch_id: str, as_of_us: int) -> tuple[Scorer, FeatureRows, str]:
        """A batch at a moment as one feature row, the scorer of its columns, and the digest of all rows held."""
        row = state.row(batch_id, as_of_us)
        if self._model.released_by == "demo keys" and state.is_real(batch_id):
            raise UnscorableError(
                f"batch {batch_id} is real, and the serving model was released by demo keys",
                remedy="Release a version by two persons ('batchguard release'). The rows of the batch are kept.",
            )
        scorer = self._scorer_for(row.columns)
        moment, elapsed_h = np.array([as_of_us]), row.values[:1]
        return scorer, FeatureRows(scorer.columns, row.values[None, :], (batch_id,), moment, elapsed_h), row.data_sha256

    @cached_property
    def _assays(self) -> list[str]:
        """Assays of a batch, also those that no model may see: not the tests of its lots."""
        of_lots = {parameter for parameter, _ in self._words.lot_tests}
        return [p.name for p in self._process.parameter if p.kind == "assay" and p.name not in of_lots]

    def _scorer_for(self, columns: Columns) -> Scorer:
        """The scorer of the columns of a row; made again only when they changed."""
        aligned_with, scorer = self._aligned or (None, None)
        if scorer is None or aligned_with is not columns:
            with self._aligning:
                named = FeatureColumns(columns.features, columns.categories)
                scorer = Scorer(self._serving_model.predictor, self._process, self._model, named)
                self._aligned = columns, scorer
        return scorer


@dataclass(frozen=True, eq=False)
class LiveView:
    """`serving.interfaces.SnapshotView`: one feature row and its scorer.

    Attributes:
        scorer: Of the row's columns.
        rows: One row.
    """

    scorer: Scorer
    rows: FeatureRows

    @property
    def probability(self) -> float:
        """Calibrated probability of failure at this moment."""
        return float(self._assessed.assessment.probability[0])

    def changes_since(self, earlier: LiveView) -> Changes:
        """Changes of the risk since an earlier moment of the batch, by the model of this view."""
        if earlier.scorer.predictor is not self.scorer.predictor or earlier.scorer.columns is not self.scorer.columns:
            earlier = LiveView(replace(self.scorer, columns=earlier.rows.columns), earlier.rows)
        before = earlier.scorer.parts(earlier._assessed)
        return self.scorer.changes(before, self.scorer.parts(self._assessed))[0]

    def what_if(self) -> WhatIf:
        """The smallest change of controllable parameters that ends the alarm."""
        return self.scorer.what_if(self.rows)[0]

    @cached_property
    def _assessed(self) -> AssessedRows:
        return self.scorer.assess(self.rows)


def _model(serving_model: ServingModel) -> Model:
    bundle = serving_model.bundle
    manifest = bundle.manifest
    return Model(
        manifest.name, manifest.version, manifest.model_sha256, "released", manifest.process_id, manifest.process_sha256,
        manifest.features_sha256, manifest.digest_of(THRESHOLDS), manifest.digest_of(INTENDED_USE), bundle.sha256,
        bundle.released_by,
    )  # fmt: skip
