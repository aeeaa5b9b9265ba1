"""The process definition: what a plant's recipe calls its parameters, limits, phases and outcomes.

`processes/<id>.toml` is data written by a process engineer. Nothing in the code knows a product.
"""

from __future__ import annotations

import operator
import re
import tomllib
from collections.abc import Iterable
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Literal, TypeVar, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from features.errors import ProcessError, nearest
from features.units import UnitError, convert

OUTCOMES = ("released", "released_oos", "rejected", "terminated", "cancelled")
CATEGORY = "category"  # the unit of an attribute whose values are names

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=80)]
Interval = tuple[float | None, float | None]
Outcome = Literal["released", "released_oos", "rejected", "terminated", "cancelled"]

_RULE = re.compile(r"^\s*([a-z][a-z0-9_]*)\s*(<=|>=|<|>)\s*([-+0-9.eE]+)\s*$")
_COMPARE = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


class ProcessPart(BaseModel):
    """One table of a process definition; unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class ProcessHead(ProcessPart):
    """Identity and grain of time; every duration in hours since the batch's start."""

    id: Name
    name: str
    version: str
    planned_duration_h: float = Field(gt=0)
    bin_h: float = Field(default=1.0, gt=0)
    checkpoints_h: tuple[float, ...] = ()
    every_h: float | None = Field(default=None, gt=0)
    windows_h: tuple[float, ...] = ()
    readings_within_h: float = Field(default=8784.0, gt=0)  # no row of a batch lies further from its start: a year
    quality_codes: Literal["opc_da", "opc_ua"] = "opc_da"  # what a number in the column `quality` means

    @model_validator(mode="after")
    def _grain(self) -> ProcessHead:
        if bool(self.checkpoints_h) == bool(self.every_h):
            raise ValueError("give either checkpoints_h or every_h")
        for hours in (*self.checkpoints_h, *self.windows_h, *([self.every_h] if self.every_h else [])):
            bins = hours / self.bin_h
            if hours < 0 or abs(bins - round(bins)) > 1e-9:
                raise ValueError(f"{hours:g} h is not a whole number of bins of {self.bin_h:g} h")
        if list(self.checkpoints_h) != sorted(set(self.checkpoints_h)):
            raise ValueError("checkpoints_h must increase")
        if any(hours <= 0 for hours in self.windows_h):
            raise ValueError("windows_h must be above 0")
        return self


