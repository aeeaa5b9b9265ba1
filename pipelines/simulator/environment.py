"""Environmental monitoring of the suites: particle counts per session and plates that are read days later."""

from __future__ import annotations

import numpy as np

from pipelines.simulator.lots import MONTH_H
from pipelines.simulator.settings import Stream, stream
from pipelines.simulator.sites import SUITES, Site

GRADES = ("A", "B", "C", "D")
VIABLE_MEAN = {"A": 0.002, "B": 0.3, "C": 6.0, "D": 25.0}  # CFU/m3, assumed
PARTICLES = {"A": 250.0, "B": 9000.0, "C": 60000.0, "D": 400000.0}  # >= 0.5 um/m3 in operation, assumed
DISPERSION = 0.8
EXCURSION_FACTOR = {"A": 400.0, "B": 25.0, "C": 6.0, "D": 2.0}


def environment_rows(seed: int, site: Site, first: float, until: float) -> dict[str, np.ndarray]:
    """Daily viable counts and 12-hourly particle counts of one site's suites; times in hours since 1970.

    Each month has its own random stream, so that a longer history begins like a shorter one.
    """
    months = range(int(first // MONTH_H), int(until // MONTH_H) + 1)
    parts = [
        _area(stream(seed, Stream.SUITE, site.index, number, 1 + g, month), site, number, grade, month)
        for number in range(len(SUITES)) for g, grade in enumerate(GRADES) for month in months
    ]  # fmt: skip
    rows = {key: np.concatenate([p[key] for p in parts]) for key in parts[0]}
    inside = (rows["observed"] >= first) & (rows["observed"] < until)
    return {key: values[inside] for key, values in rows.items()}


def _area(rng: np.random.Generator, site: Site, number: int, grade: str, month: int) -> dict[str, np.ndarray]:
    suite = SUITES[number]
    days = 24.0 * np.arange(np.ceil(month * MONTH_H / 24.0), np.ceil((month + 1) * MONTH_H / 24.0))
    plates = days + 10.0 + 2.0 * rng.random(len(days))
    mean = VIABLE_MEAN[grade] * site.em_level * _level(site, suite, grade, plates)
    viable = rng.negative_binomial(DISPERSION, DISPERSION / (DISPERSION + mean)).astype(float)
    read = plates + 24.0 * (3.0 + 4.0 * rng.random(len(days)))
    sessions = np.sort(np.concatenate([days + 8.5, days + 15.5])) + 0.5 * rng.random(2 * len(days))
    level = PARTICLES[grade] * site.em_level * np.sqrt(_level(site, suite, grade, sessions))
    particles = np.round(level * np.exp(0.5 * rng.standard_normal(len(sessions))))
    n, m = len(plates), len(sessions)
    return {
        "area_id": np.array([f"{suite}-{grade}"] * (n + m)),
        "metric": np.array(["viable_air_cfu_m3"] * n + ["particles_0_5um_m3"] * m),
        "observed": np.concatenate([plates, sessions]),
        "available": np.concatenate([read, sessions + 0.1]),
        "value": np.concatenate([viable, particles]),
        "grade": np.array([grade] * (n + m)),
    }


def _level(site: Site, suite: str, grade: str, at: np.ndarray) -> np.ndarray:
    """Factor on the baseline: raised around the excursions that the monitoring catches."""
    rows = site.excursions[suite]
    seen = rows[rows[:, 2] > 0]
    if not len(seen):
        return np.ones(len(at))
    inside = ((seen[:, :1] - 6.0 <= at) & (seen[:, 1:2] + 12.0 >= at)).any(axis=0)
    return np.where(inside, EXCURSION_FACTOR[grade], 1.0)
