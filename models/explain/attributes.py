"""The forecast of a release attribute, beside its specification.

"Dose expected at release 3.1e8 cells, 90 % 1.8-5.2, limit from 2; missed with 12 %"
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from features.errors import ContractError
from features.process import ProcessDefinition
from models.explain.words import limits, number, percent, span, with_unit
from models.learners.forecasts import Expected


@dataclass(frozen=True)
class AttributeForecast:
    """A release attribute of a batch in progress, as its own model expects it.

    Attributes:
        name: Of the quality attribute in the process definition.
        label: In the process's words.
        unit: Unit of all values.
        expected: Expected value at release.
        low: Lower end of the interval.
        high: Upper end of the interval.
        lower_limit: Specification; None where open.
        upper_limit: Specification; None where open.
        missing_probability: Probability of a value outside the specification.
        margin: Distance of the expected value to the nearer limit in standard deviations of the forecast, on the scale of
            the attribute's transform; below 0 outside the specification.
        coverage: Share of batches whose value the interval is meant to hold.
        sentence: All of it, to read.
    """

    name: str
    label: str
    unit: str
    expected: float
    low: float
    high: float
    lower_limit: float | None
    upper_limit: float | None
    missing_probability: float
    margin: float
    coverage: float = 0.9
    sentence: str = ""

    def __post_init__(self) -> None:
        """Check the values, and write the sentence where none is given.

        Raises:
            ContractError: The expected value lies outside its interval, or a probability outside 0 to 1; also where one
                of them is NaN.
        """
        if not self.low <= self.expected <= self.high:
            raise ContractError(
                f"attribute {self.name}: expected value {self.expected:g}",
                expected=f"a value within its interval {self.low:g} to {self.high:g}",
            )
        if not 0 <= self.missing_probability <= 1:
            raise ContractError(f"attribute {self.name}: probability {self.missing_probability:g}", expected="0 to 1")
        object.__setattr__(self, "sentence", self.sentence or self._in_words())

    def _in_words(self) -> str:
        text = f"{self.label} expected at release {with_unit(number(self.expected), self.unit)}"
        text += f", {100 * self.coverage:g} % {span(self.low, self.high)}"
        specification = limits((self.lower_limit, self.upper_limit))
        if specification:
            text += f", limit {specification}; missed with {percent(self.missing_probability)}"
        return text


def attribute_forecasts(expected: Expected, row: int, process: ProcessDefinition) -> list[AttributeForecast]:
    """What one row's release attributes are expected to be, in the words and units of the process.

    An attribute without a finite forecast is left out. An interval always holds its expected value, also where all
    errors in training lay on one side.
    """
    value, low, high = expected.in_units
    missed, margin = expected.miss_probability, expected.margins
    made = []
    for i, attribute in enumerate(expected.attributes):
        numbers = [float(each[row, i]) for each in (value, low, high, missed, margin)]
        if not all(math.isfinite(number) for number in numbers):
            continue
        parameter = process[attribute.parameter]
        made.append(
            AttributeForecast(
                attribute.name, parameter.label, parameter.unit, numbers[0], min(numbers[0], numbers[1]),
                max(numbers[0], numbers[2]), attribute.lower, attribute.upper, min(numbers[3], 1.0), numbers[4],
            )
        )  # fmt: skip
    return made
