"""Forward folds inside the training part: blocks of batches, each predicted from what was known when it began."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd

from features.errors import TrainingError
from models.cohort.labels import labels_as_of
from models.cohort.splits import in_order_of_start, known_before

ENOUGH_KNOWN = 5  # batches of each class on both sides of the first cut, where the history allows it
_MOST_CUTS = 40  # tried: a cut fails where patients or donors stand on both sides of it
LEAST_KNOWN = 2  # batches of each class on the training side of a fold: one alone is compared with nothing


@dataclass(frozen=True)
class Fold:
    """One step forward in time.

    Attributes:
        name: For messages, for example "fold 2 of 4".
        cut: Start of the validation block; only labels known before it train.
        train: Batch ids.
        validation: Batch ids, all started at or after the cut.
    """

    name: str
    cut: pd.Timestamp
    train: tuple[str, ...]
    validation: tuple[str, ...]


def forward_folds(
    batches: pd.DataFrame,
    log: pd.DataFrame,
    candidates: pd.Index,
    *,
    groups: pd.DataFrame,
    n_folds: int = 4,
    warm_up: float = 0.4,
) -> tuple[Fold, ...]:
    """Blocks of equal size, one after the other in time; each is predicted from what was known when it began.

    Args:
        batches: `batch_id`, `started_at`.
        log: `features.contracts.LABELS`.
        candidates: Batches to fold (those that may train).
        groups: Pairs `batch_id`, `group` that must not stand on both sides.
        n_folds: Number of validation blocks.
        warm_up: Share of the batches that is never validated, only trained on.

    Raises:
        TrainingError: A fold would see one class only.
    """
    n = len(in_order_of_start(batches, candidates))
    edges = np.linspace(int(n * warm_up), n, n_folds + 1).astype(int)
    return _folds_between(edges, batches, log, candidates, groups)


def _folds_between(
    edges: np.ndarray, batches: pd.DataFrame, log: pd.DataFrame, candidates: pd.Index, groups: pd.DataFrame
) -> tuple[Fold, ...]:
    """Folds whose validation blocks lie between edges, places in the order of start; errors of `forward_folds`."""
    started, failed = in_order_of_start(batches, candidates), labels_as_of(log)["failed"]
    folds = []
    for number, (begin, end) in enumerate(pairwise(edges), start=1):
        block = tuple(started.index[begin:end])
        name = f"fold {number} of {len(edges) - 1}"
        if not block:
            raise TrainingError(
                f"{name} has no batches to validate on", remedy="Give 'batchguard run' a longer --history."
            )
        cut = started.iloc[begin]
        train = known_before(batches[batches["batch_id"].isin(candidates)], log, cut, away_from=block, groups=groups)
        _both_classes(name, "training", train)
        _both_classes(name, "validation", failed.reindex(list(block)))
        folds.append(Fold(name, cut, tuple(train.index), block))
    return tuple(folds)


def most_folds(
    batches: pd.DataFrame,
    log: pd.DataFrame,
    candidates: pd.Index,
    *,
    groups: pd.DataFrame,
    at_most: int = 4,
    warm_up: float = 0.4,
) -> tuple[Fold, ...]:
    """As many folds as have both classes on both sides.

    Blocks of equal size where at least two of them do. Where outcomes cluster in time, the first cut moves to where both
    classes are known before it and come after it, and the blocks share the rarer class; one block may be all there is.

    Raises:
        TrainingError: No moment has both classes known before it and among the batches that started after it.
    """
    for n_folds in range(at_most, 1, -1):
        try:
            folds = forward_folds(batches, log, candidates, groups=groups, n_folds=n_folds, warm_up=warm_up)
        except TrainingError:
            continue  # fewer and longer blocks may hold both classes
        if all(_least_class(log, fold) >= LEAST_KNOWN for fold in folds):
            return folds
    return adapted_folds(batches, log, candidates, groups=groups, at_most=at_most, warm_up=warm_up)


def adapted_folds(
    batches: pd.DataFrame,
    log: pd.DataFrame,
    candidates: pd.Index,
    *,
    groups: pd.DataFrame,
    at_most: int = 4,
    warm_up: float = 0.4,
) -> tuple[Fold, ...]:
    """Folds for a history whose outcomes cluster in time; arguments of `forward_folds`, at most `at_most` blocks.

    The first cut has as many batches of each class as possible before it and after it, up to `ENOUGH_KNOWN`; among such
    cuts it is the one nearest to the warm-up. The blocks after it hold equal numbers of the rarer class.

    Raises:
        TrainingError: No moment has both classes known before it and among the batches that started after it.
    """
    started = in_order_of_start(batches, candidates)
    failed = labels_as_of(log)["failed"].reindex(started.index).to_numpy(bool)
    known = log.groupby("batch_id")["label_available_at"].min().reindex(started.index)
    for begin in _cuts(started, failed, known, warm_up):
        for n_folds in range(at_most, 0, -1):
            try:
                return _folds_between(_edges(failed, begin, n_folds), batches, log, candidates, groups)
            except TrainingError:
                continue  # fewer blocks, or another cut, may hold both classes
    raise TrainingError(
        f"{int(failed.sum())} of {len(failed)} training batches failed, started {_span(started[failed])}, the others "
        f"{_span(started[~failed])}: at no time were a failure and a success known and both still to come",
        expected="both outcomes known before a batch of each outcome starts, to predict later batches from earlier ones",
        remedy="Give 'batchguard run' a --history that reaches further back, or run again when more batches are decided.",
    )


def _cuts(started: pd.Series, failed: np.ndarray, known: pd.Series, warm_up: float) -> Iterator[int]:
    """Places at which validation may begin, the best first."""
    places = np.arange(1, len(started))
    counts = []
    for own in (failed, ~failed):
        at = np.sort(known[own].to_numpy("datetime64[us]"))
        counts.append(np.searchsorted(at, started.to_numpy("datetime64[us]")[places], side="left"))
        counts.append(own.sum() - np.cumsum(own)[places - 1])
    least = np.minimum(np.min(counts, axis=0, initial=ENOUGH_KNOWN), ENOUGH_KNOWN)
    away = np.abs(places - int(len(started) * warm_up))
    order = np.lexsort((away, -least))
    return iter(places[order][least[order] > 0][:_MOST_CUTS].tolist())


def _edges(failed: np.ndarray, begin: int, n_folds: int) -> np.ndarray:
    """Places where blocks begin and the last one ends, so that each holds as many of the rarer class.

    An edge lies in the middle between two batches of that class.
    """
    later = failed[begin:]
    rare = begin + np.flatnonzero(later == (later.mean() <= 0.5))
    parts = [part for part in np.array_split(rare, n_folds) if len(part)]
    middle = [(before[-1] + after[0]) // 2 + 1 for before, after in pairwise(parts)]
    return np.array([begin, *middle, len(failed)])


def _span(started: pd.Series) -> str:
    return f"{started.min():%Y-%m-%d} to {started.max():%Y-%m-%d}" if len(started) else "never"


def _least_class(log: pd.DataFrame, fold: Fold) -> int:
    """Batches of the rarer class that the training side knew at the cut."""
    then = labels_as_of(log[log["label_available_at"] < fold.cut])["failed"].reindex(list(fold.train))
    return int(min(then.sum(), (~then.astype(bool)).sum()))


def _both_classes(name: str, side: str, failed: pd.Series) -> None:
    n_failed = int(failed.sum())
    if 0 < n_failed < len(failed):
        return
    what = "no batches" if failed.empty else ("no failures" if n_failed == 0 else "nothing but failures")
    raise TrainingError(
        f"{name}: {what} among the {len(failed)} {side} batches",
        expected="both classes on both sides",
        remedy="Give 'batchguard run' a longer --history.",
    )
