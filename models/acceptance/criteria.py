"""Acceptance criteria: `processes/<id>.acceptance.toml`, signed before the test is read, and the check against figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from features.process import ProcessPart
from models.acceptance.figures import FIGURES, WORDS
from models.evaluation.evaluate import Evaluation
from models.toml_files import parsed_toml, read_toml, validated

Side = Literal["at_least", "at_most"]
Sign = Literal["+", "-", "either"]
Verdict = Literal["met", "not met", "not enough failures"]


class Criterion(ProcessPart):
    """One bound on one figure.

    Attributes:
        metric: A name of `models.acceptance.figures.FIGURES`.
        bound: The bound, in the unit of the figure; shares between 0 and 1.
        side: Whether the figure must be at least or at most the bound.
        least_failures: Failed batches that the test must hold; with fewer the criterion can be neither met nor missed.
        why: Where the bound comes from.
    """

    metric: str
    bound: float = Field(allow_inf_nan=False)
    side: Side
    least_failures: int = Field(ge=1)
    why: str = ""

    @field_validator("metric")
    @classmethod
    def _known(cls, metric: str) -> str:
        if metric not in FIGURES:
            raise ValueError(f"{metric!r} is not a figure; known: {', '.join(FIGURES)}")
        return metric


class FeatureReason(ProcessPart):
    """Why features may count.

    Attributes:
        name: One feature; or
        pattern: Features by a pattern with `*` and `?`, for example `glucose_mm.*`.
        mechanism: What connects the feature with failure.
        expected_sign: Whether higher values should raise the risk (+) or lower it (-), or either.
        decision: What was decided where the model learnt the other sign, or the mechanism is in doubt.
    """

    name: str | None = None
    pattern: str | None = None
    mechanism: str = Field(min_length=10)
    expected_sign: Sign = "either"
    decision: str = ""

    @model_validator(mode="after")
    def _one_of_two(self) -> FeatureReason:
        if (self.name is None) == (self.pattern is None):
            raise ValueError("give name or pattern")
        return self


class Acceptance(ProcessPart):
    """A whole `processes/<id>.acceptance.toml`."""

    process: str
    criterion: tuple[Criterion, ...] = Field(min_length=1)
    feature: tuple[FeatureReason, ...] = ()

    @model_validator(mode="after")
    def _once(self) -> Acceptance:
        bounds = [(c.metric, c.side) for c in self.criterion]
        twice = next((bound for bound in bounds if bounds.count(bound) > 1), None)
        if twice:
            raise ValueError(f"{twice[0]} is bounded {twice[1]} twice")
        return self


@dataclass(frozen=True)
class Result:
    """A criterion held against an evaluation.

    Attributes:
        criterion: The criterion.
        value: The figure; NaN where the evaluation gives none.
        n: Batches behind it.
        n_failed: Failed ones among them.
        verdict: met, not met, or not enough failures.
    """

    criterion: Criterion
    value: float
    n: int
    n_failed: int
    verdict: Verdict

    @property
    def line(self) -> str:
        """In one line: figure, bound, failures, verdict."""
        c, value = self.criterion, "none" if math.isnan(self.value) else f"{self.value:.4g}"
        side = c.side.replace("_", " ")
        return f"{c.metric} {value} ({side} {c.bound:g}; {self.n_failed} failures of {c.least_failures} needed): {self.verdict}"

    @property
    def words(self) -> str:
        """What the figure is."""
        return WORDS[self.criterion.metric]


def check(criteria: Sequence[Criterion], evaluation: Evaluation) -> list[Result]:
    """Hold criteria against figures, in their order.

    A figure that the evaluation does not give (no costs, no alarm limits) meets nothing.
    """
    return [_result(criterion, evaluation) for criterion in criteria]


def _result(criterion: Criterion, evaluation: Evaluation) -> Result:
    found = FIGURES[criterion.metric](evaluation)
    if found.n_failed < criterion.least_failures:
        return Result(criterion, found.value, found.n, found.n_failed, "not enough failures")
    held = found.value >= criterion.bound if criterion.side == "at_least" else found.value <= criterion.bound
    return Result(criterion, found.value, found.n, found.n_failed, "met" if held else "not met")


def load_acceptance(path: Path) -> Acceptance:
    """Read acceptance criteria.

    Raises:
        ProcessError: The file cannot be read, or a key or value does not fit.
    """
    return validated(read_toml(path), Acceptance, str(path))


def parse_acceptance(text: str, where: str) -> Acceptance:
    """The same from a text, for example a signed one."""
    return validated(parsed_toml(text, where), Acceptance, where)
