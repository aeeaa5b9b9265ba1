"""The plant's rules about its source, in the table `[source]` of the process definition.

They are read anew by every run, so a change needs no restart, and they count in no digest: no model depends on them.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from features.process import ProcessDefinition, ProcessPart
from models.policy import Policy


class SourcePolicy(ProcessPart):
    """How a source is read.

    Attributes:
        final_line: What a CSV file without a final line end means: its last record may be torn and is `held_back`, or
            the file is `complete`.
        max_quarantined: Number of broken rows above which nothing is taken in; None: no number.
        max_removed_percent: Share of a table's rows that may leave the source from one ingest to the next.
    """

    final_line: Literal["held_back", "complete"] = "held_back"
    max_quarantined: int | None = Field(default=None, ge=0)
    max_removed_percent: float = Field(default=10.0, ge=0, le=100)


class FailureMode(ProcessPart):
    """Words for a failure mode that dispositions name by a code."""

    name: str
    label: str


class PlantDefinition(ProcessDefinition):
    """A process definition with the plant's rules about its source and about its models, and its words for failure modes."""

    source: SourcePolicy = SourcePolicy()
    policy: Policy = Policy()
    failure_mode: tuple[FailureMode, ...] = ()

    @property
    def mode_labels(self) -> dict[str, str]:
        """Labels of failure modes by name; a mode need not have one."""
        return {mode.name: mode.label for mode in self.failure_mode}
