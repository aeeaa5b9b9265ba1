"""What a check of the applicability domain says: findings with a cause for the decision, how far outside, one sentence.

A finding never changes a probability. It says why a decision may be `undecided`, and by how much.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Cause = Literal["unsupported subgroup", "outside the applicability domain", "too much missing", "stale data"]
CAUSES: tuple[Cause, ...] = (
    "unsupported subgroup",
    "outside the applicability domain",
    "too much missing",
    "stale data",
)  # in the order in which a record names them


NAMED = 3  # subjects of a finding at most


@dataclass(frozen=True)
class Finding:
    """One reason why a score may not be trusted.

    Attributes:
        cause: Why a decision is `undecided`.
        check: What was looked at: `support`, `category`, `range`, `distance`, `neighbours`, `missing`, `age`, `stale`.
        subjects: Features or parameters concerned, worst first, at most a few.
        value: What was found, in the check's own measure; for `category` the name never seen.
        limit: What it may be at most (for `support`: what it must be at least); None for `category`.
        ratio: How far outside: value / limit, above 1; None where it has no degree (`category`, `support`).
        sentence: All of it, to read.
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
    """Whether a snapshot lies where the predictor was made for.

    Attributes:
        findings: What speaks against it; empty inside.
        ratios: Value / limit of every measured check, inside (up to 1) or outside; a check that could not be made is absent.
        reach: The highest ratio that a failed training batch reached at this stage, by check.
    """

    findings: tuple[Finding, ...]
    ratios: dict[str, float]
    reach: dict[str, float]

    @property
    def inside(self) -> bool:
        """Whether nothing speaks against the score."""
        return not self.findings

    @property
    def causes(self) -> tuple[Cause, ...]:
        """Each cause once, in the order of `CAUSES`."""
        found = {finding.cause for finding in self.findings}
        return tuple(cause for cause in CAUSES if cause in found)

    @property
    def within_known_failures(self) -> bool:
        """Whether it is outside only as far as failed training batches went: a high risk is then to be shown.

        False inside, and where a finding has nothing to do with values: a name never seen, a subgroup, missing, stale.
        """
        values = all(f.check in self.reach and f.cause == CAUSES[1] for f in self.findings)
        return not self.inside and values and all(self.ratios[f.check] <= self.reach[f.check] for f in self.findings)


def unsupported(feature: str, words: str, value: str, n: int, needed: int) -> Finding:
    """A subgroup with too few known outcomes."""
    sentence = (
        f"{words} {value!r}: {n} batches with a known outcome when the model was trained, "
        f"{needed} are needed, {needed - n} are missing"
    )
    return Finding("unsupported subgroup", "support", (feature,), float(n), float(needed), None, sentence)


def unseen(feature: str, words: str, value: str, known: tuple[str, ...]) -> Finding:
    """A name that training never saw."""
    sentence = f"{words} {value!r} was never seen in training, which knows {len(known)} others"
    return Finding("outside the applicability domain", "category", (feature,), value, None, None, sentence)


def out_of_range(
    subjects: tuple[str, ...],
    said: str,
    *,
    n: int,
    most: float,
    excess: float,
    limit: float,
    shift: float,
    most_shift: float,
    ratio: float,
) -> Finding:
    """Values beyond the range of training: too many of them, one too far, or all levels of one parameter."""
    together = (
        f"; all levels of one parameter {shift:.3g} beyond (limit {most_shift:.3g})" if shift > most_shift else ""
    )
    sentence = (
        f"{n} parameters outside the range seen at this stage (limit {most:g}); worst: {said}, "
        f"{excess:.3g} usual spreads beyond (limit {limit:.3g}){together}"
    )
    return Finding("outside the applicability domain", "range", subjects, excess, limit, ratio, sentence)


def far(subjects: tuple[str, ...], words: list[str], distance: float, limit: float) -> Finding:
    """An unusual combination of levels."""
    sentence = (
        f"The levels together lie {distance:.3g} usual spreads from the centre (limit {limit:.3g}), "
        f"mostly by {'; '.join(words)}"
    )
    return Finding(
        "outside the applicability domain", "distance", subjects, distance, limit, distance / limit, sentence
    )


def no_neighbour(distance: float, limit: float) -> Finding:
    """No known batch is near."""
    sentence = f"The nearest known batches are {distance:.3g} usual spreads away (limit {limit:.3g})"
    return Finding("outside the applicability domain", "neighbours", (), distance, limit, distance / limit, sentence)


def too_much_missing(parameters: Sequence[str], most: float) -> Finding:
    """More parameters without a value than usual at this hour."""
    n = len(parameters)
    sentence = f"{n} parameters of the model have no value, at most {most:g} are usual at this hour"
    return Finding("too much missing", "missing", tuple(parameters[:NAMED]), float(n), most, n / most, sentence)


def older(parameters: tuple[str, ...], said: str, excess: float, limit: float) -> Finding:
    """A newest value much older than ever seen at this stage."""
    sentence = f"{said} h, {excess:.3g} usual spreads beyond (limit {limit:.3g})"
    return Finding("stale data", "age", parameters, excess, limit, excess / limit, sentence)


def stale(ages: Mapping[str, float], most: float) -> Finding:
    """More parameters older than usual than is usual."""
    oldest = sorted(ages, key=lambda name: (-ages[name], name))[:NAMED]
    n = len(ages)
    sentence = (
        f"{n} parameters have a newest value older than usual (limit {most:g}), the oldest {ages[oldest[0]]:.3g} h"
    )
    return Finding("stale data", "stale", tuple(oldest), float(n), most, n / most, sentence)
