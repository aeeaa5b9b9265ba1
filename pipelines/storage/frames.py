"""Frames to Arrow tables and back, without bending a value."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa


def from_pandas(frame: pd.DataFrame, schema: pa.Schema) -> pa.Table:
    """The frame's columns of the schema, in its order and types; missing values are null."""
    return pa.table([_column(frame[field.name], field.type) for field in schema], schema=schema)


def _column(column: pd.Series, kind: pa.DataType) -> pa.Array | pa.ChunkedArray:
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        naive = pa.array(column.dt.tz_convert(None).to_numpy())
        return naive.cast(pa.timestamp(naive.type.unit, tz="UTC")).cast(kind)
    return pa.array(column, from_pandas=True).cast(kind)
