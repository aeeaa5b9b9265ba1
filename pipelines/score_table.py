"""The stored table `risk_scores`: score records, and those that version 0.1.0 stored in a form of its own.

A table of version 1 of the record gets the columns of the present one with the next scores; its rows have none of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from models.scoring.parquet import from_table, to_table
from models.scoring.score import Score, scores_of
from pipelines.storage.log import open_table
from pipelines.storage.store import Store

TABLE = "risk_scores"
FORMER = "risk_scores_0_1_0"  # what version 0.1.0 stored, as it stands
_SAME = ("reasons", "attributes", "changes", "what_if", "sensors", "missing", "stale")  # JSON of the same fields
_TEXTS = frozenset({*_SAME, "modes", "domain"})
KEY = ("batch_id", "as_of", "model.sha256", "model.release_id", "data_sha256")


def append_scores(store: Store, scores: Sequence[Score]) -> None:
    """Store scores whose key is not stored yet; a table of version 0.1.0 is set aside first, as it stands."""
    if _is_former(store):
        (store.root / TABLE).rename(store.root / FORMER)
    if scores:
        store.append(TABLE, None, to_table(scores), key=KEY)


def read_scores(store: Store, *, as_of: pd.Timestamp | None = None) -> list[Score]:
    """Stored scores, in the order in which they were stored: all, or those of one moment.

    Raises:
        StorageError: A file does not have the bytes that were written.
    """
    wanted = None if as_of is None else pc.field("as_of") == pa.scalar(as_of, pa.timestamp("us", tz="UTC"))
    former = TABLE if _is_former(store) else FORMER
    scores = (
        scores_of([_present(row) for row in store.read(former, filters=wanted).to_pylist()])
        if store.exists(former)
        else []
    )
    if former != TABLE and store.exists(TABLE):
        scores += from_table(store.read(TABLE, filters=wanted))
    return scores


def _is_former(store: Store) -> bool:
    if not store.exists(TABLE):
        return False
    return "model_sha256" in pa.schema(open_table(store.root / TABLE).schema()).names


def _present(row: Mapping[str, object]) -> dict[str, object]:
    """A row of version 0.1.0, whose nested values are JSON texts, as the fields of a score."""
    nested = {name: json.loads(value) for name, value in row.items() if name in _TEXTS and isinstance(value, str)}
    modes, domain = nested["modes"], nested["domain"]
    return {
        "version": 1,
        "batch_id": row["batch_id"],
        "as_of": row["as_of"],
        "elapsed_h": row["elapsed_h"],
        "failure_probability": row["failure_probability"],
        "base_probability": row["base_probability"],
        "interval": [row["probability_low"], row["probability_high"]],
        "decision": row["decision"],
        "cause": row["cause"] or None,
        "possible": [],  # not recorded
        "modes": modes["probabilities"],
        "likeliest_mode": {name: value for name, value in modes.items() if name != "probabilities"},
        "domain": domain.get("findings", []),
        "domain_ratios": domain.get("ratios", {}),
        **{name: nested[name] for name in _SAME},
        "data_sha256": row["data_version"],
        "process_version": row["process_version"],
        "model": {
            "name": row["model_name"], "version": row["model_version"], "sha256": row["model_sha256"],
            "review": row["review"], "process_id": row["process_id"], "process_sha256": "", "features_sha256": "",
        },
    }  # fmt: skip
