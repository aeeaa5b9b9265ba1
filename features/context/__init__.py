"""The context of a batch as of a time: everything of a snapshot that is not a series of the batch itself."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from features.context.attributes import attributes
from features.context.columns import table
from features.context.environment import environment
from features.context.events import events
from features.context.experience import experience, failure_history
from features.context.lots import lots
from features.context.vocabulary import Vocabulary, vocabulary
from features.dictionary import Block
from features.process import ProcessDefinition

__all__ = ["Vocabulary", "context", "vocabulary"]


def context(
    rows: pd.DataFrame,
    history: Mapping[str, pd.DataFrame],
    labels: pd.DataFrame,
    process: ProcessDefinition,
    words: Vocabulary | None = None,
) -> list[Block]:
    """All context of some snapshots; each cell uses only what was available at `as_of` of its row.

    Args:
        rows: Unique index; `batch_id`, `checkpoint_h`, `started_at`, `as_of` (UTC microseconds).
        history: Run-history tables by name, of the whole plant: other batches are a batch's context. `events`,
            `environment` may be cut in time where nothing older matters; an absent table is empty.
        labels: `features.contracts.LABELS`, all revisions.
        process: The process definition.
        words: Vocabulary of the whole history; read from `history` where absent. Months computed apart need the same.

    Returns:
        Blocks with the index of `rows`, for `features.dictionary.join`. NaN where nothing is known.
    """
    words = vocabulary(history, process) if words is None else words
    batches, happened = table(history, "batches"), table(history, "events")
    materials, tests = table(history, "materials"), table(history, "lot_results")
    return [
        attributes(rows, batches, process, words),
        lots(rows, batches, materials, tests, labels, process, words),
        failure_history(rows, batches, labels),
        events(rows, happened, process, words),
        environment(rows, batches, table(history, "environment"), words),
        experience(rows, batches, happened, labels, process),
    ]
