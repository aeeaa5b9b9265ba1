"""What a person at the plant could see of each batch at each hour: the held value of every sensor and assay.

A sensor's value is the mean of the hour's readings that had come in by its end; an hour without one keeps the newest
reading before it (a historian with a deadband writes nothing while nothing changes). An assay's value is the newest
result available, by time of sampling. Readings that come in later than the hour they belong to do not change what
was seen, except results of assays, which mostly come later.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from features.process import ProcessDefinition
from pipelines.plant import Plant

_COLUMNS = ["batch_id", "parameter", "bin", "late", "valid_from", "valid_until", "n", "mean", "last"]


@dataclass(frozen=True)
class Signals:
    """Held values of all batches of a plant.

    Attributes:
        batch_ids: Batches, in order of start.
        parameters: Sensors, then assays, then (in `with_covariates`) what is known of attributes and lots.
        is_sensor: Which of them are sensors.
        hours: Hours since the start, shape (H,), ascending; column h is what was known at its end.
        values: float32, shape (batches, parameters, H); NaN: nothing known yet, or the batch has ended.
        end_h: Planned duration, or the hour of the disposition where that came first; shape (batches,).
        group: Columns `process_version`, `site_id`.
    """

    batch_ids: pd.Index
    parameters: tuple[str, ...]
    is_sensor: np.ndarray
    hours: np.ndarray
    values: np.ndarray
    end_h: np.ndarray
    group: pd.DataFrame

    def rows(self, batch_ids: pd.Index | tuple[str, ...]) -> np.ndarray:
        """Places of batches."""
        return self.batch_ids.get_indexer(pd.Index(batch_ids))

    def frame(self, rows: np.ndarray, score: np.ndarray) -> pd.DataFrame:
        """`batch_id, checkpoint_h, score` of an array of shape (len(rows), H), up to each batch's end; no NaN."""
        row, hour = np.nonzero((self.hours[None, :] <= self.end_h[rows][:, None]) & ~np.isnan(score))
        return pd.DataFrame(
            {
                "batch_id": self.batch_ids[rows[row]],
                "checkpoint_h": self.hours[hour].astype("float64"),
                "score": score[row, hour].astype("float64"),
            }
        )


