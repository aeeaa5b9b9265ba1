"""Numbers, features and times in words: the parts of which every fixed template is made."""

from __future__ import annotations

from features.dictionary import Feature
from features.process import Interval

_SHARES = ("_share", "_rate")  # endings of statistics between 0 and 1, said in percent
_PURE = frozenset({"", "1", "category"})  # units that are not said

Value = float | str | None  # a number, a category, or nothing known


def number(value: float) -> str:
    """A number as people write it: three significant digits, whole ones from 1000 on, no trailing zeros."""
    if value != 0 and not 1e-3 <= abs(value) < 1e6:
        return f"{value:.3g}"
    return f"{float(f'{value:.3g}'):g}" if abs(value) < 1e3 else f"{value:.0f}"


def percent(probability: float) -> str:
    """A probability in whole percent; below 1 % and above 99 % with one digit more, so that 0 and 100 are never said."""
    if probability < 0.01:
        return "below 0.1 %" if probability < 0.001 else f"{100 * probability:.1f} %"
    if probability > 0.99:
        return "above 99.9 %" if probability > 0.999 else f"{100 * probability:.1f} %"
    return f"{100 * probability:.0f} %"


def with_unit(text: str, unit: str) -> str:
    """A number and its unit; `1e6 cells/mL` follows as `0.5e6 cells/mL`."""
    if unit in _PURE:
        return text
    power = unit.startswith("1e") and "e" not in text
    return f"{text}{unit[1:]}" if power else f"{text} {unit}"


def span(low: float, high: float) -> str:
    """An interval: `2.4-3.6`, or `-3 to 2` where a minus sign would read as a dash."""
    return f"{number(low)}-{number(high)}" if low >= 0 else f"{number(low)} to {number(high)}"


def limits(interval: Interval) -> str:
    """`4 to 6`, `from 4`, `up to 6`, or nothing where both sides are open."""
    low, high = interval
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    if low is not None:
        return f"from {low:g}"
    return f"up to {high:g}" if high is not None else ""


def duration(hours: float) -> str:
    """`35 min`, `4 h`, `3 d`: minutes below one hour, days from three on."""
    if hours < 1:
        return f"{60 * hours:.0f} min"
    return f"{number(hours)} h" if hours < 72 else f"{number(hours / 24)} d"


def value_in_words(feature: Feature, value: Value) -> str:
    """A feature's value with its unit, or that there is none."""
    if value is None:
        return "not recorded" if feature.window == "before_start" else "no value yet"
    if isinstance(value, str):
        return value
    if feature.statistic.endswith(_SHARES):
        return f"{number(100 * value)} %"
    return with_unit(number(value), feature.unit)


def in_words(feature: Feature) -> str:
    """The feature's meaning, led by the parameter where it names it: "lowest value of pH" is "pH, lowest value"."""
    before, of_label, after = feature.meaning.partition(f" of {feature.label}")
    if of_label and (not after or after.startswith(" ")):
        return f"{feature.label}, {before}{after}"
    words = feature.meaning or feature.label
    return words if words.startswith(feature.label) else words[:1].upper() + words[1:]
