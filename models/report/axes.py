"""The stretch of an axis: wide enough for every limit, and not so wide that one mistyped value hides the rest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

_FAR = 3.0  # interquartile ranges beyond a quartile: Tukey's outer fence (1977)
_MARGIN = 0.04  # of the stretch, beside what lies at its ends


@dataclass(frozen=True)
class Span:
    """Both ends of an axis, and the number of values beyond them.

    Attributes:
        low: Lower end, in the unit of the values.
        high: Upper end, above `low`.
        n_outside: Values that lie beyond an end; whoever draws the axis says how many.
    """

    low: float
    high: float
    n_outside: int

    @property
    def ends(self) -> list[float]:
        """As the domain of a scale."""
        return [self.low, self.high]

    def holds(self, values: np.ndarray) -> np.ndarray:
        """Whether each value lies on the axis; NaN does not."""
        return (values >= self.low) & (values <= self.high)


def robust_span(values: np.ndarray, limits: Iterable[float] = (), *, log: bool = False) -> Span:
    """The axis for some values and limits.

    Values beyond Tukey's outer fences are left outside and counted. A limit is always inside, with a margin, so a line
    at it is drawn at its place.

    Args:
        values: Any shape; NaN and infinite ones do not count.
        limits: Values that the axis must reach.
        log: Whether the axis is logarithmic: values and limits are above 0.
    """
    there, back = (np.log, np.exp) if log else (np.asarray, float)
    known = np.asarray(values, dtype=float).ravel()
    known = known[np.isfinite(known)]
    inside = known[_near(there(known))]
    marked = [*inside.tolist(), *limits] or [1.0]
    low, high = float(there(min(marked))), float(there(max(marked)))
    margin = _MARGIN * (high - low) or 0.5
    span = Span(float(back(low - margin)), float(back(high + margin)), 0)
    return Span(span.low, span.high, int((~span.holds(known)).sum()))


def _near(values: np.ndarray) -> np.ndarray:
    """Which values lie within the fences; where the quartiles are one value, the fences stand on the middle 90 %."""
    for quantiles in ([0.25, 0.75], [0.05, 0.95]):
        low, high = np.quantile(values, quantiles) if len(values) else (0.0, 0.0)
        if high > low:
            return (values >= low - _FAR * (high - low)) & (values <= high + _FAR * (high - low))
    return np.ones(len(values), dtype=bool)
