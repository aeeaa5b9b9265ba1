"""The result of the checks of the applicability domain: findings with a cause, a ratio and a sentence, and the support.

A finding never changes a probability or a call. It says why the support of a score is limited, or why there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Cause = Literal[
    "unsupported subgroup", "outside the applicability domain", "suspicious value", "too much missing", "stale data"
]
CAUSES: tuple[Cause, ...] = get_args(Cause)  # in the order in which a record names them
Support = Literal["sufficient", "limited", "none"]
SUPPORTS: tuple[Support, ...] = get_args(Support)
_NOTHING_ALIKE = frozenset({"category", "time", "values"})  # checks that fail where training saw nothing alike


@dataclass(frozen=True)
class Finding:
    """One reason why a score may not be trusted.

    Attributes:
        cause: What kind of reason it is.
        check: The check that failed: `support`, `category`, `time`, `values`, `range`, `distance`, `neighbours`, `newest`,
            `missing`, `age`, `stale`.
        subjects: Features or parameters concerned, worst first, at most a few.
        value: What was found, in the check's own measure; for `category` the name never seen.
        limit: What it may be at most (for `support`: what it must be at least); None for `category`.
        ratio: How far outside: value / limit, above 1; None where it has no degree (`category`, `support`, `values`,
            `time` before the first checkpoint, `newest` where a power of ten alone gives a value away).
        sentence: The finding with its numbers.
    """

    cause: Cause
    check: str
    subjects: tuple[str, ...]
    value: float | str
    limit: float | None
    ratio: float | None
    sentence: str

    @property
    def support(self) -> Support:
        """What it leaves of the support: `none` where training saw nothing to compare with, else `limited`."""
        unknown_subgroup = self.check == "support" and self.value == 0
        return "none" if unknown_subgroup or self.check in _NOTHING_ALIKE else "limited"


@dataclass(frozen=True)
class Domain:
    """Whether a snapshot lies inside the applicability domain of the predictor.

    Attributes:
        findings: Failed checks; empty inside.
        ratios: Value / limit of every measured check, inside (up to 1) or outside; a check without a value is absent.
    """

    findings: tuple[Finding, ...]
    ratios: dict[str, float]

    @property
    def support(self) -> Support:
        """How far the predictor knows such batches: the weakest of what the findings leave, `sufficient` without one."""
        return max((finding.support for finding in self.findings), key=SUPPORTS.index, default="sufficient")

    @property
    def causes(self) -> tuple[Cause, ...]:
        """Each cause once, in the order of `CAUSES`."""
        found = {finding.cause for finding in self.findings}
        return tuple(cause for cause in CAUSES if cause in found)
