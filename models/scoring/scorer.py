"""The scorer: feature rows to scores. Bulk scoring and the endpoint call it, with many rows or with one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from scipy.special import expit

from features.process import ProcessDefinition
from models.explain.attributes import AttributeForecast, attribute_forecasts
from models.explain.changes import BASE, Changes, ScoreParts, changes
from models.explain.modes import top_mode
from models.explain.what_if import WhatIf, what_if
from models.predictor import Predictor
from models.scoring.alignment import FeatureAligner
from models.scoring.assessment import AssessedRows, assess
from models.scoring.call import decision_of
from models.scoring.newest import utc
from models.scoring.reasons import Reason, ReasonMaker
from models.scoring.rows import FeatureColumns, FeatureRows
from models.scoring.score import VERSION, Model, Score

FAILED, SUCCEEDED = "failed", "succeeded"


@dataclass(frozen=True, eq=False)
class Scorer:
    """A predictor and the columns of feature rows, aligned once.

    Attributes:
        predictor: Frozen, made for this process.
        process: For labels, normal ranges and phases.
        model: Identity of the predictor, for the records.
        columns: Of the rows.
        top: Reasons per score at most.
    """

    predictor: Predictor
    process: ProcessDefinition
    model: Model
    columns: FeatureColumns
    top: int = 5

    def score(
        self,
        rows: FeatureRows,
        *,
        data_sha256: str,
        reasons: bool = True,
        assays_pending: Sequence[list[str]] | None = None,
    ) -> list[Score]:
        """One score per row, in their order.

        Args:
            rows: With the columns of this scorer.
            data_sha256: Digest of the run history that the rows rest on.
            reasons: Whether to compute the reasons, which take most of the time; without, they are None.
            assays_pending: Per row, assays without a result yet; None: not known.

        Raises:
            ContractError: A value is infinite.
        """
        found = self.assess(rows, contributions=reasons)
        pending = assays_pending or [None] * len(rows)
        return self.records(found, data_sha256=data_sha256, assays_pending=pending)

    def assess(self, rows: FeatureRows, *, contributions: bool = True) -> AssessedRows:
        """`models.scoring.assessment.assess` with this scorer's predictor."""
        return assess(self.aligner, rows, contributions=contributions)

    def records(
        self, found: AssessedRows, *, data_sha256: str, assays_pending: Sequence[list[str] | None]
    ) -> list[Score]:
        """The scores of assessed rows; without contributions they have no reasons."""
        assessment, rows = found.assessment, found.rows
        probability, base = assessment.probability.tolist(), expit(assessment.base_log_odds).tolist()
        intervals = np.column_stack(assessment.interval).tolist()
        modes = self.predictor.mode_probabilities(assessment, rows.elapsed_h)
        attributes, reasons = self._attributes(found), self._reasons(found)
        supports, support_causes = found.supports, found.support_causes
        made = []
        for i, batch_id in enumerate(rows.batch_ids):
            by_mode = {mode: float(p[i]) for mode, p in modes.items()}
            domain = found.domains[i] if found.domains else None
            judged = found.calls[i], found.call_causes[i] or None, supports[i], support_causes[i]
            decision, cause = decision_of(*judged)
            made.append(
                Score(
                    version=VERSION,
                    batch_id=batch_id,
                    as_of=utc(rows.as_of_us[i]),
                    elapsed_h=float(rows.elapsed_h[i]),
                    failure_probability=probability[i],
                    base_probability=base[i],
                    interval=intervals[i],
                    call=found.calls[i],
                    call_cause=found.call_causes[i] or None,
                    support=supports[i],
                    support_causes=list(support_causes[i]),
                    decision=decision,
                    cause=cause,
                    possible=_possible(found, i),
                    modes=by_mode,
                    likeliest_mode=top_mode(by_mode, not_enough_cases=self.predictor.few_cases),
                    attributes=attributes[i],
                    reasons=reasons[i],
                    missing=found.missing[i],
                    stale=found.stale[i],
                    sensors=list(found.sensors[i]),
                    domain=list(domain.findings) if domain else [],
                    domain_ratios={name: round(ratio, 3) for name, ratio in domain.ratios.items()} if domain else {},
                    assays_pending=assays_pending[i],
                    data_sha256=data_sha256,
                    process_version=self.predictor.process_version,
                    model=self.model,
                )
            )
        return made

    def parts(self, found: AssessedRows) -> list[ScoreParts]:
        """What the scores of assessed rows are made of, for the comparison of two.

        Raises:
            ValueError: The rows were assessed without contributions.
        """
        assessment, rows, maker = found.assessment, found.rows, self._reason_maker
        if assessment.contributions is None:
            raise ValueError("the rows were assessed without contributions")
        return [
            ScoreParts(
                utc(rows.as_of_us[i]), float(assessment.probability[i]), float(assessment.base_log_odds[i]),
                dict(zip(maker.parameters, maker.by_parameter(assessment.contributions[i]).tolist(), strict=True)),
                maker.newest.of(rows.values[i], int(rows.as_of_us[i])),
            )
            for i in range(len(rows))
        ]  # fmt: skip

    def changes(self, before: Sequence[ScoreParts], now: Sequence[ScoreParts]) -> list[Changes]:
        """Changes from one score to a later one of the same batch, pair by pair.

        Raises:
            ContractError: The scores are not in order of time.
        """
        pairs = zip(before, now, strict=True)
        return [changes(then, later, labels=self._labels, top=self.top).rounded() for then, later in pairs]

    def what_if(self, rows: FeatureRows) -> list[WhatIf]:
        """The smallest change per row that ends the alarm, or that there is none."""
        limit, frame = self.predictor.thresholds.high, self.frame(rows)
        return what_if(self.predictor.predict, frame, self.process, self.columns.features, threshold=limit)

    def frame(self, rows: FeatureRows) -> pd.DataFrame:
        """Rows as snapshots; columns of the predictor that they lack are not known."""
        encoder = self.predictor.encoder
        return rows.frame(encoder.categories, tuple(name for name in encoder.columns if name not in encoder.categories))

    @cached_property
    def aligner(self) -> FeatureAligner:
        """The predictor, aligned with the columns."""
        return FeatureAligner(self.predictor, self.columns)

    @cached_property
    def _reason_maker(self) -> ReasonMaker:
        return ReasonMaker(self.aligner, self.process, top=self.top)

    @cached_property
    def _labels(self) -> Mapping[str, str]:
        """Words for parameters and subjects; what moves the base of one predictor is the progress of the batch."""
        labels = {parameter.name: parameter.label for parameter in self.process.parameter}
        return labels | {BASE: "Stage of the batch"} | {f.parameter: f.label for f in self.predictor.features}

    def _reasons(self, found: AssessedRows) -> list[list[Reason] | None]:
        rows = found.rows
        if found.assessment.contributions is None:
            return [None] * len(rows)
        points, groups = found.points, self.predictor.evidence.groups(found.X)
        made = (
            self._reason_maker.reasons(
                points[i], rows.values[i], as_of_us=int(rows.as_of_us[i]), elapsed_h=float(rows.elapsed_h[i]),
                group=groups[i], findings=found.sensors[i],
            )
            for i in range(len(rows))
        )  # fmt: skip
        return [[reason.rounded() for reason in reasons] for reasons in made]

    def _attributes(self, found: AssessedRows) -> list[list[AttributeForecast]]:
        expected = found.assessment.seen.expected
        n = len(found.rows)
        return [attribute_forecasts(expected, i, self.process) for i in range(n)] if expected else [[]] * n


def _possible(found: AssessedRows, row: int) -> list[str]:
    """Outcomes in the conformal set at the nominal level."""
    return [FAILED] * bool(found.may_fail[row]) + [SUCCEEDED] * bool(found.may_succeed[row])
