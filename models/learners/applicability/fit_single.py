"""Learn what is usual of single newest values, from good training batches alone.

Usual levels and steps come from the older batches, limits from the newest ones, then levels and steps once more from all,
as the other checks of the domain (`models.learners.applicability.fit`). Slips of the pen set no limit: about one result in
a thousand is one, so that among dozens of parameters the worst of a hundred batches nearly always is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from features.dictionary import Feature
from features.series import PREVIOUS
from models.learners.applicability.bands import upper_limit
from models.learners.applicability.ranges import fit_ranges, width
from models.learners.applicability.single import FAR, USUAL, Departures, SingleValues

_POSITIVE = 0.95  # share of the values above 0 from which a quantity is compared on a log scale
_LOOSE_ABOVE = 0.02  # of the batches of a band: what departs more often is not judged by single values
_LOOSE_BATCHES = 5  # fewer are chance


@dataclass(frozen=True)
class StageRows:
    """Rows of good training batches, those of one batch together.

    Attributes:
        X: Rows of the encoder's matrix, shape (n, k).
        batch: Number of each row's batch.
        band: Number of its maturity band.
        between: Whether it lies between that band and the next one.
    """

    X: np.ndarray
    batch: np.ndarray
    band: np.ndarray
    between: np.ndarray

    def where(self, mask: np.ndarray) -> StageRows:
        """Some of the rows."""
        return StageRows(*(values[mask] for values in (self.X, self.batch, self.band, self.between)))


def fit_single(
    features: Sequence[Feature], level_places: np.ndarray, rows: StageRows, late: np.ndarray, n_bands: int, level: float
) -> SingleValues | None:
    """Learn usual values, changes and limits; None where no parameter can be judged.

    Args:
        features: One entry per column of the matrix.
        level_places: Columns with the newest value of a parameter (`Applicability.levels`).
        rows: Of good training batches.
        late: Which rows belong to the held-out batches.
        n_bands: Number of maturity bands.
        level: Share of held-out batches inside the limits.
    """
    held_out, older = rows.where(late), rows.where(~late)
    chosen = _chosen(features, level_places, rows.X)
    chosen = chosen.without(_loose(_usual(chosen, older, n_bands), held_out))
    chosen = chosen.without(_by_chance(_usual(chosen, older, n_bands), rows))
    if not len(chosen.places):
        return None
    first = _usual(chosen, older, n_bands)
    return replace(_usual(chosen, rows, n_bands), limits=np.tile(_limits(first, held_out, level), (n_bands, 1)))


def _chosen(features: Sequence[Feature], level_places: np.ndarray, X: np.ndarray) -> SingleValues:
    """Parameters recorded as single values (assays, attributes, tests of lots), with the scale of each.

    A sensor, which has a mean, is none: its readings follow one another, and its checks are those of sensors.
    """
    streams = {f.parameter for f in features if f.statistic == "mean"}
    before = {f.parameter: i for i, f in enumerate(features) if f.statistic == PREVIOUS}
    places = [int(i) for i in level_places if features[i].parameter not in streams]
    previous = [before.get(features[i].parameter, -1) if features[i].statistic == "last" else -1 for i in places]
    floors = [_floor(X[:, i]) for i in places]
    return SingleValues(
        np.array(places, int), np.array(previous, int), np.array(floors, float), (), (), np.empty((0, 0))
    )


def _floor(values: np.ndarray) -> float:
    """A tenth of the 1 % quantile of the positive values; NaN where too many values are not positive."""
    known = values[np.isfinite(values)]
    positive = known[known > 0]
    if not len(positive) or len(positive) < _POSITIVE * len(known):
        return np.nan
    return float(np.percentile(positive, USUAL.percent)) / 10


def _usual(chosen: SingleValues, rows: StageRows, n_bands: int) -> SingleValues:
    now, before = chosen.scaled(rows.X)
    levels, steps = (
        tuple(fit_ranges(values[rows.band == number], width(values, USUAL), USUAL) for number in range(n_bands))
        for values in (now, now - before)
    )
    return replace(chosen, levels=levels, steps=steps)


def _loose(first: SingleValues, held_out: StageRows) -> np.ndarray:
    """Parameters that depart in too many later batches of a band: what varies by powers of ten, or drifts with the calendar."""
    loose = np.zeros(len(first.places), bool)
    for number in np.unique(held_out.band):
        far = _of_batches(first, held_out.where(held_out.band == number), lambda each: (each.excess > FAR) | each.slips)
        loose |= _too_many(far.sum(axis=0), len(far))
    return loose


def _by_chance(first: SingleValues, rows: StageRows) -> np.ndarray:
    """Parameters without a value before, the fewest that have to go: of hundreds, some always lie off by a power of ten."""
    dropped = np.zeros(len(first.places), bool)
    for number in np.unique(rows.band):
        slips = _of_batches(
            first, rows.where(rows.band == number), lambda each: each.slips & ~each.by_step & (first.previous < 0)
        )
        slips[:, dropped] = False
        while _too_many(slips.any(axis=1).sum(), len(slips)):
            most = int(slips.sum(axis=0).argmax())
            dropped[most], slips[:, most] = True, False
    return dropped


def _of_batches(first: SingleValues, own: StageRows, what: Callable[[Departures], np.ndarray]) -> np.ndarray:
    """The largest measure of a batch's rows, shape (batches, p)."""
    found = [
        what(first.departures(x, int(k), between=bool(b))) for x, k, b in zip(own.X, own.band, own.between, strict=True)
    ]
    begins = np.flatnonzero(np.append(True, own.batch[1:] != own.batch[:-1]))
    return np.maximum.reduceat(np.array(found).reshape(len(found), len(first.places)), begins, axis=0)


def _too_many(n_departing: np.ndarray | np.integer, n_batches: int) -> np.ndarray | np.bool:
    """Whether more batches depart than may, and more than chance lets."""
    return (n_departing > _LOOSE_ABOVE * n_batches) & (n_departing >= _LOOSE_BATCHES)


def _limits(first: SingleValues, held_out: StageRows, level: float) -> np.ndarray:
    """Of each parameter over the held-out batches, each with its worst row at any stage, shape (p,); NaN without any.

    One limit for all would be that of the parameter with the widest tails. Each takes its share of what may lie outside.
    """
    if not len(held_out.batch):
        return np.full(len(first.places), np.nan)
    worst = _of_batches(first, held_out, lambda each: each.jumps)
    share = 1 - (1 - level) / len(first.places)
    return np.array([upper_limit(of_parameter, share) for of_parameter in worst.T])