class Parameter(ProcessPart):
    """One measured or recorded quantity.

    `range` is what is physically possible (outside is bad data), `normal` the normal operating range. `aliases` are
    further names of the parameter in the source, `unit_aliases` what units of the source mean: `{ML = "mL"}`.
    A limit may be left open with nan. `kind` is how often it is measured: `sensor` many times,
    `assay` a few times (also tests of raw-material lots), `attribute` once, known at start. `checked_by` names the
    off-line assay of the same quantity, which shows whether a sensor drifts.
    """

    name: Name
    label: str
    unit: str
    kind: Literal["sensor", "assay", "attribute"]
    range: Interval = (None, None)
    normal: Interval = (None, None)
    controllable: bool = False
    excluded: bool = False
    checked_by: Name | None = None
    aliases: tuple[str, ...] = ()
    unit_aliases: dict[str, str] = {}
    note: str = ""

    @model_validator(mode="before")
    @classmethod
    def _open_limits(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        limits = {key: data[key] for key in ("range", "normal") if isinstance(data.get(key), list)}
        return data | {key: [None if limit != limit else limit for limit in pair] for key, pair in limits.items()}

    @model_validator(mode="after")
    def _ordered(self) -> Parameter:
        for key, (low, high) in (("range", self.range), ("normal", self.normal)):
            if low is not None and high is not None and low >= high:
                raise ValueError(f"{key} must go from low to high")
        if self.unit == CATEGORY and self.kind != "attribute":
            raise ValueError("only an attribute may have the unit 'category'")
        if self.checked_by and self.kind != "sensor":
            raise ValueError("only a sensor is checked_by an assay")
        return self

    @property
    def is_category(self) -> bool:
        """Whether its values are names rather than numbers."""
        return self.unit == CATEGORY


class Phase(ProcessPart):
    """A phase of the recipe with its planned start and length, in hours since the batch's start."""

    name: Name
    label: str
    starts_h: float = Field(ge=0)
    planned_h: float = Field(gt=0)


class QualityAttribute(ProcessPart):
    """A release attribute and its specification."""

    name: Name
    parameter: Name
    lower: float | None = None
    upper: float | None = None
    transform: Literal["log", "logit", "none"] = "none"

    @model_validator(mode="after")
    def _limits(self) -> QualityAttribute:
        limits = [limit for limit in (self.lower, self.upper) if limit is not None]
        if not limits or limits != sorted(set(limits)):
            raise ValueError(f"{self.name!r} needs a lower or an upper limit, the lower one below the upper")
        on_scale = {"log": limits[0] > 0, "logit": limits[0] > 0 and limits[-1] < 100, "none": True}
        if not on_scale[self.transform]:
            raise ValueError(f"{self.name!r} has a limit that transform = {self.transform!r} cannot show")
        return self


class LabelRule(ProcessPart):
    """`parameter compare limit`, for example `batch_yield_pct < 97`: true means failed."""

    parameter: str
    compare: Literal["<", "<=", ">", ">="]
    limit: float

    @classmethod
    def parse(cls, text: str) -> LabelRule:
        """Read a rule.

        Raises:
            ValueError: The text is not `parameter < number` (or <=, >, >=).
        """
        match = _RULE.match(text)
        if not match:
            raise ValueError(f"label rule {text!r} is not of the form 'parameter < number'")
        return cls.model_validate({"parameter": match[1], "compare": match[2], "limit": float(match[3])})

    def __str__(self) -> str:
        return f"{self.parameter} {self.compare} {self.limit:g}"

    def failed(self, values: np.ndarray) -> np.ndarray:
        """Whether each value counts as failed; NaN gives False, so mask it first."""
        return np.asarray(_COMPARE[self.compare](values, self.limit))


class OutcomeRule(ProcessPart):
    """Which dispositions count as failed, which are censored, or which final result decides."""

    failed: tuple[Outcome, ...] = ("rejected", "terminated")
    censored: tuple[Outcome, ...] = ("cancelled",)
    label_from: Literal["disposition", "rule"] = "disposition"
    label_rule: str | None = None
    compare_splits_on: tuple[str, ...] = ()  # further rules on which the report compares ways to split

    @model_validator(mode="after")
    def _consistent(self) -> OutcomeRule:
        both = set(self.failed) & set(self.censored)
        if both:
            raise ValueError(f"{sorted(both)[0]!r} cannot be failed and censored")
        if (self.label_from == "rule") != (self.label_rule is not None):
            raise ValueError('label_rule and label_from = "rule" go together')
        for rule in (self.label_rule, *self.compare_splits_on):
            if rule is not None:
                LabelRule.parse(rule)
        return self


class Cost(ProcessPart):
    """Costs from which thresholds follow; inputs of the plant, never constants of the code."""

    currency: str = "EUR"
    failed_batch: float = Field(gt=0)
    false_alarm: float = Field(gt=0)
    useful_lead_h: float = Field(default=0.0, ge=0)


class DecisionRule(ProcessPart):
    """The plant's targets for decisions; the report shows each beside its value on later batches.

    `alarm_budget` and `watch_budget` are the shares of good batches that may ever be called high, and at least elevated;
    `missed_failures` the share of failing batches that may be called low at any stage; `cases_per_mode` the failures a
    failure mode needs for a model of its own, `batches_per_subgroup` the outcomes a site, process version or scale needs.
    """

    alarm_budget: float = Field(default=0.05, gt=0, lt=1)
    watch_budget: float = Field(default=0.2, gt=0, lt=1)
    missed_failures: float = Field(default=0.25, gt=0, lt=1)
    cases_per_mode: int = Field(default=20, ge=5)
    batches_per_subgroup: int = Field(default=20, ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> DecisionRule:
        if self.watch_budget < self.alarm_budget:
            raise ValueError("watch_budget must be at least alarm_budget")
        return self


class ProcessDefinition(ProcessPart):
    """A whole `processes/<id>.toml`."""

    process: ProcessHead
    parameter: tuple[Parameter, ...] = Field(min_length=1)
    phase: tuple[Phase, ...] = ()
    quality_attribute: tuple[QualityAttribute, ...] = ()
    outcome: OutcomeRule = OutcomeRule()
    cost: Cost | None = None
    decision: DecisionRule = DecisionRule()

    @model_validator(mode="after")
    def _names(self) -> ProcessDefinition:
        names = [p.name for p in self.parameter]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"parameter {twice[0]!r} is defined twice")
        spelled = [*names, *(alias for p in self.parameter for alias in p.aliases)]
        ambiguous = sorted({n for n in spelled if spelled.count(n) > 1})
        if ambiguous:
            raise ValueError(f"{ambiguous[0]!r} is a name or an alias of two parameters")
        attributes = [q.name for q in self.quality_attribute]
        again = sorted({n for n in attributes if attributes.count(n) > 1})
        if again:
            raise ValueError(f"quality_attribute {again[0]!r} is defined twice")
        rules = [r for r in (self.outcome.label_rule, *self.outcome.compare_splits_on) if r]
        wanted = [LabelRule.parse(rule).parameter for rule in rules]
        wanted += [q.parameter for q in self.quality_attribute]
        for name in wanted:
            if name not in names:
                raise ValueError(f"{name!r} is not a parameter{_nearest(name, names)}")
        for rule in rules:
            if not self[LabelRule.parse(rule).parameter].excluded:
                raise ValueError(f"{LabelRule.parse(rule).parameter!r} decides the outcome: mark it excluded = true")
        return self

    @model_validator(mode="after")
    def _checks(self) -> ProcessDefinition:
        for sensor in self.parameter:
            if sensor.checked_by:
                self._check_of(sensor, sensor.checked_by)
        return self

    def _check_of(self, sensor: Parameter, name: str) -> None:
        if name not in self.by_name:
            close = _nearest(name, [p.name for p in self.parameter if p.kind == "assay"])
            raise ValueError(f"{sensor.name!r} is checked_by {name!r}, which is not a parameter{close}")
        assay = self[name]
        if assay.kind != "assay" or assay.excluded:
            raise ValueError(f"{sensor.name!r} is checked_by {name!r}: expected an assay that is not excluded")
        try:
            convert(0.0, assay.unit, sensor.unit)
        except UnitError as error:
            raise ValueError(f"{sensor.name!r} is checked_by {name!r}: {error.what}") from None

    def __getitem__(self, name: str) -> Parameter:
        return self.by_name[name]

    @cached_property
    def by_name(self) -> dict[str, Parameter]:
        """Parameters by name."""
        return {p.name: p for p in self.parameter}

    @cached_property
    def aliases(self) -> dict[str, str]:
        """Names of parameters by their further names in the source."""
        return {alias: p.name for p in self.parameter for alias in p.aliases}

    @property
    def id(self) -> str:
        """Identity of the process, also the name of its folder of data and its experiment."""
        return self.process.id

    @cached_property
    def label_rule(self) -> LabelRule | None:
        """The rule that decides the label, or None where dispositions do."""
        return LabelRule.parse(self.outcome.label_rule) if self.outcome.label_rule else None

    @cached_property
    def checkpoints_h(self) -> tuple[float, ...]:
        """Hours since start at which batches are compared, increasing."""
        head = self.process
        if head.checkpoints_h:
            return head.checkpoints_h
        step = head.every_h or head.planned_duration_h
        return tuple(step * i for i in range(1, int(head.planned_duration_h // step) + 1))

    def features_of(self, *kinds: str) -> tuple[Parameter, ...]:
        """Parameters of these kinds that may be features (not excluded), in the order of the file."""
        return tuple(p for p in self.parameter if p.kind in kinds and not p.excluded)


Definition = TypeVar("Definition", bound=ProcessDefinition)


def load_process(
    path: Path | str,
    definition: type[Definition] = ProcessDefinition,  # ty: ignore[invalid-parameter-default] - the bound is the default
) -> Definition:
    """Read a process definition.

    Args:
        path: A `processes/<id>.toml`.
        definition: The tables that it may have: those of `ProcessDefinition`, or of a subclass with further ones.

    Raises:
        ProcessError: The file is missing, not TOML, has an unknown key (named with its line and the nearest
            known key) or a value that does not fit.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except FileNotFoundError:
        raise ProcessError(
            f"{path}: no such file", remedy="Name a processes/*.toml, or write one with 'batchguard init'."
        ) from None
    except OSError as error:
        raise ProcessError(f"{path}: {error.strerror}", remedy="Name a TOML file that can be read.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProcessError(f"{path}: not TOML: {error}") from None
    try:
        return definition.model_validate(data)
    except ValidationError as error:
        problems = error.errors()
        # a misspelt key is unknown and the right one missing: the first problem leads to the cure
        unknown = [problem for problem in problems if problem["type"] == "extra_forbidden"]
        raise ProcessError(_explain(path, text, [*unknown, *problems][0], definition)) from None


def _explain(path: Path, text: str, problem: ErrorDetails, definition: type[ProcessDefinition]) -> str:
    loc = tuple(problem["loc"])
    where = f"{path}:{_line_of(text, loc)}"
    key = ".".join(str(part) for part in loc) or "the file"
    if problem["type"] == "extra_forbidden":
        return f"{where}: unknown key {loc[-1]!r}{_nearest(str(loc[-1]), _known_keys(definition, loc))}"
    if problem["type"] == "missing":
        return f"{where}: {key} is missing"
    return f"{where}: {key}: {problem['msg'].removeprefix('Value error, ')}"


def _known_keys(definition: type[ProcessDefinition], loc: tuple[int | str, ...]) -> Iterable[str]:
    """Keys that the table of an unknown key may have, or the tables that a definition may have."""
    if len(loc) == 1:
        return definition.model_fields
    annotation = definition.model_fields[str(loc[0])].annotation
    return next(
        t for t in (annotation, *get_args(annotation)) if isinstance(t, type) and issubclass(t, ProcessPart)
    ).model_fields


def _nearest(word: str, known: Iterable[str]) -> str:
    close = nearest(word, known)
    return f"; did you mean {close!r}?" if close else f"; known: {', '.join(known)}"


def _line_of(text: str, loc: tuple[int | str, ...]) -> int:
    """Line (from 1) of a key or, if it is nowhere written, of the table it belongs to."""
    table, *rest = (str(part) if isinstance(part, str) else part for part in (*loc, "")[: max(1, len(loc))])
    nth = int(rest.pop(0)) if rest and isinstance(rest[0], int) else 0
    lines, name = text.splitlines(), re.escape(str(table))
    headers = [i for i, line in enumerate(lines) if re.match(rf"\s*\[\[?\s*{name}\s*\]\]?", line)]
    if nth < len(headers):
        own = takewhile(lambda line: not line.lstrip().startswith("["), lines[headers[nth] + 1 :])
        key = re.compile(rf"(^|;|,|\{{)\s*{re.escape(str(rest[0]))}\s*=") if rest else None
        found = (i for i, line in enumerate(own, headers[nth] + 1) if key is not None and key.search(line))
        return 1 + next(found, headers[nth])
    begin = next((i for i, line in enumerate(lines) if re.match(rf"\s*{name}\s*=", line)), 0)  # `key = ...`
    inline = [i for i, line in enumerate(lines) if i > begin and line.lstrip().startswith("{")]  # a table on each line
    return 1 + (inline[nth] if nth < len(inline) else begin)
