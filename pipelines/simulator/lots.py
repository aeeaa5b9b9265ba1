"""Shared material lots: how good they really are, what their tests say, which batches they reach."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pipelines.simulator.settings import Stream, stream

BAD_SHARE = {"vector": 0.03, "activation_reagent": 0.015}  # of the lots
MONTH_H = 730.5


@dataclass(frozen=True)
class Material:
    """A material: suppliers, batches per lot, the quantity a batch takes, the tests of a lot."""

    name: str
    suppliers: tuple[str, ...]
    batches_per_lot: tuple[int, int]
    quantity: float
    unit: str
    used_at_h: float
    tests: tuple[tuple[str, float, float], ...]  # parameter, centre, coefficient of variation


MATERIALS = (
    Material("vector", ("Lentia", "Vexa"), (7, 15), 6.0, "mL", 24.0,
             (("vector_titre_tu_ml", 4.0e7, 0.15), ("vector_p24_ng_ml", 900.0, 0.12))),
    Material("activation_reagent", ("Stimex", "Tecta"), (7, 15), 1.0, "vial", 0.0,
             (("activator_potency_pct", 100.0, 0.08),)),
    Material("medium", ("Cellia",), (10, 20), 4.0, "L", 0.0,
             (("medium_osmolality_mosm_kg", 285.0, 0.01), ("medium_endotoxin_eu_ml", 0.05, 0.3))),
    Material("cytokine", ("Interla", "Novo7"), (15, 30), 2.0, "vial", 0.0, (("cytokine_activity_pct", 100.0, 0.05),)),
    Material("single_use_set", ("Baga", "Folio"), (8, 20), 1.0, "piece", 0.0, (("set_leak_rate_pa_min", 12.0, 0.2),)),
)  # fmt: skip
BY_NAME = {m.name: m for m in MATERIALS}


@dataclass
class Lot:
    """One lot: `factor` is its true strength (1 = nominal), `decay` its loss per month in store."""

    material: str
    lot_id: str
    supplier: str
    made_at: float
    factor: float
    decay: float
    bad: bool
    uses_left: int
    key: tuple[int, ...]
    used: list[int] = field(default_factory=list)
    known_failures: list[float] = field(default_factory=list)  # when each became known

    def strength(self, at: float) -> float:
        """True strength when used."""
        return self.factor * float(np.exp(-self.decay * self.age_months(at)))

    def age_months(self, at: float) -> float:
        """Months in store."""
        return (at - self.made_at) / MONTH_H

    def withdrawn(self, at: float) -> bool:
        """Quality stops a lot once two of its batches are known to have failed."""
        return sum(when <= at for when in self.known_failures) >= 2


class LotBook:
    """The lots in use; two channels run beside each other, so neighbouring sites often share a lot."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.lots: list[Lot] = []
        self._open: dict[tuple[str, int], Lot] = {}
        self._count = dict.fromkeys(BY_NAME, 0)

    def take(self, material: Material, channel: int, at: float, batch: int) -> Lot:
        """The lot that this batch uses."""
        lot = self._open.get((material.name, channel))
        if lot is None or lot.uses_left == 0 or lot.withdrawn(at):
            lot = self._new(material, at)
            self._open[material.name, channel] = lot
        lot.uses_left -= 1
        lot.used.append(batch)
        return lot

    def _new(self, material: Material, at: float) -> Lot:
        number = self._count[material.name]
        self._count[material.name] += 1
        order = list(BY_NAME).index(material.name)
        key = (Stream.LOT, order, number)
        rng = stream(self.seed, *key)
        bad = bool(rng.random() < BAD_SHARE.get(material.name, 0.0))
        factor = float(np.exp(rng.normal(0.0, 0.06)))
        severity = rng.uniform(0.15, 0.45) if material.name == "vector" else rng.uniform(0.25, 0.65)
        lot = Lot(
            material=material.name,
            lot_id=f"{material.name[:3].upper()}-{rng.bytes(3).hex().upper()}",
            supplier=material.suppliers[int(rng.integers(len(material.suppliers)))],
            made_at=at - float(rng.uniform(0.5, 5.0)) * MONTH_H,
            factor=float(severity) if bad else factor,
            decay=float(rng.uniform(0.005, 0.020)) if material.name == "vector" else 0.0,
            bad=bad,
            uses_left=int(rng.integers(material.batches_per_lot[0], material.batches_per_lot[1] + 1)),
            key=key,
        )
        self.lots.append(lot)
        return lot
