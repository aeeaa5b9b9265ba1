"""A predictor with all that its scorer needs, as one folder, and its scores as one table.

This is what a registered model holds and answers. It calls the scorer of bulk scoring and of the endpoint, so a client of
MLflow reads the numbers that an MES reads.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from features.canonical import canonical
from features.dictionary import Feature
from features.digests import COUNTED_TABLES, features_digest, process_digest
from features.errors import ContractError
from features.process import ProcessDefinition
from models.predictor import Predictor
from models.scoring.rows import FeatureRows
from models.scoring.score import Model
from models.scoring.scorer import Scorer
from models.scoring.snapshots import SnapshotScorer

PREDICTOR, PROCESS, FEATURES = "predictor", "process.json", "snapshot_features.json"
KEYS = ("batch_id", "checkpoint_h", "as_of")
COLUMNS = (
    "batch_id", "as_of", "failure_probability", "low", "high", "call", "call_cause", "support", "causes", "decision",
)  # fmt: skip
NUMBERS = ("failure_probability", "low", "high")
_ROWS_AT_ONCE = 4096  # as in `models.scoring.assessment`


def save_scorer(folder: Path, predictor: Predictor, process: ProcessDefinition, features: tuple[Feature, ...]) -> None:
    """Write a predictor, its process definition and the dictionary of the snapshots' columns.

    Args:
        folder: Made where it is missing.
        predictor: Frozen.
        process: The process that the predictor was made for; only the tables that change a score are kept.
        features: Dictionary of all columns of the snapshots.
    """
    predictor.save(folder / PREDICTOR)
    (folder / PROCESS).write_bytes(canonical(process.model_dump(mode="json", include=set(COUNTED_TABLES))))
    (folder / FEATURES).write_bytes(canonical([asdict(feature) for feature in features]))


def load_scorer(folder: Path, *, sha256: str | None = None) -> SnapshotScorer:
    """Read back what `save_scorer` wrote.

    Args:
        folder: The folder.
        sha256: The digest that the predictor must have; None accepts any that is whole.

    Raises:
        StorageError: A file of the predictor is missing or was changed.
    """
    predictor = Predictor.load(folder / PREDICTOR, sha256=sha256)
    process = ProcessDefinition.model_validate_json((folder / PROCESS).read_bytes())
    features = tuple(Feature(**row) for row in json.loads((folder / FEATURES).read_bytes()))
    model = Model(
        process.id, "", predictor.sha256, "unreviewed", process.id, process_digest(process), features_digest()
    )
    return SnapshotScorer(predictor, process, model, features)


def categories_of(scorer: SnapshotScorer, snapshots: pd.DataFrame) -> frozenset[str]:
    """Names of the columns of categories: those of the predictor, and those that hold text in a frame."""
    held = [feature.name for feature in scorer.features if _is_text(snapshots, feature.name)]
    return frozenset([*scorer.predictor.encoder.categories, *held])


def score_table(scorer: SnapshotScorer, snapshots: pd.DataFrame) -> pd.DataFrame:
    """Scores of snapshots as one table, in the order of the rows.

    Args:
        scorer: From `load_scorer`.
        snapshots: `batch_id`, `checkpoint_h` (hours since the start), `as_of` (a time or ISO text; without an offset it is
            UTC), and any of the columns of `features.contracts.SNAPSHOT`: one that is absent is not known.

    Returns:
        `COLUMNS`: `as_of` as text in UTC with microseconds, `low` and `high` of the 90 % interval of the probability,
        `call` and `support` with their causes separated by "; ", empty where there is none.

    Raises:
        ContractError: An id is missing, a time is no time, or a value is infinite.
    """
    frame = _typed(scorer, snapshots)
    blocks = [
        _scored(scorer, frame.iloc[start : start + _ROWS_AT_ONCE]) for start in range(0, len(frame), _ROWS_AT_ONCE)
    ]
    made = [row for block in blocks for row in block]
    return pd.DataFrame(made, columns=list(COLUMNS)).astype(dict.fromkeys(NUMBERS, float))


def _scored(scorer: SnapshotScorer, frame: pd.DataFrame) -> list[tuple]:
    rows = FeatureRows.of_frame(frame, scorer.features)
    made = Scorer(scorer.predictor, scorer.process, scorer.model, rows.columns, scorer.top)
    return [
        (
            score.batch_id, score.to_json()["as_of"], score.failure_probability, *score.interval, score.call,
            score.call_cause or "", score.support, "; ".join(score.support_causes or ()), score.decision,
        )
        for score in made.score(rows, data_sha256="", reasons=False)
    ]  # fmt: skip


def _typed(scorer: SnapshotScorer, snapshots: pd.DataFrame) -> pd.DataFrame:
    """The snapshots with every column of the dictionary, each of its type."""
    absent = [name for name in KEYS if name not in snapshots]
    if absent:
        raise ContractError(f"snapshots lack the column {absent[0]!r}", expected=", ".join(KEYS))
    if snapshots["batch_id"].isna().any():
        raise ContractError("a snapshot has no batch_id", expected="one in every row")
    text = categories_of(scorer, snapshots)
    made: dict[str, object] = {
        "batch_id": snapshots["batch_id"].astype("str"),
        "checkpoint_h": snapshots["checkpoint_h"].astype("float64"),
        "as_of": _times(snapshots["as_of"]),
    }
    unknown = pd.Series(np.nan, index=snapshots.index)
    for name in (feature.name for feature in scorer.features):
        made[name] = snapshots.get(name, unknown).astype("str" if name in text else "float64")
    return pd.DataFrame(made, index=snapshots.index)


def _times(values: pd.Series) -> pd.Series:
    try:
        return pd.to_datetime(values, utc=True, format="ISO8601").astype("datetime64[us, UTC]")
    except (ValueError, TypeError) as error:
        first = str(error).splitlines()[0][:120]
        raise ContractError(f"as_of is no time: {first}", expected="ISO 8601, for example 2026-01-31T07:00Z") from None


def _is_text(snapshots: pd.DataFrame, name: str) -> bool:
    """Whether a column holds names; one without any value holds none."""
    if name not in snapshots:
        return False
    known = snapshots[name].dropna()
    return bool(len(known)) and isinstance(known.iloc[0], str)
