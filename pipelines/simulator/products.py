"""The one interface of a product's kinetics: `rhs(state, inputs, parameters)` with the names of what goes in and out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipelines.simulator import kinetics, viral_vector
from pipelines.simulator.faults import DURATION_H


@dataclass(frozen=True)
class Product:
    """Kinetics of one product.

    Attributes:
        name: Identity, also of its process definition.
        duration_h: Planned duration.
        state: Names of the state variables; rates are per hour.
        inputs: Names of what controllers and faults set from outside.
        parameters: Makes `n` parameter records of a fault-free batch.
        rhs: Compiled `rhs(state, inputs, parameters, out)`.
        run: Compiled `run(parameters, dt, record_every)`, trajectories (n, records, channels).
        channels: Names of what a trajectory records.
    """

    name: str
    duration_h: float
    state: tuple[str, ...]
    inputs: tuple[str, ...]
    parameters: Callable[[int], np.ndarray]
    rhs: Callable[..., None]
    run: Callable[..., np.ndarray]
    channels: tuple[str, ...]

    def derivatives(self, state: np.ndarray, inputs: np.ndarray, parameters: np.void) -> np.ndarray:
        """Rates of change per hour of one state."""
        out = np.empty(len(self.state))
        self.rhs(np.asarray(state, float), np.asarray(inputs, float), parameters, out)
        return out


PRODUCTS = {
    name: Product(name, hours, k.STATE, k.INPUTS, k.parameters, k.rhs, k.run_recorded, k.CHANNELS)
    for name, hours, k in (("cart", DURATION_H, kinetics), ("viral_vector", viral_vector.DURATION_H, viral_vector))
}
