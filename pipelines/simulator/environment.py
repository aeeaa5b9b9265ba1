"""Environmental monitoring of the suites: particle counts per session and plates that are read days later."""

from __future__ import annotations

import numpy as np

from pipelines.simulator.plant import SUITES, Site
from pipelines.simulator.settings import Stream, stream

GRADES = ("A", "B", "C", "D")
VIABLE_MEAN = {"A": 0.002, "B": 0.3, "C": 6.0, "D": 25.0}  # CFU/m3, assumed
PARTICLES = {"A": 250.0, "B": 9000.0, "C": 60000.0, "D": 400000.0}  # >= 0.5 um/m3 in operation, assumed
DISPERSION = 0.8
EXCURSION_FACTOR = {"A": 400.0, "B": 25.0, "C": 6.0, "D": 2.0}


def environment_rows(seed: int, site: Site, first: float, until: float) -> dict[str, np.ndarray]:
    """Daily viable counts and 12-hourly particle counts of one site's suites; times in hours since 1970."""
    parts = [_area(seed, site, number, grade, first, until) for number in range(len(SUITES)) for grade in GRADES]
    return {key: np.concatenate([p[key] for p in parts]) for key in parts[0]}


def _area(seed: int, site: Site, number: int, grade: str, first: float, until: float) -> dict[str, np.ndarray]:
    rng = stream(seed, Stream.SUITE, site.index, number, 1 + GRADES.index(grade))
    suite = SUITES[number]
    days = np.arange(np.floor(first / 24.0) * 24.0, until, 24.0)
    plates = days + 10.0 + 2.0 * rng.random(len(days))
    n_factor = _level(site, suite, grade, plates)
    mean = VIABLE_MEAN[grade] * site.em_level * n_factor
    viable = rng.negative_binomial(DISPERSION, DISPERSION / (DISPERSION + mean)).astype(float)
    read = plates + 24.0 * (3.0 + 4.0 * rng.random(len(days)))
    sessions = np.sort(np.concatenate([days + 8.5, days + 15.5])) + 0.5 * rng.random(2 * len(days))
    level = _level(site, suite, grade, sessions)
    particles = np.round(PARTICLES[grade] * site.em_level * np.sqrt(level) * np.exp(0.5 * rng.standard_normal(len(sessions))))
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
