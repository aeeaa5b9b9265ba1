"""The result of the checks of the applicability domain: findings with a cause for the decision, a ratio and a sentence.

A finding never changes a probability. It gives the reason why a decision may be `undecided`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Cause = Literal["unsupported subgroup", "outside the applicability domain", "too much missing", "stale data"]
CAUSES: tuple[Cause, ...] = get_args(Cause)  # in the order in which a record names them


@dataclass(frozen=True)
class Finding:
    """One reason why a score may not be trusted.

    Attributes:
        cause: Why a decision is `undecided`.
        check: The check that failed: `support`, `category`, `time`, `range`, `distance`, `neighbours`, `missing`, `age`,
            `stale`.
        subjects: Features or parameters concerned, worst first, at most a few.
        value: What was found, in the check's own measure; for `category` the name never seen.
        limit: What it may be at most (for `support`: what it must be at least); None for `category`.
        ratio: How far outside: value / limit, above 1; None where it has no degree (`category`, `support`, `time`
            before the first checkpoint).
        sentence: The finding with its numbers.
    """

    cause: Cause
    check: str
    subjects: tuple[str, ...]
    value: float | str
    limit: float | None
    ratio: float | None
    sentence: str


@dataclass(frozen=True)
class Domain:
    """Whether a snapshot lies inside the applicability domain of the predictor.

    Attributes:
        findings: Failed checks; empty inside.
        ratios: Value / limit of every measured check, inside (up to 1) or outside; a check without a value is absent.
        reach: The highest ratio that a failed training batch reached at this stage, by check.
    """

    findings: tuple[Finding, ...]
    ratios: dict[str, float]
    reach: dict[str, float]

    @property
    def inside(self) -> bool:
        """Whether every check passed."""
        return not self.findings

    @property
    def causes(self) -> tuple[Cause, ...]:
        """Each cause once, in the order of `CAUSES`."""
        found = {finding.cause for finding in self.findings}
        return tuple(cause for cause in CAUSES if cause in found)

    @property
    def within_known_failures(self) -> bool:
        """Whether the snapshot lies outside only as far as failed training batches did: a high risk is then shown.

        False inside, and where a finding has nothing to do with values: a name never seen, a subgroup, missing, stale.
        """
        values = all(f.check in self.reach and f.cause == CAUSES[1] for f in self.findings)
        return not self.inside and values and all(self.ratios[f.check] <= self.reach[f.check] for f in self.findings)