@lru_cache(maxsize=2)
def signals(plant: Plant) -> Signals:
    """The held values of a plant, read from its stored summaries once."""
    batches = plant.table("batches").sort_values(["started_at", "batch_id"]).reset_index(drop=True)
    process = plant.process
    sensors, assays = ([p.name for p in process.features_of(kind)] for kind in ("sensor", "assay"))
    stored = plant.features.read("batch_summaries", columns=_COLUMNS)
    known = set(pc.unique(stored["parameter"].cast(pa.string())).to_pylist())
    parameters = tuple(name for name in (*sensors, *assays) if name in known)  # tests of lots are no series
    is_sensor = np.array([name in set(sensors) for name in parameters])
    bin_h = process.process.bin_h
    steps = int(process.process.planned_duration_h // bin_h)
    ids = pd.Index(batches["batch_id"], dtype="str")
    values = np.full((len(ids), len(parameters), steps), np.nan, np.float32)
    table = stored.unify_dictionaries().combine_chunks()
    codes = [_codes(table[n], index) for n, index in (("batch_id", ids), ("parameter", pd.Index(parameters)))]
    numbers = [table[n].to_numpy() for n in ("bin", "late", "valid_from", "valid_until", "n", "mean", "last")]
    _paint(*codes, *numbers, is_sensor, values)
    hours, end_h = np.arange(1, steps + 1) * bin_h, _end_h(batches, plant.table("dispositions"), process)
    return Signals(
        ids,
        parameters,
        is_sensor,
        hours,
        _until(end_h, hours, values),
        end_h,
        batches[["process_version", "site_id"]],
    )


@lru_cache(maxsize=2)
def with_covariates(plant: Plant) -> Signals:
    """The same with numbers known of donor, start and raw-material lots, as the snapshots have them, held hourly."""
    base = signals(plant)
    attributes = {p.name for p in plant.process.features_of("attribute") if not p.is_category}
    names = [
        name
        for name in plant.features.read("snapshot_features").schema.names
        if name.split(".")[0] in attributes or (name.split(".")[1:2] == ["lot"] and name.endswith(".value"))
    ]
    stored = plant.features.read("snapshot_features", columns=["batch_id", "checkpoint_h", *names]).to_pandas()
    values = np.full((len(base.batch_ids), len(names), len(base.hours)), np.nan, np.float32)
    row = base.rows(stored["batch_id"])
    step = np.searchsorted(base.hours, stored["checkpoint_h"].to_numpy())
    inside = step < len(base.hours)
    for place, name in enumerate(names):
        values[row[inside], place, step[inside]] = stored[name].to_numpy(dtype="float32", na_value=np.nan)[inside]
    _hold(values)
    _until(base.end_h, base.hours, values)
    return Signals(
        base.batch_ids,
        (*base.parameters, *names),
        np.r_[base.is_sensor, np.zeros(len(names), bool)],
        base.hours,
        np.concatenate([base.values, values], axis=1),
        base.end_h,
        base.group,
    )


def held(z: np.ndarray, data: Signals, rows: np.ndarray, *, hours: float, two_results: np.ndarray) -> np.ndarray:
    """The least of the last few values: above a limit for so long in a row (an on-delay).

    Args:
        z: Shape (len(rows), parameters, H).
        data: Says which parameters are sensors, and when a held result gave way to the next.
        rows: Places of the batches.
        hours: On-delay of sensors; before that there is no value (NaN).
        two_results: Parameters, shape (parameters,), of which the newest two results count, each at its own time;
            NaN with one result only. A single slip of the pen does not hold for two results.
    """
    steps = max(1, round(hours / (data.hours[1] - data.hours[0])))
    out = z.copy()
    for back in range(1, steps):
        out[:, data.is_sensor, back:] = np.minimum(out[:, data.is_sensor, back:], z[:, data.is_sensor, :-back])
    out[:, data.is_sensor, : steps - 1] = np.nan
    for place in np.flatnonzero(two_results & ~data.is_sensor):
        out[:, place] = _both_results(z[:, place], data.values[rows, place])
    return out


def comes_in_series(data: Signals, rows: np.ndarray) -> np.ndarray:
    """Sensors, and assays of which most of these batches have at least three results; shape (parameters,)."""
    values = data.values[rows]
    changes = (values[..., 1:] != values[..., :-1]) & ~np.isnan(values[..., :-1]) & ~np.isnan(values[..., 1:])
    return data.is_sensor | (np.median(changes.sum(axis=2), axis=0) >= 2)


def running_maximum(score: np.ndarray) -> np.ndarray:
    """Highest value so far along the last axis; NaN until there is one."""
    return np.fmax.accumulate(score, axis=-1)


def _end_h(batches: pd.DataFrame, dispositions: pd.DataFrame, process: ProcessDefinition) -> np.ndarray:
    decided = dispositions.groupby("batch_id")["decided_at"].min().reindex(batches["batch_id"])
    after = (decided.to_numpy() - batches["started_at"].to_numpy()) / np.timedelta64(1, "h")
    return np.fmin(after, process.process.planned_duration_h)


def _until(end_h: np.ndarray, hours: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Nothing is held past a batch's end."""
    np.moveaxis(values, 1, 2)[hours[None, :] > end_h[:, None]] = np.nan
    return values


def _codes(column: pa.ChunkedArray, index: pd.Index) -> np.ndarray:
    coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    chunk = coded.combine_chunks()
    chunk = chunk.chunk(0) if isinstance(chunk, pa.ChunkedArray) else chunk
    places = index.get_indexer(pd.Index(chunk.dictionary.to_pylist(), dtype="str")).astype(np.int32)
    return places[np.asarray(chunk.indices)]


@njit(cache=True)
def _paint(batch, parameter, bins, late, valid_from, valid_until, n, mean, last, is_sensor, values) -> None:
    """Write each summary where it is the newest that is known; they come in order of time within a series."""
    steps = values.shape[2]
    for i in range(len(batch)):
        b, p = batch[i], parameter[i]
        if b < 0 or p < 0 or n[i] == 0:
            continue
        if is_sensor[p]:
            if late[i] or valid_from[i] > bins[i]:
                continue
            k = max(bins[i], 1)
            if k > steps:
                continue
            values[b, p, k - 1] = mean[i]
            for later in range(k, steps):  # until the next reading overwrites it
                values[b, p, later] = last[i]
        else:
            first = max(bins[i], valid_from[i], 1)
            until = min(valid_until[i] - 1, steps)
            for k in range(first, until + 1):
                values[b, p, k - 1] = last[i]


@njit(cache=True)
def _both_results(z, values):
    """Lesser of z now and z just before the newest result came; both shape (batches, H)."""
    out = np.full_like(z, np.nan)
    for b in range(z.shape[0]):
        before = np.nan
        for k in range(1, z.shape[1]):
            if values[b, k] != values[b, k - 1] and not np.isnan(values[b, k - 1]):
                before = z[b, k - 1]
            if not (np.isnan(before) or np.isnan(z[b, k])):
                out[b, k] = min(before, z[b, k])
    return out


@njit(cache=True)
def _hold(values) -> None:
    for b in range(values.shape[0]):
        for p in range(values.shape[1]):
            for k in range(1, values.shape[2]):
                if np.isnan(values[b, p, k]):
                    values[b, p, k] = values[b, p, k - 1]
