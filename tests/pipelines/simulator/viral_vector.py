"""A second product with the interface of `kinetics`: lentiviral vector from transfected HEK293 cells in suspension.

All figures are assumed: growth 0.015-0.030 per h, transfection after 72 h, titre 1e6-1e8 TU/mL at harvest, infectious
titre lost with a half-life of about 20 h at 37 C. Titre in 1e6 TU/mL, particles in 1e9/mL, otherwise as `kinetics`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from pipelines.simulator import kinetics
from pipelines.simulator.kinetics import NEVER

STATE = (*kinetics.STATE[:4], "titre_e6_tu_ml", "particles_e9_ml", "bacteria_cfu_ml")
INPUTS = ("production", "temperature_factor")
CHANNELS = (*STATE, "temperature_c")
CHANNEL = {name: i for i, name in enumerate(CHANNELS)}
DURATION_H = 120.0
TRANSFECTION_H = 72.0
PARAMETERS = np.dtype([(name, "f8") for name in (
    "mu", "viable0", "transfection", "full_share", "end", "heat_from", "heat_to", "heat_delta",
    "bacteria_at", "bacteria_cfu_ml", "mu_bacteria",
)])  # fmt: skip
DEFAULTS = {
    "viable0": 0.8, "end": DURATION_H, "full_share": 2e-3, "heat_from": NEVER, "heat_to": NEVER, "bacteria_at": NEVER,
}  # fmt: skip
SPECIFICATION = {"titre_e6_tu_ml": (8.0, None), "infectious_share": (3e-4, None), "bioburden_cfu_ml": (None, 10.0)}


def parameters(n: int) -> np.ndarray:
    """`n` parameter records without a fault; growth and transfection are still zero."""
    records: np.ndarray = np.zeros(n, PARAMETERS)
    for name, value in DEFAULTS.items():
        records[name] = value
    return records


@njit(cache=True, error_model="numpy")
def rhs(state, inputs, p, out) -> None:
    """Derivatives of `STATE` per hour into `out`, from `INPUTS` and one record of `PARAMETERS`."""
    xv, xd, g, lactate, titre, b = state[0], state[1], state[2], state[3], state[4], state[6]
    mu = p.mu * g / (g + 0.5) / (1.0 + (lactate / 40.0) ** 3) * max(0.0, 1.0 - xv / 12.0) * inputs[1]
    mu *= 1.0 - 0.7 * inputs[0]  # transfected cells make vector instead of growing
    death = 0.001 + 0.006 * inputs[0] + 0.15 * b / (b + 3e7) + 0.03 / (1.0 + math.exp(4.0 * (g - 1.0)))
    q_glucose = 0.07 * g / (g + 0.4) * inputs[1] * xv
    made = 0.22 * p.transfection * inputs[0] * inputs[1] * xv
    out[0] = (mu - death) * xv
    out[1] = death * xv - 0.01 * xd
    out[2] = -q_glucose - 3e-9 * b * g / (g + 0.1)
    out[3] = 1.1 * q_glucose
    out[4] = made - 0.035 * titre
    out[5] = made * 1e-3 / p.full_share
    out[6] = p.mu_bacteria * b if b < 3e9 else 0.0


@njit(cache=True, error_model="numpy", nogil=True)
def run_recorded(p: np.ndarray, dt: float, record_every: int) -> np.ndarray:
    """Trajectories of many batches: (n, records, len(CHANNELS)), NaN after a batch's end."""
    rows = round(p["end"].max() / dt) // record_every + 1
    out = np.full((p.shape[0], rows, 8), np.nan)
    state, inputs, slope = np.empty(7), np.empty(2), np.empty(7)
    for i in range(p.shape[0]):
        state[:] = 0.0
        state[0], state[2] = p[i].viable0, 35.0
        for k in range(round(p[i].end / dt) + 1):
            t = k * dt
            heat = p[i].heat_delta if p[i].heat_from <= t < p[i].heat_to else 0.0
            inputs[0] = 1.0 / (1.0 + math.exp(-(t - TRANSFECTION_H - 12.0) / 3.0)) if t >= TRANSFECTION_H else 0.0
            inputs[1] = math.exp(-((heat / 3.0) ** 2))
            if state[6] == 0.0 and t >= p[i].bacteria_at:
                state[6] = p[i].bacteria_cfu_ml
            if k % record_every == 0:
                out[i, k // record_every, :7] = state
                out[i, k // record_every, 7] = 37.0 + heat
            rhs(state, inputs, p[i], slope)
            for j in range(7):
                state[j] = max(0.0, state[j] + dt * slope[j])
    return out


def draw(n: int, rng: np.random.Generator) -> np.ndarray:
    """Natural variation between `n` fault-free batches."""
    p = parameters(n)
    p["mu"] = 0.024 * np.exp(0.10 * rng.standard_normal(n))
    p["viable0"] = 0.8 * np.exp(0.06 * rng.standard_normal(n))
    p["transfection"] = np.exp(0.25 * rng.standard_normal(n))
    p["full_share"] = 2e-3 * np.exp(0.2 * rng.standard_normal(n))
    return p


@dataclass(frozen=True)
class Harvest:
    """Release attributes at harvest, arrays over batches."""

    titre_e6_tu_ml: np.ndarray
    infectious_share: np.ndarray
    bioburden_cfu_ml: np.ndarray

    @property
    def failed(self) -> np.ndarray:
        """Outside of `SPECIFICATION`."""
        bad = np.zeros(len(self.titre_e6_tu_ml), bool)
        for name, (low, high) in SPECIFICATION.items():
            value = getattr(self, name)
            bad |= (value < low) if low is not None else (value > high)
        return bad


def harvest(courses: np.ndarray) -> Harvest:
    """Attributes of the last record of each course."""
    last = courses[:, -1]
    titre, particles = last[:, CHANNEL["titre_e6_tu_ml"]], last[:, CHANNEL["particles_e9_ml"]]
    return Harvest(titre, titre / np.maximum(1000.0 * particles, 1e-9), last[:, CHANNEL["bacteria_cfu_ml"]])
