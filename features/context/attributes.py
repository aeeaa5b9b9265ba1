"""What is known of a batch at its start: attributes, product, site, recipe version, scale."""

from __future__ import annotations

import pandas as pd

from features.context.columns import Cell, block, feature
from features.context.vocabulary import Vocabulary
from features.dictionary import Block
from features.process import CATEGORY, ProcessDefinition

WINDOW = "before_start"
_IDENTITY = (  # column of `batches`, subject, label
    ("product_id", "product", "Product"),
    ("site_id", "site", "Site"),
    ("process_version", "process_version", "Recipe version"),
)


def attributes(rows: pd.DataFrame, batches: pd.DataFrame, process: ProcessDefinition, vocabulary: Vocabulary) -> Block:
    """Attributes as they stand in `batches`; they are known from the batch's start on.

    Returns:
        `<attribute>.before_start.value` (float64, or `str` for categories), `product`, `site`, `process_version` as
        categories and `scale_l`; NaN where absent or where the batch is not in `batches`.
    """
    own = batches.drop_duplicates("batch_id").set_index("batch_id").reindex(rows["batch_id"])
    cells: list[Cell] = []
    for name in vocabulary.attributes:
        known = process[name]
        entry = feature(name, WINDOW, "value", label=known.label, unit=known.unit, meaning=f"{known.label} at start")
        cells.append((entry, own[name]))
    for column, subject, label in _IDENTITY:
        entry = feature(subject, WINDOW, "value", label=label, unit=CATEGORY, meaning=f"{label} of the batch")
        cells.append((entry, own[column]))
    scale = feature("scale_l", WINDOW, "value", label="Scale", unit="L", meaning="working volume of the batch")
    return block(rows, [*cells, (scale, own["scale_l"])])
