"""Natural variation between batches: the donor's cells and the hand of the day, before any fault."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipelines.simulator import kinetics


@dataclass(frozen=True)
class Biology:
    """What decides a batch's course besides its faults: latent, never recorded."""

    fit: float
    mu: float
    t_on: float
    t_off: float
    moi: float
    car_noise: float
    recovery: float
    shock_noise: float
    thaw_viability: float


def draw_biology(rng: np.random.Generator, fit: float) -> Biology:
    """Natural variation between batches (domain equations)."""
    z = rng.standard_normal(8)
    return Biology(
        fit=fit,
        mu=float(0.0345 * np.exp(0.16 * fit + 0.07 * z[0])),
        t_on=float(np.clip(32.0 - 3.0 * fit + 4.0 * z[1], 18.0, 60.0)),
        t_off=float(np.clip(120.0 + 10.0 * fit + 10.0 * z[2], 84.0, 170.0)),
        moi=float(0.62 * np.exp(0.28 * z[3]) * np.exp(0.12 * fit)),
        car_noise=float(1.5 * z[4]),
        recovery=float(0.82 + 0.05 * z[5]),
        shock_noise=float(0.015 * z[6]),
        thaw_viability=float(np.clip(0.92 + 0.03 * z[7], 0.75, 0.99)),
    )


def kinetic_parameters(b: Biology, kla: float = 14.0) -> np.void:
    """A fault-free record of the reference process for this biology."""
    p = kinetics.parameters(1)[0]
    p["mu"], p["t_on"], p["t_off"], p["kla"] = b.mu, b.t_on, b.t_off, kla
    p["viable0"], p["dead0"] = b.thaw_viability, 1.0 - b.thaw_viability
    return p
