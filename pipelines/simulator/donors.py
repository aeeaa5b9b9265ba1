"""Patients and their apheresis: what is known before the start, and the latent fitness behind it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

INDICATIONS = ("LBCL", "FL", "MCL", "B-ALL")
_INDICATION_SHARE = (0.62, 0.14, 0.08, 0.16)


@dataclass(frozen=True)
class Donor:
    """One patient as seen at one attempt; medians of the apheresis follow published paediatric figures."""

    subject_key: str
    indication: str
    prior_bendamustine: str  # none | under_6_months | over_6_months
    prior_lines: float
    cd4_cd8_ratio: float
    platelets_g_l: float
    fit: float  # latent fitness of the cells, standard normal
    blasts_pct: float = 0.0  # from here on: of the newest apheresis (`collect`)
    monocytes_pct: float = 0.0
    apheresis_tnc_e9: float = 0.0
    apheresis_cd3_e9: float = 0.0
    apheresis_viability_pct: float = 0.0
    haematocrit_pct: float = 0.0
    transit_h: float = 0.0
    attempt: int = 0

    @property
    def fitness_log_odds(self) -> float:
        """Log-odds that the T cells are exhausted (M1), from covariates that the record shows."""
        return (
            -3.6
            + 1.2 * (self.prior_bendamustine == "under_6_months")
            + 0.9 * (self.cd4_cd8_ratio < 0.33)
            + 0.5 * (self.platelets_g_l < 50.0)
            + 0.8 * (self.indication == "MCL")
        )


def draw_donor(rng: np.random.Generator) -> Donor:
    """A new patient."""
    key = "P-" + rng.bytes(4).hex()
    indication = INDICATIONS[int(np.searchsorted(np.cumsum(_INDICATION_SHARE), rng.random()))]
    lymphoma = indication != "B-ALL"
    u = rng.random()
    bendamustine = "under_6_months" if u < 0.10 and lymphoma else "over_6_months" if u < 0.18 and lymphoma else "none"
    donor = Donor(
        subject_key=key,
        indication=indication,
        prior_bendamustine=bendamustine,
        prior_lines=float(1 + rng.poisson(1.6)),
        cd4_cd8_ratio=_log_normal(rng, 0.9, 0.75),
        platelets_g_l=_log_normal(rng, 125.0, 0.65),
        fit=float(rng.standard_normal()),
    )
    return collect(donor, rng)


def collect(donor: Donor, rng: np.random.Generator) -> Donor:
    """The same patient with a new apheresis, for the next attempt."""
    tnc = _log_normal(rng, 5.6, 0.72)
    return replace(
        donor,
        blasts_pct=round(100.0 * float(rng.beta(0.6, 18.0 if donor.indication != "B-ALL" else 5.0)), 1),
        monocytes_pct=round(100.0 * float(rng.beta(3.0, 12.0)), 1),
        apheresis_tnc_e9=tnc,
        apheresis_cd3_e9=round(tnc * float(rng.beta(9.0, 10.0)), 2),
        apheresis_viability_pct=round(float(np.clip(rng.normal(97.0, 1.5), 85.0, 99.8)), 1),
        haematocrit_pct=round(float(np.clip(rng.normal(3.2, 1.0), 0.5, 10.0)), 1),
        transit_h=round(float(np.clip(rng.gamma(4.0, 7.0), 3.0, 90.0)), 1),
        attempt=donor.attempt + 1,
    )


def _log_normal(rng: np.random.Generator, median: float, sigma: float) -> float:
    return round(float(median * np.exp(sigma * rng.standard_normal())), 2)
