"""What others know of a value: what is usual at its hour, and whether its sensor is to be believed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class UsualRange(Protocol):
    """What successful batches show at an hour: 5 %, 50 % and 95 % of n of them, in the parameter's unit."""

    @property
    def low(self) -> float: ...  # noqa: D102
    @property
    def high(self) -> float: ...  # noqa: D102


class ReferenceTrajectory(Protocol):
    """Knows what is usual; `models.learners.reference` has one."""

    def usual(self, parameter: str, checkpoint_h: float, group: str | None = None) -> UsualRange | None:
        """What is usual of a parameter at an hour, or None where that is not known."""
        ...


class SensorFinding(Protocol):
    """A sensor that is not to be believed; `kind` is a participle: drifting, flat-lined, spiking."""

    @property
    def parameter(self) -> str: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102


def kinds_by_parameter(findings: Sequence[SensorFinding]) -> dict[str, str]:
    """What each parameter's sensor was found to be, kinds in order of name."""
    kinds: dict[str, set[str]] = {}
    for found in findings:
        kinds.setdefault(found.parameter, set()).add(found.kind)
    return {parameter: " and ".join(sorted(each)) for parameter, each in kinds.items()}
