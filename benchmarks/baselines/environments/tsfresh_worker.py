"""tsfresh's minimal features of every series up to each checkpoint; runs in its own environment.

Arguments: Parquet of held values (`batch_id`, `hour`, one column per parameter), checkpoints joined by commas, output.
"""

import sys
import warnings

import pandas as pd
from tsfresh.feature_extraction import MinimalFCParameters, extract_features  # ty: ignore[import-not-found] - of its own environment

CHUNK = 250  # batches at a time: tsfresh copies what it is given several times


def features_at(values: pd.DataFrame, checkpoint_h: float) -> pd.DataFrame:
    """One row per batch that reached the checkpoint; a series without a value yet has none."""
    ended = values.groupby("batch_id")["hour"].transform("max") < checkpoint_h
    seen = values[~ended & (values["hour"] <= checkpoint_h)]
    series = {
        name: seen.loc[seen[name].notna(), ["batch_id", name]].rename(columns={name: "value"})
        for name in values.columns.drop(["batch_id", "hour"])
    }
    known = {name: frame for name, frame in series.items() if len(frame)}
    if not known:
        return pd.DataFrame()
    found = extract_features(
        known,
        column_id="batch_id",
        column_value="value",
        default_fc_parameters=MinimalFCParameters(),
        n_jobs=0,
        disable_progressbar=True,
    )
    return found.rename_axis("batch_id").reset_index().assign(checkpoint_h=checkpoint_h)


def main() -> None:
    source, checkpoints, out = sys.argv[1:]
    warnings.simplefilter("ignore")
    values = pd.read_parquet(source)
    ids = values["batch_id"].unique()
    parts = []
    for at in range(0, len(ids), CHUNK):
        chunk = values[values["batch_id"].isin(ids[at : at + CHUNK])]
        parts += [features_at(chunk, float(hour)) for hour in checkpoints.split(",")]
    pd.concat(parts, ignore_index=True).to_parquet(out)


if __name__ == "__main__":
    main()
