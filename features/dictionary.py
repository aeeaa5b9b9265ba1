"""The feature dictionary: what each column of a snapshot is, in the words of reasons."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields

import pandas as pd


@dataclass(frozen=True)
class Feature:
    """One column of a snapshot.

    Attributes:
        name: `subject.window.statistic`, for example `glucose_mm.last_24h.slope`.
        parameter: What contributions are summed over: a parameter of the process definition, or a subject such as
            `lot.vector`, `site` or `deviations`.
        label: The parameter in the process's words.
        unit: Unit of the feature's value, `""` for a pure number.
        window: `since_start`, `last_24h`, `before_start`, `now`, ...
        statistic: `mean`, `slope`, `failure_excess`, ...
        meaning: One phrase, for example "slope of glucose over the last 24 h".
    """

    name: str
    parameter: str
    label: str
    unit: str
    window: str
    statistic: str
    meaning: str


def feature(subject: str, window: str, statistic: str, *, label: str, meaning: str, unit: str = "") -> Feature:
    """One entry of the dictionary, named `subject.window.statistic`."""
    return Feature(f"{subject}.{window}.{statistic}", subject, label, unit, window, statistic, meaning)


@dataclass(frozen=True)
class Block:
    """Feature columns made together.

    Attributes:
        values: Index of the rows they were made for; float64 columns, NaN where not known, or `str` columns of categories.
        features: One entry per column, in the columns' order.
    """

    values: pd.DataFrame
    features: tuple[Feature, ...]


def join(rows: pd.DataFrame, blocks: Sequence[Block]) -> tuple[pd.DataFrame, tuple[Feature, ...]]:
    """Put blocks of features beside the rows they belong to.

    Raises:
        ValueError: Two blocks make the same column, or a block has other rows.
    """
    features = tuple(feature for block in blocks for feature in block.features)
    names = [feature.name for feature in features]
    twice = {name for name in names if names.count(name) > 1} if len(set(names)) < len(names) else set()
    if twice:
        raise ValueError(f"feature {min(twice)!r} is made twice")
    if any(not block.values.index.equals(rows.index) for block in blocks):
        raise ValueError("a block of features has other rows")
    return pd.concat([rows, *(block.values for block in blocks)], axis=1), features


def to_frame(features: Iterable[Feature]) -> pd.DataFrame:
    """The dictionary as a frame, one row per feature."""
    return pd.DataFrame([asdict(f) for f in features], columns=[f.name for f in fields(Feature)])


def from_frame(frame: pd.DataFrame) -> tuple[Feature, ...]:
    """The dictionary back from a frame made by `to_frame`."""
    return tuple(Feature(**{str(k): v for k, v in row.items()}) for row in frame.to_dict("records"))
