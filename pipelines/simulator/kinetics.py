"""Kinetics of a T-cell expansion: growth, death, metabolites, dissolved oxygen, pH, their controllers and faults.

Rates follow the ranges of J Biol Eng 2019 13:34 (growth), Truskey 1990 (glutamine, ammonium), PMC2796705 (pH window)
and PMC5866265 (lactate removal); the rest is tuned. Units: cells in 1e6/mL, metabolites in mmol/L, DO in % of air
saturation, bacteria in CFU/mL, time in h, rates per h.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

STATE = ("viable_e6_ml", "dead_e6_ml", "glucose_mm", "lactate_mm", "glutamine_mm", "ammonia_mm", "bacteria_cfu_ml")
INPUTS = ("rise", "decline", "activation_death", "temperature_factor", "dilution", "do_pct", "ph", "temperature_fault")
CHANNELS = (*STATE, "do_pct", "ph", "temperature_c", "o2_pct", "co2_pct", "perfusion_vvd", "volume_l", "diameter_um")
CHANNEL = {name: i for i, name in enumerate(CHANNELS)}

# What the controllers and clocks carry from step to step.
DO, O2, O2_INTEGRAL, CO2_SET, CO2, VVD, VOLUME, TEMPERATURE, KLA, APPROACH, RISE_ODDS, LATE, ADDITION = range(13)
LOOP = 13

NEVER = 1e9  # a time that no batch reaches
PARAMETERS = np.dtype([(name, "f8") for name in (
    "mu", "t_on", "t_off", "kla", "lactate_yield", "bicarbonate", "perfusion_start", "shear_death",
    "viable0", "dead0", "volume0", "end",
    "kla_from", "kla_to", "kla_factor", "heat_from", "heat_to", "heat_delta",
    "feed_from", "feed_to", "co2_from", "co2_to", "bacteria_at", "bacteria_cfu", "mu_bacteria",
)])  # fmt: skip
DEFAULTS = {
    "lactate_yield": 1.75, "bicarbonate": 32.0, "perfusion_start": 96.0, "volume0": 0.15, "end": 216.0,
    "kla_from": NEVER, "kla_to": NEVER, "kla_factor": 1.0, "heat_from": NEVER, "heat_to": NEVER,
    "feed_from": NEVER, "feed_to": NEVER, "co2_from": NEVER, "co2_to": NEVER, "bacteria_at": NEVER,
}  # fmt: skip
ADDITIONS_H = (24.0, 48.0, 84.0)
ADDITIONS_OF_START = (0.2, 0.17 / 0.15, 0.25 / 0.15)  # volume added, relative to the starting volume
GLUCOSE_FEED, GLUTAMINE_FEED = 25.0, 4.0
GLUCOSE_START, LACTATE_START = 20.0, 1.0
CO2_FAULT = 0.18
DECLINE_FLOOR = 0.15


def parameters(n: int) -> np.ndarray:
    """`n` parameter records without a fault; growth, timing, kLa and cells at start are still zero."""
    records: np.ndarray = np.zeros(n, PARAMETERS)
    for name, value in DEFAULTS.items():
        records[name] = value
    return records


@njit(cache=True, error_model="numpy")
def rhs(state: np.ndarray, inputs: np.ndarray, p: np.record, out: np.ndarray) -> None:
    """Derivatives of `STATE` per hour into `out`, from `INPUTS` and one record of `PARAMETERS`."""
    xv, xd, g, lac, q, a, b = state[0], state[1], state[2], state[3], state[4], state[5], state[6]
    rise, decline, f_temperature, dilution = inputs[0], inputs[1], inputs[3], inputs[4]
    do, ph = inputs[5], inputs[6]
    lactate_3, ammonia_2 = (lac / 28.0) ** 3, (a / 6.0) ** 2
    acid = (ph - 7.25) / 0.32
    limits = g * q * do / ((g + 0.5) * (q + 0.15) * (do + 4.0) * (1.0 + lactate_3) * (1.0 + ammonia_2))
    mu = p.mu * rise * decline * limits * math.exp(-acid * acid) * f_temperature * max(0.0, 1.0 - xv / 30.0)
    lactate_4, ammonia_4 = (lac / 40.0) ** 4, (a / 9.0) ** 4
    death = 0.0016 + inputs[2] + p.shear_death + 0.008 * inputs[7]
    death += 0.01 * lactate_4 / (1.0 + lactate_4) + 0.02 * ammonia_4 / (1.0 + ammonia_4)
    if g < 8.0:  # starvation; below 1e-12 per h above that
        death += 0.03 / (1.0 + math.exp((g - 1.0) * 4.0))
    if do < 150.0:
        death += 0.03 * math.exp(-do / 5.0)
    if abs(ph - 7.25) > 0.45:
        death += 0.02
    bacteria_uptake = 0.0
    if b > 0.0:
        death += 0.15 * b / (b + 3e7)
        bacteria_uptake = 3e-9 * b * g / (g + 0.1)
    activity = rise * decline
    q_glucose = (0.06 + 0.10 * activity) * g / (g + 0.4) * f_temperature * xv
    q_glutamine = (0.012 + 0.022 * activity) * q / (q + 0.2) * xv
    lactate_yield = p.lactate_yield - 0.35 * (1.0 - decline)
    out[0] = (mu - death) * xv
    out[1] = death * xv - (0.016 + 0.1 * dilution) * xd
    out[2] = -q_glucose - bacteria_uptake + dilution * (GLUCOSE_FEED - g)
    out[3] = lactate_yield * q_glucose + 1.2 * bacteria_uptake - dilution * lac
    out[4] = -q_glutamine - 0.004 * q + dilution * (GLUTAMINE_FEED - q)
    out[5] = 0.75 * q_glutamine + 0.004 * q - dilution * a
    out[6] = p.mu_bacteria * b if b < 3e9 else 0.0


@njit(cache=True, error_model="numpy")
def _start(p: np.record, dt: float, state: np.ndarray, inputs: np.ndarray, loop: np.ndarray) -> None:
    state[:] = 0.0
    state[0], state[1] = p.viable0, p.dead0
    state[2], state[3], state[4] = GLUCOSE_START, LACTATE_START, GLUTAMINE_FEED
    inputs[:] = 0.0
    inputs[3] = 1.0
    loop[DO], loop[O2], loop[O2_INTEGRAL], loop[CO2_SET] = 50.0, 0.105, 0.0, 0.076
    loop[VOLUME], loop[KLA], loop[APPROACH] = p.volume0, p.kla, math.exp(-p.kla * dt)
    loop[RISE_ODDS], loop[LATE], loop[ADDITION] = math.exp(p.t_on / 6.0), 1.0, 0.0


@njit(cache=True, error_model="numpy")
def _feed(p: np.record, t: float, state: np.ndarray, loop: np.ndarray) -> None:
    """Additions of medium, and the bacteria that begin to grow."""
    addition = int(loop[ADDITION])
    if addition < 3 and t >= ADDITIONS_H[addition] - 1e-9:
        added = p.volume0 * ADDITIONS_OF_START[addition]
        kept = loop[VOLUME] / (loop[VOLUME] + added)
        for i in range(7):
            state[i] *= kept
        state[2] += GLUCOSE_FEED * (1.0 - kept)
        state[4] += GLUTAMINE_FEED * (1.0 - kept)
        loop[VOLUME] += added
        loop[ADDITION] += 1.0
    if state[6] == 0.0 and t >= p.bacteria_at:
        state[6] = p.bacteria_cfu / (1000.0 * loop[VOLUME])


@njit(cache=True, error_model="numpy")
def _steer(p: np.record, t: float, dt: float, state: np.ndarray, inputs: np.ndarray, loop: np.ndarray) -> None:
    """Set `inputs` from schedule, controllers and faults."""
    heat = p.heat_from <= t < p.heat_to
    loop[TEMPERATURE] = 37.0 + (p.heat_delta if heat else 0.0)
    inputs[3] = math.exp(-((p.heat_delta / 3.0) ** 2)) if heat else 1.0
    inputs[7] = 1.0 if heat else 0.0
    kla = p.kla * (p.kla_factor if p.kla_from <= t < p.kla_to else 1.0)
    if kla != loop[KLA]:
        loop[KLA], loop[APPROACH] = kla, math.exp(-kla * dt)
    inputs[0] = 1.0 / (1.0 + loop[RISE_ODDS])
    inputs[1] = DECLINE_FLOOR + (1.0 - DECLINE_FLOOR) * loop[LATE]
    pulse = (t - 24.0) / 14.0
    inputs[2] = 0.007 * math.exp(-pulse * pulse) if pulse < 5.0 else 0.0
    loop[VVD] = 0.0
    if t >= p.perfusion_start and not (p.feed_from <= t < p.feed_to):
        loop[VVD] = min(1.6, max(0.3, 0.3 + 0.12 * (state[0] + state[1])))
    inputs[4] = loop[VVD] / 24.0
    loop[CO2] = CO2_FAULT if p.co2_from <= t < p.co2_to else loop[CO2_SET]
    bicarbonate = max(2.0, p.bicarbonate - state[3])
    inputs[5] = loop[DO]
    inputs[6] = 6.1 + math.log10(bicarbonate / (0.0307 * max(14.0, 713.0 * loop[CO2])))


@njit(cache=True, error_model="numpy")
def _control(
    p: np.record,
    t: float,
    dt: float,
    decay: tuple[float, float],
    state: np.ndarray,
    inputs: np.ndarray,
    loop: np.ndarray,
) -> None:
    """Advance oxygen, its controller, the CO2 controller and the clocks of activation and decline."""
    error = 50.0 - loop[DO]
    loop[O2_INTEGRAL] = min(0.5, max(-0.1, loop[O2_INTEGRAL] + 0.0006 * error * dt))
    loop[O2] = min(0.6, max(0.0, 0.105 + 0.0006 * error + loop[O2_INTEGRAL]))
    activity = inputs[0] * inputs[1]
    uptake = (0.06 + 0.09 * activity) * state[0] + 3e-9 * state[6]
    settled = max(0.0, 100.0 * loop[O2] / 0.21 - uptake / (loop[KLA] * 0.00205))
    loop[DO] = settled + (loop[DO] - settled) * loop[APPROACH]  # exact: Euler is unstable here
    loop[CO2_SET] = min(0.10, max(0.0, loop[CO2_SET] + 0.02 * (inputs[6] - 7.25) * dt))
    loop[RISE_ODDS] *= decay[0]
    if t >= p.t_off:
        loop[LATE] *= decay[1]


@njit(cache=True, error_model="numpy")
def _record(row: np.ndarray, state: np.ndarray, inputs: np.ndarray, loop: np.ndarray) -> None:
    for i in range(7):
        row[i] = state[i]
    row[7], row[8], row[9] = inputs[5], inputs[6], loop[TEMPERATURE]
    row[10], row[11], row[12], row[13] = 100.0 * loop[O2], 100.0 * loop[CO2], loop[VVD], loop[VOLUME]
    row[14] = 8.0 + 4.6 * inputs[0] * inputs[1]  # activated cells are larger


@njit(cache=True, error_model="numpy")
def _run_one(
    p: np.record,
    dt: float,
    record_every: int,
    records: np.ndarray,
    state: np.ndarray,
    inputs: np.ndarray,
    slope: np.ndarray,
    loop: np.ndarray,
) -> None:
    """Integrate one batch; `state` and `loop` end as its final state."""
    decay = (math.exp(-dt / 6.0), math.exp(-dt / 96.0))
    steps = round(p.end / dt)
    _start(p, dt, state, inputs, loop)
    for k in range(steps + 1):
        t = k * dt
        _feed(p, t, state, loop)
        _steer(p, t, dt, state, inputs, loop)
        if k % record_every == 0:
            _record(records[k // record_every], state, inputs, loop)
        if k == steps:
            break
        rhs(state, inputs, p, slope)
        for i in range(7):
            state[i] = max(0.0, state[i] + dt * slope[i])
        _control(p, t, dt, decay, state, inputs, loop)


@njit(cache=True, error_model="numpy", nogil=True)
def run_recorded(p: np.ndarray, dt: float, record_every: int) -> np.ndarray:
    """Trajectories of many batches: (n, records, len(CHANNELS)), NaN after a batch's end."""
    longest = 0.0
    for i in range(p.shape[0]):
        longest = max(longest, p[i].end)
    rows = round(longest / dt) // record_every + 1
    out = np.full((p.shape[0], rows, 15), np.nan)
    state, inputs, slope, loop = np.empty(7), np.empty(8), np.empty(7), np.empty(LOOP)
    for i in range(p.shape[0]):
        _run_one(p[i], dt, record_every, out[i], state, inputs, slope, loop)
    return out
