"""What is known of a batch at its start: attributes, product, site, recipe version, scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from features.context.asof import Floats
from features.context.columns import Batches, ContextQuery
from features.context.vocabulary import Vocabulary
from features.dictionary import Feature, feature
from features.process import CATEGORY, ProcessDefinition

WINDOW = "before_start"
_IDENTITY = (  # column of `batches`, subject, label
    ("product_id", "product", "Product"),
    ("site_id", "site", "Site"),
    ("process_version", "process_version", "Recipe version"),
)


@dataclass(frozen=True)
class Attributes:
    """Attributes of all batches; they are known from the batch's start on.

    Columns: `<attribute>.before_start.value` (float64, or `str` for categories), `product`, `site`, `process_version` as
    categories and `scale_l`; NaN where absent or where the batch is not in the plant.

    Attributes:
        features: One entry per column.
        categories: Names by column.
        known: One row per batch and an empty one behind them, for batches that are not in the plant.
    """

    features: tuple[Feature, ...]
    categories: dict[int, tuple[str, ...]]
    known: Floats

    @classmethod
    def of(cls, batches: Batches, process: ProcessDefinition, vocabulary: Vocabulary) -> Attributes:
        """Read them from the table of batches."""
        entries = _entries(process, vocabulary)
        known = np.full((len(batches.index) + 1, len(entries)), np.nan)
        categories = {}
        for place, (column, entry) in enumerate(entries):
            if column not in batches.frame:
                values = np.full(len(batches.index), np.nan)
            elif entry.unit == CATEGORY:
                of, names = pd.factorize(batches.frame[column], sort=True)
                values, categories[place] = np.where(of < 0, np.nan, of), tuple(str(name) for name in names)
            else:
                values = batches.frame[column].to_numpy(np.float64, na_value=np.nan)
            if entry.unit == CATEGORY:
                categories.setdefault(place, ())
            known[:-1, place] = values
        return cls(tuple(entry for _, entry in entries), categories, known)

    def fill(self, query: ContextQuery, out: Floats) -> None:
        """Attributes are known from the batch's start on, at whatever moment."""
        out[:] = self.known[query.batch]


def _entries(process: ProcessDefinition, vocabulary: Vocabulary) -> list[tuple[str, Feature]]:
    made = []
    for name in vocabulary.attributes:
        known = process[name]
        entry = feature(name, WINDOW, "value", label=known.label, unit=known.unit, meaning=f"{known.label} at start")
        made.append((name, entry))
    for column, subject, label in _IDENTITY:
        entry = feature(subject, WINDOW, "value", label=label, unit=CATEGORY, meaning=f"{label} of the batch")
        made.append((column, entry))
    scale = feature("scale_l", WINDOW, "value", label="Scale", unit="L", meaning="working volume of the batch")
    return [*made, ("scale_l", scale)]
