"""The PyPI package process-improve: batchwise-unfolded PCA of good batches with its online monitor (T2 and SPE).

The package runs in an environment of its own. Its model is fitted on the newest good training batches (complete, held
values every six hours of sensors and of assays measured again and again, slips of the pen clipped as in `mspc`);
its trimmed-score-regression estimate at each step sees only what had been observed by then. The scores are T2 and
instantaneous SPE over the package's own 99 % limits at that step.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pandas as pd

from benchmarks.baselines.environments import python_of, run_script, workspace
from benchmarks.baselines.reference import fit_reference
from benchmarks.baselines.signals import Signals, comes_in_series, signals
from pipelines.plant import Plant

EVERY_H = 6.0
REFERENCE_BATCHES = 300
COMPONENTS = 5
WORKERS = 2
_CLIP = 5.0


def scores_t2(plant: Plant, train: pd.Series, test: tuple[str, ...]) -> pd.DataFrame:
    """T2 over its limit every six hours: `batch_id, checkpoint_h, score`."""
    return _scores(plant, train, test, "t2")


def scores_spe(plant: Plant, train: pd.Series, test: tuple[str, ...]) -> pd.DataFrame:
    """Instantaneous SPE over its limit every six hours: `batch_id, checkpoint_h, score`."""
    return _scores(plant, train, test, "spe")


def _scores(plant: Plant, train: pd.Series, test: tuple[str, ...], name: str) -> pd.DataFrame:
    found = _monitored(plant, tuple(train.index[~train]), test).rename(columns={name: "score"})
    data = signals(plant)
    in_progress = found["checkpoint_h"] <= pd.Series(data.end_h, data.batch_ids).reindex(found["batch_id"]).to_numpy()
    return found.loc[in_progress & found["score"].notna(), ["batch_id", "checkpoint_h", "score"]].reset_index(drop=True)


@lru_cache(maxsize=2)
def _monitored(plant: Plant, good: tuple[str, ...], test: tuple[str, ...]) -> pd.DataFrame:
    data, python = signals(plant), python_of(plant, "process_improve")
    newest, rows = data.rows(good)[-REFERENCE_BATCHES:], data.rows(test)  # `train` is in order of start
    used = comes_in_series(data, newest)
    with workspace(plant) as folder:
        _complete(data, data.rows(good), newest, used).to_parquet(folder / "reference.parquet")
        arguments = []
        for part in range(WORKERS):
            source, out = folder / f"wanted{part}.parquet", folder / f"monitored{part}.parquet"
            _complete(data, data.rows(good), rows[part::WORKERS], used).to_parquet(source)
            arguments.append([str(folder / "reference.parquet"), str(source), str(COMPONENTS), str(out)])
        run_script(python, "process_improve", arguments)
        found = pd.concat([pd.read_parquet(given[3]) for given in arguments], ignore_index=True)
    return found.assign(checkpoint_h=(found["step"] + 1) * EVERY_H)


def _complete(data: Signals, good: np.ndarray, rows: np.ndarray, used: np.ndarray) -> pd.DataFrame:
    """`batch_id`, `step` and a column per parameter, without gaps: what is not known is as usual."""
    reference = fit_reference(data, good, ("process_version",))
    places = np.flatnonzero(np.isclose(data.hours % EVERY_H, 0))
    z = np.clip(np.nan_to_num(reference.z(data, rows)[:, used][:, :, places], nan=0.0), -_CLIP, _CLIP)
    names = [name for name, wanted in zip(data.parameters, used, strict=True) if wanted]
    frame = pd.DataFrame(np.moveaxis(z, 1, 2).reshape(-1, len(names)).astype("float64"), columns=names)
    return frame.assign(
        batch_id=np.repeat(data.batch_ids[rows].to_numpy(), len(places)),
        step=np.tile(np.arange(len(places)), len(rows)),
    )
