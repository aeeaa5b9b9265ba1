"""Settings of a simulated plant, checked before anything is written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

import numpy as np

from features.errors import SourceError
from pipelines.simulator.faults import MODES

ProcessChange = Literal["none", "comparable", "not_comparable"]
SCALES_L = (0.25, 1.0, 5.0, 50.0)
DEFAULT_UNTIL = datetime(2026, 6, 30, 6, 0, tzinfo=UTC)
HISTORY_YEARS = 3.0


@dataclass(frozen=True)
class SimulationSettings:
    """A simulated plant.

    Attributes:
        n_batches: Batches with a disposition.
        n_in_progress: Batches still running at `until`.
        seed: Everything random follows from it.
        n_sites: Sites, 1 to 20.
        until: Now, in the plant: nothing that became available later is written.
        since: First start; absent: three years before `until`.
        sensor_interval_min: Grain of the stored sensors, before the historian's deadband.
        process_change: What happens to the process at `change_at`.
        change_at: When the process changes, as a share of the time from `since` to `until`.
        base_rate: Share of failed batches to aim at; absent: as the priors of the causes give (4-8 %).
        mode_rates: Factors on the prior probability of single modes, for example `{"M4": 0}`.
        scales_l: Working volumes in use, of 0.25 (rocker), 1, 5 (stirred) and 50 L (allogeneic).
    """

    n_batches: int = 600
    n_in_progress: int = 12
    seed: int = 35
    n_sites: int = 3
    until: datetime = DEFAULT_UNTIL
    since: datetime | None = None
    sensor_interval_min: float = 15.0
    process_change: ProcessChange = "comparable"
    change_at: float = 0.6
    base_rate: float | None = None
    mode_rates: Mapping[str, float] = field(default_factory=dict)
    scales_l: tuple[float, ...] = (0.25,)

    def __post_init__(self) -> None:
        _refuse(self.n_batches < 0, f"number of batches {self.n_batches}", "0 or more")
        _refuse(self.n_in_progress < 0, f"number of batches in progress {self.n_in_progress}", "0 or more")
        _refuse(self.n_batches + self.n_in_progress == 0, "no batches at all", "at least one")
        _refuse(self.seed < 0, f"seed {self.seed}", "0 or more")
        _refuse(not 1 <= self.n_sites <= 20, f"number of sites {self.n_sites}", "1 to 20")
        _refuse(self.sensor_interval_min < 1 or self.sensor_interval_min > 60,
                f"sensor interval of {self.sensor_interval_min:g} min", "1 to 60")  # fmt: skip
        _refuse(self.process_change not in get_args(ProcessChange), f"process change {self.process_change!r}",
                " | ".join(get_args(ProcessChange)))  # fmt: skip
        _refuse(not 0 < self.change_at < 1, f"process change at {self.change_at:g} of the history", "above 0, below 1")
        _refuse(self.base_rate is not None and not 0.02 <= self.base_rate <= 0.3,
                f"base rate {self.base_rate or 0:g}", "0.02 to 0.3")  # fmt: skip
        for mode, factor in self.mode_rates.items():
            _refuse(mode not in MODES, f"unknown mode {mode!r}", " | ".join(MODES))
            _refuse(not 0 <= factor <= 20, f"rate factor {factor:g} of mode {mode}", "0 to 20")
        _refuse(not self.scales_l, "no scale", f"some of {SCALES_L}")
        for scale in self.scales_l:
            _refuse(scale not in SCALES_L, f"scale {scale:g} L", ", ".join(f"{s:g}" for s in SCALES_L))
        for name, when in (("until", self.until), ("since", self.since or self.until)):
            _refuse(when.tzinfo is None, f"{name} {when.isoformat()} has no offset", "for example 2026-06-30T06:00Z")
        _refuse(self.until - self.first < timedelta(days=90),
                f"from {self.first:%Y-%m-%d} to {self.until:%Y-%m-%d}", "at least 90 days, the earlier date first")  # fmt: skip

    @property
    def first(self) -> datetime:
        """When the history begins."""
        return self.since if self.since is not None else self.until - timedelta(days=365.25 * HISTORY_YEARS)

    def to_json(self) -> str:
        """All settings as JSON; `from_json` reads it."""
        times = {"until": self.until.isoformat(), "since": self.first.isoformat()}
        return json.dumps(asdict(self) | times, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> SimulationSettings:
        """Settings as `to_json` wrote them."""
        from pydantic import TypeAdapter

        return TypeAdapter(cls).validate_json(text)

    @property
    def busy_above(self) -> float:
        """Concurrent batches at a site above which its people are stretched: 3, more at sites built for more."""
        per_site_h = self.n_batches / self.n_sites / ((self.until - self.first).total_seconds() / 3600.0)
        return max(3.0, 1.5 * 216.0 * per_site_h)


def hours(when: datetime) -> float:
    """Hours since 1970-01-01 UTC, the plant's internal clock."""
    return when.timestamp() / 3600.0


def stream(seed: int, *key: int) -> np.random.Generator:
    """The random stream of one thing (batch, lot, site, ...), whatever other streams were used before.

    It equals the child `SeedSequence(seed).spawn(...)[k]` at that key.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


class Stream:
    """First parts of the keys of `stream`."""

    SITE, LOT, SUITE, CALENDAR, BATCH, RECORD = range(6)


def _refuse(bad: bool, what: str, expected: str) -> None:
    if bad:
        raise SourceError(f"simulation: {what}", expected=expected)
