"""A process with controllable parameters of all kinds and snapshots of it, for the tests of what-ifs."""

from itertools import pairwise

import numpy as np
import pandas as pd
from hypothesis import strategies as st

from features.dictionary import Feature
from features.process import ProcessDefinition

PROCESS = ProcessDefinition.model_validate({
    "process": {"id": "soup", "name": "Soup", "version": "1", "planned_duration_h": 96, "every_h": 12, "windows_h": [6, 24]},
    "parameter": [
        {"name": "ph", "label": "pH", "unit": "1", "kind": "sensor", "normal": [7.0, 7.4], "controllable": True},
        {"name": "flow", "label": "Flow", "unit": "L/h", "kind": "sensor", "normal": [0, 20], "controllable": True},
        {"name": "sugar", "label": "Sugar", "unit": "g/L", "kind": "assay", "normal": [3, 25], "controllable": True},
        {"name": "dose_once", "label": "Dose", "unit": "mL", "kind": "assay", "normal": [4, 8], "controllable": True},
        {"name": "salt", "label": "Salt", "unit": "g/L", "kind": "assay", "normal": [1, None], "controllable": True},
        {"name": "crew", "label": "Crew", "unit": "1", "kind": "attribute", "normal": [1, 3], "controllable": True},
        {"name": "oxygen", "label": "Oxygen", "unit": "%", "kind": "sensor", "normal": [30, 80]},
    ],
})  # fmt: skip
SENSOR = ("mean", "sd", "min", "max", "slope", "below_normal_share", "above_normal_share")
LENGTHS = {"last_6h": 6.0, "last_24h": 24.0, "since_start": np.inf}


def dictionary() -> tuple[Feature, ...]:
    out = []
    for p in PROCESS.parameter:
        if p.kind == "sensor":
            names = [(w, s) for w in LENGTHS for s in SENSOR] + [("since_start", "last"), ("since_start", "age_h")]
        elif p.kind == "assay":
            names = [("since_start", s) for s in ("last", "delta", "slope", "age_h")]
        else:
            names = [("before_start", "value")]
        out += [Feature(f"{p.name}.{w}.{s}", p.name, p.label, p.unit, w, s, f"{s} of {p.label}") for w, s in names]
    return tuple(out)


FEATURES = dictionary()


def statistics(times: np.ndarray, values: np.ndarray, low: float, high: float) -> dict[str, float]:
    spread = times - times.mean()
    return {
        "mean": values.mean(),
        "sd": values.std(ddof=1) if len(values) > 1 else np.nan,
        "min": values.min(),
        "max": values.max(),
        "slope": (spread * values).sum() / (spread**2).sum() if len(values) > 1 else np.nan,
        "below_normal_share": (values < low).mean(),
        "above_normal_share": (values > high).mean(),
    }


def snapshot(elapsed_h: float, **series: list[float]) -> pd.DataFrame:
    """One row from the readings of each parameter, evenly spaced up to now; the attribute `crew` has one."""
    row: dict[str, object] = {"batch_id": "B1", "checkpoint_h": elapsed_h}
    row["started_at"] = pd.Timestamp("2026-01-01", tz="UTC")
    row["as_of"] = pd.Timestamp("2026-01-01", tz="UTC") + pd.Timedelta(hours=elapsed_h)
    row |= {f.name: np.nan for f in FEATURES}
    for name, values in series.items():
        parameter, readings = PROCESS[name], np.asarray(values, float)
        if parameter.kind == "attribute":
            row[f"{name}.before_start.value"] = readings[-1]
            continue
        times = np.linspace(0, elapsed_h, len(readings) + 1)[1:]
        row |= {f"{name}.since_start.last": readings[-1], f"{name}.since_start.age_h": 0.0}
        low, high = (np.nan if limit is None else limit for limit in parameter.normal)
        if parameter.kind == "assay":
            row[f"{name}.since_start.delta"] = readings[-1] - readings[0]
            row[f"{name}.since_start.slope"] = statistics(times, readings, low, high)["slope"]
            continue
        for window, length in LENGTHS.items():
            within = times > elapsed_h - length
            for statistic, value in statistics(times[within], readings[within], low, high).items():
                row[f"{name}.{window}.{statistic}"] = value
    return pd.DataFrame([row])


def levels(low: float, high: float, n: int = 12) -> st.SearchStrategy[list[float]]:
    return st.lists(st.floats(low, high), min_size=n, max_size=n)


def is_possible(row: pd.Series, parameter: str) -> bool:
    """Whether numbers of one parameter can stand beside each other at all, to rounding."""
    ends, eps = [], 1e-9
    newest = row[f"{parameter}.since_start.last"]
    for window in LENGTHS:
        value = {s: row[f"{parameter}.{window}.{s}"] for s in SENSOR}
        if np.isnan(value["mean"]):
            continue
        ends.append((value["min"], value["max"]))
        if not value["min"] - eps <= value["mean"] <= value["max"] + eps:
            return False
        if not value["min"] <= newest <= value["max"]:
            return False
        if not (0 <= value["below_normal_share"] <= 1 and 0 <= value["above_normal_share"] <= 1):
            return False
        if (value["min"] < PROCESS[parameter].normal[0]) != (value["below_normal_share"] > 0):
            return False
        if (value["max"] > PROCESS[parameter].normal[1]) != (value["above_normal_share"] > 0):
            return False
    # a longer window holds the shorter one
    return all(b[0] <= a[0] + eps and a[1] <= b[1] + eps for a, b in pairwise(ends))
