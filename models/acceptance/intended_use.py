"""The intended use of a process's predictor: `processes/<id>.intended_use.toml`, signed before the test is read."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from features.errors import ProcessError
from features.process import Interval, ProcessDefinition, ProcessPart
from models.toml_files import read_toml, validated

ANY = "any"  # a site that is not limited


class IntendedUse(ProcessPart):
    """What the predictor may be used for, and where its use ends.

    Attributes:
        process: Id of the process definition.
        question: The question that a score answers.
        product: What is made.
        process_versions: Versions of the process it is meant for.
        sites: Sites it is meant for; `any` for all.
        decision_points_h: Hours of a batch at which somebody decides with a score at hand.
        users: Who acts on a score, and how.
        limits: What a score must not be used for.
        input_ranges: Lowest and highest value per parameter for which it is meant; nan leaves a side open.
    """

    process: str
    question: str = Field(min_length=10)
    product: str = Field(min_length=1)
    process_versions: tuple[str, ...] = Field(min_length=1)
    sites: tuple[str, ...] = Field(min_length=1)
    decision_points_h: tuple[float, ...] = Field(min_length=1)
    users: tuple[str, ...] = Field(min_length=1)
    limits: tuple[str, ...] = Field(min_length=1)
    input_ranges: dict[str, Interval] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _open_limits(cls, data: object) -> object:
        if not isinstance(data, dict) or not isinstance(data.get("input_ranges"), dict):
            return data
        ranges = {
            name: [None if limit != limit else limit for limit in pair] if isinstance(pair, list) else pair
            for name, pair in data["input_ranges"].items()
        }
        return data | {"input_ranges": ranges}

    def check(self, process: ProcessDefinition) -> None:
        """Refuse an intended use of another process.

        Raises:
            ProcessError: Its process, its versions, a decision point or a parameter is not of the process definition.
        """
        if self.process != process.id:
            raise ProcessError(f"the intended use is of process {self.process!r}", expected=process.id)
        if process.process.version not in self.process_versions:
            raise ProcessError(
                f"the intended use of {process.id!r} is for versions {', '.join(self.process_versions)}",
                expected=f"version {process.process.version} of the process definition among them",
            )
        unknown = next((name for name in self.input_ranges if name not in process.by_name), None)
        if unknown is not None:
            raise ProcessError(
                f"the intended use of {process.id!r} has an input range of {unknown!r}", expected="a parameter"
            )
        late = next((h for h in self.decision_points_h if not 0 <= h <= process.process.planned_duration_h), None)
        if late is not None:
            raise ProcessError(
                f"the intended use of {process.id!r} has a decision point at {late:g} h",
                expected=f"0 to {process.process.planned_duration_h:g} h",
            )


def load_intended_use(path: Path) -> IntendedUse:
    """Read an intended use.

    Raises:
        ProcessError: The file cannot be read, or a key or value does not fit.
    """
    return validated(read_toml(path), IntendedUse, str(path))
