"""Units of measurement: values are converted by rule or refused, never guessed."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from features.errors import ContractError

if TYPE_CHECKING:
    import pint

# What a bioprocess writes and the SI does not know. Counts of different things get dimensions of their own, so that
# cells never become colonies; VVD is vessel volumes a day. Case matters: mM is millimolar, MM is nothing.
DEFINITIONS = (
    "cell = [cells] = cells",
    "CFU = [colony_forming_units] = cfu",
    "TU = [transducing_units]",
    "IU = [international_units]",
    "EU = [endotoxin_units]",
    "VVD = 1 / day = vvd",
    "rotation = [rotations]",  # the library's revolution is 2 pi radians, which would turn 1 rpm into 6.28 / min
    "rpm = rotation / minute",
)
_SCALE = re.compile(r"^(?:1[eE]|10\^|10\*\*)(\d{1,2})\s*[*·]?\s*(.*)$")
_POWER = re.compile(r"(?<=[a-z])([23])\b")


class UnitError(ContractError):
    """Units that cannot be converted into each other."""


def convert(values: ArrayLike, from_unit: str, to_unit: str) -> np.ndarray:
    """Values in another unit of the same dimension.

    Equal names pass untouched (and without loading the unit library), so a unit no library knows, such as `score`,
    may still be used where reported and expected names agree.

    Args:
        values: Numbers of any shape; NaN stays NaN.
        from_unit: Unit as reported, for example `mg/dL`.
        to_unit: Unit wanted, for example `g/L`.

    Returns:
        float64 of the same shape.

    Raises:
        UnitError: One of the units is unknown, or their dimensions differ (mmol/L into g/L needs a molar mass,
            which is knowledge of the substance and no rule).
    """
    array = np.asarray(values, dtype=np.float64)
    if from_unit == to_unit:
        return array
    (scale, one), (other_scale, other) = _same_dimension(from_unit, to_unit)
    quantity = _registry().Quantity(array * scale, one)
    return np.asarray(quantity.to(other).magnitude, dtype=np.float64) / other_scale


@cache
def _same_dimension(from_unit: str, to_unit: str) -> tuple[tuple[float, pint.Unit], tuple[float, pint.Unit]]:
    one, other = _parsed(from_unit), _parsed(to_unit)
    if one[1].dimensionality != other[1].dimensionality:
        raise UnitError(
            f"unit {from_unit!r} does not convert into {to_unit!r}",
            expected=f"{to_unit!r} or a unit of the same dimension",
            remedy="Export the values in the unit of the process definition, or correct the unit.",
        )
    return one, other


def _parsed(unit: str) -> tuple[float, pint.Unit]:
    """Scale and unit: `1e6 cells/mL` is a million of `cells/mL`."""
    import pint

    scaled = _SCALE.match(unit.strip())
    scale, rest = (10.0 ** int(scaled[1]), scaled[2]) if scaled else (1.0, unit.strip())
    try:
        return scale, _registry().parse_units(_spelled(rest))
    except (pint.errors.PintError, ValueError, TypeError, AttributeError, SyntaxError, AssertionError) as error:
        raise UnitError(
            f"unit {unit!r} is unknown", expected="a unit such as 'mmol/L'", remedy="Correct its spelling."
        ) from error


def _spelled(unit: str) -> str:
    """The unit as the library reads it."""
    for sign, word in (("%", "percent"), ("µ", "u"), ("μ", "u"), ("°", "deg")):
        unit = unit.replace(sign, word)
    unit = _POWER.sub(r"**\1", unit)
    return f"1{unit}" if unit.startswith("/") else unit


@cache
def _registry() -> pint.UnitRegistry:
    import pint

    registry = pint.UnitRegistry(autoconvert_offset_to_baseunit=True)
    for line in DEFINITIONS:
        registry.define(line)
    return registry
