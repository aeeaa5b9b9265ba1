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
_SUSPICIOUS_FACTOR = (
    1e6  # ML for mL is a factor of 10^9: prefixes so far apart are a slip of the keyboard, or need a rule
)


class UnitError(ContractError):
    """Units that cannot be converted into each other."""


def convert(values: ArrayLike, from_unit: str, to_unit: str, *, confirmed: bool = False) -> np.ndarray:
    """Values in another unit of the same dimension.

    Equal names pass untouched (and without loading the unit library), so a unit no library knows, such as `score`,
    may still be used where reported and expected names agree.

    Args:
        values: Numbers of any shape; NaN stays NaN.
        from_unit: Unit as reported, for example `mg/dL`.
        to_unit: Unit wanted, for example `g/L`.
        confirmed: Whether the plant's rules name `from_unit`, so that no factor is suspicious.

    Returns:
        float64 of the same shape.

    Raises:
        UnitError: One of the units is unknown, their dimensions differ (mmol/L into g/L needs a molar mass, which is
            knowledge of the substance and no rule), or the units differ only by capitals or by prefixes that are 10^6
            or more apart, and no rule confirms that.
    """
    array = np.asarray(values, dtype=np.float64)
    if from_unit == to_unit:
        return array
    (scale, one), (other_scale, other) = _same_dimension(from_unit, to_unit)
    if not confirmed:
        _check_factor(from_unit, to_unit)
    quantity = _registry().Quantity(array * scale, one)
    return np.asarray(quantity.to(other).magnitude, dtype=np.float64) / other_scale


def describe(from_unit: str, to_unit: str) -> str:
    """The conversion of values as `x 1000`, or `x 0.5556 - 17.78` for scales of other origins.

    Raises:
        UnitError: There is no such conversion.
    """
    at_0, at_1 = convert([0.0, 1.0], from_unit, to_unit, confirmed=True).tolist()
    offset = f" {'-' if at_0 < 0 else '+'} {abs(at_0):.4g}" if abs(at_0) > 1e-12 else ""
    return f"x {at_1 - at_0:.4g}{offset}"


@cache
def _check_factor(from_unit: str, to_unit: str) -> None:
    """Refuse a conversion that a slip of the keyboard would explain as well; stated scales (1e6 cells/mL) are no slip."""
    (_, one), (_, other) = _same_dimension(from_unit, to_unit)
    at_0, at_1 = _registry().Quantity(np.array([0.0, 1.0]), one).to(other).magnitude.tolist()
    factor = abs(at_1 - at_0)
    by_case = from_unit.strip().casefold() == to_unit.strip().casefold() and factor != 1
    if by_case or max(factor, 1 / factor) > _SUSPICIOUS_FACTOR * (1 - 1e-9):
        how = "only by capitals" if by_case else "by its prefix"
        raise UnitError(
            f"unit {from_unit!r} differs from {to_unit!r} {how}, a factor of {factor:.3g}",
            expected=f"{to_unit!r}, or a rule for {from_unit!r}",
            remedy=f"Correct the unit, or state what it means in the parameter's unit_aliases, such as "
            f'{{ "{from_unit}" = "{to_unit}" }}.',
        )


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
