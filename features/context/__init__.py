"""The context of a batch as of a time: everything of a snapshot that is not a series of the batch itself."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from features.context.attributes import Attributes
from features.context.columns import Batches, ContextQuery, Family, block, table
from features.context.environment import Environment
from features.context.events import Events
from features.context.experience import Experience, FailureHistory
from features.context.lots import Lots
from features.context.vocabulary import Vocabulary, vocabulary
from features.dictionary import Block
from features.process import ProcessDefinition

__all__ = ["Batches", "ContextQuery", "Family", "Vocabulary", "context", "prepare", "vocabulary"]


def prepare(
    batches: Batches,
    history: Mapping[str, pd.DataFrame],
    labels: pd.DataFrame,
    process: ProcessDefinition,
    names: Vocabulary,
) -> tuple[Family, ...]:
    """All families of the context, in the order of their columns; each answers for any batch and moment.

    Args:
        batches: All batches of the plant: other batches are a batch's context.
        history: Run-history tables by name, of the whole plant; an absent table is empty.
        labels: `features.contracts.LABELS`, all revisions.
        process: The process definition.
        names: Names for which there are columns.
    """
    happened, materials, tests = table(history, "events"), table(history, "materials"), table(history, "lot_results")
    return (
        Attributes.of(batches, process, names),
        Lots.of(batches, materials, tests, labels, process, names),
        FailureHistory.of(batches, labels),
        Events.of(happened, batches.index, process, names),
        Environment.of(batches, table(history, "environment"), names),
        Experience.of(batches, happened, labels, process),
    )


def context(
    rows: pd.DataFrame,
    history: Mapping[str, pd.DataFrame],
    labels: pd.DataFrame,
    process: ProcessDefinition,
    names: Vocabulary | None = None,
) -> list[Block]:
    """All context of some snapshots; each cell uses only what was available at `as_of` of its row.

    Args:
        rows: Unique index; `batch_id`, `checkpoint_h`, `started_at`, `as_of` (UTC microseconds).
        history: Run-history tables by name, of the whole plant: other batches are a batch's context. `events`,
            `environment` may be cut in time where nothing older matters; an absent table is empty.
        labels: `features.contracts.LABELS`, all revisions.
        process: The process definition.
        names: Vocabulary of the whole history; read from `history` where absent. Months computed apart need the same.

    Returns:
        Blocks with the index of `rows`, for `features.dictionary.join`. NaN where nothing is known.
    """
    names = vocabulary(history, process) if names is None else names
    batches = Batches.of(table(history, "batches"))
    return [block(family, rows, batches.index) for family in prepare(batches, history, labels, process, names)]
